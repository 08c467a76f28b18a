"""
Ask songs questions: load a model once, hear a song once, put any number of questions to it.

This is what `mullama ask` calls, and the short way in for a program of one's own:

    asker = load_asker()
    song = asker.hear("song.mp3")
    print(asker.ask(song, "Which instruments play?"))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from tqdm import tqdm
from transformers.feature_extraction_utils import BatchFeature
from transformers.generation.streamers import TextStreamer

from .model_info import EMBEDDED_MODEL, ModelError, require_mullama
from .modeling_mullama import MuLlamaForConditionalGeneration
from .processing import MuLlamaProcessor
from .processing.audio_io import audio_duration, stream_windows

MAX_NEW_TOKENS = 512  # as the released applications have it
# A CPU computes float16 and bfloat16 more slowly and less exactly than float32; larger models may not fit in it.
MAX_FLOAT32_PARAMETERS = 1_000_000_000
GREEDY = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


class QuestionError(ValueError):
    """A question that cannot be asked, in one line."""


@dataclass(frozen=True)
class Song:
    """
    A prepared song: what a model keeps of it, so that it need not be heard again.

    name: the path it was read from; seconds: how much of it was heard;
    audio_embeds (`(1, text width)`): what `MuLlamaForConditionalGeneration.generate` takes.
    """

    name: str
    seconds: float
    audio_embeds: torch.FloatTensor = field(repr=False)


@dataclass(frozen=True)
class Asker:
    """A model and its processor, ready to hear songs and answer questions on `model.device`."""

    model: MuLlamaForConditionalGeneration
    processor: MuLlamaProcessor

    @torch.inference_mode()
    def hear(self, path: str | Path, start: float | None = None, end: float | None = None) -> Song:
        """
        Encode an audio file of any length, in the memory of one window.

        Args:
            path (`str` or `Path`): Anything `read_audio` reads.
            start, end (`float`, *optional*): Seconds: the part to hear; the whole by default.

        Raises:
            AudioError: the file cannot be read, or has nothing in that part.
        """
        extractor, model = self.processor.feature_extractor, self.model.model
        means, frames, samples = 0.0, 0, 0
        total = min(end or float("inf"), audio_duration(path)) - (start or 0.0)
        with tqdm(total=round(total), unit="s", desc=Path(path).name, delay=2, disable=None, leave=False) as bar:
            windows = stream_windows(path, extractor.window_seconds, start, end, extractor.sampling_rate)
            for window in windows:
                # The processor leaves out such a last window too: the encoder makes no frame of it.
                if samples and len(window) < extractor.min_samples:
                    continue
                inputs = extractor([window], return_tensors="pt")
                count = int(model.audio_tower.frame_lengths(int(inputs["input_values_mask"].sum())))
                means = means + count * self.model.get_audio_features(**inputs).layer_means
                frames, samples = frames + count, samples + len(window)
                bar.update(round(len(window) / extractor.sampling_rate))
        audio_embeds = model.get_audio_embeds(audio_features=means / frames)
        return Song(str(path), samples / extractor.sampling_rate, audio_embeds)

    @torch.inference_mode()
    def ask(
        self,
        song: Song,
        question: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """
        Answer one question about a song.

        Args:
            max_new_tokens (`int`, defaults to 512): The longest answer; shorter where the model's positions end.
            temperature (`float`, defaults to 0.0): 0 takes the likeliest token each time; above, tokens are drawn.
            seed (`int`, defaults to 0): Same seed, same answer.
            on_text (`Callable`, *optional*): Is given the answer piece by piece, as it is made.

        Raises:
            QuestionError: the question is empty, or too long for the model.
        """
        self.check_question(question)
        messages = [{"role": "user", "content": question}]
        return self.reply(song, messages, max_new_tokens, temperature, seed, on_text)

    @torch.inference_mode()
    def reply(
        self,
        song: Song,
        messages: list[dict[str, str]],
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """
        Go on with a conversation about a song: `messages` of `role` and `content`, of which the last is the user's.

        The other arguments are those of `ask`. Raises `QuestionError` if it is too long for the model.
        """
        tokenizer = self.processor.tokenizer
        prompt = self._tokenize([messages])
        prompt_length = prompt["input_ids"].shape[1]
        sampling = GREEDY
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature}
            torch.manual_seed(seed)
        output = self.model.generate(
            **prompt,
            audio_embeds=song.audio_embeds,
            max_new_tokens=min(max_new_tokens, self.positions - prompt_length),
            streamer=_CallbackStreamer(tokenizer, on_text) if on_text else None,
            **sampling,
        )
        return tokenizer.decode(output[0, prompt_length:], skip_special_tokens=True).strip()

    @torch.inference_mode()
    def ask_batch(
        self, audio_embeds: torch.FloatTensor, questions: Sequence[str], max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """
        The likeliest answers to a question about each song, decoded together: what `ask` gives one by one.

        Args:
            audio_embeds (`(batch, text width)`): The songs' vectors.
            questions: One for each.

        Raises:
            QuestionError: one is too long for the model.
        """
        prompt = self._tokenize([[{"role": "user", "content": question}] for question in questions])
        # Each answer ends where its own positions do, whatever it stands beside.
        limits = [min(max_new_tokens, self.positions - int(row.sum())) for row in prompt["attention_mask"]]
        output = self.model.generate(**prompt, audio_embeds=audio_embeds, max_new_tokens=max(limits), **GREEDY)
        answers = output[:, prompt["input_ids"].shape[1] :]
        return [
            self.processor.tokenizer.decode(answer[:limit], skip_special_tokens=True).strip()
            for answer, limit in zip(answers, limits, strict=True)
        ]

    def check_question(self, question: str) -> None:
        """Raises `QuestionError` if there is nothing in the question, or too much for the model."""
        if not question.strip():
            raise QuestionError("the question is empty: ask something")
        self._tokenize([[{"role": "user", "content": question}]])

    def count_tokens(self, messages: list[dict[str, str]]) -> int:
        """How many positions a conversation takes, without the answer to come."""
        return len(self.processor.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"][0])

    @property
    def positions(self) -> int:
        """How many tokens a conversation and its next answer may have together."""
        return self.model.config.text_config.max_position_embeddings

    def _tokenize(self, conversations: list[list[dict[str, str]]]) -> BatchFeature:
        prompt = self.processor.apply_chat_template(conversations, tokenize=True, return_dict=True)
        longest = int(prompt["attention_mask"].sum(1).max())
        if longest >= self.positions:
            raise QuestionError(
                f"the question is too long: with the prompt {longest:,} tokens, of at most {self.positions - 1:,}; "
                "shorten it"
            )
        return prompt.to(self.model.device)


class _CallbackStreamer(TextStreamer):
    """transformers' word-by-word streamer, to a function instead of standard output."""

    def __init__(self, tokenizer, on_text: Callable[[str], None]):
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.on_text = on_text
        self.begun = False

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        text = text if self.begun else text.lstrip()
        if text:
            self.begun = True
            self.on_text(text)


def load_asker(model: str | Path | None = None, device: str | None = None) -> Asker:
    """
    Load a model and its processor, without running any code that lies beside its weights.

    Args:
        model (`str` or `Path`, *optional*): A folder, or a Hub id "name/model"; the embedded tiny model by default.
        device (`str`, *optional*): torch's name of a device; by default a GPU where there is one.

    Raises:
        ModelError: there is no such model, it is not a MU-LLaMA, its weights are incomplete, or no such device.
    """
    model = str(EMBEDDED_MODEL if model is None else model)
    place = pick_device(device)
    require_mullama(model)
    try:
        loaded, report = MuLlamaForConditionalGeneration.from_pretrained(model, output_loading_info=True)
        processor = MuLlamaProcessor.from_pretrained(model)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{model}: cannot be loaded as a model: {_first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{model}: {len(missing)} of its weights are missing, the first is {missing[0]}")
    if place.type == "cpu" and loaded.num_parameters() <= MAX_FLOAT32_PARAMETERS:
        loaded = loaded.float()
    return Asker(loaded.to(place).eval(), processor)


def pick_device(name: str | None) -> torch.device:
    """torch's device of that name, for None a GPU where there is one. Raises ModelError if it cannot be used."""
    if name is None:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {name!r} cannot be used here: {_first_line(error)}") from error
    return device


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
