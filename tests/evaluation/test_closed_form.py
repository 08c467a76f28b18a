"""Labels read from answers in words, and which kinds of question have them."""

import random

import pytest
from mullama.dataset_scripts.synthetic.questions import KINDS, sample_pair
from mullama.evaluation.closed_form import (
    closed_readers,
    options_of,
    read_choice,
    read_key,
    read_label,
    read_metre,
    read_tempo,
)
from mullama.evaluation.references import Reference

MUCHOMUSIC = "Which instrument leads? Options: (A) guitar (B) bass guitar, (C) a choir. (D) none of these"
MMAU = "What is the metre?\nA. three four\nB. four four\nC. six eight"


def test_multiple_choice():
    assert options_of(MUCHOMUSIC) == {"A": "guitar", "B": "bass guitar", "C": "a choir", "D": "none of these"}
    assert options_of(MMAU) == {"A": "three four", "B": "four four", "C": "six eight"}
    assert options_of("Is it a piano?") == {}
    for answer, letter in {
        "B": "B",
        "(C)": "C",
        "c.": "C",
        "The answer is (D).": "D",
        "Answer: A": "A",
        "It is a bass guitar.": "B",
        "a guitar": "A",
        "A guitar or a choir": "",
        "I hear drums.": "",
        "E": "",
        "": "",
    }.items():
        assert read_choice(answer, MUCHOMUSIC) == letter, answer


@pytest.mark.parametrize(
    ("reader", "answer", "label"),
    [
        (read_tempo, "The tempo is about 120.5 beats per minute.", "120.5"),
        (read_tempo, "90 to 100 BPM", ""),
        (read_tempo, "fast", ""),
        (read_key, "The key is C sharp minor.", "C# minor"),
        (read_key, "A tune in B-flat major", "Bb major"),
        (read_key, "F#m", "F# minor"),
        (read_key, "C", "C major"),
        (read_key, "A happy song", ""),
        (read_metre, "It is in 6/8.", "6/8"),
        (read_metre, "three-four time", "3/4"),
        (read_metre, "A waltz.", "3/4"),
        (read_metre, "It swings.", ""),
    ],
)
def test_readers(reader, answer, label):
    assert reader(answer, "") == label


def test_labels_of_the_references():
    labels = ["hip hop", "pop", "pop rock", "r&b"]
    assert read_label("This is Pop Rock, with pop choruses.", labels) == "pop rock"
    assert read_label("An R&B ballad", labels) == "r&b"
    assert read_label("popular", labels) == ""


def test_which_kinds_are_closed(truths_of):
    rng = random.Random(0)
    synthetic = [
        Reference(truth.id, number, pair.question, pair.answer, pair.kind)
        for truth in truths_of(30)
        for number, pair in enumerate(sample_pair(truth, rng, "seen", kind) for kind in KINDS)
    ]
    assert set(closed_readers(synthetic)) == set(KINDS) - {"describe"}
    others = [
        Reference("a", 0, "Tempo?", "120", "tempo"),
        Reference("a", 1, "Key?", "A minor", "key"),
        Reference("a", 2, "Genre?", "Rock", "genre"),
        Reference("a", 3, MMAU, "(B) four four", "multiple_choice"),
        Reference("a", 4, "Describe the audio", "A rock song.", "template"),
        Reference("a", 5, "What metre?", "I do not know.", "metre"),
    ]
    readers = closed_readers(others)
    assert {kind: scored_by for kind, (scored_by, _) in readers.items()} == {
        "tempo": "tempo",
        "key": "key",
        "genre": "closed",
        "multiple_choice": "closed",
    }
    assert readers["genre"][1]("It is rock music.", "Genre?") == "rock"
