"""
The collections that questions are made from, read as they are published: MusicCaps, MagnaTagATune, MTG-Jamendo, and
any CSV or JSONL file with captions or tags. `read_clips` gives what is known of every clip; no audio is needed.
"""

import ast
import csv
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SOURCES = ("musiccaps", "magnatagatune", "jamendo", "csv")
FILE_NAMES = {
    "musiccaps": "musiccaps-public.csv",
    "magnatagatune": "annotations_final.csv",
    "jamendo": "raw_30s_cleantags_50artists.tsv",
}
# The paper's use of each collection (section 3), and what their owners allow with the text.
SPLIT_OF = {"musiccaps": "pretrain", "magnatagatune": "finetune", "jamendo": "test"}
LICENSE_OF = {"musiccaps": "cc-by-sa-4.0", "magnatagatune": "cc-by-nc-sa-3.0", "jamendo": "cc-by-nc-sa-4.0"}
MINIMUM_TAGS = 5  # MagnaTagATune and Jamendo clips with fewer are left out (section 3)
JAMENDO_FOLDERS = tuple(f"{number:02d}" for number in range(10))  # the part that the evaluation set is made of

# MagnaTagATune's 188 tags came from players of a game, so one thing has several names: the first is kept.
TAG_SYNONYMS = (
    ("beat", "beats"),
    ("chant", "chanting"),
    ("choir", "choral"),
    ("classical", "clasical", "classic"),
    ("drums", "drum"),
    ("electronic", "electro", "electronica", "electric"),
    ("fast", "fast beat", "quick"),
    (
        "female vocals",
        "female",
        "female singer",
        "female singing",
        "female vocal",
        "female voice",
        "woman",
        "woman singing",
        "women",
    ),
    ("flute", "flutes"),
    ("guitar", "guitars"),
    ("hard rock", "hard"),
    ("harpsichord", "harpsicord"),
    ("heavy metal", "heavy", "metal"),
    ("horns", "horn"),
    ("indian", "india"),
    ("jazz", "jazzy"),
    ("male vocals", "male", "male singer", "male vocal", "male voice", "man", "man singing", "men"),
    ("no drums", "no beat"),
    ("no vocals", "no singer", "no singing", "no vocal", "no voice", "no voices", "instrumental"),
    ("opera", "operatic"),
    ("orchestra", "orchestral"),
    ("quiet", "silence"),
    ("singing", "singer"),
    ("space", "spacey"),
    ("strings", "string"),
    ("synth", "synthesizer"),
    ("vocals", "vocal", "voice", "voices"),
    ("violin", "violins"),
    ("weird", "strange"),
)
_KEPT_TAG = {synonym: names[0] for names in TAG_SYNONYMS for synonym in names}

# Columns that a CSV or JSONL file of one's own may have, the first that is there is taken.
CAPTION_COLUMNS = ("caption", "text", "description")
TAG_COLUMNS = ("tags", "aspect_list", "labels")
AUDIO_COLUMNS = ("audio", "audio_name", "file_name", "path", "file")
ID_COLUMNS = ("id", "clip_id", "track_id", "ytid")


class SourceError(ValueError):
    """A collection that cannot be read, in one line that names the file, what is wrong with it and what to do."""


@dataclass(frozen=True)
class Clip:
    """What is known of one clip. `audio_names`: where its audio may lie below an audio folder, likeliest first."""

    id: str
    source: str
    caption: str | None
    tags: tuple[str, ...]
    audio_names: tuple[str, ...]
    license: str
    split: str | None


def read_clips(
    source: str, root: str | Path, merge_synonyms: bool = False, minimum_tags: int = MINIMUM_TAGS
) -> list[Clip]:
    """
    Every usable clip of a collection, in the file's order.

    Args:
        source (`str`): `musiccaps`, `magnatagatune`, `jamendo`, or `csv` for any CSV, TSV or JSONL file.
        root (`str` or `Path`): The published file, or the folder that holds it.
        merge_synonyms (`bool`, defaults to `False`): Merge MagnaTagATune's synonym tags, before they are counted.
        minimum_tags (`int`, defaults to 5): Leave out clips of MagnaTagATune with fewer.

    Raises:
        SourceError: a missing file, a file of another form, a broken line, an id that comes twice, no usable clip.
    """
    readers = {"musiccaps": _read_musiccaps, "jamendo": _read_jamendo, "csv": _read_own}
    if source not in SOURCES:
        raise SourceError(f"{source}: no source of that name; there are {', '.join(SOURCES)}")
    path = _find_file(source, Path(root))
    try:
        if source == "magnatagatune":
            clips = list(_read_magnatagatune(path, merge_synonyms, minimum_tags))
        else:
            clips = list(readers[source](path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a text table in UTF-8 ({error})") from error
    seen = set()
    for clip in clips:
        if clip.id in seen:
            raise SourceError(f"{path}: the id {clip.id!r} comes twice; ids must differ")
        seen.add(clip.id)
        try:
            "".join((clip.id, clip.caption or "", *clip.tags)).encode("utf-8")
        except UnicodeEncodeError as error:
            raise SourceError(
                f"{path}: the text of clip {clip.id!r} holds half a surrogate pair; repair it"
            ) from error
    if not clips:
        raise SourceError(f"{path}: no usable clip in it")
    return clips


def _find_file(source: str, root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise SourceError(f"{root}: no such file or folder")
    if source in FILE_NAMES:
        path = root / FILE_NAMES[source]
        if not path.is_file():
            raise SourceError(f"{root}: holds no {FILE_NAMES[source]}, the file that {source} is published as")
        return path
    tables = sorted(path for path in root.iterdir() if path.suffix in (".csv", ".tsv", ".jsonl"))
    if len(tables) != 1:
        raise SourceError(f"{root}: holds {len(tables)} CSV, TSV or JSONL files; name the one to read with --root")
    return tables[0]


def _read_musiccaps(path: Path) -> Iterator[Clip]:
    for line, row in _table(path, ",", ("ytid", "start_s", "end_s", "aspect_list", "caption")):
        ytid, start, end = row["ytid"], row["start_s"], row["end_s"]
        yield Clip(
            id=ytid,
            source="musiccaps",
            caption=row["caption"].strip(),
            tags=_parse_tags(row["aspect_list"], path, line),
            # The clip alone, and the names that the usual download scripts give.
            audio_names=(
                f"{ytid}.wav",
                f"[{ytid}]-[{start}-{end}].wav",
                f"{ytid}-[{start}-{end}].wav",
                f"{ytid}_{start}_{end}.wav",
            ),
            license=LICENSE_OF["musiccaps"],
            split=SPLIT_OF["musiccaps"],
        )


def _read_magnatagatune(path: Path, merge_synonyms: bool, minimum_tags: int) -> Iterator[Clip]:
    for line, row in _table(path, "\t", ("clip_id", "mp3_path")):
        names = [name for name in row if name not in ("clip_id", "mp3_path")]
        if any(row[name] not in ("0", "1") for name in names):
            raise SourceError(f"{path}, line {line}: a tag column holds something else than 0 or 1")
        tags = [name for name in names if row[name] == "1"]
        if merge_synonyms:
            tags = list(dict.fromkeys(_KEPT_TAG.get(tag, tag) for tag in tags))
        if len(tags) < minimum_tags:
            continue
        yield Clip(
            id=row["clip_id"],
            source="magnatagatune",
            caption=None,
            tags=tuple(tags),
            audio_names=(row["mp3_path"], f"{row['clip_id']}.mp3"),
            license=LICENSE_OF["magnatagatune"],
            split=SPLIT_OF["magnatagatune"],
        )


def _read_jamendo(path: Path) -> Iterator[Clip]:
    expected = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(lines, None) != expected:
            raise SourceError(f"{path}: its first line is not {' '.join(expected)}; is it MTG-Jamendo's {path.name}?")
        for fields in lines:
            if len(fields) < len(expected):
                raise SourceError(f"{path}, line {lines.line_num}: {len(fields)} columns, at least {len(expected)}")
            track, audio = fields[0], fields[3]
            tags = [tag.split("---")[-1] for tag in fields[5:] if tag]  # instrument---piano -> piano
            if audio.split("/")[0] not in JAMENDO_FOLDERS or len(tags) < MINIMUM_TAGS:
                continue
            number = PurePosixPath(audio).stem
            yield Clip(
                id=track,
                source="jamendo",
                caption=None,
                tags=tuple(tags),
                audio_names=(
                    audio,
                    str(PurePosixPath(audio).with_suffix(".low.mp3")),
                    f"{number}.mp3",
                    f"{track}.mp3",
                ),
                license=LICENSE_OF["jamendo"],
                split=SPLIT_OF["jamendo"],
            )


def _read_own(path: Path) -> Iterator[Clip]:
    """A file of one's own: a caption or a tags column, and if there are any: id, audio, license, split."""
    textless = 0
    for line, row in _json_lines(path) if path.suffix == ".jsonl" else _table(path, _delimiter(path), ()):
        caption_column, tag_column, audio_column, id_column = (
            next((name for name in names if row.get(name) not in (None, "")), None)
            for names in (CAPTION_COLUMNS, TAG_COLUMNS, AUDIO_COLUMNS, ID_COLUMNS)
        )
        if not (set(row) & {*CAPTION_COLUMNS, *TAG_COLUMNS}):
            raise SourceError(
                f"{path}, line {line}: neither a caption nor a tags column (found: {', '.join(row)}); name one of "
                f"them {' or '.join(CAPTION_COLUMNS[:1] + TAG_COLUMNS[:1])}"
            )
        caption = str(row[caption_column]).strip() if caption_column else None
        tags = _parse_tags(row[tag_column], path, line) if tag_column else ()
        if not caption and not tags:
            textless += 1
            continue
        audio = str(row[audio_column]).strip().replace("\\", "/") if audio_column else None
        clip_id = str(row[id_column]) if id_column else audio or f"{path.stem}-{line}"
        yield Clip(
            id=clip_id,
            source=path.stem,
            caption=caption,
            tags=tags,
            audio_names=(audio,) if audio else (f"{clip_id}.wav",),
            license=str(row.get("license") or "unknown"),
            split=str(row["split"]) if row.get("split") else None,
        )
    if textless:
        warnings.warn(f"{path}: {textless} lines have neither caption nor tags, and are left out", stacklevel=2)


def _table(path: Path, delimiter: str, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and named fields of every row of a delimited file whose first line names the columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        missing = [name for name in required if name not in (rows.fieldnames or ())]
        if missing:
            found = ", ".join((rows.fieldnames or ["nothing"])[:8])
            raise SourceError(f"{path}: no column {', '.join(missing)} (found: {found}); is it the published file?")
        for row in rows:
            if None in row or None in row.values():
                raise SourceError(f"{path}, line {rows.line_num}: not as many columns as the first line has")
            yield rows.line_num, row


def _json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise SourceError(f"{path}, line {line}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise SourceError(f"{path}, line {line}: not a JSON object")
            yield line, row


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _parse_tags(value: object, path: Path, line: int) -> tuple[str, ...]:
    """Tags from a list, from a list written as Python or JSON, or from text with separators."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
                raise SourceError(f"{path}, line {line}: its list of tags is broken: {text[:60]}") from error
        else:
            value = re.split(r"[,;|]", text)
    if not isinstance(value, list | tuple):
        raise SourceError(f"{path}, line {line}: its tags are neither a list nor text: {value!r:.60}")
    return tuple(tag for tag in (str(tag).strip() for tag in value) if tag)
