"""Our models, and AudioFlamingo3 as control, under transformers' common tests: run_transformers_common_tests.py."""

import unittest

import torch
from mullama.modeling_mullama import (
    MertConfig,
    MertModel,
    MuLlamaConfig,
    MuLlamaForConditionalGeneration,
    MuLlamaModel,
    MuLlamaTextConfig,
)
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Model,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.testing_utils import torch_device
from transformers_tests.generation.test_utils import GenerationTesterMixin
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor

# The common tests know by this list which models have no head, and so no loss.
MODEL_MAPPING_NAMES.update(mert="MertModel", mullama="MuLlamaModel")

BATCH, SAMPLES, TOKENS = 3, 1024, 7
ENCODER = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    conv_dim=(32, 32, 32),
    conv_stride=(4, 4, 4),
    conv_kernel=(8, 8, 8),
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=2,
    hidden_dropout=0.0,
    layerdrop=0.0,
    do_stable_layer_norm=True,
)
DECODER = dict(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=37,
    max_position_embeddings=512,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)


class MertModelTester:
    """A small MERT and its input."""

    batch_size, num_hidden_layers, hidden_size = BATCH, ENCODER["num_hidden_layers"], ENCODER["hidden_size"]
    num_attention_heads, is_training = ENCODER["num_attention_heads"], True
    seq_length = encoder_seq_length = 14

    def get_config(self) -> MertConfig:
        return MertConfig(**ENCODER)

    def prepare_config_and_inputs_for_common(self) -> tuple[MertConfig, dict[str, torch.Tensor]]:
        return self.get_config(), {"input_values": floats_tensor([BATCH, SAMPLES])}


class MertModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (MertModel,)
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = MertModelTester()
        self.config_tester = ConfigTester(self, config_class=MertConfig, hidden_size=37)

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("The encoder has no token embeddings.")
    def test_model_get_set_embeddings(self):
        pass

    @unittest.skip("The encoder has no token embeddings.")
    def test_inputs_embeds(self):
        pass


class MuLlamaModelTester:
    """A small MU-LLaMA and its inputs."""

    batch_size, num_hidden_layers, hidden_size = BATCH, DECODER["num_hidden_layers"], DECODER["hidden_size"]
    num_attention_heads, is_training, seq_length = DECODER["num_attention_heads"], True, TOKENS
    vocab_size = DECODER["vocab_size"]

    def get_config(self) -> MuLlamaConfig:
        text_config = MuLlamaTextConfig(**DECODER, num_adapter_layers=1, value_correction_rank=2)
        return MuLlamaConfig(audio_config=MertConfig(**ENCODER), text_config=text_config, num_projector_layers=1)

    def prepare_config_and_inputs_for_common(self) -> tuple[MuLlamaConfig, dict[str, torch.Tensor]]:
        inputs = {
            "input_ids": ids_tensor([BATCH, TOKENS], DECODER["vocab_size"] - 3) + 3,
            "attention_mask": torch.ones((BATCH, TOKENS), dtype=torch.long, device=torch_device),
            "input_values": floats_tensor([BATCH, SAMPLES]),
        }
        return self.get_config(), inputs


class MuLlamaModelTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (MuLlamaModel, MuLlamaForConditionalGeneration)
    _is_composite = True
    # The windows are averaged away while they are encoded, so there is no last state.
    skip_test_audio_features_output_shape = True

    def setUp(self):
        self.model_tester = MuLlamaModelTester()
        self.config_tester = ConfigTester(self, config_class=MuLlamaConfig, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs_dict = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels and model_class is MuLlamaForConditionalGeneration:
            inputs_dict["labels"] = inputs_dict["input_ids"].clone()
        return inputs_dict


class AudioFlamingo3ModelTester:
    """The control: the library's own audio language model."""

    batch_size, num_hidden_layers, hidden_size = BATCH, 2, 32
    num_attention_heads, is_training, seq_length, audio_token_id = 2, True, 35, 0

    def get_config(self) -> AudioFlamingo3Config:
        text = dict(model_type="qwen2", hidden_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=99)
        text |= dict(intermediate_size=36, num_key_value_heads=2, max_position_embeddings=60, pad_token_id=1)
        audio = dict(model_type="audioflamingo3_encoder", hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
        audio |= dict(intermediate_size=36, num_mel_bins=80, max_source_positions=30)
        return AudioFlamingo3Config(text_config=text, audio_config=audio, audio_token_id=self.audio_token_id)

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
        config = self.get_config()
        input_ids = ids_tensor([BATCH, self.seq_length], 98) + 1
        input_ids[:, 1:16] = self.audio_token_id
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "input_features": floats_tensor([BATCH, 80, 60]),
            "input_features_mask": torch.ones((BATCH, 60), dtype=torch.bool, device=torch_device),
        }
        return config, inputs


class AudioFlamingo3ModelTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (AudioFlamingo3Model, AudioFlamingo3ForConditionalGeneration)
    _is_composite = True

    def setUp(self):
        self.model_tester = AudioFlamingo3ModelTester()
        self.config_tester = ConfigTester(self, config_class=AudioFlamingo3Config, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    @unittest.skip("Audio takes the place of its tokens, which embeddings do not name.")
    def test_inputs_embeds_matches_input_ids(self):
        pass
