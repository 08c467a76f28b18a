"""
The row of a clip, as it is written to `qa.jsonl` and then to Parquet, and the reading of files that hold such rows.

A row is `{"id", "source", "license", "split", "caption", "tags", "audio_names", "qa"}`: `qa` is a list of
`{"question", "answer", "kind": "template" | "open"}`, `audio_names` are the names under which the clip's audio is
looked for. Generated rows also tell their `llm` and `seed`.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from .prompts import TEMPLATE_QUESTIONS
from .sources import LICENSE_OF

SPLITS = ("pretrain", "finetune", "train", "test")  # MusicQA's own three, and `train` for other sets
# The three released files: the split each is, and the collection its clips come from (REFERENCE.md 5).
RELEASES = {
    "PretrainMusicQA": ("pretrain", "musiccaps"),
    "FinetuneMusicQA": ("finetune", "magnatagatune"),
    "EvalMusicQA": ("test", "jamendo"),
}


class RowError(ValueError):
    """A file of questions and answers that cannot be used, in one line that names the file, the place and why."""


def make_row(
    clip_id: str,
    source: str,
    qa: list[dict[str, str]],
    *,
    license: str = "unknown",
    split: str | None = None,
    caption: str | None = None,
    tags: Iterable[str] = (),
    audio_names: Iterable[str] = (),
) -> dict:
    """One clip's row."""
    return {
        "id": clip_id,
        "source": source,
        "license": license,
        "split": split,
        "caption": caption,
        "tags": list(tags),
        "audio_names": list(audio_names),
        "qa": qa,
    }


def read_qa(*paths: str | Path) -> Iterator[dict]:
    """
    The rows of `qa.jsonl` files, one after another.

    Raises:
        RowError: a missing file, an unfinished one, a line that is no row.
    """
    for path in map(Path, paths):
        if not path.is_file():
            unfinished = path.with_name(path.name + ".partial")
            if unfinished.is_file():
                raise RowError(
                    f"{path}: not finished, {unfinished.name} holds what is done; "
                    "run the same `mullama data generate` again to go on"
                )
            raise RowError(f"{path}: no such file")
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _check_row(line, f"{path}, line {number}")


def _check_row(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RowError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
        raise RowError(f"{where}: not a row with an id")
    pairs = row.get("qa")
    fields = ("question", "answer", "kind")
    if (
        not isinstance(pairs, list)
        or not pairs
        or not all(
            isinstance(pair, dict) and all(isinstance(pair.get(field), str) for field in fields) for pair in pairs
        )
    ):
        raise RowError(f"{where}: `qa` is not a list of question, answer and kind")
    row = {**make_row(row["id"], "unknown", pairs), **row}
    for field in ("tags", "audio_names"):
        if not isinstance(row[field], list) or not all(isinstance(text, str) for text in row[field]):
            raise RowError(f"{where}: `{field}` is not a list of texts")
    for field in ("source", "license", "split", "caption"):
        if not isinstance(row[field], str) and (row[field] is not None or field in ("source", "license")):
            raise RowError(f"{where}: `{field}` is not text")
    return row


def read_release(paths: Iterable[str | Path], split: str | None = None) -> Iterator[dict]:
    """
    The rows of MusicQA as it was released: JSON lists of `{"audio_name", "conversation": [human, gpt, ...]}`.

    Args:
        paths: `PretrainMusicQA.json`, `FinetuneMusicQA.json`, `EvalMusicQA.json`, or files of their form.
        split (`str`, *optional*): The split of all of them; by default each released file's own, by its name.

    Raises:
        RowError: a missing file, one that is not of that form, one whose name does not tell its split.
    """
    for path in map(Path, paths):
        known = next((name for name in RELEASES if name.lower() in path.stem.lower()), None)
        if split is None and known is None:
            raise RowError(f"{path}: its name does not tell its split; give --split {'|'.join(SPLITS)}")
        own_split, source = RELEASES.get(known, (split, "musicqa"))
        clips: dict[str, list[dict[str, str]]] = {}
        for audio_name, question, answer in _released_pairs(path):
            kind = "template" if question in TEMPLATE_QUESTIONS else "open"
            clips.setdefault(audio_name, []).append({"question": question, "answer": answer, "kind": kind})
        for audio_name, pairs in clips.items():
            yield make_row(
                PurePosixPath(audio_name).stem,
                source,
                pairs,
                license=LICENSE_OF.get(source, "unknown"),
                split=split or own_split,
                audio_names=[audio_name],
            )


def _released_pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """Audio name, question and answer of every pair."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RowError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RowError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list):
        raise RowError(f"{path}: not a list of conversations; is it MusicQA's released JSON?")
    for number, entry in enumerate(entries):
        try:
            audio_name, turns = entry["audio_name"], entry["conversation"]
            speakers = [turn["from"] for turn in turns]
            texts = [turn["value"].strip() for turn in turns]
        except (KeyError, TypeError, AttributeError) as error:
            raise RowError(f"{path}: entry {number} is no `audio_name` with a `conversation`") from error
        if not isinstance(audio_name, str) or not texts or speakers != ["human", "gpt"] * (len(texts) // 2):
            raise RowError(f"{path}: entry {number} is no conversation of human and gpt in turn")
        yield from ((audio_name, question, answer) for question, answer in zip(texts[::2], texts[1::2], strict=True))
