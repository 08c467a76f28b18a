"""
Our processor, and AudioFlamingo3's as control, under transformers' common tests: a development script, which pytest
does not collect. It runs by the models' one:

    python tests/modeling_mullama/run_transformers_common_tests.py tests/processing/transformers_common_tests.py
"""

import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import soundfile
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from mullama.training.tiny_tokenizer import train_tokenizer
from transformers import AddedToken, AudioFlamingo3Processor, WhisperFeatureExtractor, testing_utils

AUDIO = Path(tempfile.mkdtemp()) / "noise.wav"
soundfile.write(AUDIO, np.random.default_rng(0).uniform(-0.3, 0.3, 44_100), 22_050)
# transformers fetches its test files from the Hub, and takes librosa for granted though it decodes without.
fetch = types.ModuleType("fetch_hub_objects_for_ci")
fetch.url_to_local_path = lambda url: str(AUDIO)
sys.modules["fetch_hub_objects_for_ci"] = fetch
testing_utils.require_librosa = lambda test: test

from transformers_tests.test_processing_common import ProcessorTesterMixin  # noqa: E402

# As if of the library: a class that takes its code along writes an `auto_map`, which the round trips do not expect.
MuLlamaProcessor._auto_class = MuLlamaFeatureExtractor._auto_class = None

TEXTS = ["lower newer", "upper older longer string", "Describe this.", "The capital of France is Paris."]


class MuLlamaProcessorTest(ProcessorTesterMixin, testing_utils.TestCasePlus):
    processor_class = MuLlamaProcessor
    audio_input_name = "input_values"

    @classmethod
    def _setup_feature_extractor(cls) -> MuLlamaFeatureExtractor:
        return MuLlamaFeatureExtractor()

    @classmethod
    def _setup_tokenizer(cls):
        return train_tokenizer(TEXTS, tempfile.mkdtemp(), vocab_size=400)


class AudioFlamingo3ProcessorTest(ProcessorTesterMixin, testing_utils.TestCasePlus):
    processor_class = AudioFlamingo3Processor
    audio_unstructured_max_length = 1000  # also cuts the audio, of which its features need 400 samples

    # It gives PyTorch's tensors only.
    test_apply_chat_template_audio_0 = test_apply_chat_template_audio_2 = None

    @classmethod
    def _setup_feature_extractor(cls) -> WhisperFeatureExtractor:
        return WhisperFeatureExtractor(feature_size=128)

    @classmethod
    def _setup_tokenizer(cls):
        tokenizer = train_tokenizer(TEXTS, tempfile.mkdtemp(), vocab_size=400)
        tokenizer.add_tokens([AddedToken("<sound>", special=True)])
        return tokenizer

    @staticmethod
    def prepare_processor_dict() -> dict:
        return {
            "chat_template": "{% for message in messages %}{% for part in message['content'] %}"
            "{{ '<sound>' if part['type'] == 'audio' else part['text'] }}{% endfor %}{% endfor %}"
        }
