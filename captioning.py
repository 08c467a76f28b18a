"""
Caption a whole collection: every audio file below some folders gets a caption, and answers to further questions.

Files are decoded ahead in processes of their own, heard and asked in batches. While a run lasts, `OUT.partial` takes
each batch's rows as they come, so that a killed run goes on where it was; `OUT` appears when it is whole. Started by
Accelerate on several GPUs or nodes, each process takes its share, with a `.partial` of its own.
"""

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from .asking import Asker, load_asker
from .caption_output import CAPTION_QUESTION, check_output, write_output
from .dataset_scripts.audio_store import AUDIO_SUFFIXES
from .decoding import Decoded, Windows, decode_ahead
from .model_info import EMBEDDED_MODEL


class CaptionError(ValueError):
    """Captions that cannot be made or written, in one line."""


@dataclass(frozen=True)
class AudioFile:
    """A file to caption: where it is, and its name in the rows, which is always valid text."""

    path: Path
    name: str


@dataclass(frozen=True)
class CaptionSettings:
    """What makes the rows what they are: a run that goes on has to have the same. `model` None is the embedded one."""

    model: str | None = None
    questions: tuple[str, ...] = ()
    per_window: bool = False
    max_new_tokens: int = 512


@dataclass(frozen=True)
class CaptionReport:
    """How a run ended: files in all, and how many of them have an error in place of a caption."""

    files: int
    failed: int
    first_error: str | None


@dataclass(frozen=True)
class Share:
    """The part of the work that this process does: every `count`th file, from `index` on."""

    index: int = 0
    count: int = 1


def find_audio(paths: Iterable[str | Path]) -> list[AudioFile]:
    """
    The audio files at and below the paths, sorted by name, none twice.

    Of a folder, those with an audio file's suffix, less hidden ones; a file that is named, whatever it is called.

    Raises:
        CaptionError: a path does not exist, a folder cannot be read, or there is no audio file.
    """
    paths = list(map(Path, paths))
    found: dict[str, AudioFile] = {}
    for path in paths:
        if path.is_dir():
            inside = [
                Path(folder) / name
                for folder, folders, names in os.walk(path, onerror=_refuse)
                if not _hide(folders)
                for name in names
                if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith(".")
            ]
        elif path.exists():
            inside = [path]
        else:
            raise CaptionError(f"{path}: no such file or folder")
        for file in inside:
            name = str(file).encode("utf-8", "backslashreplace").decode()  # a name may be no valid text
            found.setdefault(os.path.abspath(file), AudioFile(file, name))
    if not found:
        raise CaptionError(
            f"{', '.join(map(str, paths))}: no audio file there (looked for {', '.join(sorted(AUDIO_SUFFIXES))})"
        )
    return sorted(found.values(), key=lambda file: file.name)


def _refuse(error: OSError) -> None:
    raise CaptionError(f"{error.filename}: a folder that cannot be read ({error.strerror})") from error


def _hide(folders: list[str]) -> None:
    """Keep `os.walk` out of hidden folders, and on a fixed way."""
    folders[:] = sorted(name for name in folders if not name.startswith("."))


def read_questions(path: str | Path) -> tuple[str, ...]:
    """The questions of a file, one a line, each once. Raises `CaptionError` if it has none or cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionError(f"{path}: cannot be read as a text of questions: {error}") from error
    questions = tuple(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not questions:
        raise CaptionError(f"{path}: holds no question: write one a line")
    return questions


def caption_files(
    paths: Iterable[str | Path],
    out: str | Path,
    settings: CaptionSettings = CaptionSettings(),
    *,
    device: str | None = None,
    batch_size: int = 16,
    workers: int = 2,
    share: Share = Share(),
) -> None:
    """
    Caption audio files and write the rows of this process's share to its journal; `finish` makes `out` of them.

    The same files and settings give the same rows, whatever the batch size, the processes and however often a run was
    killed, as far as the arithmetic of another batch size is the same.

    Args:
        paths: Files, and folders to go through.
        out (`str` or `Path`): A file whose name ends in .jsonl, .csv or .parquet, or the folder of a dataset.
        device (`str`, *optional*): torch's name of a device; by default a GPU where there is one.
        batch_size (`int`): Files that are heard and asked together.
        workers (`int`): Processes that decode; 0 decodes in between.

    Raises:
        CaptionError: there is nothing to caption, `out` exists, or was begun with other settings.
        ModelError, QuestionError: the model or a question cannot be used.
    """
    out = Path(out)
    check_output(out)
    files = find_audio(paths)
    journals = _journals(out)
    if not journals and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CaptionError(f"{out}: exists already; move it away, or choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{_journal(out, share.index)}.lock", timeout=0):
            _caption_share(files, out, settings, device, batch_size, workers, share)
    except Timeout:
        raise CaptionError(f"{out}: another process is writing it; wait, or choose another --out") from None


def finish(paths: Iterable[str | Path], out: str | Path, settings: CaptionSettings, workers: int = 2) -> CaptionReport:
    """
    Write `out` from the journals of all processes, and remove these.

    Raises `CaptionError` if a file has no row, as when the processes do not write to the same disk.
    """
    out, files = Path(out), find_audio(paths)
    rows = _read_rows(out, settings)
    missing = [file.name for file in files if file.name not in rows]
    if missing:
        raise CaptionError(
            f"{out}: {len(missing)} of {len(files)} files have no row, the first is {missing[0]}: if this runs on "
            "several nodes, give an --out on a disk that they share; else run it again"
        )
    ordered = [rows[file.name] for file in files]
    model = settings.model or EMBEDDED_MODEL
    name = Path(model).resolve().name if Path(model).is_dir() else model  # not the path, which is this machine's
    write_output(ordered, [file.path for file in files], out, name, settings.questions, workers)
    for journal in _journals(out):
        journal.unlink()
        journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    errors = [row["error"] for row in ordered if row["error"]]
    return CaptionReport(len(ordered), len(errors), errors[0] if errors else None)


def _caption_share(
    files: list[AudioFile],
    out: Path,
    settings: CaptionSettings,
    device: str | None,
    batch_size: int,
    workers: int,
    share: Share,
) -> None:
    done = _read_rows(out, settings)
    own = files[share.index :: share.count]
    # Batches are cut from all of the share, so that a run which goes on makes the ones that it would have made.
    todo = [(place // batch_size, file) for place, file in enumerate(own) if file.name not in done]
    if not todo:
        return
    asker = load_asker(settings.model, device)
    for question in (CAPTION_QUESTION, *settings.questions):
        asker.check_question(question)
    journal = _journal(out, share.index)
    with journal.open("ab", buffering=0) as file:
        whole = journal.read_bytes().rfind(b"\n") + 1
        file.truncate(whole)  # what a killed process left of a line
        if not whole:
            _append(file, journal, [{"settings": asdict(settings)}])
        bar = tqdm(
            total=len(own),
            initial=len(own) - len(todo),
            unit="file",
            desc="Captioning",
            disable=None if share.index == 0 else True,
            dynamic_ncols=True,
        )
        try:
            with bar:
                for rows in _caption_batches(asker, todo, settings, batch_size, workers):
                    _append(file, journal, rows)
                    bar.update(len(rows))
        except torch.OutOfMemoryError as error:
            raise CaptionError(
                f"the memory of {asker.model.device} ran out: what is done is kept, and the same command with "
                f"a --batch-size below {batch_size} goes on"
            ) from error


@dataclass
class _Heard:
    """A file on its way: what the encoder has made of its windows so far, and at its end how it ended."""

    file: AudioFile
    end: Decoded | None = None
    means: torch.Tensor | float = 0.0  # (layers + 1, audio width), weighted by frames
    frames: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)
    window_means: list[torch.Tensor] = field(default_factory=list)


def _caption_batches(
    asker: Asker, todo: Sequence[tuple[int, AudioFile]], settings: CaptionSettings, batch_size: int, workers: int
) -> Iterator[list[dict[str, Any]]]:
    """The rows of the files, in their order, batch by batch."""
    extractor = asker.processor.feature_extractor
    windows = Windows(extractor.window_seconds, extractor.sampling_rate, extractor.min_samples)
    batch: list[_Heard] = []
    waiting: list[tuple[_Heard, Decoded]] = []  # windows
    for decoded in decode_ahead([file.path for _, file in todo], windows, workers, ahead=2 * batch_size):
        if not batch or batch[-1].end is not None:
            batch.append(_Heard(todo[decoded.position][1]))
        if decoded.window is not None:
            waiting.append((batch[-1], decoded))
            if len(waiting) == batch_size:
                _encode(asker, waiting, settings.per_window)
                waiting = []
            continue
        batch[-1].end = decoded
        for note in decoded.notes:
            warnings.warn(note, stacklevel=2)
        following = todo[decoded.position + 1][0] if decoded.position + 1 < len(todo) else None
        if todo[decoded.position][0] != following:
            if waiting:
                _encode(asker, waiting, settings.per_window)
            yield _ask(asker, batch, settings, batch_size)
            batch, waiting = [], []


@torch.inference_mode()
def _encode(asker: Asker, waiting: list[tuple[_Heard, Decoded]], per_window: bool) -> None:
    """Hear windows together, and add each to its file."""
    inputs = asker.processor.feature_extractor([decoded.window for _, decoded in waiting], return_tensors="pt")
    counts = asker.model.model.audio_tower.frame_lengths(inputs["input_values_mask"].sum((1, 2))).tolist()
    means = asker.model.get_audio_features(**inputs).layer_means  # (windows, layers + 1, audio width)
    rate = asker.processor.feature_extractor.sampling_rate
    for (heard, decoded), count, mean in zip(waiting, counts, means, strict=True):
        heard.means = heard.means + count * mean
        heard.frames += count
        if per_window:
            heard.spans.append((decoded.seconds, decoded.seconds + len(decoded.window) / rate))
            heard.window_means.append(mean)


@torch.inference_mode()
def _ask(asker: Asker, batch: list[_Heard], settings: CaptionSettings, batch_size: int) -> list[dict[str, Any]]:
    """The rows of files that were heard to their ends."""
    good = [heard for heard in batch if heard.end.error is None]
    answers: dict[tuple[int, str], str] = {}  # (place in `good`, question)
    captions: list[str] = []  # of windows, one file after another
    if good:
        embeds = asker.model.model.get_audio_embeds(
            audio_features=torch.stack([heard.means / heard.frames for heard in good])
        )
        # A question of many songs at once: their prompts are as long as one another.
        questions = dict.fromkeys((CAPTION_QUESTION, *settings.questions))
        asked = [(i, question) for question in questions for i in range(len(good))]
        for start in range(0, len(asked), batch_size):
            part = asked[start : start + batch_size]
            texts = asker.ask_batch(embeds[[i for i, _ in part]], [q for _, q in part], settings.max_new_tokens)
            answers.update(zip(part, texts, strict=True))
    features = [mean for heard in good for mean in heard.window_means]
    for start in range(0, len(features), batch_size):
        part = torch.stack(features[start : start + batch_size])
        embeds = asker.model.model.get_audio_embeds(audio_features=part)
        captions += asker.ask_batch(embeds, [CAPTION_QUESTION] * len(part), settings.max_new_tokens)

    rows, rest = [], iter(captions)
    places = {id(heard): i for i, heard in enumerate(good)}
    for heard in batch:
        place = places.get(id(heard))
        row = {"audio": heard.file.name, "duration": None, "caption": None}
        if place is not None:
            row |= {"duration": round(heard.end.seconds, 3), "caption": answers[place, CAPTION_QUESTION]}
        if settings.questions:
            told = settings.questions if place is not None else ()
            row["qa"] = [{"question": question, "answer": answers[place, question]} for question in told]
        if settings.per_window:
            spans = heard.spans if place is not None else ()
            row["windows"] = [
                {"start": round(start, 3), "end": round(end, 3), "caption": next(rest)} for start, end in spans
            ]
        error = heard.end.error
        rows.append(row | {"error": error and error.encode("utf-8", "backslashreplace").decode()})
    return rows


def _journal(out: Path, index: int) -> Path:
    return out.with_name(f"{out.name}.partial" + (f".{index}" if index else ""))


def _journals(out: Path) -> list[Path]:
    """The journals that there are, whichever processes wrote them."""
    beside = out.parent.glob(f"{_escaped(out.name)}.partial*") if out.parent.is_dir() else ()
    return sorted(path for path in beside if path.suffix == ".partial" or path.suffix[1:].isdigit())


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _read_rows(out: Path, settings: CaptionSettings) -> dict[str, dict[str, Any]]:
    """The rows that are done, by the files' names. An unfinished last line, which a killed process left, is none."""
    rows = {}
    for journal in _journals(out):
        for number, line in enumerate(journal.read_bytes().split(b"\n")[:-1], start=1):
            try:
                entry = json.loads(line)
                if number == 1:
                    begun = entry["settings"]
                else:
                    rows[entry["audio"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise CaptionError(f"{journal}, line {number}: not a row; repair or remove the file") from error
            if number > 1:
                continue
            for name, value in json.loads(json.dumps(asdict(settings))).items():
                if begun.get(name) != value:
                    raise CaptionError(
                        f"{journal}: begun with {name} {begun.get(name)!r}, now it is {value!r}; "
                        "go on with the same, remove that file, or choose another --out"
                    )
    return rows


def _append(file: Any, journal: Path, entries: list[dict[str, Any]]) -> None:
    """Add lines in one write, unbuffered, so that a kill loses no finished batch."""
    data = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise CaptionError(
            f"{journal}: cannot be written ({error.strerror}); what is there is kept, and the same command goes on"
        ) from error
