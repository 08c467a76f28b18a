"""What answers are scored against: the questions and true answers of a dataset, and its clips' audio."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from ..dataset_scripts.rows import SPLITS, read_qa, read_release
from ..processing.audio_io import read_audio

DEFAULT_SPLIT = "test"


@dataclass(frozen=True)
class Reference:
    """A question of a track with its true answer; `number` counts the track's questions from 0."""

    track: str
    number: int
    question: str
    answer: str
    kind: str


class Clips:
    """The audio of a dataset that `mullama data build` made, by track; read when it is asked for."""

    def __init__(self, dataset: datasets.Dataset, where: str) -> None:
        self._dataset = dataset
        self._where = where
        self._rows = {track: row for row, track in enumerate(dataset["id"])}

    def __contains__(self, track: str) -> bool:
        return track in self._rows

    def audio(self, track: str) -> np.ndarray:
        """Its samples, `(samples,)`, float32, mono, 24 kHz. Raises `AudioError`, naming the track."""
        try:
            return read_audio(self._dataset[self._rows[track]]["audio"]["bytes"])
        except ValueError as error:
            raise type(error)(f"{self._where}: clip {track!r}: {error}") from error


def split_name(data: str) -> tuple[str, str]:
    """`DATA[:split]` as its two parts; the split is `test` by default."""
    found = re.fullmatch(rf"(.+):((?:{'|'.join(SPLITS)})(?:\[.*\])?)", data)
    return (found[1], found[2]) if found else (data, DEFAULT_SPLIT)


def read_references(data: str) -> list[Reference]:
    """
    The questions and true answers of a dataset.

    Args:
        data (`str`): `DIR[:split]` of a dataset that `mullama data build` made or `NAME/DATASET[:split]` on the Hub, a
            released JSON file of MusicQA, or a `qa.jsonl`.

    Raises:
        ValueError or OSError: there is none, or it holds no question, in one line.
    """
    path, split = split_name(data)
    if path.endswith(".json"):
        rows: Iterator[dict] = read_release([path], split)
    elif path.endswith(".jsonl"):
        rows = read_qa(path)
    else:
        rows = iter(_load(path, split, "text"))
    references = [
        Reference(row["id"], number, pair["question"].strip(), pair["answer"].strip(), pair["kind"])
        for row in rows
        for number, pair in enumerate(row["qa"])
    ]
    if not references:
        raise ValueError(f"{data}: holds no question")
    if len({(reference.track, reference.number) for reference in references}) < len(references):
        (track, _), _ = Counter((r.track, r.number) for r in references).most_common(1)[0]
        raise ValueError(f"{data}: the track {track!r} comes twice; ids must differ")
    return references


def open_clips(data: str) -> Clips:
    """The audio of `DIR[:split]` or `NAME/DATASET[:split]`. Raises ValueError where the dataset has none."""
    path, split = split_name(data)
    if path.endswith((".json", ".jsonl")):
        raise ValueError(f"{data}: holds no audio; a model needs a dataset that `mullama data build` made")
    dataset = _load(path, split, None)
    if "audio" not in dataset.column_names:
        raise ValueError(f"{data}: was built without audio, which a model needs")
    return Clips(dataset, path)


def _load(path: str, split: str, config: str | None) -> datasets.Dataset:
    if not Path(path).exists() and (path.count("/") != 1 or path.startswith((".", "/", "~"))):
        raise FileNotFoundError(f"{path}: no such dataset folder or file")
    try:
        return datasets.load_dataset(path, name=config, split=split)
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: no split {split!r} of a dataset of this project's form ({reason})") from error
