"""
Let a system answer a dataset's questions: about each track's own audio, another track's, silence, and no audio at all.

Every process (`accelerate launch`) answers for its share of the tracks and appends to a file of its own, so that a run
that was killed goes on where it was. The last one to finish joins them to `predictions.jsonl`.

The standard protocol hears a track whole. The legacy one cuts it in chunks of 60 s, asks every second of them and
joins the answers by a space; up to 60 s both are the same.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from accelerate import PartialState
from tqdm import tqdm

from ..processing.audio_io import SAMPLING_RATE
from .predictions import HEARD, OTHER_AUDIO, OWN, SILENCE, TEXT_ONLY
from .references import Clips, Reference
from .systems import System

LEGACY_CHUNK_SECONDS = 60
MIN_CHUNK_SECONDS = 1  # a shorter rest is no chunk
SILENCE_SECONDS = 1  # as MU-LLaMA was trained on texts without music
QUESTIONS_AT_ONCE = 256


def answer_dataset(
    system: System,
    references: list[Reference],
    clips: Clips,
    out: Path,
    state: PartialState,
    settings: dict,
    seed: int,
    max_new_tokens: int,
) -> Path:
    """
    Ask everything, and write `OUT/predictions.jsonl`, or go on with what an earlier run left there.

    Args:
        system: Who answers.
        references: Questions of tracks that `clips` has.
        state: Which process this is.
        settings (`dict`): What the answers depend on; a folder that was begun with others is refused.
        seed (`int`): Which other track's audio a track gets.
        max_new_tokens (`int`): The longest answer, or the longest of one chunk.

    Raises:
        ValueError or OSError: other settings, audio that cannot be read, a system that fails; what is done is kept.
    """
    path = out / "predictions.jsonl"
    if state.is_main_process:
        _check_settings(out, settings)
    state.wait_for_everyone()
    if path.is_file():
        return path
    asked: dict[str, list[Reference]] = {}
    for reference in references:
        asked.setdefault(reference.track, []).append(reference)
    order = random.Random(seed).sample(sorted(asked), len(asked))
    other = dict(zip(order, order[1:] + order[:1], strict=True))
    conditions = [heard for heard in HEARD if heard != OTHER_AUDIO or len(order) > 1]
    done = {(line["heard"], line["id"], line["number"]) for line in _partial_lines(out)}
    left = [
        track
        for track in order
        if any((heard, track, r.number) not in done for heard in conditions for r in asked[track])
    ]
    state.wait_for_everyone()  # until all have read what is done
    with state.split_between_processes(left) as own_share:
        tracks = iter(own_share)
        with (
            _open_to_append(out / f"predictions.partial-{state.process_index}.jsonl") as file,
            tqdm(
                total=len(own_share), unit="track", desc="answering", disable=None if state.is_main_process else True
            ) as bar,
        ):
            questions = max(len(asked[track]) for track in own_share) if own_share else 1
            while group := list(islice(tracks, max(1, QUESTIONS_AT_ONCE // (questions * len(conditions))))):
                todo = [
                    (heard, reference)
                    for track in group
                    for heard in conditions
                    for reference in asked[track]
                    if (heard, track, reference.number) not in done
                ]
                for line in _answer(system, todo, clips, other, max_new_tokens):
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                bar.update(len(group))
    state.wait_for_everyone()
    if state.is_main_process:
        _join(out, references, conditions, path)
    state.wait_for_everyone()
    return path


def model_digest(model: str) -> str:
    """A digest of a local model's files by name, size and time of change; of a Hub id or URL, of its name alone."""
    digest = hashlib.blake2b(model.encode(), digest_size=8)
    folder = Path(model)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file():
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _check_settings(out: Path, settings: dict) -> None:
    path = out / "settings.json"
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out}: is there and holds no evaluation; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        partial.rename(path)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    if differing := [name for name in settings if begun.get(name) != settings[name]]:
        name = differing[0]
        raise ValueError(
            f"{out}: was begun with another {name.replace('_', ' ')} ({begun.get(name)}, now {settings[name]}); "
            "choose another --out, or remove it"
        )


def _partial_lines(out: Path) -> Iterator[dict]:
    """The answers of all partial files; a line that a killed process left torn is none."""
    for path in sorted(out.glob("predictions.partial-*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def _open_to_append(path: Path):
    torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    file = path.open("a", encoding="utf-8")
    if torn:
        file.write("\n")
    return file


def _answer(
    system: System,
    todo: list[tuple[str, Reference]],
    clips: Clips,
    other: dict[str, str],
    max_new_tokens: int,
) -> Iterator[dict]:
    """A line of each question that is to be asked."""
    silence = np.zeros(SILENCE_SECONDS * SAMPLING_RATE, dtype=np.float32)
    sounds: dict[str, np.ndarray] = {}  # track -> its samples, of this group's only

    def hear(heard: str, track: str) -> np.ndarray | None:
        if heard in (SILENCE, TEXT_ONLY):
            return silence if heard == SILENCE else None
        track = track if heard == OWN else other[track]
        if track not in sounds:
            sounds[track] = clips.audio(track)
        return sounds[track]

    audios: list[np.ndarray | None] = []
    questions: list[str] = []
    parts: list[int] = []  # of each question: how often it is asked of a chunk
    for heard, reference in todo:
        audio = hear(heard, reference.track)
        chunks = [] if audio is None else legacy_chunks(audio)
        audios += [audio, *chunks]
        questions += [reference.question] * (1 + len(chunks))
        parts.append(len(chunks))
    answers = iter(system.answer(audios, questions, max_new_tokens))
    for (heard, reference), count in zip(todo, parts, strict=True):
        line = {
            "id": reference.track,
            "number": reference.number,
            "heard": heard,
            "kind": reference.kind,
            "question": reference.question,
            "reference": reference.answer,
            "answer": next(answers),
        }
        if count:
            line["legacy_answer"] = " ".join(filter(None, islice(answers, count)))
        yield line


def legacy_chunks(audio: np.ndarray) -> list[np.ndarray]:
    """Every second chunk of 60 s, from the first on; none of an audio that is a single chunk."""
    length = LEGACY_CHUNK_SECONDS * SAMPLING_RATE
    if len(audio) < length + MIN_CHUNK_SECONDS * SAMPLING_RATE:
        return []
    starts = range(0, len(audio) - MIN_CHUNK_SECONDS * SAMPLING_RATE + 1, 2 * length)
    return [audio[start : start + length] for start in starts]


def _join(out: Path, references: list[Reference], conditions: list[str], path: Path) -> None:
    lines = {(line["heard"], line["id"], line["number"]): line for line in _partial_lines(out)}
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for heard in conditions:
            for reference in references:
                line = lines[heard, reference.track, reference.number]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial.rename(path)
    for part in out.glob("predictions.partial-*.jsonl"):
        part.unlink()
