"""What needs no music: each baseline is as blind as it says."""

import pytest
from mullama.evaluation.baselines import most_frequent_answers, other_references
from mullama.evaluation.references import Reference


def test_other_references_are_others(real_references):
    said_of = {}
    for reference in real_references:
        said_of.setdefault(reference.answer, set()).add(reference.track)
    one = other_references(real_references, 1, seed=0)
    assert all(said_of[text] - {reference.track} for text, reference in zip(one, real_references, strict=True))
    by_question = {}
    for reference in real_references:
        by_question.setdefault(reference.question, {}).setdefault(reference.answer, set()).add(reference.track)
    for text, reference in zip(one, real_references, strict=True):
        others = set().union(*by_question[reference.question].values()) - {reference.track}
        if others:  # where anybody else was asked the same, it is an answer to that
            assert by_question[reference.question][text] - {reference.track}
    assert other_references(real_references, 1, seed=0) == one != other_references(real_references, 1, seed=1)
    three = other_references(real_references, 3, seed=0)
    assert sum(map(len, three)) > 2.5 * sum(map(len, one))
    with pytest.raises(ValueError, match="more than 3 tracks"):
        other_references(real_references[:27], 3, seed=0)  # three tracks


def make(track: str, question: str, answer: str, kind: str = "open") -> Reference:
    return Reference(track, 0, question, answer, kind)


def test_most_frequent_answers_of_a_training_set():
    training = [
        make("a", "Fast?", "Yes."),
        make("b", "Fast?", "No."),
        make("c", "Fast?", "No."),
        make("d", "Genre?", "Rock.", "genre"),
        *(make("e", "Loud?", "Maybe.") for _ in range(4)),
    ]
    asked = [make("x", "Fast?", "Yes."), make("x", "Which genre?", "Jazz.", "genre"), make("x", "Sad?", "No.")]
    assert most_frequent_answers(asked, training) == ["No.", "Rock.", "Maybe."]


def test_without_a_training_set_the_track_itself_is_not_counted():
    references = [make("a", "Fast?", "Yes."), make("b", "Fast?", "No."), make("c", "Genre?", "Rock.")]
    assert most_frequent_answers(references, None) == ["No.", "Yes.", "Yes."]
