"""
MusicQA for training and evaluation: one row a question, the clip's audio decoded by our own reader, chat messages.

The datasets themselves load with plain `datasets.load_dataset`, one row a clip; this only asks their questions singly.
"""

from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np

from ..processing.audio_io import SAMPLING_RATE, AudioError, read_audio


def load_musicqa(
    path: str | Path,
    split: str,
    *,
    text_only: bool = False,
    streaming: bool = False,
    decode: bool = True,
    sampling_rate: int = SAMPLING_RATE,
    **kwargs,
) -> datasets.Dataset | datasets.IterableDataset:
    """
    Load a dataset that `mullama data build` made, one row a question.

    Args:
        path (`str` or `Path`): Its folder, or its repository on the Hub.
        split (`str`): `pretrain`, `finetune`, `train`, `test`, or any slice that `load_dataset` understands.
        text_only (`bool`): Load the config without audio.
        streaming (`bool`): Download what is read, when it is read.
        decode, sampling_rate: See `one_row_per_question`.
        kwargs: For `datasets.load_dataset` (`revision`, `token`, ...).

    Returns:
        Rows as `one_row_per_question` gives them.
    """
    dataset = datasets.load_dataset(
        str(path), name="text" if text_only else None, split=split, streaming=streaming, **kwargs
    )
    return one_row_per_question(dataset, decode, sampling_rate)


def one_row_per_question(
    dataset: datasets.Dataset | datasets.IterableDataset, decode: bool = True, sampling_rate: int = SAMPLING_RATE
) -> datasets.Dataset | datasets.IterableDataset:
    """
    Ask the questions of a dataset of clips one by one.

    A `Dataset` stays one: it can be indexed, shuffled, split; a clip is read and decoded when one of its rows is, and
    is never stored twice. An `IterableDataset` decodes a clip once for all its questions. To shuffle a stream, shuffle
    the clips first: its buffer then holds files and not decoded audio.

    Args:
        dataset: Rows of clips, with or without audio.
        decode (`bool`, defaults to `True`): Decode the audio; else `audio` is left as `{"bytes", "path"}`.
        sampling_rate (`int`, defaults to 24000): Hz of decoded audio.

    Returns:
        Rows of `id`, `source`, `question`, `answer`, `kind`, `messages`, and where the clips have audio `audio`:
        `{"array": (samples,) float32 mono, "sampling_rate"}`. `messages` is the chat that `MuLlamaProcessor` takes;
        its audio part holds the array, or undecoded marks only the place.

    Raises:
        AudioError: when a row is read whose audio cannot be decoded; names the clip.
    """
    if isinstance(dataset, datasets.IterableDataset):

        def ask(batch: dict[str, list]) -> dict[str, list]:
            clips = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
            rows = [row for clip in clips for row in _questions(clip, decode, sampling_rate)]
            return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}

        columns = dataset.column_names or list(next(iter(dataset)))
        return dataset.map(ask, batched=True, batch_size=1, remove_columns=columns)

    counts = [len(pairs) for pairs in dataset["qa"]]
    clips = np.repeat(np.arange(len(counts)), counts)
    pairs = np.concatenate([np.arange(count) for count in counts]) if counts else clips
    places = datasets.Dataset.from_dict({"clip": clips, "pair": pairs})

    def look_up(batch: dict[str, list]) -> dict[str, list]:
        rows = []
        for clip, pair in zip(batch["clip"], batch["pair"], strict=True):
            record = dataset[int(clip)]
            rows += _questions({**record, "qa": [record["qa"][pair]]}, decode, sampling_rate)
        return {name: [row[name] for row in rows] for name in rows[0]}

    return places.with_transform(look_up)


def _questions(clip: dict, decode: bool, sampling_rate: int) -> Iterator[dict]:
    audio = clip.get("audio")
    array = None
    if audio is not None and decode:
        try:
            array = read_audio(audio["bytes"], sampling_rate=sampling_rate)
        except AudioError as error:
            raise AudioError(f"clip {clip['id']!r}: {error}") from error
        audio = {"array": array, "sampling_rate": sampling_rate}
    for pair in clip["qa"]:
        row = {"id": clip["id"], "source": clip["source"], **pair}
        if audio is not None:
            row["audio"] = audio
        heard = [] if audio is None else [{"type": "audio"} if array is None else {"type": "audio", "audio": array}]
        row["messages"] = [
            {"role": "user", "content": [*heard, {"type": "text", "text": pair["question"]}]},
            {"role": "assistant", "content": [{"type": "text", "text": pair["answer"]}]},
        ]
        yield row
