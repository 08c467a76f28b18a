"""Datasets by name -> conversations: MusicQA's clips, question and answer, chat messages, or Alpaca's instructions.

Every row becomes `{"id", "messages": [{"role", "content": text}, ...]}`, and where there is music `audio`, undecoded,
or `clip`, a row of cached layer means. Which form a dataset has is told by its columns alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from mullama.processing.audio_io import AudioError, read_audio

MAX_UNREADABLE = 0.05  # of the clips; with more, the dataset is broken and not some file
BUILDERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}
FORMS = (
    "`qa` (MusicQA), `question` and `answer`, `messages`, or `instruction` and `output` (Alpaca); music is in `audio`"
)


class DataError(ValueError):
    """A dataset that cannot be trained on, in one line that names it, what is wrong and what to do."""


def open_dataset(path: str, split: str, name: str | None = None, streaming: bool = False):
    """
    A dataset folder, a .json, .jsonl, .parquet or .csv file, or a Hub id; audio stays undecoded.

    Raises DataError if the split is not there, and what `datasets.load_dataset` raises if nothing is.
    """
    suffix = Path(path).suffix
    try:
        if suffix in BUILDERS:
            if not Path(path).is_file():
                raise DataError(f"{path}: no such file")
            dataset = datasets.load_dataset(BUILDERS[suffix], data_files=path, split="train", streaming=streaming)
        else:
            dataset = datasets.load_dataset(path, name=name, split=split, streaming=streaming)
    except ValueError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    for column, feature in (dataset.features or {}).items():
        if isinstance(feature, datasets.Audio):
            dataset = dataset.cast_column(column, datasets.Audio(decode=False))
    return dataset


def columns_of(dataset) -> list[str]:
    """The names of a dataset's columns, of a stream's by its first row if it does not tell them."""
    return list(dataset.column_names or next(iter(dataset)))


def check_form(path: str, columns: list[str], needs_audio: bool) -> None:
    """Raises DataError for a dataset that has no conversations, or no audio where it must have some."""
    known = ({"qa"}, {"question", "answer"}, {"messages"}, {"instruction", "output"})
    if not any(form <= set(columns) for form in known):
        raise DataError(f"{path} has the columns {', '.join(columns)}: needed are {FORMS}")
    if needs_audio and "audio" not in columns:
        raise DataError(
            f"{path} has no column `audio` (it has {', '.join(columns)}): add one, or say `text_only: true` in the "
            "recipe if it is to be learned without music"
        )


def load_clips_of(path: str, split: str, name: str | None = None) -> datasets.Dataset:
    """The clips of a dataset, to be heard. Raises DataError if they have no audio."""
    dataset = open_dataset(path, split, name)
    if "audio" not in dataset.column_names:
        raise DataError(f"{path} has no column `audio` (it has {', '.join(dataset.column_names)}): nothing to hear")
    return dataset


def clip_ids(dataset: datasets.Dataset) -> list[str]:
    """Each row's `id`, or its number where there is none."""
    return list(map(str, dataset["id"])) if "id" in dataset.column_names else list(map(str, range(len(dataset))))


def clip_audio(audio: Any, sampling_rate: int) -> np.ndarray:
    """
    A row's audio decoded: (samples,) float32 mono at `sampling_rate`.

    `audio` is `{"bytes", "path"}` or `{"array", "sampling_rate"}` as datasets give it, or a path.
    Raises AudioError if it cannot be read.
    """
    if isinstance(audio, Mapping) and audio.get("array") is not None:
        import soxr

        samples = np.asarray(audio["array"], np.float32)
        return soxr.resample(samples, audio["sampling_rate"], sampling_rate, quality="HQ")
    if isinstance(audio, Mapping):
        audio = audio["bytes"] if audio.get("bytes") is not None else audio.get("path")
    if audio is None:
        raise AudioError("the row has no audio")
    return read_audio(audio, sampling_rate=sampling_rate)


def conversations(record: dict) -> Iterator[list[dict[str, str]]]:
    """The conversations of one row of any known form, as messages of plain text."""
    if record.get("qa") is not None:
        yield from (_ask(pair["question"], pair["answer"]) for pair in record["qa"])
    elif record.get("messages") is not None:
        yield [{"role": message["role"], "content": _text_of(message["content"])} for message in record["messages"]]
    elif record.get("question") is not None:
        yield _ask(record["question"], record["answer"])
    else:
        context = record.get("input")
        yield _ask(f"{record['instruction']}\n\n{context}" if context else record["instruction"], record["output"])


def count_conversations(dataset: datasets.Dataset) -> np.ndarray:
    """How many conversations each row of a dataset holds."""
    if "qa" not in dataset.column_names:
        return np.ones(len(dataset), int)
    return np.array([len(pairs) for pairs in dataset["qa"]], int)


def _ask(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _text_of(content: str | list[dict]) -> str:
    """A message's text, without its places for audio: the row's audio belongs to the whole conversation."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content)
