"""
Music-blind baselines that need no model: what one scores without hearing anything.

most frequent answer         of the training set to the same question, or where it never asks it, of the same kind
another track's reference    to the same question; where no other track has it, any other track's to any question
three other references       three of those, of three tracks, joined: long text, which a recall rewards
"""

import random
from collections import Counter, defaultdict

from .references import Reference

CONSTANT = "most frequent answer"
OTHER_REFERENCE = "another track's reference"
THREE_REFERENCES = "three other references, joined"


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
    """`count` other tracks' references to the same question joined, filled up with any other tracks' to any."""
    rng = random.Random(seed)
    by_question: dict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        by_question[reference.question].append(reference)
    if len({reference.track for reference in references}) <= count:
        raise ValueError(f"another track's reference needs more than {count} tracks")
    answers = []
    for reference in references:
        drawn: dict[str, str] = {}  # track -> its answer
        same = [other for other in by_question[reference.question] if other.track != reference.track]
        for other in rng.sample(same, min(len(same), 4 * count)):
            if len(drawn) < count:
                drawn.setdefault(other.track, other.answer)
        while len(drawn) < count:
            other = rng.choice(references)
            if other.track != reference.track:
                drawn.setdefault(other.track, other.answer)
        answers.append(" ".join(drawn.values()))
    return answers
