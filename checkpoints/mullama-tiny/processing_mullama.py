"""
MU-LLaMA's processor: music cut in windows, questions put in the released prompt.

`MuLlamaFeatureExtractor` turns waveforms into normalised windows, `MuLlamaProcessor` adds the tokenizer and the chat
template. Both travel to the Hub with a model, with `audio_io.py` beside them: they import public libraries only.
"""

import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import soxr
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, Unpack
from transformers.utils import TensorType, to_numpy

from .audio_io import AudioError, finite_samples, read_audio

# The released prompt, to the letter. Its input slot holds, by a slip that the weights have learnt, what Python prints
# for its builtin `input`.
PROMPT_BEGINNING = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
PROMPT_END = "\n\n### Input:\n<built-in function input>\n\n### Response:"
NEXT_TURN = "\n\n### Instruction:\n"

# A turn is a question in the prompt and the answer with its EOS. The released prompt knows one turn: later ones repeat
# its headings. A system message, which it does not know either, opens the next question.
CHAT_TEMPLATE = (
    """
{%- macro text(message) -%}
    {%- if message['content'] is string -%}
        {{- message['content'] -}}
    {%- else -%}
        {%- for part in message['content'] or [] -%}
            {%- if part['type'] == 'text' -%}
                {{- part['text'] -}}
            {%- elif part['type'] != 'audio' or message['role'] != 'user' -%}
                {{- raise_exception("a " ~ message['role'] ~ " message cannot hold " ~ part['type']
                    ~ ": MU-LLaMA takes text, and audio from the user") -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set turn = namespace(beginning=PROMPT_BEGINNING, system='') -%}
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set turn.system = turn.system ~ text(message) ~ '\\n\\n' -%}
    {%- elif message['role'] == 'user' -%}
        {{- turn.beginning ~ turn.system ~ text(message) ~ PROMPT_END -}}
        {%- set turn.beginning = NEXT_TURN -%}
        {%- set turn.system = '' -%}
    {%- elif message['role'] == 'assistant' -%}
        {%- generation -%}{{- text(message) ~ eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- raise_exception("no such role: " ~ message['role'] ~ "; MU-LLaMA knows system, user and assistant") -}}
    {%- endif -%}
{%- endfor -%}
""".strip()
    .replace("PROMPT_BEGINNING", repr(PROMPT_BEGINNING))
    .replace("PROMPT_END", repr(PROMPT_END))
    .replace("NEXT_TURN", repr(NEXT_TURN))
)

VARIANCE_FLOOR = 1e-7  # Wav2Vec2FeatureExtractor's, on the variance
MAX_CHANNELS = 8  # an array's last axis as short as this cannot be time

# One audio: samples, a file (path, URL or bytes), or a dict as datasets gives it ("array" with "sampling_rate", or
# "bytes" or "path").
Audio = Any


class MuLlamaFeatureExtractor(SequenceFeatureExtractor):
    """
    Cuts audio in windows and normalises each by itself to zero mean and unit variance, as MERT was trained.

    Reads MERT's own `preprocessor_config.json` (that of a `Wav2Vec2FeatureExtractor`) as well as its own.

    Args:
        feature_size (`int`, defaults to 1): Channels; MERT hears mono.
        sampling_rate (`int`, defaults to 24000): Rate in Hz of the audio that the model hears.
        padding_value (`float`, defaults to 0.0): What fills a window up to the length of the batch's longest.
        do_normalize (`bool`, defaults to `True`): Whether windows are normalised.
        window_seconds (`float`, defaults to 60.0): Length of a window in seconds, as released weights were used.
        min_samples (`int`, defaults to 400): The fewest samples of which the encoder makes a frame. A shorter audio is
            filled up with silence; a shorter last window is left out.
    """

    model_input_names = ["input_values", "input_values_mask"]

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 24_000,
        padding_value: float = 0.0,
        do_normalize: bool = True,
        window_seconds: float = 60.0,
        min_samples: int = 400,
        **kwargs,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.do_normalize = do_normalize
        self.window_seconds = window_seconds
        self.min_samples = min_samples

    def __call__(
        self,
        audio: Audio | list[Audio] | list[list[Audio]],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """
        Args:
            audio: One audio, a list with one for each sample, or a list of lists with several for each. An audio is an
                array or tensor of shape `(samples,)`, a list of floats, a path, a URL, the bytes of a file, or a dict
                as `datasets` gives it. Several audios of one sample weigh the same, whatever their length.
            sampling_rate (`int`, *optional*): Rate in Hz of the arrays; resampled where it is not the model's. Files
                know their own.
            padding: Taken for the sake of other feature extractors' callers: windows are always padded to the longest.
            return_tensors (`str` or `TensorType`, *optional*): "pt" or "np"; numpy by default.

        Returns:
            `BatchFeature`: `input_values` `(batch, windows, samples)`, float32, and `input_values_mask` of that shape,
            bool, True where a sample is real; `(batch, audios, windows, samples)` where a sample has several audios.

        Raises:
            ValueError: an audio is empty, not mono, or nowhere finite, or (`AudioError`) a file that cannot be read.
        """
        samples = [
            [self._windows(self._load(item, sampling_rate)) for item in sample] for sample in _as_samples(audio)
        ]
        audios = [windows for sample in samples for windows in sample]
        shape = (len(samples), max(map(len, samples)), max(map(len, audios)), max(len(w) for a in audios for w in a))
        input_values = np.full(shape, self.padding_value, dtype=np.float32)  # (batch, audios, windows, samples)
        mask = np.zeros(shape, dtype=bool)
        for i, sample in enumerate(samples):
            for j, windows in enumerate(sample):
                for k, window in enumerate(windows):
                    input_values[i, j, k, : len(window)] = _normalize(window) if self.do_normalize else window
                    mask[i, j, k, : len(window)] = True
        if shape[1] == 1:
            input_values, mask = input_values[:, 0], mask[:, 0]
        return BatchFeature({"input_values": input_values, "input_values_mask": mask}, tensor_type=return_tensors)

    def fetch_audio(self, audio: Audio | list[Audio], sampling_rate: int | None = None) -> Any:
        """Files and URLs of a (nested) list read as arrays at `sampling_rate`, by default the model's (pipelines)."""
        if isinstance(audio, (list, tuple)) and not _is_one_audio(audio):
            return [self.fetch_audio(item, sampling_rate) for item in audio]
        if isinstance(audio, (str, os.PathLike, bytes)):
            return read_audio(audio, sampling_rate=sampling_rate or self.sampling_rate)
        return audio

    def _load(self, audio: Audio, sampling_rate: int | None) -> np.ndarray:
        """One audio as finite float32 samples, `(samples,)`, at the model's rate."""
        if isinstance(audio, Mapping):
            if audio.get("array") is not None:
                return self._load(audio["array"], audio.get("sampling_rate") or sampling_rate)
            source = audio.get("bytes") if audio.get("bytes") is not None else audio.get("path")
            if source is None:
                raise ValueError(f"an audio dict needs 'array', 'bytes' or 'path', but holds {sorted(audio)}")
            audio = source
        if isinstance(audio, (str, os.PathLike, bytes)):
            return read_audio(audio, sampling_rate=self.sampling_rate)
        samples = np.asarray(to_numpy(audio), dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(f"an audio must be mono, of shape (samples,), but has shape {samples.shape}")
        if not len(samples):
            raise AudioError("an audio array holds no samples")
        samples = finite_samples(samples, "an audio array")
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            resampled = soxr.resample(samples, sampling_rate, self.sampling_rate, quality="HQ")
            samples = resampled if len(resampled) else samples[:1]
        return samples

    def _windows(self, samples: np.ndarray) -> list[np.ndarray]:
        """An audio's windows, each of at least `min_samples`; together they leave out at most that many."""
        if len(samples) < self.min_samples:
            samples = np.pad(samples, (0, self.min_samples - len(samples)))
        length = max(self.min_samples, round(self.window_seconds * self.sampling_rate))
        windows = [samples[i : i + length] for i in range(0, len(samples), length)]
        return windows[:-1] if len(windows[-1]) < self.min_samples else windows


class MuLlamaProcessorKwargs(ProcessingKwargs, total=False):
    """Defaults of `MuLlamaProcessor`: tensors, texts of a batch padded on the left, where generation begins."""

    _defaults = {
        "text_kwargs": {"padding": True, "padding_side": "left"},
        "common_kwargs": {"return_tensors": "pt"},
    }


class MuLlamaProcessor(ProcessorMixin):
    """
    A feature extractor for the music and a tokenizer for the text. The music takes no place in the text.

    Args:
        feature_extractor (`MuLlamaFeatureExtractor`): Makes windows of audio.
        tokenizer (`PreTrainedTokenizerBase`): LLaMA's. It is made to write BOS, which a text has exactly once, and
            given its unknown token for padding where it has none.
        chat_template (`str`, *optional*): The released prompt by default.
    """

    valid_processor_kwargs = MuLlamaProcessorKwargs

    def __init__(self, feature_extractor, tokenizer, chat_template: str | None = None):
        if tokenizer.bos_token is not None and tokenizer("").input_ids != [tokenizer.bos_token_id]:
            tokenizer.add_bos_token = True
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs) -> list:
        # The feature extractor is this file's: neither a registry nor a second `trust_remote_code` is needed.
        return [
            MuLlamaFeatureExtractor.from_pretrained(pretrained_model_name_or_path, **kwargs),
            AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **kwargs),
        ]

    def __call__(
        self,
        text: str | list[str] | None = None,
        audio: Audio | list[Audio] | list[list[Audio]] | None = None,
        **kwargs: Unpack[MuLlamaProcessorKwargs],
    ) -> BatchFeature:
        """
        Args:
            text (`str` or `list[str]`, *optional*): Whole prompts, as `apply_chat_template` writes them.
            audio (*optional*): See [`MuLlamaFeatureExtractor`]. One audio goes with any number of texts (and keeps its
                batch of one, which the model repeats); a list goes with the texts one by one; several audios of one
                text stand in a list of their own: `audio=[[a, b]]`, or `audio=[a, b]` with a single text.
            sampling_rate (`int`, *optional*): Rate in Hz of audio given as arrays, resampled where it is not the
                model's; the model's by default.

        Returns:
            `BatchFeature`: `input_ids` and `attention_mask` `(batch, tokens)` for text, `input_values` and
            `input_values_mask` `(batch, windows, samples)` for audio.

        Raises:
            ValueError: neither is given, the counts do not fit, or an audio cannot be used.
        """
        for modality in ("images", "videos"):
            if kwargs.pop(modality, None) is not None:
                raise ValueError(f"MU-LLaMA takes text and audio, not {modality}")
        if text is None and audio is None:
            raise ValueError("give text, audio or both")
        merged = self._merge_kwargs(MuLlamaProcessorKwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else text
            data.update(self._tokenize(texts, **merged["text_kwargs"]))
        if audio is not None:
            samples = _as_samples(audio)
            if text is not None and len(texts) == 1:
                samples = [[item for sample in samples for item in sample]]
            if text is not None and len(samples) not in (1, len(texts)):
                raise ValueError(f"{len(samples)} audios do not go with {len(texts)} texts: give one, or one for each")
            audio_kwargs = {key: merged["audio_kwargs"].get(key) for key in ("sampling_rate", "return_tensors")}
            data.update(self.feature_extractor(samples, **audio_kwargs))
        return BatchFeature(data, tensor_type=merged["text_kwargs"].get("return_tensors"))

    def apply_chat_template(
        self,
        conversation: list[dict] | list[list[dict]],
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | TensorType | None = "pt",
        processor_kwargs: dict | None = None,
        **kwargs,
    ) -> Any:
        """
        transformers' own, for messages with audio: `{"type": "audio", "path" | "url" | "audio": ...}`.

        Files may be anything `read_audio` reads. All audios of a conversation belong to it as a whole, whichever turn
        they stand in; the conversations of a batch have audio all or none.
        """
        if not conversation:
            raise ValueError("an empty conversation: give at least one message")
        batched = not isinstance(conversation[0], Mapping)
        conversations = conversation if batched else [conversation]
        audio = [
            [part for message in messages for part in _audio_parts(message) if _audio_of(part) is not None]
            for messages in conversations
        ]
        return_tensors = (processor_kwargs or {}).get("return_tensors", return_tensors)
        processor_kwargs = {**(processor_kwargs or {}), "return_tensors": return_tensors}
        audio_kwargs = {**processor_kwargs, **processor_kwargs.get("audio_kwargs", {})}
        sampling_rate = (
            kwargs.pop("sampling_rate", None)
            or audio_kwargs.get("sampling_rate")
            or self.feature_extractor.sampling_rate
        )
        # Without its audio: transformers would load that by its own backends, and forget whose it is.
        silent = [[_without_audio(message) for message in messages] for messages in conversations]
        out = super().apply_chat_template(
            silent if batched else silent[0],
            chat_template=chat_template,
            tokenize=tokenize,
            return_dict=return_dict,
            return_tensors=return_tensors,
            processor_kwargs=processor_kwargs,
            **kwargs,
        )
        if not (tokenize and return_dict and any(audio)):
            return out
        if not all(audio):
            raise ValueError(f"conversation {audio.index([])} of the batch has no audio, others have: ask it apart")
        samples = [[_audio_of(part) for part in parts] for parts in audio]
        out.update(self(audio=samples, sampling_rate=sampling_rate, return_tensors=return_tensors))
        return out

    def _tokenize(self, texts: list[str], **kwargs) -> Mapping:
        """Token ids, with BOS exactly once whether or not a text has it written out."""
        if not (isinstance(texts, (list, tuple)) and texts and all(isinstance(item, str) for item in texts)):
            raise ValueError("`text` must be a string or a list of strings")
        for name in ("return_mm_token_type_ids", "return_text_replacement_offsets"):  # about tokens that audio lacks
            kwargs.pop(name, None)
        texts, bos, bos_length = list(texts), self.tokenizer.bos_token, 0
        if bos is not None and any(item.startswith(bos) for item in texts):
            # SentencePiece puts a space before a text, but a tokenizer may put none behind a BOS that is written out:
            # take BOS out of the text, and let the tokenizer write it.
            texts, bos_length = [item.removeprefix(bos) for item in texts], len(bos)
            kwargs["add_special_tokens"] = True
        out = self.tokenizer(texts, **kwargs)
        if "offset_mapping" in out:
            out["offset_mapping"] = [_place_offsets(row, bos_length) for row in out["offset_mapping"]]
        return out


def _as_samples(audio: Audio | list[Audio] | list[list[Audio]]) -> list[list[Audio]]:
    """The audios of each sample, from any form that `MuLlamaFeatureExtractor` takes."""
    if _is_one_audio(audio):
        return [[audio]]
    if len(audio) == 0:
        raise ValueError("an empty list of audio")
    if not isinstance(audio, (list, tuple)) and audio.shape[-1] <= MAX_CHANNELS:
        raise ValueError(
            f"an array of shape {tuple(audio.shape)} looks like (samples, channels): average the channels"
        )
    several = [isinstance(item, (list, tuple)) and not _is_one_audio(item) for item in audio]
    samples = [list(item) if many else [item] for item, many in zip(audio, several, strict=True)]
    if [] in samples:
        raise ValueError(f"sample {samples.index([])} has an empty list of audio")
    return samples


def _is_one_audio(audio: Audio) -> bool:
    """One waveform, file or dict, as opposed to several in a list or in the rows of an array."""
    if isinstance(audio, (list, tuple)):
        return len(audio) > 0 and isinstance(audio[0], Real)
    return isinstance(audio, (str, os.PathLike, bytes, Mapping)) or len(audio.shape) < 2


def _audio_parts(message: Mapping) -> list[Mapping]:
    content = message.get("content")
    return [] if isinstance(content, str) or content is None else [p for p in content if p.get("type") == "audio"]


def _audio_of(part: Mapping) -> Audio | None:
    """What an audio part of a message holds; None for a placeholder, whose audio the processor is given."""
    audio = next((part[key] for key in ("audio", "path", "url") if part.get(key) is not None), None)
    if audio is not None and part.get("sampling_rate") is not None:
        return {"array": audio, "sampling_rate": part["sampling_rate"]}
    return audio


def _without_audio(message: Mapping) -> dict:
    """The message with bare audio parts, whose place the chat template still sees."""
    if not _audio_parts(message):
        return dict(message)
    content = [{"type": "audio"} if part.get("type") == "audio" else part for part in message["content"]]
    return {**message, "content": content}


def _normalize(window: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance, in double precision, so that no constant and no level makes it overflow."""
    centred = window - window.mean(dtype=np.float64)
    return centred / np.sqrt(np.square(centred, dtype=np.float64).mean() + VARIANCE_FLOOR)


def _place_offsets(offsets: Any, by: int) -> list[tuple[int, int]]:
    """
    One text's tokens' character offsets, moved on by `by`.

    A token that stands for no character keeps its place: older transformers look for answers by bisection, and
    miss them if the padding on the right is at 0.
    """
    placed, end = [], 0
    for start, stop in np.asarray(offsets).tolist():
        if stop > 0:
            start, end = start + by, stop + by
        else:
            start = end
        placed.append((start, end))
    return placed


# A saved folder takes this code along, for those who load it with `trust_remote_code=True`.
MuLlamaFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
MuLlamaProcessor.register_for_auto_class()
# Who has the package installed needs no remote code: the Auto classes find these by their names, and the key, which
# would be the model's configuration, does not count.
if __name__.startswith("mullama."):
    AutoFeatureExtractor.register(MuLlamaFeatureExtractor, MuLlamaFeatureExtractor, exist_ok=True)
    AutoProcessor.register(MuLlamaProcessor, MuLlamaProcessor, exist_ok=True)

__all__ = ["MuLlamaFeatureExtractor", "MuLlamaProcessor"]
