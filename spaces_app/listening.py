"""
What the page stands on: the model, loaded once; songs, heard once each; answers, made piece by piece.

Weights and code come through Auto classes from MULLAMA_MODEL, a Hub id or a folder; without it, from the folder
`model` beside this file, which `mullama push space` puts there. Visitors' files are kept here too, and deleted here.
"""

import os
import re
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import spaces  # a ZeroGPU Space has it, and wants it imported before torch
except ImportError:
    spaces = None

import numpy as np
import torch
from huggingface_hub import ModelCard
from pictures import draw_spectrogram
from transformers import (
    AutoConfig,
    AutoModelForMultimodalLM,
    AutoProcessor,
    BitsAndBytesConfig,
    StoppingCriteria,
    TextIteratorStreamer,
)

HERE = Path(__file__).resolve().parent
OWN_MODELS = (HERE / "model", HERE.parent / "checkpoints" / "mullama-tiny")

MAX_SECONDS = 15 * 60  # of a song
MAX_QUESTION = 500  # characters
MAX_NEW_TOKENS = 512  # as the released programs have it
ANSWER_SECONDS = 120  # an answer that takes longer ends there
MAX_SONGS = 64  # kept in memory, those asked longest ago are forgotten; some kB each
MAX_PARTS = 64  # of one song
MAX_VISITORS = 10_000  # whose files are known; a program may not say when it leaves

# A CPU computes half precision more slowly and less exactly; a larger model may not fit in it otherwise.
MAX_FLOAT32_PARAMETERS = 1_000_000_000
GPU_SHARE = 0.8  # of the free memory that weights in half precision may take; else they are loaded in 4 bits


class Refused(ValueError):
    """What a visitor can put right, in one line for the page."""


class Turns:
    """A lock given in the order in which it was asked for: a long job lets others in between its steps."""

    def __init__(self):
        self._waiting, self._changed = deque(), threading.Condition()

    def __enter__(self):
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket)

    def __exit__(self, *_):
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()


# --- The model


def _model_name() -> str:
    if name := os.environ.get("MULLAMA_MODEL"):
        return name
    for folder in OWN_MODELS:
        if folder.is_dir():
            return str(folder)
    raise SystemExit("No model: set the variable MULLAMA_MODEL, in a Space's settings, to a MU-LLaMA's Hub id.")


def _load(name: str):
    """The model where it runs best: half precision on a GPU, 4 bits where that is too small, float32 on a CPU."""
    config = AutoConfig.from_pretrained(name, trust_remote_code=True)
    with torch.device("meta"):
        parameters = AutoModelForMultimodalLM.from_config(config, trust_remote_code=True).num_parameters()
    if not torch.accelerator.is_available():
        dtype = torch.float32 if parameters <= MAX_FLOAT32_PARAMETERS else torch.bfloat16
        return AutoModelForMultimodalLM.from_pretrained(name, trust_remote_code=True, dtype=dtype).eval()
    how = {"trust_remote_code": True, "dtype": torch.bfloat16}
    device = torch.accelerator.current_accelerator()
    # On ZeroGPU the card is there only while a function runs, and is large.
    if spaces is None and device.type == "cuda" and 2 * parameters > GPU_SHARE * torch.cuda.mem_get_info()[0]:
        how["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=["audio_tower", "multi_modal_projector", "lm_head"],
        )
        return AutoModelForMultimodalLM.from_pretrained(name, device_map=device, **how).eval()
    return AutoModelForMultimodalLM.from_pretrained(name, **how).to(device).eval()


NAME = _model_name()
model = _load(NAME)
processor = AutoProcessor.from_pretrained(NAME, trust_remote_code=True)
extractor, tokenizer = processor.feature_extractor, processor.tokenizer
# The reader of audio files that travels with the processor.
read_audio = sys.modules[type(processor).__module__].read_audio

on_gpu = spaces.GPU if spaces is not None else lambda function: function
turns = Turns()
counts = {"encoder_runs": 0, "answers": 0}


def _count_encoder_run(*_) -> None:
    counts["encoder_runs"] += 1


# Counted where it happens, in the encoder itself. On ZeroGPU that is another process, and nothing is counted here.
model.model.audio_tower.register_forward_hook(_count_encoder_run)


@dataclass(frozen=True)
class Card:
    """
    The model's name by its card, and what that says of how sure one may be: two sections as they are written there,
    and of the tables of `measured` each row's name and its first figure, a share of right answers.
    """

    title: str = ""
    measured: str = ""
    limits: str = ""

    @property
    def figures(self) -> list[tuple[str, float]]:
        rows = re.findall(r"^\| *([^|]+?) *\| *(0\.\d+|1\.0+) *\|", self.measured, re.MULTILINE)
        return [(re.sub(r" \(.*?\)", "", name), float(figure)) for name, figure in rows]


def read_card() -> Card:
    """The model's own card, or an empty one where it has none."""
    try:
        text = ModelCard.load(Path(NAME) / "README.md" if Path(NAME).is_dir() else NAME).text
    except (OSError, ValueError):
        return Card()
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    return Card(title[1] if title else "", _section(text, "Measured"), _section(text, "Limits"))


def _section(text: str, title: str) -> str:
    _, found, rest = text.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0].strip() if found else ""


card = read_card()


def status() -> dict:
    """
    Which model answers here, where it runs, and how often its encoder has run since the server started.
    """
    name = Path(NAME).resolve().name if Path(NAME).is_dir() else NAME
    quantized = "quantization_config" in model.config.to_dict()
    return {
        "model": card.title or name if name == OWN_MODELS[0].name else name,
        "parameters": model.num_parameters(),
        "device": str(model.device),
        "dtype": "4 bits" if quantized else str(model.dtype).removeprefix("torch."),
        "window_seconds": extractor.window_seconds,
        **counts,
    }


# --- Hearing


@dataclass(frozen=True)
class Heard:
    """
    What the model keeps of a part of a song.

    start, end: seconds of the song; layer_means `(1, layers + 1, audio width)`: each encoder layer's mean over time,
    which `generate` takes as `audio_features`; windows: the same of each window by itself.
    """

    start: float
    end: float
    layer_means: torch.Tensor
    windows: tuple["Heard", ...] = ()


class Song:
    """An audio file of a visitor's. Each part of it is heard once, whoever asks for it first, however many ask."""

    def __init__(self, path: str):
        self.path, self.name = path, Path(path).name
        self._look: tuple[float, str] | None = None
        self._parts: OrderedDict[tuple[float, float | None], Heard] = OrderedDict()
        self._lock = threading.Lock()

    def look(self) -> tuple[float, str]:
        """Its length in seconds and its spectrogram, a `data:` URI. Raises `Refused`, as `hear` does."""
        with self._lock:
            if self._look is None:
                samples = self._read(0.0, None)
                self._look = len(samples) / extractor.sampling_rate, draw_spectrogram(samples, extractor.sampling_rate)
            return self._look

    def hear(
        self,
        start: float | None = None,
        end: float | None = None,
        on_window: Callable[[float, float], None] | None = None,
    ) -> Heard:
        """
        Args:
            start, end: Seconds; the whole song by default.
            on_window: Is given the seconds that have been heard and those there are, after each window.

        Raises `Refused`: the file cannot be read, has nothing in that part, or is too long.
        """
        with self._lock:
            whole = self._parts.get((0.0, None))
            key = (float(start or 0), None if end is None or (whole and end >= whole.end) else float(end))
            if key not in self._parts:
                self._parts[key] = self._hear(*key, on_window)
                if len(self._parts) > MAX_PARTS:
                    self._parts.pop(next(part for part in self._parts if part not in ((0.0, None), key)))
            return self._parts[key]

    def _read(self, start: float, end: float | None) -> np.ndarray:
        try:
            stop = min(start + MAX_SECONDS + 1, end or float("inf"))
            samples = read_audio(self.path, start, stop, extractor.sampling_rate)
        except (ValueError, OSError) as error:
            raise Refused(str(error).replace(self.path, self.name)) from error
        if len(samples) > MAX_SECONDS * extractor.sampling_rate:
            raise Refused(f"{self.name}: longer than {MAX_SECONDS // 60} minutes; take a shorter piece of it")
        return samples

    def _hear(self, start: float, end: float | None, on_window: Callable[[float, float], None] | None) -> Heard:
        samples, rate = self._read(start, end), extractor.sampling_rate
        seconds = len(samples) / rate
        length = max(extractor.min_samples, round(extractor.window_seconds * rate))
        windows, weights = [], []
        for first in range(0, len(samples), length):
            window = samples[first : first + length]
            if first and len(window) < extractor.min_samples:  # the encoder makes no frame of it
                continue
            layer_means, frames = encode(window)
            begin = start + first / rate
            windows.append(Heard(begin, begin + len(window) / rate, layer_means))
            weights.append(frames)
            if on_window is not None:
                on_window((first + len(window)) / rate, seconds)
        total = sum(
            weight / sum(weights) * window.layer_means for weight, window in zip(weights, windows, strict=True)
        )
        return Heard(start, start + seconds, total, tuple(windows))


@on_gpu
@torch.inference_mode()
def encode(window: np.ndarray) -> tuple[torch.Tensor, int]:
    """Each encoder layer's mean over the window's time, `(1, layers + 1, audio width)`, and its number of frames."""
    inputs = extractor([window], return_tensors="pt")
    with turns:
        layer_means = model.get_audio_features(**inputs).layer_means
    return layer_means.float().cpu(), int(
        model.model.audio_tower.frame_lengths(int(inputs["input_values_mask"].sum()))
    )


# --- Answering


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn: at temperature 0 it is the likeliest one, else tokens are drawn by the seed."""

    temperature: float = 0.0
    top_p: float = 0.8
    max_new_tokens: int = MAX_NEW_TOKENS
    seed: int = 0


class _Stopped(StoppingCriteria):
    """Ends an answer that nobody waits for any more."""

    def __init__(self, event: threading.Event):
        self.event = event

    def __call__(self, input_ids, scores, **_):
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


@on_gpu
def answer(layer_means: torch.Tensor, messages: list[dict], sampling: Sampling) -> Iterator[str]:
    """
    Answer the last of the messages; yields the answer as far as it is made, the last time whole.

    Raises `Refused` if the question is empty or too long.
    """
    prompt = _prompt(messages, sampling.max_new_tokens).to(model.device)
    room = model.config.text_config.max_position_embeddings - prompt["input_ids"].shape[1]
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    how = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if sampling.temperature > 0:
        how = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
    abandoned, failures = threading.Event(), []

    # In a thread of its own, which alone holds the turn: a visitor who leaves in mid-answer holds up nobody.
    def generate() -> None:
        try:
            with turns, torch.inference_mode():
                torch.manual_seed(sampling.seed)
                model.generate(
                    **prompt,
                    audio_features=layer_means.to(model.device),
                    max_new_tokens=min(sampling.max_new_tokens, room),
                    max_time=ANSWER_SECONDS,
                    stopping_criteria=[_Stopped(abandoned)],
                    streamer=streamer,
                    **how,
                )
        except Exception as error:  # raised again where the answer is waited for
            failures.append(error)
            streamer.end()

    threading.Thread(target=generate, daemon=True).start()
    text = ""
    try:
        for piece in streamer:
            text += piece
            if piece.strip():
                yield text.lstrip()
    finally:
        abandoned.set()
    if failures:
        raise failures[0]
    counts["answers"] += 1
    yield text.strip()


def _prompt(messages: list[dict], max_new_tokens: int):
    """The prompt; where it and an answer would not fit in the model's positions, without the oldest turns."""
    question = messages[-1]["content"]
    if not question.strip():
        raise Refused("The question is empty: ask something.")
    if len(question) > MAX_QUESTION:
        raise Refused(f"The question is longer than {MAX_QUESTION} characters: shorten it.")
    positions = model.config.text_config.max_position_embeddings
    for first in range(0, len(messages), 2):
        prompt = processor.apply_chat_template(messages[first:], tokenize=True, return_dict=True)
        if prompt["input_ids"].shape[1] + min(max_new_tokens, positions // 4) <= positions:
            return prompt
    raise Refused("The question is too long for this model: shorten it.")


# --- Visitors' files


class Library:
    """
    The songs that visitors have given, each with the visitors who have it open.

    A path names its content, for an upload lies in a folder that is named by its hash: whoever gives the same file
    again need not wait for it. Questions and answers are not kept here.
    """

    def __init__(self, uploads: Path):
        self._uploads = uploads
        self._songs: OrderedDict[str, Song] = OrderedDict()
        self._paths: dict[str, set[str]] = {}  # by visitor, the earliest first
        self._lock = threading.Lock()

    def song(self, path: str, visitor: str | None) -> Song:
        """The song at that path, which this visitor now has open."""
        with self._lock:
            self.keep(path, visitor)
            song = self._songs.setdefault(path, Song(path))
            self._songs.move_to_end(path)
            if len(self._songs) > MAX_SONGS:
                self._songs.popitem(last=False)
            return song

    def keep(self, path: str, visitor: str | None) -> None:
        """Note that a file is this visitor's, to be deleted when they leave."""
        if visitor is not None:
            self._paths.setdefault(visitor, set()).add(path)
            if len(self._paths) > MAX_VISITORS:
                self._paths.pop(next(iter(self._paths)), None)

    def forget(self, visitor: str) -> None:
        """Delete a visitor's files, but for those that another one has open and those that nobody uploaded."""
        with self._lock:
            left = self._paths.pop(visitor, set())
            for path in left.difference(*self._paths.values()):
                self._songs.pop(path, None)
                if self._uploads in Path(path).resolve().parents:
                    Path(path).unlink(missing_ok=True)
