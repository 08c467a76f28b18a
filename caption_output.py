"""
The forms that captions are written in: JSON lines, CSV, Parquet, or the folder of a dataset.

    DIR/data/train-*.parquet            a row a file, its bytes embedded, in MusicQA's form    config "default"
    DIR/text/train-*.parquet            the same without audio                                 config "text"
    DIR/README.md                       the card
    DIR/captions.jsonl                  every row, of broken files and of windows as well
    DIR/audiofolder/metadata.jsonl      file_name and text, beside the files themselves: for trainers of text-to-music

A row is `{"audio", "duration", "caption", "qa", "windows", "error"}`, `qa` and `windows` where they were asked for.
"""

import csv
import importlib.util
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset_scripts.prompts import TEMPLATE_QUESTIONS

if TYPE_CHECKING:
    from .dataset_scripts.build import BuildReport

CAPTION_QUESTION = TEMPLATE_QUESTIONS[0]  # "Describe the audio"
FILE_FORMS = (".jsonl", ".csv", ".parquet")
OTHER_FORMS = (".json", ".tsv", ".txt", ".xlsx", ".arrow", ".gz", ".zip")

Row = dict[str, Any]


class OutputError(ValueError):
    """A form of output that there is not, or that cannot be written here, in one line."""


def check_output(out: Path) -> None:
    """Raises `OutputError` if captions cannot be written to a file or folder of this name, before any is made."""
    if out.suffix.lower() in OTHER_FORMS:
        raise OutputError(f"{out}: name a file that ends in {', '.join(FILE_FORMS)}, or a folder for a dataset")
    needed = {".parquet": ("pyarrow",)}.get(out.suffix, () if out.suffix in FILE_FORMS else ("datasets", "pyarrow"))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise OutputError(f"{out}: writing it needs {' and '.join(missing)}: pip install 'mullama[data]'")


def write_output(
    rows: Sequence[Row], paths: Sequence[Path], out: Path, model: str, questions: Sequence[str], workers: int
) -> None:
    """
    Write the rows to `out`, in the form that its name tells; it appears when it is whole.

    Args:
        rows: All rows, in the order of the files.
        paths: The rows' files.
        model (`str`): What made the captions, for a dataset's card.
        questions: Those that were asked beside the caption.
        workers (`int`): Processes that read the audio for a dataset.
    """
    if out.suffix not in FILE_FORMS:
        _write_dataset(rows, paths, out, model, workers)
        return
    with _draft(out) as draft:
        if out.suffix == ".jsonl":
            _write_jsonl(rows, draft)
        elif out.suffix == ".csv":
            _write_csv(rows, questions, draft)
        else:
            _write_parquet(rows, draft)


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Where to write a file, which takes `out`'s name when it is whole, and vanishes if that fails."""
    draft = out.with_name(f".{out.name}.draft")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _write_jsonl(rows: Iterable[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_csv(rows: Sequence[Row], questions: Sequence[str], path: Path) -> None:
    """A line a file, with a column for each question; its windows' lines, with `start` and `end`, after it."""
    span = ("start", "end") if "windows" in rows[0] else ()
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["audio", *span, "duration", "caption", *questions, "error"], lineterminator="\n")
        table.writeheader()
        for row in rows:
            answers = {pair["question"]: pair["answer"] for pair in row.get("qa", ())}
            table.writerow({name: row[name] for name in ("audio", "duration", "caption", "error")} | answers)
            table.writerows({"audio": row["audio"], **window} for window in row.get("windows", ()))


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, seconds = pa.string(), pa.float64()
    types = {
        "audio": text,
        "duration": seconds,
        "caption": text,
        "qa": pa.list_(pa.struct({"question": text, "answer": text})),
        "windows": pa.list_(pa.struct({"start": seconds, "end": seconds, "caption": text})),
        "error": text,
    }
    schema = pa.schema({name: types[name] for name in rows[0]})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


def _write_dataset(rows: Sequence[Row], paths: Sequence[Path], out: Path, model: str, workers: int) -> None:
    from .dataset_scripts.audio_store import AudioStore
    from .dataset_scripts.build import build_dataset
    from .dataset_scripts.rows import make_row
    from .model_card.push import AUDIOFOLDER

    if all(row["error"] for row in rows):
        raise OutputError(f"{out}: none of the {len(rows)} files could be heard (the first: {rows[0]['error']})")
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: came to be while this ran; move it away, and give the same command again")
    # Names that tell nothing of the machine: from the innermost folder that holds all files.
    places = [Path(os.path.abspath(path)) for path in paths]
    root = Path(os.path.commonpath([place.parent for place in places]))
    ids = [place.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode() for place in places]
    heard = [(row, name, path) for row, name, path in zip(rows, ids, paths, strict=True) if row["error"] is None]
    clips = (
        make_row(name, "captioned", _pairs(row), split="train", caption=row["caption"], audio_names=[name])
        for row, name, _ in heard
    )
    workplace = out.with_name(f".{out.name}.building")
    shutil.rmtree(workplace, ignore_errors=True)  # what a killed run left
    staged = workplace / out.name
    try:
        workplace.mkdir()
        report = build_dataset(clips, staged, AudioStore(root, ids), num_proc=max(1, workers))
        (staged / "README.md").write_text(_card(report, out.name, model, len(rows)), encoding="utf-8")
        _write_jsonl((row | {"audio": name} for row, name in zip(rows, ids, strict=True)), staged / "captions.jsonl")
        _write_audiofolder(heard, staged / AUDIOFOLDER)
        if out.exists():
            out.rmdir()
        staged.rename(out)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _pairs(row: Row) -> list[dict[str, str]]:
    asked = [{"question": CAPTION_QUESTION, "answer": row["caption"]}, *row.get("qa", ())]
    return [pair | {"kind": "template" if pair["question"] in TEMPLATE_QUESTIONS else "open"} for pair in asked]


def _write_audiofolder(heard: Sequence[tuple[Row, str, Path]], folder: Path) -> None:
    """
    The form of `load_dataset("audiofolder")`, in which trainers of text-to-music take their pairs.

    The files have to lie beside their metadata: they are hard links, which take no room, and copies only where the
    disk is another.
    """
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for row, name, path in heard:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
            line = {"file_name": name, "text": row["caption"], "duration": row["duration"]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _card(report: "BuildReport", name: str, model: str, files: int) -> str:
    from .dataset_scripts.card import card_head

    left_out = len(report.left_out)
    parts = [
        card_head(report, name, with_audio=True),
        f"# {name}",
        f"Captions of {report.clips.total():,} audio files, with answers to further questions where some were asked, "
        f"made by ear by {model} with `mullama caption`. They were not checked by anybody.",
        "```python\nfrom datasets import load_dataset\n\n"
        'rows = load_dataset("THIS_FOLDER_OR_REPO", split="train", streaming=True)\n'
        'print(next(iter(rows))["caption"])\n```',
        f"{report.audio_clips.total():,} files with audio, {report.seconds.total() / 3600:.1f} h. Config `default` "
        "embeds each file's bytes (`audio: {bytes, path}`, undecoded: no torchcodec is needed); config `text` holds "
        f"the same rows without audio. The columns are MusicQA's; the caption is also the answer to "
        f"*{CAPTION_QUESTION}*.",
    ]
    if unheard := files - report.clips.total():
        parts.append(f"{unheard} files could not be heard: `captions.jsonl`, which holds every row, tells why.")
    if left_out:
        parts.append(
            f"{left_out} files break off or are too large: they are in `text` only, `left_out.jsonl` tells why."
        )
    parts += [
        "## Licences",
        "The audio is its owners', whose licences are not known here. Whoever publishes it needs their leave; name "
        "the licence in this card's head.",
    ]
    return "\n\n".join(parts) + "\n"
