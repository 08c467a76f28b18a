"""What evaluation's tests share: truths of clips, and a model folder as small as can be."""

import random

import pytest
import torch
from mullama.dataset_scripts.synthetic.questions import sample_pair
from mullama.dataset_scripts.synthetic.truth import FAMILY_OF, ClipTruth
from mullama.modeling_mullama import MertConfig, MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaTextConfig
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from mullama.training.tiny_tokenizer import train_tokenizer

TEMPI, REGISTERS, STYLES = ("slow", "moderate", "fast"), ("low", "middle", "high"), ("baroque", "folk", "medieval")


def make_truths(count: int, seed: int = 0) -> list[ClipTruth]:
    """Solos and bands, as the renderer makes them."""
    rng, truths = random.Random(seed), []
    for number in range(count):
        instrument = rng.choice(list(FAMILY_OF))
        band = rng.random() < 0.3
        truths.append(
            ClipTruth(
                id=f"clip-{number}",
                instrument=instrument,
                family=FAMILY_OF[instrument],
                accompaniment=None,
                instruments=[instrument, *(["bass", "drums"] if band else [])],
                texture="band" if band else "solo",
                drums=band,
                register=rng.choice(REGISTERS),
                loudness=rng.choice(("soft", "loud")),
                tempo=rng.choice(TEMPI),
                bpm=100.0,
                style=rng.choice(STYLES),
                piece="piece",
                soundfont="fluid",
                seconds=1.0,
            )
        )
    return truths


@pytest.fixture(scope="session")
def truths_of():
    """A function from a count to so many truths."""
    return make_truths


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A random MU-LLaMA of a few thousand weights, with a tokenizer trained on real questions."""
    folder = tmp_path_factory.mktemp("model")
    rng = random.Random(0)
    pairs = [sample_pair(truth, rng) for truth in make_truths(40) for _ in range(20)]
    tokenizer = train_tokenizer((text for pair in pairs for text in (pair.question, pair.answer)), folder, 600)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    convolutions = {"conv_dim": [16, 16, 16], "conv_kernel": [64, 4, 1], "conv_stride": [160, 2, 1]}
    audio = MertConfig(**sizes, **convolutions, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    text = MuLlamaTextConfig(**sizes, **ids, vocab_size=len(tokenizer), num_adapter_layers=1)
    model = MuLlamaForConditionalGeneration(MuLlamaConfig(audio_config=audio, text_config=text))
    model.save_pretrained(folder)
    MuLlamaProcessor(MuLlamaFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder
