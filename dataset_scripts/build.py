"""
From rows of questions and answers and a folder or zip of audio to a dataset: Parquet shards, a card, one folder.

    OUT/data/SPLIT-00000-of-00003.parquet   one row a clip, its audio file's bytes embedded      config "default"
    OUT/text/SPLIT-00000-of-00001.parquet   the same rows without audio                          config "text"
    OUT/README.md                           the card, with licences and counts
    OUT/left_out.jsonl                      clips whose audio is missing or broken, and why (their text is in "text")
"""

import hashlib
import json
import shutil
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from .audio_store import AudioStore, ClipAudio, load_clip_audio
from .card import write_card
from .rows import SPLITS, RowError
from .sources import SPLIT_OF

SHARD_BYTES = 500_000_000
# A streaming reader fetches whole row groups: small ones, so that the first question comes at once.
ROW_GROUP_BYTES = 8_000_000
ROW_GROUP_ROWS = 1_000

TEXT_FEATURES = datasets.Features(
    {
        "id": datasets.Value("string"),
        "duration": datasets.Value("float64"),  # seconds
        "source": datasets.Value("string"),
        "license": datasets.Value("string"),
        "caption": datasets.Value("string"),
        "tags": datasets.List(datasets.Value("string")),
        "qa": datasets.List(
            {
                "question": datasets.Value("string"),
                "answer": datasets.Value("string"),
                "kind": datasets.Value("string"),  # template or open
            }
        ),
    }
)
# decode=False is kept in the Parquet files: plain `datasets` gives {"bytes", "path"} and needs no torchcodec.
FEATURES = datasets.Features(
    {"id": TEXT_FEATURES["id"], "audio": datasets.Audio(decode=False)}
    | {name: feature for name, feature in TEXT_FEATURES.items() if name != "id"}
)


@dataclass
class BuildReport:
    """What was built: clips and pairs by split and source, seconds of audio, shards, and what was left out and why."""

    clips: Counter = field(default_factory=Counter)  # (split, source) -> clips of the text config
    audio_clips: Counter = field(default_factory=Counter)  # (split, source) -> clips with audio
    pairs: Counter = field(default_factory=Counter)
    seconds: Counter = field(default_factory=Counter)
    licenses: dict[str, str] = field(default_factory=dict)  # source -> licence of its rows
    models: set[str] = field(default_factory=set)  # that wrote the answers, where rows tell
    shards: Counter = field(default_factory=Counter)  # split -> shards with audio
    left_out: list[dict[str, str]] = field(default_factory=list)  # id and reason
    fingerprint: str = ""  # of all that was written
    sample: dict | None = None


def build_dataset(
    rows: Iterable[dict],
    out: str | Path,
    audio: str | Path | AudioStore | None = None,
    *,
    split: str | None = None,
    flac: bool = False,
    sampling_rate: int | None = None,
    num_proc: int = 1,
    shard_bytes: int = SHARD_BYTES,
) -> BuildReport:
    """
    Build a dataset folder. Memory holds a few clips, however many there are.

    Args:
        rows: As `read_qa`, `read_release` and the adapters give them.
        out (`str` or `Path`): The folder to make; it appears when it is whole.
        audio (`str`, `Path` or `AudioStore`, *optional*): Folder or zip of the audio files; without it there is the
            text alone.
        split (`str`, *optional*): Split of all rows; by default each row's own.
        flac (`bool`), sampling_rate (`int`, *optional*): Encode anew as 16-bit mono FLAC at this rate (24000 Hz if
            not given); by default audio files are embedded as found.
        num_proc (`int`): Processes that read and decode.
        shard_bytes (`int`): About the size of a shard.

    Raises:
        AudioError: `audio` is no folder and no zip.
        ValueError: `out` holds something, two rows of a split share an id, no clip's audio is there.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: is there and not empty; remove it, or choose another --out")
    store = AudioStore(audio) if isinstance(audio, str | Path) else audio
    if store is not None and not len(store):
        raise ValueError(f"{store.path}: no audio file in it")
    draft = out.with_name(f".{out.name}.building")
    shutil.rmtree(draft, ignore_errors=True)  # what a killed build left
    report = BuildReport()
    try:
        _write_rows(_checked(rows, split, report), store, draft, report, flac, sampling_rate, num_proc, shard_bytes)
        if not report.clips:
            raise ValueError("there is no row to build from")
        if store is not None and not report.audio_clips:
            raise ValueError(
                f"{store.path}: has usable audio for none of the {report.clips.total()} clips "
                f"(the first: {report.left_out[0]['reason']})"
            )
        with (draft / "left_out.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in report.left_out)
        if not report.left_out:
            (draft / "left_out.jsonl").unlink()
        write_card(draft / "README.md", report, name=out.name, with_audio=store is not None)
        if out.exists():
            out.rmdir()
        draft.rename(out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return report


def _checked(rows: Iterable[dict], split: str | None, report: BuildReport) -> Iterator[dict]:
    """Rows with their split settled, no id twice in a split."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        settled = split or row["split"] or SPLIT_OF.get(row["source"])
        if settled not in SPLITS:
            problem = "has no split" if settled is None else f"is of split {settled!r}"
            raise RowError(f"clip {row['id']!r} {problem}; give --split {'|'.join(SPLITS)}")
        if (settled, row["id"]) in seen:
            raise RowError(f"the clip {row['id']!r} comes twice in split {settled!r}; ids must differ")
        seen.add((settled, row["id"]))
        if row.get("llm"):
            report.models.add(row["llm"])
        report.licenses.setdefault(row["source"], row["license"])
        yield {**row, "split": settled}


def _write_rows(
    rows: Iterator[dict],
    store: AudioStore | None,
    draft: Path,
    report: BuildReport,
    flac: bool,
    sampling_rate: int | None,
    num_proc: int,
    shard_bytes: int,
) -> None:
    text_writers: dict[str, _ShardWriter] = {}
    audio_writers: dict[str, _ShardWriter] = {}
    digest = hashlib.blake2b(digest_size=8)
    with tqdm(unit="clip", disable=None, dynamic_ncols=True) as bar:
        for row, audio in _with_audio(rows, store, flac, sampling_rate, num_proc):
            split, key = row["split"], (row["split"], row["source"])
            usable = audio is not None and audio.error is None
            record = {name: row.get(name) for name in TEXT_FEATURES}
            record["duration"] = audio.duration if usable else None
            if split not in text_writers:
                text_writers[split] = _ShardWriter(draft / "text", split, TEXT_FEATURES, "ZSTD", shard_bytes)
            text_writers[split].write(record, sum(map(len, map(str, record.values()))))
            digest.update(json.dumps(record).encode())
            report.clips[key] += 1
            report.pairs[key] += len(row["qa"])
            if usable:
                if split not in audio_writers:
                    # Audio files are packed already.
                    audio_writers[split] = _ShardWriter(draft / "data", split, FEATURES, "NONE", shard_bytes)
                digest.update(audio.data)
                embedded = {"audio": {"bytes": audio.data, "path": Path(audio.name).name}}
                # A dict of its own: the text's writer holds `record` far longer.
                audio_writers[split].write(record | embedded, len(audio.data) + 1_000)
                report.audio_clips[key] += 1
                report.seconds[key] += audio.duration
            elif store is not None:
                reason = audio.error if audio else f"no file {' or '.join(row['audio_names']) or row['id']}"
                report.left_out.append({"id": row["id"], "split": split, "reason": reason})
                bar.set_postfix(left_out=len(report.left_out), refresh=False)
            if report.sample is None and (usable or store is None):
                report.sample = record
            bar.update()
    report.fingerprint = digest.hexdigest()
    for writer in text_writers.values():
        writer.finish()
    for split, writer in audio_writers.items():
        report.shards[split] = writer.finish()


def _with_audio(
    rows: Iterator[dict], store: AudioStore | None, flac: bool, sampling_rate: int | None, num_proc: int
) -> Iterator[tuple[dict, ClipAudio | None]]:
    """Every row with its audio, in order; a few are under way at once, never more."""
    if store is None:
        yield from ((row, None) for row in rows)
        return
    found = ((row, store.find([*row["audio_names"], f"{row['id']}.wav"])) for row in rows)
    if num_proc == 1:
        for row, name in found:
            yield row, name and load_clip_audio(store, name, flac, sampling_rate)
        return
    # "spawn": a forked copy of a process that runs Arrow's threads may hang
    with ProcessPoolExecutor(num_proc, get_context("spawn"), _set_worker_store, (store,)) as pool:
        under_way: deque = deque()
        try:
            while True:
                for row, name in islice(found, 2 * num_proc - len(under_way)):
                    under_way.append((row, name and pool.submit(_load_in_worker, name, flac, sampling_rate)))
                if not under_way:
                    return
                row, future = under_way.popleft()
                yield row, future and future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker_store: AudioStore | None = None


def _set_worker_store(store: AudioStore) -> None:
    global _worker_store
    _worker_store = store


def _load_in_worker(name: str, flac: bool, sampling_rate: int | None) -> ClipAudio:
    return load_clip_audio(_worker_store, name, flac, sampling_rate)


class _ShardWriter:
    """Parquet shards of one split: rows are held until they fill a row group, shards roll over at their size."""

    def __init__(self, folder: Path, split: str, features: datasets.Features, compression: str, shard_bytes: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._split = split
        self._schema = features.arrow_schema
        self._compression = compression
        self._shard_bytes = shard_bytes
        self._paths: list[Path] = []
        self._parquet: pq.ParquetWriter | None = None
        self._written = 0  # bytes in the open shard
        self._rows: list[dict] = []
        self._held = 0  # bytes in `_rows`

    def write(self, row: dict, size: int) -> None:
        if self._written + self._held and self._written + self._held + size > self._shard_bytes:
            self._close_shard()
        self._rows.append(row)
        self._held += size
        if self._held >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def finish(self) -> int:
        """Write what is held, give the files their final names, and return their number."""
        self._close_shard()
        for number, path in enumerate(self._paths):
            path.rename(self._folder / f"{self._split}-{number:05d}-of-{len(self._paths):05d}.parquet")
        return len(self._paths)

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._parquet is None:
            self._paths.append(self._folder / f"{self._split}-{len(self._paths):05d}.parquet")
            self._parquet = pq.ParquetWriter(
                self._paths[-1],
                self._schema,
                compression=self._compression,
                use_dictionary=["source", "license", "qa.list.element.kind"],
                write_page_index=True,
            )
        self._parquet.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written += self._held
        self._rows, self._held = [], 0

    def _close_shard(self) -> None:
        self._flush()
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None
        self._written = 0
