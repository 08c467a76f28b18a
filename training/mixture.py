"""The datasets of a recipe as one: weighted, with cached features where there are some, and each row's door known.

A mixture of datasets on disk is a table of (source, row, conversation), so that it can be shuffled, grouped by length
and gone on with at any step; a row is read when it is needed. One stream in it makes the whole a stream.
"""

from dataclasses import dataclass, field

import datasets
import numpy as np
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor

from .data import (
    MAX_UNREADABLE,
    DataError,
    check_form,
    clip_ids,
    columns_of,
    conversations,
    count_conversations,
    open_dataset,
)
from .features import FeatureCache, LayerMeans, encoder_fingerprint, load_encoder, silence_means

SHUFFLE_BUFFER = 256  # clips; of a stream, undecoded
TEXT, WAVEFORM, CACHED = range(3)  # the door by which a row's music comes in


@dataclass
class DataSource:
    """One dataset of a recipe."""

    path: str = field(metadata={"help": "dataset folder, .json, .jsonl, .parquet or .csv file, or Hub id"})
    split: str = "train"
    name: str | None = field(default=None, metadata={"help": "config of the dataset"})
    weight: float | None = field(default=None, metadata={"help": "share of the mixture: of all datasets or of none"})
    text_only: bool = field(default=False, metadata={"help": "learned without music, or with silence"})
    features: str | None = field(default=None, metadata={"help": "folder that `mullama data features` made"})
    streaming: bool = False


@dataclass
class Mixture:
    """
    rows: what the trainer is given; table: for a mixture on disk, each row's `door`, and `length` in characters;
    clips: the number of clips with audio, None for streams; left_out: rows whose clip is not in its feature cache, for
    it could not be read.
    """

    rows: datasets.Dataset | datasets.IterableDataset
    table: dict[str, np.ndarray] | None = None
    clips: int | None = None
    left_out: int = 0


def load_mixture(
    sources: list[DataSource],
    model: MuLlamaForConditionalGeneration,
    processor: MuLlamaProcessor,
    layer_means: LayerMeans,
    heard_by: str,
    silence_seconds: float | None = None,
    seed: int = 0,
) -> Mixture:
    """
    Load the datasets of a recipe.

    Args:
        heard_by: Model whose encoder must have heard what is cached.
        layer_means: Where cached features are added; `clip` of a row points into it.
        silence_seconds: Play so much silence to text-only rows, as the paper does; None: they hear nothing.
        seed: Of the order in which weights draw from the datasets, and of a stream's shuffling.

    Raises DataError: see `open_dataset`, `check_form` and `FeatureCache`; or weights are given to some only.
    """
    weights = [source.weight for source in sources]
    if None in weights and any(weight is not None for weight in weights):
        raise DataError("`weight` is given to some datasets of the recipe only: give it to all or to none")
    shares = None if None in weights else [weight / sum(weights) for weight in weights]
    if any(source.streaming for source in sources):
        return _stream(sources, shares, silence_seconds, seed)
    caches = {}
    if any(source.features for source in sources):
        fingerprint = encoder_fingerprint(*load_encoder(heard_by))
    for number, source in enumerate(sources):
        if source.features:
            cache = FeatureCache(source.features, fingerprint)
            caches[number] = cache, layer_means.add(cache.layer_means)
    silent_row = None
    if caches and silence_seconds and any(source.text_only for source in sources):
        silent_row = layer_means.add(silence_means(model, processor, silence_seconds))

    opened = [open_dataset(source.path, source.split, source.name) for source in sources]
    ids = [clip_ids(dataset) for dataset in opened]
    tables, clips, left_out = [], 0, 0
    for number, (source, dataset) in enumerate(zip(sources, opened, strict=True)):
        columns = dataset.column_names
        check_form(source.path, columns, needs_audio=not (source.text_only or source.features))
        counts = count_conversations(dataset)
        rows = np.repeat(np.arange(len(dataset)), counts)
        turn = np.concatenate([np.arange(count) for count in counts]) if len(counts) else rows
        if source.text_only:
            clip = np.full(len(rows), -1 if silent_row is None else silent_row)
            door = TEXT if not silence_seconds else WAVEFORM if silent_row is None else CACHED
        elif source.features:
            cache, start = caches[number]
            of_row = np.array([start + cache.row_of[clip] if clip in cache.row_of else -1 for clip in ids[number]])
            clip, door, clips = of_row[rows], CACHED, clips + len(dataset)
            missing = int((of_row < 0).sum())
            if missing > MAX_UNREADABLE * len(dataset):
                raise DataError(
                    f"{source.features} lacks {missing} of the {len(dataset)} clips of {source.path}, more than "
                    f"{MAX_UNREADABLE:.0%}: is it of this dataset and split?"
                )
            left_out += int((clip < 0).sum())
            rows, turn, clip = rows[clip >= 0], turn[clip >= 0], clip[clip >= 0]
        else:
            clip, door, clips = np.full(len(rows), -1), WAVEFORM, clips + len(dataset)
        lengths = _lengths(dataset)[rows, turn] if len(rows) else rows
        whole = {"source": np.full(len(rows), number), "row": rows, "turn": turn, "clip": clip, "length": lengths}
        tables.append(datasets.Dataset.from_dict(whole | {"door": np.full(len(rows), door)}))
        # Audio that is cached, or not to be heard, is not read either.
        if "audio" in columns and (source.text_only or source.features):
            opened[number] = dataset.remove_columns("audio")
    if shares is None:
        table = datasets.concatenate_datasets(tables)
    else:
        table = datasets.interleave_datasets(tables, shares, seed=seed, stopping_strategy="all_exhausted")
    if len(table) == 0:
        raise DataError(f"{', '.join(source.path for source in sources)}: no questions are in there")

    def look_up(batch: dict[str, list]) -> dict[str, list]:
        found = []
        for source, row, turn, clip in zip(batch["source"], batch["row"], batch["turn"], batch["clip"], strict=True):
            record = opened[source][row]
            messages = next(asked for place, asked in enumerate(conversations(record)) if place == turn)
            found.append({"id": ids[source][row], "messages": messages, "clip": clip, "audio": _undecoded(record)})
        return {name: [row[name] for row in found] for name in found[0]}

    facts = {name: np.asarray(table[name]) for name in ("door", "length")}
    return Mixture(table.with_transform(look_up), facts, clips, left_out)


def load_questions(path: str, means: str | None, layer_means: LayerMeans) -> Mixture:
    """A Parquet file of `messages` (or `question`, `answer`), `clip`, `length`, and the .npy that holds the clips."""
    questions = datasets.load_dataset("parquet", data_files=path, split="train")
    if means is not None:
        layer_means.add(np.load(means, mmap_mode="r"))
    facts = {"door": np.full(len(questions), TEXT if means is None else CACHED)}
    facts["length"] = np.asarray(questions["length"]) if "length" in questions.column_names else facts["door"]
    return Mixture(questions, facts, clips=0)


def _lengths(dataset: datasets.Dataset) -> np.ndarray:
    """Characters of each row's conversations, (rows, most conversations of a row)."""
    texts = dataset.select_columns([name for name in dataset.column_names if name not in ("audio", "id", "clip")])
    lengths = [
        [sum(len(message["content"]) for message in asked) for asked in conversations(record)] for record in texts
    ]
    width = max(map(len, lengths), default=0)
    return np.array([row + [0] * (width - len(row)) for row in lengths], int).reshape(len(lengths), width)


def _stream(sources: list[DataSource], shares: list[float] | None, silence: float | None, seed: int) -> Mixture:
    if not silence and len({source.text_only for source in sources}) > 1:
        raise DataError(
            "a stream mixes rows with and without music in one batch, so the latter need something to hear: say "
            "`silence_seconds: 1.0`, or do not stream"
        )
    if any(source.features for source in sources):
        raise DataError("cached `features` go with datasets on disk: leave out `streaming`")
    streams = []
    for source in sources:
        stream = open_dataset(source.path, source.split, source.name, streaming=True)
        columns = columns_of(stream)
        check_form(source.path, columns, needs_audio=not source.text_only)
        hears = "audio" in columns and not source.text_only
        # Before the questions are asked singly: the buffer then holds files, and each clip once.
        stream = stream.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
        streams.append(
            stream.map(
                _ask_singly,
                batched=True,
                batch_size=1,
                remove_columns=columns,
                fn_kwargs={"hears": hears},
                features=ROW_FEATURES,
            )
        )
    if len(streams) == 1:
        return Mixture(streams[0])
    return Mixture(datasets.interleave_datasets(streams, shares, seed=seed, stopping_strategy="all_exhausted"))


ROW_FEATURES = datasets.Features(
    {
        "id": datasets.Value("string"),
        "messages": datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")}),
        "clip": datasets.Value("int64"),
        "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
    }
)


def _undecoded(record: dict) -> dict | None:
    """A row's audio as bytes or a path; None if it has no such column, empty if it has but nothing is in there."""
    if "audio" not in record:
        return None
    audio = record["audio"]
    return audio if isinstance(audio, dict) else {"bytes": None, "path": audio}


def _ask_singly(batch: dict[str, list], hears: bool) -> dict[str, list]:
    record = {name: values[0] for name, values in batch.items()}
    audio = _undecoded(record) if hears else None
    asked = list(conversations(record))
    count = len(asked)
    ids = [str(record.get("id", ""))] * count
    return {"id": ids, "messages": asked, "clip": [-1] * count, "audio": [audio] * count}
