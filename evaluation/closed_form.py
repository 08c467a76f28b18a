"""
Questions whose answers are labels: which kinds are, and the label that an answer in words commits to.

The synthesised set's kinds (`instrument`, `tempo`, `drums`, ...) are read by `answers.read_answer`, forgiving wording.
Of other datasets: `key`, `metre`, `tempo` or `bpm` with a number, `multiple_choice` whose options stand lettered in
the question, as MuChoMusic and MMAU-Music ask ("(A) piano (B) flute"), and `genre` or `instrument`, whose labels are
the references themselves. "" is an answer that commits to none.
"""

import re
from collections.abc import Callable

from ..dataset_scripts.synthetic.questions import KINDS
from .answers import read_answer
from .references import Reference

OPEN_KINDS = ("describe", "template", "open", "caption")
NAMED_KINDS = ("genre", "instrument")
MAX_LABELS = 100  # more different references, or longer ones, are texts and not labels
MAX_LABEL_WORDS = 5
OPTION = re.compile(r"\(?\b([A-H])[).:]\s+(.+?)(?=[\s,;]+\(?\b[A-H][).:]\s|\s*$)", re.DOTALL)
LETTER = re.compile(
    r"^\W*(?:the )?(?:correct )?(?:answer|option|choice)?(?: is)?[\s:]*\(?([A-H])(?:[).:,]|\s*$)", re.I
)
KEY = re.compile(r"\b([A-G])(?:[ -]?(#|♯|sharp|b|♭|flat))?[ -]?(major|minor|maj|min|m)?(?![\w#♯♭])", re.I)
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\d)")
METRE = re.compile(r"\b(\d{1,2}) ?(?:/|-|over|by) ?(\d{1,2})\b")
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2)
}
METRE_NAMES = {"waltz": "3/4", "common time": "4/4", "cut time": "2/2", "alla breve": "2/2"}

Reader = Callable[[str, str], str]  # (answer, question) -> label


def closed_readers(references: list[Reference]) -> dict[str, tuple[str, Reader]]:
    """
    The kinds of a dataset that are closed: kind -> (what scores it: `closed`, `tempo` or `key`; its reader).

    A kind is closed if its name is one of those that are, and every reference of it can be read.
    """
    closed = {}
    for kind in dict.fromkeys(reference.kind for reference in references):
        asked = [reference for reference in references if reference.kind == kind]
        for scored_by, reader in _candidates(kind, asked):
            if all(reader(reference.answer, reference.question) for reference in asked):
                closed[kind] = (scored_by, reader)
                break
    return closed


def _candidates(kind: str, asked: list[Reference]) -> list[tuple[str, Reader]]:
    """Readers to try, in this order."""
    if kind in OPEN_KINDS:
        return []
    candidates: list[tuple[str, Reader]] = []
    if kind in ("tempo", "bpm"):
        candidates.append(("tempo", read_tempo))
    if kind in KINDS:
        candidates.append(("closed", lambda answer, question: _label(read_answer(kind, answer))))
    if kind in ("key", "metre", "meter", "multiple_choice"):
        reader = {"key": read_key, "multiple_choice": read_choice}.get(kind, read_metre)
        candidates.append(("key" if kind == "key" else "closed", reader))
    labels = sorted({_plain(reference.answer) for reference in asked})
    short = all(len(label.split()) <= MAX_LABEL_WORDS for label in labels)
    if kind in NAMED_KINDS and short and len(labels) <= MAX_LABELS:
        candidates.append(("closed", lambda answer, question: read_label(answer, labels)))
    return candidates


def _label(value: str | bool | list[str] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ", ".join(value)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w&'#/-]+", text.lower()))


def read_label(answer: str, labels: list[str]) -> str:
    """The first of `labels` that an answer names; of two that begin there the longer one."""
    text = _plain(answer)
    found = [
        (match.start(), -len(label), label)
        for label in labels
        if (match := re.search(rf"(?<![\w-]){re.escape(label)}(?![\w-])", text))
    ]
    return min(found)[2] if found else ""


def options_of(question: str) -> dict[str, str]:
    """The lettered options of a multiple-choice question: letter -> text."""
    options = {letter: " ".join(text.split()).rstrip(" .,;") for letter, text in OPTION.findall(question)}
    return options if list(options) == list("ABCDEFGH"[: len(options)]) and len(options) > 1 else {}


def read_choice(answer: str, question: str) -> str:
    """The letter of the option that an answer gives: by its letter, or by its words if no other's are there."""
    options = options_of(question)
    if (match := LETTER.match(answer)) and match[1].upper() in options:
        return match[1].upper()
    text = _plain(answer)
    named = [
        letter
        for letter, option in options.items()
        if re.search(rf"(?<![\w-]){re.escape(_plain(option))}(?![\w-])", text)
    ]
    # An option may be part of another one ("guitar", "bass guitar"): the longest speaks for all that it holds.
    named = [
        letter
        for letter in named
        if not any(other != letter and _plain(options[letter]) in _plain(options[other]) for other in named)
    ]
    return named[0] if len(named) == 1 else ""


def read_tempo(answer: str, question: str) -> str:
    """The one number of an answer about beats per minute; "" where there is none or there are several."""
    numbers = NUMBER.findall(answer)
    return numbers[0] if len(numbers) == 1 and float(numbers[0]) > 0 else ""


def read_key(answer: str, question: str) -> str:
    """A key as mir_eval writes it, "C# minor"; major where no mode is told."""
    # A lone "a" or "A" opens many sentences: a note's name counts with a mode, or where it is all that is said.
    whole = answer.strip(" .!")
    for match in KEY.finditer(answer):
        note, accidental, mode = match.groups()
        if not mode and match[0].strip() != whole:
            continue
        sign = (
            {"#": "#", "♯": "#", "sharp": "#", "b": "b", "♭": "b", "flat": "b"}[accidental.lower()]
            if accidental
            else ""
        )
        minor = bool(mode) and (mode.lower().startswith("min") or mode == "m")
        return f"{note.upper()}{sign} {'minor' if minor else 'major'}"
    return ""


def read_metre(answer: str, question: str) -> str:
    """A metre such as "3/4", from figures, words or its dance."""
    text = answer.lower()
    text = re.sub(r"[a-z]+", lambda word: NUMBER_WORDS.get(word[0], word[0]), text)
    text = re.sub(r"\b(\d+) (\d+)\b", r"\1/\2", text)
    found = [(match.start(), f"{match[1]}/{match[2]}") for match in METRE.finditer(text)]
    found += [(text.index(name), metre) for name, metre in METRE_NAMES.items() if name in text]
    return min(found)[1] if found else ""
