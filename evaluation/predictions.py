"""
Answers that somebody gave, read from a file and laid beside the references; what does not fit is counted, by name.

Forms: JSON lines of `{"id" or "audio_name", "question", "answer" or "prediction"}` - a `predictions.jsonl` of ours
also tells what was `heard` - or the original's JSON, audio -> question -> answer.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .references import Reference

OWN, OTHER_AUDIO, SILENCE, TEXT_ONLY = "own audio", "another track's audio", "silence", "text only"
HEARD = (OWN, OTHER_AUDIO, SILENCE, TEXT_ONLY)
REPLACED = "\ufffd"
EXAMPLES = 5  # named in results, of each problem


@dataclass
class Problems:
    """What was wrong with a file of answers: how often, and the first few by name."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str, example: str) -> None:
        self.counts[problem] = self.counts.get(problem, 0) + 1
        named = self.examples.setdefault(problem, [])
        if len(named) < EXAMPLES:
            named.append(example)

    def to_dict(self) -> dict:
        """Problem -> its count and examples, ready for JSON."""
        return {name: {"count": count, "examples": self.examples[name]} for name, count in self.counts.items()}


@dataclass(frozen=True)
class Answer:
    """What a system answered: the standard protocol's answer, and the legacy one's, of every second 60 s joined."""

    standard: str
    legacy: str


@dataclass
class Predictions:
    """Answers by what was heard, each in the references' order; "" where there is none."""

    answers: dict[str, list[Answer]]
    problems: Problems


def read_predictions(path: str | Path, references: list[Reference]) -> Predictions:
    """
    Read answers and lay them beside the references.

    Unknown tracks and questions, second answers to a question, missing and empty answers, and text that is not UTF-8
    (or, in a file that is, characters that a model made of broken bytes) are counted; missing and empty answers score
    0, of two answers the first counts.

    Raises:
        ValueError or OSError: no such file, one of neither form, or one that answers none of the questions.
    """
    path, problems = Path(path), Problems()
    broken = "character that is no text" if _is_utf_8(path) else "not UTF-8"
    places = {(reference.track, _plain(reference.question)): [] for reference in references}
    for place, reference in enumerate(references):
        places[reference.track, _plain(reference.question)].append(place)
    tracks = {reference.track for reference in references}
    numbers = {(reference.track, reference.number): place for place, reference in enumerate(references)}
    found: dict[str, dict[int, Answer]] = {}
    for entry in _entries(path, problems):
        track = entry["id"] if entry["id"] in tracks else PurePosixPath(entry["id"]).stem
        named = f"{entry['id']}: {entry['question']}"
        if track not in tracks:
            problems.add("unknown track", named)
            continue
        known = found.setdefault(entry["heard"], {})
        candidates = places.get((track, _plain(entry["question"])), [])
        if (own := numbers.get((track, entry["number"]))) in candidates:
            candidates = [own]
        if not candidates:
            problems.add("unknown question", named)
            continue
        free = [place for place in candidates if place not in known]
        if not free:
            problems.add("duplicate answer", named)
            continue
        if REPLACED in entry["answer"].standard:
            problems.add(broken, named)
        known[free[0]] = entry["answer"]
    if not any(found.values()):
        raise ValueError(f"{path}: answers none of the {len(references)} questions; does it belong to this data?")
    for heard, known in found.items():
        label = "" if heard == OWN else f" ({heard})"
        for place, reference in enumerate(references):
            named = f"{reference.track}: {reference.question}"
            if place not in known:
                problems.add(f"missing answer{label}", named)
            elif not known[place].standard:
                problems.add(f"empty answer{label}", named)
    none = Answer("", "")
    answers = {heard: [known.get(place, none) for place in range(len(references))] for heard, known in found.items()}
    return Predictions(answers, problems)


def references_within(path: str | Path) -> list[Reference]:
    """
    The questions and true answers that a `predictions.jsonl` of ours holds itself.

    Raises ValueError where a line holds none.
    """
    path, found = Path(path), {}
    for where, entry in _lines(path, _text(path), Problems()):
        fields = ("id", "question", "reference")
        if not isinstance(entry, dict) or not all(isinstance(entry.get(field), str) for field in fields):
            raise ValueError(f"{where}: holds no `reference`; give --references, which holds the true answers")
        track, number = entry["id"], entry.get("number", len(found))
        found.setdefault(
            (track, number),
            Reference(track, number, entry["question"], entry["reference"], entry.get("kind", "open")),
        )
    if not found:
        raise ValueError(f"{path}: holds no answer")
    return list(found.values())


def _plain(question: str) -> str:
    return " ".join(question.split()).casefold()


def _entries(path: Path, problems: Problems) -> Iterator[dict]:
    """Each answer as `{"id", "number", "question", "heard", "answer"}`."""
    text = _text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        content = None
    if isinstance(content, dict) and "question" not in content:
        for track, answers in content.items():
            if not isinstance(answers, dict):
                raise ValueError(f"{path}: {track!r} does not hold question -> answer, as the original's results do")
            for question, answer in answers.items():
                yield from _entry({"id": track, "question": question, "answer": answer}, problems, f"{path}: {track}")
        return
    for where, entry in _lines(path, text, problems):
        yield from _entry(entry, problems, where)


def _is_utf_8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return False
    return True


def _text(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 become U+FFFD, by which they are known again."""
    return path.read_bytes().decode("utf-8-sig", errors="replace")


def _lines(path: Path, text: str, problems: Problems) -> Iterator[tuple[str, object]]:
    """Where an entry stands and the entry, of JSON lines or of one JSON list."""
    if text.lstrip().startswith("["):
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON ({error})") from error
        yield from ((f"{path}, entry {number}", entry) for number, entry in enumerate(content))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}, line {number}", json.loads(line)
        except json.JSONDecodeError:
            problems.add("line that is not JSON", f"line {number}: {line[:60]}")


def _entry(entry: object, problems: Problems, where: str) -> Iterator[dict]:
    if not isinstance(entry, dict):
        problems.add("entry without id and question", where)
        return
    track = entry.get("id", entry.get("audio_name"))
    question, answer = entry.get("question"), entry.get("answer", entry.get("prediction"))
    if not isinstance(track, str) or not isinstance(question, str):
        problems.add("entry without id and question", where)
        return
    if not isinstance(answer, str):
        if answer is not None:
            problems.add("answer that is not text", f"{track}: {question}")
        answer = ""
    legacy = entry.get("legacy_answer")
    yield {
        "id": track,
        "number": entry.get("number"),
        "question": question,
        "heard": entry.get("heard", OWN),
        "answer": Answer(answer.strip(), legacy.strip() if isinstance(legacy, str) else answer.strip()),
    }
