"""Conversations -> a batch for SFTTrainer: loss on the answers only, the music as waveforms or cached layer means."""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from mullama.processing import MuLlamaProcessor
from mullama.processing.audio_io import AudioError

from .data import DataError, clip_audio, conversations

IGNORE_INDEX = -100
REPORT = "report"  # beside the tensors: what the trainer tells of a batch and takes out again
ANSWER_SHARE = 4  # of a text that is too long, at least a quarter of what is kept is answer, if the answer is as long
SPREAD_CLIPS = 1024  # clips from which the spread of layer means is measured
UNHEARD_SECONDS = 1.0  # of silence in place of a clip that cannot be read


@dataclass
class AnswerCollator:
    """
    Collates conversations (`messages`, or `question` and `answer`) in the processor's chat template.

    processor: What tokenizes, and cuts waveforms in windows.
    layer_means: (clips, layers + 1, width), indexed by lists of `clip` of the rows: what the encoder heard.
    noise: Added to layer means as a multiple of their standard deviation over clips, so that what is learned does not
        hang on one clip's exact numbers. It depends on seed, epoch and row alone: a resumed run draws the same.
    noisy_clips: Noise goes to that many first rows of layer means, those that train; to all by default.
    max_length: In tokens; longer texts are cut. See `_cut`.
    silence_seconds: So much silence is the audio of rows without any; None: they hear nothing, and may not stand in
        one batch with rows that do.

    A row whose clip cannot be read stays in the batch, hears silence, and has no labels: nothing is learned from it.
    """

    processor: MuLlamaProcessor
    layer_means: Any = None
    noise: float = 0.0
    max_length: int | None = None
    silence_seconds: float | None = None
    pad_to_multiple_of: int | None = None
    seed: int = 0
    noisy_clips: int | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.layer_means is not None and self.noise:
            clips = self.noisy_clips or len(self.layer_means)
            rows = np.linspace(0, clips - 1, min(SPREAD_CLIPS, clips)).astype(int)
            self.spread = torch.from_numpy(np.asarray(self.layer_means[rows.tolist()], np.float32).std(axis=0))

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor | dict]:
        """
        `input_ids`, `attention_mask`, `labels` (batch, tokens), padded on the left; where there is music
        `audio_features` or `input_values` with its mask; and the report: each row's clip, the clips that cannot be
        read and why, and how many texts were cut.

        Raises DataError if the prompt alone is longer than `max_length`, or rows with and without music are mixed.
        """
        asked = [next(conversations(row)) for row in rows]
        batch, cut = self._encode(asked)
        report = {"clips": [_name_of(row) for row in rows], "unreadable": [], "cut": cut}
        clips = [row.get("clip", -1) for row in rows]
        if self.layer_means is not None and max(clips) >= 0:
            if min(clips) < 0:
                raise DataError("a batch mixes rows with and without cached features")
            heard = torch.from_numpy(np.asarray(self.layer_means[clips], np.float32))
            batch["audio_features"] = heard + self._noise_for(clips, asked) if self.noise else heard
        elif self.silence_seconds or any(row.get("audio") is not None for row in rows):
            waveforms = [self._waveform(row, report["unreadable"]) for row in rows]
            for row, waveform in enumerate(waveforms):
                if waveform is None:
                    batch["labels"][row] = IGNORE_INDEX
            rate = self.processor.feature_extractor.sampling_rate
            unheard = np.zeros(round(UNHEARD_SECONDS * rate), np.float32)
            heard = [unheard if waveform is None else waveform for waveform in waveforms]
            batch.update(self.processor.feature_extractor(heard, return_tensors="pt"))
        return batch | {REPORT: report}

    def _encode(self, asked: list[list[dict]]) -> tuple[dict[str, torch.Tensor], int]:
        """Token ids and labels of a batch, and how many rows were cut."""
        batch = self._template(asked)
        lengths = batch["attention_mask"].sum(1)
        answered = batch.pop("answered")
        if self.max_length is None or lengths.max() <= self.max_length:
            if self.pad_to_multiple_of is None:
                batch["labels"] = batch["input_ids"].masked_fill(~answered, IGNORE_INDEX)
                return batch, 0
        rows, cut = [], 0
        for messages, ids, mask, answer in zip(
            asked, batch["input_ids"], batch["attention_mask"].bool(), answered, strict=True
        ):
            rows.append((ids[mask], answer[mask]))
            if self.max_length is not None and mask.sum() > self.max_length:
                rows[-1] = self._cut(messages, *rows[-1])
                cut += 1
        padded = self.processor.tokenizer.pad(
            {"input_ids": [ids.tolist() for ids, _ in rows]},
            padding_side="left",
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors="pt",
        )
        labels = torch.full_like(padded["input_ids"], IGNORE_INDEX)
        for label, (ids, answer) in zip(labels, rows, strict=True):
            label[len(label) - len(ids) :] = ids.masked_fill(~answer, IGNORE_INDEX)
        return {**padded, "labels": labels}, cut

    def _template(self, asked: list[list[dict]]) -> dict[str, torch.Tensor]:
        batch = self.processor.apply_chat_template(
            asked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        answered = torch.as_tensor(batch["assistant_masks"], dtype=torch.bool)
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "answered": answered}

    def _cut(
        self, messages: list[dict], ids: torch.Tensor, answered: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        A conversation's first `max_length` tokens, so that later turns and the answer's end go first.

        Where they would hold too little of the first answer to learn from, the end of the longest message before it
        is cut instead. An answer that was cut has no EOS: the model does not learn to stop there.
        """
        messages = [dict(message) for message in messages]
        first = next((place for place, message in enumerate(messages) if message["role"] == "assistant"), None)
        if first is None:
            return ids[: self.max_length], answered[: self.max_length]
        whole = self._template([messages[: first + 1]])["answered"].sum()
        needed = max(1, min(int(whole), self.max_length // ANSWER_SHARE))
        while (kept := int(answered[: self.max_length].sum())) < needed:
            longest = max(messages[:first], key=lambda message: len(message["content"]))
            tokens = self.processor.tokenizer(longest["content"], add_special_tokens=False).input_ids
            excess = int(answered.long().argmax()) + needed - self.max_length
            if len(tokens) <= max(excess, 1):
                raise DataError(
                    f"`max_length` {self.max_length} leaves no room for an answer: the prompt without its question "
                    f"takes {int(answered.long().argmax()) - len(tokens)} tokens"
                )
            longest["content"] = self.processor.tokenizer.decode(tokens[: len(tokens) - max(excess, needed - kept, 1)])
            encoded = self._template([messages])
            ids, answered = encoded["input_ids"][0], encoded["answered"][0]
        ids, answered = ids[: self.max_length], answered[: self.max_length]
        end = int(answered.nonzero()[-1]) + 1  # a question whose answer is gone teaches nothing
        return ids[:end], answered[:end]

    def _waveform(self, row: dict, unreadable: list[str]) -> np.ndarray | None:
        """A row's audio, silence if it has none, None if it cannot be read."""
        rate = self.processor.feature_extractor.sampling_rate
        if row.get("audio") is None and self.silence_seconds:
            return np.zeros(round(self.silence_seconds * rate), np.float32)
        try:
            return clip_audio(row.get("audio"), rate)
        except AudioError as error:
            unreadable.append(f"{_name_of(row)}: {error}")
            return None

    def _noise_for(self, clips: list[int], asked: list[list[dict]]) -> torch.Tensor:
        drawn = []
        for clip, messages in zip(clips, asked, strict=True):
            text = " ".join(message["content"] for message in messages)
            if self.noisy_clips is not None and clip >= self.noisy_clips:
                drawn.append(torch.zeros(self.spread.shape))
                continue
            generator = torch.Generator().manual_seed(crc32(f"{self.seed} {self.epoch} {clip} {text}".encode()))
            drawn.append(torch.randn(self.spread.shape, generator=generator))
        return self.noise * self.spread * torch.stack(drawn)


def _name_of(row: dict) -> str:
    return str(row["id"]) if row.get("id") else f"row of {row.get('clip', '?')}"
