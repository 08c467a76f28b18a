"""
Files that several test folders use: the tiny release and its golden numbers, a corpus of odd and bad audio, and a
small model with random weights.
"""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

RELEASE = Path(__file__).parent / "fixtures" / "mullama_release_tiny"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too, as CI does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: runs with --slow, as in CI"))


@dataclass(frozen=True)
class AudioCorpus:
    """
    Files as users have them. `odd` ones hold something to hear, and need an answer, in `seconds`; `bad` ones hold
    nothing, and need one clear line, with `words` in it.
    """

    folder: Path
    odd: dict[str, Path]
    bad: dict[str, Path]
    seconds: dict[str, float]
    words: dict[str, str]


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A chord that swells, another note in each channel: (frames, channels), within -0.6 and 0.6."""
    time = np.arange(round(seconds * rate)) / rate
    notes = [np.sin(2 * np.pi * 220 * (1 + i / 4) * time) for i in range(channels)]
    return np.stack(notes, axis=1) * (0.1 + 0.5 * np.linspace(0, 1, len(time)))[:, None]


@pytest.fixture(scope="session")
def release() -> Path:
    """The folder of the tiny release: `release/`, `golden.json`, `golden.safetensors`."""
    return RELEASE


@pytest.fixture(scope="session")
def audio_corpus(tmp_path_factory: pytest.TempPathFactory) -> AudioCorpus:
    """Every kind of bad input that the project promises to meet, as real files."""
    folder = tmp_path_factory.mktemp("audio corpus")
    odd, bad, seconds, words = {}, {}, {}, {}

    def write(kind: str, samples: np.ndarray, rate: int, name: str | None = None, **how) -> Path:
        odd[kind] = folder / (name or f"{kind.replace(' ', '_')}.wav")
        seconds[kind] = len(samples) / rate
        soundfile.write(odd[kind], samples, rate, **how)
        return odd[kind]

    def spoil(kind: str, message: str, name: str | None = None) -> Path:
        bad[kind], words[kind] = folder / (name or f"{kind.replace(' ', '_')}.wav"), message
        return bad[kind]

    def truncate(kind: str, whole: Path, share: float) -> None:
        data = whole.read_bytes()
        odd[kind] = folder / f"{kind.replace(' ', '_')}{whole.suffix}"
        seconds[kind] = 6.0 * share
        odd[kind].write_bytes(data[: round(len(data) * share)])

    write("mp3", tone(6, 44_100, 2), 44_100, "song.mp3")
    write("ogg", tone(6, 44_100, 2), 44_100, "song.ogg")
    write("flac", tone(6, 44_100, 2), 44_100, "song.flac")
    write("wav", tone(6, 44_100, 2), 44_100, "song.wav")
    truncate("truncated mp3", odd["mp3"], 0.5)
    truncate("truncated wav", odd["wav"], 0.5)
    truncate("truncated flac", odd["flac"], 0.5)
    write("one sample", tone(1, 24_000)[12_000:12_001], 24_000)
    write("one sample at 192 kHz", tone(1, 24_000)[12_000:12_001], 192_000)
    write("10 ms", tone(0.01, 24_000), 24_000)
    write("silence", np.zeros(24_000), 24_000)
    write("direct current", np.full(24_000, 0.5), 24_000)
    write("8 channels", tone(1, 48_000, 8), 48_000)
    write("8 kHz", tone(1, 8_000), 8_000)
    write("192 kHz", tone(1, 192_000), 192_000)
    write("24 bit", tone(1, 44_100), 44_100, subtype="PCM_24")
    write("spaces and non-ASCII", tone(1, 24_000), 24_000, "Für Élise – 月光 (live).wav")
    odd["an hour"], seconds["an hour"] = folder / "an_hour.wav", 3_600.0
    with wave.open(str(odd["an hour"]), "wb") as file:
        file.setparams((1, 1, 8_000, 0, "NONE", ""))
        file.writeframes(((1 + tone(60, 8_000)) * 127).astype(np.uint8).tobytes() * 60)
    broken = tone(1, 24_000)[:, 0]
    broken[[5, 700, 701]] = np.nan, np.inf, -np.inf
    write("NaN and infinities", broken, 24_000, subtype="FLOAT")

    spoil("missing", "no such file")
    spoil("directory", "directory").mkdir()
    spoil("empty file", "empty").touch()
    spoil("text renamed", "not audio").write_text("Dear diary, today I heard a song.\n" * 50)
    spoil("random bytes", "not audio", "noise.mp3").write_bytes(np.random.default_rng(0).bytes(5_000))
    soundfile.write(spoil("zero samples", "no audio"), np.zeros((0, 1)), 24_000)
    soundfile.write(spoil("all NaN", "NaN"), np.full(24_000, np.nan), 24_000, subtype="FLOAT")
    return AudioCorpus(folder, odd, bad, seconds, words)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A Hub-shaped folder: answers gibberish, but through every part that a trained model has. Window 5 s."""
    import torch
    from mullama import MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaProcessor
    from mullama.processing import MuLlamaFeatureExtractor
    from mullama.training.tiny_tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "random"
    questions = (f"Which instruments play in bar {n}? Is it a slow or a fast piece?" for n in range(100))
    tokenizer = train_tokenizer(questions, folder, vocab_size=400)
    config = MuLlamaConfig(
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "conv_dim": [32, 32, 32],
            "conv_kernel": [1024, 4, 1],
            "conv_stride": [160, 2, 1],
            "feat_extract_norm": "layer",
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2,
        },
        text_config={
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "num_adapter_layers": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 512,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
    torch.manual_seed(0)
    model = MuLlamaForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():  # loud enough that another song gives another answer
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.lm_head.weight[: 4 + 256] = 0  # no special token and no lone byte: gibberish, but of words
    model.save_pretrained(folder)
    extractor = MuLlamaFeatureExtractor(window_seconds=5.0, min_samples=1504)
    MuLlamaProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder
