"""What evaluation's tests share: truths of clips, and a model folder as small as can be."""

import gzip
import random
from pathlib import Path

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


@pytest.fixture(scope="session")
def wordnet(tmp_path_factory):
    """NLTK's WordNet made of Debian's packages, where NLTK finds it, in child processes too."""
    import nltk
    from mullama.evaluation.wordnet import DEBIAN, PACKAGES, build_wordnet

    if not (DEBIAN / "index.sense").is_file():
        pytest.skip(f"METEOR needs WordNet: apt install {PACKAGES}")
    folder = tmp_path_factory.mktemp("nltk_data")
    build_wordnet(folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(nltk.data, "path", [str(folder), *nltk.data.path])
    patch.setenv("NLTK_DATA", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="session")
def eval_musicqa(tmp_path_factory) -> Path:
    """The real EvalMusicQA.json."""
    packed = Path(__file__).parents[1] / "dataset_scripts" / "data" / "EvalMusicQA.json.gz"
    path = tmp_path_factory.mktemp("release") / "EvalMusicQA.json"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


@pytest.fixture(scope="session")
def real_references(eval_musicqa):
    """The 5,040 real questions and answers."""
    from mullama.evaluation.references import read_references

    return read_references(str(eval_musicqa))
