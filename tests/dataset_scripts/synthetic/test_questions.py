"""Questions about synthesised clips: their truth, their balance, and that held-out wordings are held out."""

import collections
import itertools
import random
import re

import pytest
from mullama.dataset_scripts.synthetic import wordings
from mullama.dataset_scripts.synthetic.questions import (
    CHOICE,
    DESCRIBE_FORMS,
    KINDS,
    SPLITS,
    UNKNOWABLE_TOPICS,
    YES_NO_TOPICS,
    ask_yes_no,
    sample_conversation,
    sample_pair,
    yes_no_values,
)
from mullama.dataset_scripts.synthetic.truth import (
    CLOSED_KINDS,
    FAMILIES,
    FAMILY_OF,
    INSTRUMENTS,
    LOUDNESSES,
    POLYPHONIC,
    REGISTERS,
    STYLES,
    TEMPI,
    TEMPO_BPM,
    TEXTURES,
    ClipTruth,
)


def random_truth(rng: random.Random) -> ClipTruth:
    """A truth as the renderer makes them, from attributes drawn at random."""
    instrument, texture, tempo = rng.choice(INSTRUMENTS), rng.choice(TEXTURES), rng.choice(TEMPI)
    if texture == "ensemble" and instrument in POLYPHONIC:
        texture = "solo"
    accompaniment, instruments = None, [instrument]
    if texture == "duo":
        accompaniment = rng.choice([name for name in INSTRUMENTS if FAMILY_OF[name] != FAMILY_OF[instrument]])
        instruments.append(accompaniment)
    if texture == "band":
        instruments += ["bass", "drums"]
    return ClipTruth(
        id=f"clip-{rng.random():.6f}",
        instrument=instrument,
        family=FAMILY_OF[instrument],
        accompaniment=accompaniment,
        instruments=instruments,
        texture=texture,
        drums=texture == "band",
        register=rng.choice(REGISTERS),
        loudness=rng.choice(LOUDNESSES),
        tempo=tempo,
        bpm=round(rng.uniform(*TEMPO_BPM[tempo]), 1),
        style=rng.choice(STYLES),
        piece="piece",
        soundfont="fluid",
        seconds=5.0,
    )


def expansions(template: str) -> list[str]:
    """Every sentence of a template, its slots left as they are."""
    parts = CHOICE.split(template)
    options = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*options)]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\{\w+\}|[\w'-]+", text.lower()))


def knowable(source: dict[str, tuple[str, ...]], yes_no: dict[str, tuple[str, ...]], column: int):
    yield from source.items()
    yield from ((f"yes_no {topic}", lines) for topic, lines in yes_no.items())
    yield from ((f"cannot_tell {topic}", row[column]) for topic, row in wordings.CANNOT_TELL.items())
    yield "unknown genre", wordings.UNKNOWN_GENRE_WORDINGS[column - 1]
    yield "off topic", wordings.OFF_TOPIC_TRAINING if column == 1 else wordings.OFF_TOPIC_HELD_OUT


TRAINING = dict(knowable(wordings.TRAINING, wordings.YES_NO_TRAINING, 1))
HELD_OUT = dict(knowable(wordings.HELD_OUT, wordings.YES_NO_HELD_OUT, 2))


def test_every_kind_has_many_wordings():
    assert TRAINING.keys() == HELD_OUT.keys()
    for kind in (*CLOSED_KINDS, "instruments", "second_instrument", "bpm", "drums", "choice"):
        assert len(set(TRAINING[kind])) >= 30, kind
        assert len(set(HELD_OUT[kind])) >= 8, kind
    for kind in ("describe", "yes_no", "cannot_tell"):
        assert sum(len(set(lines)) for name, lines in TRAINING.items() if name.startswith(kind)) >= 60, kind
        assert sum(len(set(lines)) for name, lines in HELD_OUT.items() if name.startswith(kind)) >= 16, kind
    surfaces = {kind: sum(len(expansions(line)) for line in lines) for kind, lines in TRAINING.items()}
    assert all(surfaces[kind] >= 100 for kind in CLOSED_KINDS), surfaces


def test_held_out_wordings_are_not_near_duplicates_of_training_ones():
    training = {words(text) for lines in TRAINING.values() for line in lines for text in expansions(line)}
    for kind, lines in HELD_OUT.items():
        for text in (text for line in lines for text in expansions(line)):
            held_out = words(text)
            nearest = max(training, key=lambda known: len(known & held_out) / len(known | held_out))
            assert len(nearest & held_out) / len(nearest | held_out) < 0.8, (kind, text, sorted(nearest))


def test_held_out_wordings_use_words_that_trained():
    training = set().union(
        *(words(text) for lines in TRAINING.values() for line in lines for text in expansions(line))
    )
    for kind, lines in HELD_OUT.items():
        for line in lines:
            assert words(line) <= training, (kind, line, words(line) - training)


def test_no_wording_is_asked_of_two_kinds():
    owners = collections.defaultdict(set)
    for kind, lines in TRAINING.items():
        for text in (text for line in lines for text in expansions(line)):
            owners[text.lower().rstrip("?.! ")].add(kind)
    # A bare value may be asked of any topic; an instrument's name and a choir's voices differ once filled in.
    shared = {text: kinds for text, kinds in owners.items() if len(kinds) > 1 and "{value}" not in text}
    assert not shared


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_clean_short_and_repeatable(kind, split):
    rng = random.Random(1)
    for _ in range(300):
        truth = random_truth(rng)
        state = rng.getstate()
        pair = sample_pair(truth, rng, split, kind)
        rng.setstate(state)
        assert sample_pair(truth, rng, split, kind) == pair
        assert pair.kind == kind and pair.question.strip() and pair.answer
        assert not re.search(r"[\[\]{}|]", pair.question + pair.answer), pair
        assert "  " not in pair.question and " ?" not in pair.question.replace(" ?", "", pair.topic == "foreign"), pair
        assert len(pair.answer.split()) <= (60 if kind == "describe" else 25), pair
        if isinstance(pair.expected, str) and pair.expected not in ("none", "same"):
            assert pair.expected in pair.answer.lower(), pair


def test_yes_and_no_are_equally_often_true():
    rng = random.Random(2)
    pairs = [sample_pair(random_truth(rng), rng, "train", "yes_no") for _ in range(30_000)]
    assert sum(pair.expected for pair in pairs) / len(pairs) == pytest.approx(0.5, abs=0.02)
    # Each topic only roughly: these truths are not distributed as the rendered ones, which VALUE_SHARES are of.
    for topic in YES_NO_TOPICS:
        truths = [pair.expected for pair in pairs if pair.topic == topic]
        assert sum(truths) / len(truths) == pytest.approx(0.5, abs=0.12), topic


def test_yes_no_truth_follows_what_sounds():
    rng = random.Random(3)
    band = next(truth for truth in iter(lambda: random_truth(rng), None) if truth.texture == "band")
    assert ask_yes_no(band, "drums", "drums", rng).expected is True
    assert re.match(
        f"Is there an? {band.instrument}. (I hear|It is) an? {band.instrument} .*, so yes, ",
        ask_yes_no(band, "instrument", band.instrument, rng).answer,
    )
    assert "plucked strings" not in yes_no_values(band, "family")[1]  # the bass is one
    duo = next(truth for truth in iter(lambda: random_truth(rng), None) if truth.texture == "duo")
    assert {duo.instrument, duo.accompaniment} == set(yes_no_values(duo, "instrument")[0])
    assert ask_yes_no(duo, "bass", "bass", rng).expected is False


def test_cannot_tell_covers_every_topic_and_says_so():
    rng = random.Random(4)
    for topic in UNKNOWABLE_TOPICS:
        for split in SPLITS:
            pair = sample_pair(random_truth(rng), rng, split, "cannot_tell", topic)
            assert pair.topic == topic and "cannot tell" in pair.answer.lower()
    scripts = {re.sub(r"[\W\d_a-zA-Z]", "", text)[:1] for text in wordings.FOREIGN_TRAINING}
    assert len(scripts) > 30  # first letters beyond ASCII, of a dozen scripts


def test_describe_tells_what_it_promises():
    rng = random.Random(5)
    for form in DESCRIBE_FORMS:
        pair = sample_pair(random_truth(rng), rng, "seen", "describe", form)
        assert len(pair.expected) >= 5 and pair.topic == form
        for value in pair.expected.values():
            assert isinstance(value, bool) or value in pair.answer
    asked = {sample_pair(random_truth(rng), rng, "seen", "describe").question for _ in range(2000)}
    fixed = ("Describe the audio", "Describe the audio in detail", "What do you hear in the audio?")
    assert {*fixed, "What can be inferred from the audio?"} <= asked


def test_unknown_split_and_kind_are_refused():
    rng = random.Random(6)
    with pytest.raises(ValueError, match="'test'"):
        sample_pair(random_truth(rng), rng, "test")
    with pytest.raises(ValueError, match="'mode'"):
        sample_pair(random_truth(rng), rng, "train", "mode")


def test_conversation_asks_different_things_of_one_clip():
    rng = random.Random(7)
    for _ in range(50):
        turns = sample_conversation(random_truth(rng), rng, turns=3)
        assert len({(turn.kind, turn.topic, turn.asked) for turn in turns}) == 3


def test_stray_words_are_put_between_the_words_of_the_wordings():
    rng = random.Random(8)
    truth = random_truth(rng)
    asked = [sample_pair(truth, rng, "train", "instrument").question.lower() for _ in range(400)]
    strayed = sum(bool({*wordings.STRAY_WORDS} & {*question.strip("?.").split()}) for question in asked)
    assert 20 < strayed < 200
    assert not any(
        word in wordings.STRAY_WORDS for word in (*INSTRUMENTS, *FAMILIES, *TEMPO_BPM, *CLOSED_KINDS["style"])
    )
