"""
Music-blind baselines that need no model: what one scores without hearing anything.

most frequent answer         of the training set to the same question, or where it never asks it, of the same kind
another track's reference    to the same question; where no other track has it, to another question of its kind if the
                             kind tells what is asked (so not of MusicQA's `open`), else to any question
three other references       three of those, of three tracks, joined: long text, which a recall rewards
"""

import random
from collections import Counter, defaultdict

from .references import Reference

CONSTANT = "most frequent answer"
OTHER_REFERENCE = "another track's reference"
THREE_REFERENCES = "three other references, joined"
UNTOLD_KINDS = ("open",)  # of all sorts of questions


def most_frequent_answers(references: list[Reference], training: list[Reference] | None) -> list[str]:
    """
    The most frequent training answer to each question; of equally frequent ones the first in the training set.

    Without a training set the references themselves are counted, each time without the track that is asked about.
    """
    counted = references if training is None else training
    by_question: dict[str, Counter] = defaultdict(Counter)
    by_kind: dict[str, Counter] = defaultdict(Counter)
    for reference in counted:
        by_question[reference.question][reference.answer] += 1
        by_kind[reference.kind][reference.answer] += 1
    overall = sum(by_kind.values(), Counter())
    own: dict[str, list[Reference]] = defaultdict(list)
    for reference in references if training is None else ():
        own[reference.track].append(reference)
    answers = []
    for reference in references:
        held_out = own[reference.track]
        asked = Counter(other.answer for other in held_out if other.question == reference.question)
        told = Counter(other.answer for other in held_out if other.kind == reference.kind)
        answers.append(
            _most_frequent(by_question.get(reference.question, Counter()), asked)
            or _most_frequent(by_kind.get(reference.kind, Counter()), told)
            or _most_frequent(overall, told)
        )
    return answers


def _most_frequent(counts: Counter, held_out: Counter) -> str:
    """The most frequent answer when `held_out` is not counted; "" if there is none."""
    best, most = "", 0
    for answer, count in counts.items():
        left = count - held_out[answer]
        if left > most:
            best, most = answer, left
    return best


def other_references(references: list[Reference], count: int, seed: int) -> list[str]:
    """
    To each question the references of `count` other tracks, joined by spaces.

    Raises ValueError where there are not more than `count` tracks.
    """
    rng = random.Random(seed)
    by_question: dict[str, list[Reference]] = defaultdict(list)
    by_kind: dict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        by_question[reference.question].append(reference)
        if reference.kind not in UNTOLD_KINDS:
            by_kind[reference.kind].append(reference)
    if len({reference.track for reference in references}) <= count:
        raise ValueError(f"another track's reference needs more than {count} tracks")
    answers = []
    for reference in references:
        drawn: dict[str, str] = {}  # track -> its answer
        for pool in (by_question[reference.question], by_kind[reference.kind], references):
            others = {other.track for other in pool} - {reference.track, *drawn}
            wanted = len(drawn) + min(len(others), count - len(drawn))
            while len(drawn) < wanted:
                other = rng.choice(pool)
                if other.track != reference.track:
                    drawn.setdefault(other.track, other.answer)
        answers.append(" ".join(drawn.values()))
    return answers
