"""Reading answers: what people and models write, and that every true answer reads as the truth."""

import random

import pytest
from mullama.dataset_scripts.synthetic.questions import KINDS, SPLITS, sample_pair
from mullama.dataset_scripts.synthetic.truth import CLOSED_KINDS, FAMILY_OF, ClipTruth
from mullama.evaluation.answers import CANNOT_TELL, read_answer


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        ("instrument", "It is a violin.", "violin"),
        ("instrument", "IT IS A VIOLIN", "violin"),
        ("instrument", "A fiddle plays the tune!", "violin"),
        ("instrument", "The sax.", "saxophone"),
        ("instrument", "**Saxophones**", "saxophone"),
        ("instrument", "vocals", "choir"),
        ("instrument", "It is not a piano but a harp.", "harp"),
        ("instrument", "It isn’t a piano, it is a harp", "harp"),
        ("instrument", "Rather than a flute, a clarinet.", "clarinet"),
        ("instrument", "Neither a flute nor a clarinet: an organ.", "organ"),
        ("instrument", "No piano here. A cello.", "cello"),
        ("instrument", "A harpsichord, not a harp.", "harpsichord"),
        ("instrument", "not only a trumpet but also a trombone", "trumpet"),
        ("instrument", "It is a piano, but I cannot tell the key.", "piano"),
        ("instrument", "I cannot tell the instrument; maybe a piano.", CANNOT_TELL),
        ("instrument", "I can't say.", CANNOT_TELL),
        ("instrument", "A bass guitar.", None),
        ("instrument", "The style is folk.", None),
        ("instrument", "pianofortissimo", None),
        ("instrument", "", None),
        ("family", "woodwinds", "woodwind"),
        ("family", "It belongs to the bowed string family.", "bowed strings"),
        ("family", "Plucked string instruments.", "plucked strings"),
        ("family", "It is a trumpet.", "brass"),
        ("family", "strings", None),
        ("tempo", "quick", "fast"),
        ("tempo", "It's not fast; it's slow.", "slow"),
        ("tempo", "Not too slow, moderately fast", "moderate"),
        ("tempo", "About 120 BPM", "moderate"),
        ("tempo", "Is it fast? The music is slow, so no, it is not fast.", "slow"),
        ("instrument", "A harp?", None),
        ("bpm", "around 150 to 195 beats per minute", "fast"),
        ("bpm", "50-70", "slow"),
        ("bpm", "Slow, around 50 to 70 beats per minute.", "slow"),
        ("texture", "a single instrument", "solo"),
        ("texture", "One player, alone", "solo"),
        ("texture", "It's a duet of two players.", "duo"),
        ("texture", "Not a solo: a band.", "band"),
        ("register", "It lies deep.", "low"),
        ("loudness", "They play quietly.", "soft"),
        ("loudness", "not loud at all, soft", "soft"),
        ("style", "It sounds like Baroque music.", "baroque"),
        ("drums", "Yes, there are drums.", True),
        ("drums", "there are no drums", False),
        ("drums", "I hear drums.", True),
        ("drums", "Drums are playing", True),
        ("drums", "It is a piece without drums.", False),
        ("drums", "There isn't a drummer", False),
        ("drums", "No, but there is a bass.", False),
        ("drums", "I do not know.", CANNOT_TELL),
        ("drums", "It is a piano.", None),
        ("yes_no", "Nope.", False),
        ("yes_no", "No it is a violin", False),
        ("yes_no", "yes", True),
        ("yes_no", "Yes, no drums.", True),
        ("yes_no", "There is a piano.", True),
        ("yes_no", "There is no piano.", False),
        ("yes_no", "Note that it is folk.", None),
        ("yes_no", "I am not sure.", CANNOT_TELL),
        ("yes_no", "I hear a flute and drums, so no, there is no piano.", False),
        ("yes_no", "It is a piano, so yes, a piano plays.", True),
        ("yes_no", "I hear a flute alone, so yes, there is a piano.", True),
        ("yes_no", "It is a piano, so no, it is not a piano.", False),
        ("yes_no", "There is no voice: therefore the answer is no.", False),
        ("yes_no", "I hear no drums, so yes.", True),
        ("yes_no", "Is there a piano? I hear a flute alone, so no, there is no piano.", False),
        ("yes_no", "Is there a piano? I hear a piano, so yes, there is a piano.", True),
        ("yes_no", "Is there a piano? I hear a piano, so no, there is no piano.", False),
        ("yes_no", "Is there a piano?", None),
        ("yes_no", "A piano? No.", False),
        ("yes_no", "A piano? Yes, there is.", True),
        ("yes_no", "No, it is a harp, so yes, strings.", False),
        ("yes_no", "I hear a harp, so no piano.", False),
        ("yes_no", "I cannot tell, so no, I do not answer.", CANNOT_TELL),
        ("yes_no", "It is so nice a piano.", True),
        ("yes_no", "It was so yesterday.", None),
        ("choice", "It is a flute rather than a clarinet.", "flute"),
        ("instruments", "I hear a violin and a piano.", ["piano", "violin"]),
        ("instruments", "A trumpet with bass and drums.", ["bass", "drums", "trumpet"]),
        ("instruments", "Several violins, no drums.", ["violin"]),
        ("instruments", "Only a harp.", ["harp"]),
        ("second_instrument", "The violin is accompanied by the piano.", "piano"),
        ("second_instrument", "Nothing: it is a solo.", "none"),
        ("second_instrument", "No other instrument.", "none"),
        ("second_instrument", "More violins.", "same"),
        ("second_instrument", "Drums and bass.", "bass and drums"),
        ("second_instrument", "I cannot tell.", CANNOT_TELL),
        ("cannot_tell", "I cannot tell the key from this clip.", CANNOT_TELL),
        ("cannot_tell", "I don't know.", CANNOT_TELL),
        ("cannot_tell", "That is unknown to me", CANNOT_TELL),
        ("cannot_tell", "It is in G major.", None),
        ("describe", "A loud folk piece for solo flute.", {"loudness": "loud", "style": "folk", "texture": "solo"}),
        ("describe", "No drums, no piano.", {"drums": False}),
    ],
)
def test_reads(kind, answer, value):
    read = read_answer(kind, answer, asked="piano" if kind == "yes_no" else "")
    if kind == "describe":
        assert read.items() >= value.items()
    else:
        assert read == value


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'mode'"):
        read_answer("mode", "major")


@pytest.mark.parametrize("kind", KINDS)
def test_true_answers_read_as_the_truth(kind):
    rng = random.Random(11)
    values = {name: list(options) for name, options in CLOSED_KINDS.items()}
    for number in range(1500):
        drawn = {name: rng.choice(options) for name, options in values.items()}
        drawn["family"] = FAMILY_OF[drawn["instrument"]]
        others = [name for name in FAMILY_OF if FAMILY_OF[name] != drawn["family"]]
        accompaniment = rng.choice(others) if drawn["texture"] == "duo" else None
        instruments = [drawn["instrument"], *([accompaniment] if accompaniment else [])]
        if drawn["texture"] == "band":
            instruments += ["bass", "drums"]
        truth = ClipTruth(
            id=str(number),
            accompaniment=accompaniment,
            instruments=instruments,
            drums="drums" in instruments,
            bpm=100.0,
            piece="",
            soundfont="",
            seconds=5.0,
            **drawn,
        )
        pair = sample_pair(truth, rng, rng.choice(SPLITS), kind)
        read = read_answer(kind, pair.answer, pair.asked)
        if kind == "describe":  # an instrument tells its family too
            assert read.items() >= pair.expected.items(), pair
            assert read.keys() <= pair.expected.keys() | {"family"}, pair
        else:
            assert read == pair.expected, pair


def test_a_knowable_answer_is_never_read_as_cannot_tell():
    rng = random.Random(12)
    truth = ClipTruth(
        *("a", "flute", "woodwind", None, ["flute"], "solo", False, "high", "soft", "slow", 60.0, "folk", "", "", 5.0)
    )
    for kind in KINDS:
        read = read_answer("cannot_tell", sample_pair(truth, rng, "seen", kind).answer)
        assert (read == CANNOT_TELL) is (kind == "cannot_tell")
