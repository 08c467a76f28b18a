"""Questions about a synthesised clip and their true answers, drawn at random from many wordings.

`sample_pair(truth, rng)` draws one pair. A pair's kind says what is asked; its topic says more where a kind has
several. Splits: "train" is what trains, with the slips of people who type; "seen" the training wordings clean;
"unseen" the wordings that never train.
"""

import random
import re
from dataclasses import dataclass

from .truth import (
    CLOSED_KINDS,
    FAMILIES,
    FAMILY_OF,
    INSTRUMENTS,
    TEMPO_BPM,
    ClipTruth,
)
from .wordings import (
    AUDIO_NOUNS,
    CANNOT_TELL,
    CLOSINGS,
    FAMILY_MEMBERS,
    FAMILY_NAMES,
    FOREIGN_HELD_OUT,
    FOREIGN_TRAINING,
    HELD_OUT,
    LOUDNESS_WORDS,
    OFF_TOPIC_HELD_OUT,
    OFF_TOPIC_TRAINING,
    OPENINGS,
    REGISTER_WORDS,
    STRAY_WORDS,
    TEMPO_WORDS,
    TEXTURE_WORDS,
    TRAINING,
    UNKNOWN_GENRE_WORDINGS,
    UNKNOWN_GENRES,
    UNKNOWN_INSTRUMENTS,
    YES_NO_HELD_OUT,
    YES_NO_TRAINING,
)

SPLITS = ("train", "seen", "unseen")
# Share of each kind among the pairs that train. Whether two words are the same, one asked and one heard, is what a
# small language model learns last, and one word of an answer: with a third of the pairs it was not learned.
KIND_WEIGHTS = {
    "instrument": 14,
    "instruments": 5,
    "second_instrument": 4,
    "family": 7,
    "tempo": 7,
    "bpm": 3,
    "texture": 6,
    "drums": 4,
    "register": 6,
    "loudness": 5,
    "style": 6,
    "choice": 3,
    "yes_no": 110,
    "describe": 20,
    "cannot_tell": 24,
}
KINDS = tuple(KIND_WEIGHTS)
DESCRIBE_FORMS = ("short", "detail", "hear", "inferred")
YES_NO_TOPICS = ("instrument", "family", "drums", "bass", "tempo", "texture", "register", "loudness", "style")
UNKNOWABLE_TOPICS = (*CANNOT_TELL, "unknown_instrument", "unknown_genre", "off_topic", "foreign", "gibberish")
YES_NO_WEIGHTS = {"instrument": 8, "family": 3, "tempo": 2, "bass": 0.5}
UNKNOWABLE_WEIGHTS = {"off_topic": 4, "unknown_instrument": 2, "unknown_genre": 2, "mood": 2}
# Share of the clips that have a value, measured on the rendered training set. A clip with a rare value is asked about
# it the more often, so that yes and no are about equally often true of every value, whichever is asked about.
VALUE_SHARES = {
    "family": dict(zip(FAMILIES, (0.27, 0.13, 0.13, 0.13, 0.2, 0.07, 0.07), strict=True)),
    "texture": {"solo": 0.39, "duo": 0.25, "ensemble": 0.12, "band": 0.24},
    "register": {"low": 0.07, "middle": 0.61, "high": 0.32},
    "loudness": {"soft": 0.4, "loud": 0.6},
    "style": {"medieval": 0.14, "baroque": 0.29, "classical": 0.26, "folk": 0.31},
    "drums": {True: 0.18, False: 0.82},  # 0.24 and 0.76; but a band has drums and bass to be asked about
}

PLURALS = {"choir": "choir voices", "harp": "harps"}
TEXTURE_MEANS = {
    "solo": "one player alone",
    "duo": "two players",
    "ensemble": "several players",
    "band": "the lead with bass and drums",
}
LIGHT_WORDS = frozenset("a an the is are do does of in you we can could please it this that me to there for".split())
CHOICE = re.compile(r"\[([^\[\]]*)\]")


@dataclass
class QA:
    """A question, its true answer in words, and the value that a reader of the answer should find.

    `expected` is a class word (closed kinds, `choice`, `bpm`), a bool (`drums`, `yes_no`), the sorted instruments
    (`instruments`), an instrument, "none", "same" or "bass and drums" (`second_instrument`), a dict of the attributes
    told (`describe`), or "cannot tell". `asked` is the value that a yes/no question names.
    """

    kind: str
    question: str
    answer: str
    expected: str | bool | list[str] | dict[str, str | bool]
    topic: str = ""
    asked: str = ""


def with_article(noun: str) -> str:
    """`noun` with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiouAEIOU' and not noun.startswith('u') else 'a'} {noun}"


def plural(instrument: str) -> str:
    """Several of an instrument."""
    return PLURALS.get(instrument, f"{instrument}s")


def bpm_range(tempo: str) -> tuple[int, int]:
    """The beats per minute that a tempo class spans, rounded to fives."""
    low, high = TEMPO_BPM[tempo]
    return 5 * round(low / 5), 5 * round(high / 5)


def fill(template: str, rng: random.Random, slots: dict[str, str] | None = None) -> str:
    """Resolve a template's choices and slots to a sentence."""
    while "[" in template:
        template = CHOICE.sub(lambda found: rng.choice(found.group(1).split("|")), template)
    text = template.format(audio=rng.choice(AUDIO_NOUNS), **(slots or {}))
    text = re.sub(r" +([?.!,:])", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:] if template[:1].isupper() or template[:1] == "{" else text


def _typo(text: str, rng: random.Random) -> str:
    """One letter lost, doubled or swapped inside a longer word."""
    words = text.split()
    long_words = [number for number, word in enumerate(words) if len(word) > 4]
    if not long_words:
        return text
    number = rng.choice(long_words)
    word = words[number]
    at = rng.randrange(1, len(word) - 2)
    middle = rng.choice([word[at + 1], word[at] * 2 + word[at + 1], word[at + 1] + word[at]])
    words[number] = word[:at] + middle + word[at + 2 :]
    return " ".join(words)


def _without_a_word(text: str, rng: random.Random) -> str:
    """`text` without one of its words that carry little."""
    words = text.split()
    light = [number for number, word in enumerate(words) if word.lower() in LIGHT_WORDS]
    if len(words) < 4 or not light:
        return text
    del words[rng.choice(light)]
    return " ".join(words)


def _with_stray_words(text: str, rng: random.Random) -> str:
    """`text` with a word or two more that change nothing: words that the other wordings lack, or none at all."""
    words = text.split()
    for _ in range(rng.choice((1, 1, 2))):
        stray = rng.choice(STRAY_WORDS) if rng.random() < 0.7 else _no_word(rng)
        words.insert(rng.randint(0, len(words)), stray)
    return " ".join(words)


def _no_word(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9)))


def _as_typed(text: str, rng: random.Random) -> str:
    """The slips and manners of people who type, and words that a learner of a few wordings has never met."""
    if rng.random() < 0.1:
        text = _without_a_word(text, rng)
    if rng.random() < 0.15:
        text = _with_stray_words(text, rng)
    if rng.random() < 0.1:
        opening = rng.choice(OPENINGS).format(audio=rng.choice(AUDIO_NOUNS))
        text = f"{opening} {text if opening[-1] in '.!' else text[:1].lower() + text[1:]}"
    if rng.random() < 0.05:
        text = f"{text.rstrip('?.!')}, {rng.choice(CLOSINGS)}{text[-1] if text[-1] in '?.!' else ''}"
    if rng.random() < 0.05:
        text = _typo(text, rng)
    if rng.random() < 0.15:
        text = text.rstrip("?.!") or text
    case = rng.random()
    if case < 0.22:
        return text.lower()
    return text.upper() if case < 0.24 else text


def _pick(training: dict, held_out: dict, key: str, split: str, rng: random.Random, slots: dict | None = None) -> str:
    text = fill(rng.choice((held_out if split == "unseen" else training)[key]), rng, slots)
    return _as_typed(text, rng) if split == "train" else text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _closed_answer(kind: str, value: str, rng: random.Random) -> str:
    an_x = with_article(value)
    forms = {
        "instrument": (f"It is {an_x}.", f"The lead instrument is {an_x}.", f"{_capital(an_x)} plays the melody."),
        "family": (f"The family is {value}.", f"It belongs to the {value} family.", f"It is from the {value} family."),
        "tempo": (f"The tempo is {value}.", f"It is {value}.", f"It is played at a {value} tempo."),
        "texture": (f"It is {an_x}.", f"It is {an_x}: {TEXTURE_MEANS.get(value)}."),
        "register": (f"The register is {value}.", f"It is in the {value} register."),
        "loudness": (f"It is {value}.", f"The playing is {value}.", f"The music is {value}."),
        "style": (f"The style is {value}.", f"It is {value} music.", f"It sounds like {value} music."),
    }
    return rng.choice(forms[kind])


def _closed(kind: str, truth: ClipTruth, rng: random.Random, split: str) -> QA:
    value = getattr(truth, kind)
    return QA(kind, _pick(TRAINING, HELD_OUT, kind, split, rng), _closed_answer(kind, value, rng), value)


def _bpm(truth: ClipTruth, rng: random.Random, split: str) -> QA:
    low, high = bpm_range(truth.tempo)
    forms = (
        f"{_capital(truth.tempo)}, around {low} to {high} beats per minute.",
        f"The tempo is {truth.tempo}, around {low} to {high} beats per minute.",
    )
    return QA("bpm", _pick(TRAINING, HELD_OUT, "bpm", split, rng), rng.choice(forms), truth.tempo)


def _others(truth: ClipTruth) -> str:
    """What sounds beside the lead: an instrument, "none", "same" (more of the lead's kind) or "bass and drums"."""
    if truth.texture == "band":
        return "bass and drums"
    if truth.texture == "ensemble":
        return "same"
    return truth.accompaniment or "none"


def _players(truth: ClipTruth) -> str:
    """All that sounds, in words."""
    lead = with_article(truth.instrument)
    return {
        "solo": f"{lead} alone",
        "duo": f"{lead} and {with_article(truth.accompaniment or '-')}",
        "ensemble": f"several {plural(truth.instrument)}",
        "band": f"{lead} with bass and drums",
    }[truth.texture]


def _instruments(truth: ClipTruth, rng: random.Random, split: str) -> QA:
    lead, heard = with_article(truth.instrument), _players(truth)
    answer = rng.choice((f"I hear {heard}.", f"{_capital(heard)}.", f"The instruments are {heard}."))
    if truth.texture == "solo":
        answer = rng.choice((f"I hear only {lead}.", f"{_capital(lead)} alone.", f"Only {lead}."))
    question = _pick(TRAINING, HELD_OUT, "instruments", split, rng)
    return QA("instruments", question, answer, sorted(truth.instruments))


def _second_instrument(truth: ClipTruth, rng: random.Random, split: str) -> QA:
    others = _others(truth)
    if others == "none":
        forms = ("Nothing accompanies it: it is a solo.", "There is no accompaniment: it is a solo.")
    elif others == "same":
        more = plural(truth.instrument)
        forms = (f"More {more} accompany it.", f"Other {more}: it is an ensemble.")
    elif others == "bass and drums":
        forms = ("Bass and drums accompany it.", "The accompaniment is bass and drums.")
    else:
        forms = (f"{_capital(with_article(others))} accompanies it.", f"The accompaniment is {with_article(others)}.")
    question = _pick(TRAINING, HELD_OUT, "second_instrument", split, rng)
    return QA("second_instrument", question, rng.choice(forms), others)


def _drums_answer(drums: bool, rng: random.Random) -> str:
    if drums:
        return rng.choice(("Yes, there are drums.", "Yes, I hear drums."))
    return rng.choice(("No, there are no drums.", "No, I hear no drums."))


def _drums(truth: ClipTruth, rng: random.Random, split: str) -> QA:
    question = _pick(TRAINING, HELD_OUT, "drums", split, rng)
    return QA("drums", question, _drums_answer(truth.drums, rng), truth.drums, asked="drums")


def _choice(truth: ClipTruth, rng: random.Random, split: str) -> QA:
    other = rng.choice([name for name in INSTRUMENTS if name not in truth.instruments])
    pair = rng.sample([truth.instrument, other], 2)
    slots = dict(zip(("this", "that"), map(with_article, pair), strict=True))
    question = _pick(TRAINING, HELD_OUT, "choice", split, rng, slots)
    return QA("choice", question, _closed_answer("instrument", truth.instrument, rng), truth.instrument, "instrument")


def _families(truth: ClipTruth) -> set[str]:
    present = {FAMILY_OF[name] for name in truth.instruments if name in FAMILY_OF}
    return present | ({"strings"} if present & {"plucked strings", "bowed strings"} else set())


def yes_no_values(truth: ClipTruth, topic: str) -> tuple[list[str], list[str]]:
    """Values of `topic` that a yes/no question may name: those whose answer is yes, and those whose answer is no."""
    if topic in ("drums", "bass"):
        return ([topic], []) if topic in truth.instruments else ([], [topic])
    if topic == "instrument":
        present, values = set(truth.instruments), INSTRUMENTS
    elif topic == "family":
        present, values = _families(truth), (*FAMILIES, "strings")
        if "bass" in truth.instruments:  # a bass is a plucked string too: nobody should answer for it
            values = tuple(value for value in values if value in present or "strings" not in value)
    else:
        present, values = {getattr(truth, topic)}, CLOSED_KINDS[topic]
    return [v for v in values if v in present], [v for v in values if v not in present]


def _question_again(topic: str, value: str) -> str:
    """What was asked, in its plainest form."""
    if topic == "instrument":
        return f"Is there {with_article(value)}?"
    if topic == "family":
        return f"Do I hear {value}?"
    return f"Is it {with_article(value) if topic == 'texture' else value}?"


def _evidence(truth: ClipTruth, topic: str, rng: random.Random) -> str:
    """What the clip is like in the matter of `topic`.

    With the question in plain words it stands before the verdict, which then is a comparison of two words. A small
    language model that has to begin with "Yes" or "No" hardly learns to compare what it hears with what is asked.
    """
    if topic == "instrument":
        return rng.choice((f"I hear {_players(truth)}", f"It is {_players(truth)}"))
    if topic == "family":
        families = [FAMILY_OF[name] for name in truth.instruments if name in FAMILY_OF]
        return f"I hear {' and '.join(dict.fromkeys(families))}"
    value = getattr(truth, topic)
    forms = {
        "tempo": (f"The tempo is {value}", f"The music is {value}"),
        "texture": (f"It is {with_article(value)}", f"I hear {with_article(value)}"),
        "register": (f"The register is {value}", f"The pitch is {value}"),
        "loudness": (f"The playing is {value}", f"The music is {value}"),
        "style": (f"The style is {value}", f"The music is {value}"),
    }
    return rng.choice(forms[topic])


def _verdict(topic: str, value: str, yes: bool) -> str:
    """What follows for the `value` that was asked about."""
    if topic == "instrument":
        return f"there is {with_article(value) if yes else f'no {value}'}"
    if topic == "family":
        return f"I hear {value}" if yes else f"I hear no {value}"
    return f"it is {'' if yes else 'not '}{with_article(value) if topic == 'texture' else value}"


def ask_yes_no(truth: ClipTruth, topic: str, value: str, rng: random.Random, split: str = "train") -> QA:
    """The yes/no question whether `topic` of the clip is `value`, in one wording, with its true answer."""
    yes = value in yes_no_values(truth, topic)[0]
    if topic == "drums":
        question, answer = _pick(TRAINING, HELD_OUT, "drums", split, rng), _drums_answer(yes, rng)
        return QA("yes_no", question, answer, yes, topic, value)

    wordings = topic
    if topic == "family" and value == "voices" and rng.random() < 0.6:
        wordings = "voices"
    slots = {"value": value, "a_value": value, "x": value, "xs": plural(value), "an_x": with_article(value)}
    if topic == "family":
        slots |= {"value": rng.choice(FAMILY_NAMES[value]), "member": FAMILY_MEMBERS[value]}
    elif topic == "texture":
        slots["a_value"] = rng.choice(TEXTURE_WORDS[value])
    elif topic in ("tempo", "register", "loudness"):
        words = {"tempo": TEMPO_WORDS, "register": REGISTER_WORDS, "loudness": LOUDNESS_WORDS}[topic]
        slots["value"] = rng.choice(words[value])
    question = _pick(YES_NO_TRAINING, YES_NO_HELD_OUT, wordings, split, rng, slots)

    if topic == "bass":
        answer = "Yes, there is a bass." if yes else "No, there is no bass."
    else:
        verdict = f"{'yes' if yes else 'no'}, {_verdict(topic, value, yes)}"
        answer = f"{_question_again(topic, value)} {_evidence(truth, topic, rng)}, so {verdict}."
    return QA("yes_no", question, answer, yes, topic, value)


def _rarity(truth: ClipTruth, topic: str) -> float:
    """How many times rarer the clip's value of `topic` is than if all values were equally frequent."""
    kind = "drums" if topic == "bass" else topic
    shares = VALUE_SHARES.get(kind)
    return 1.0 if shares is None else 1 / (len(shares) * shares[getattr(truth, kind)])


def _yes_no(truth: ClipTruth, rng: random.Random, split: str, topic: str | None) -> QA:
    """Yes and no are equally often true: the answer is drawn first, then a question that has it."""
    side = rng.choice((0, 1))
    if topic is None:
        open_topics = [name for name in YES_NO_TOPICS if yes_no_values(truth, name)[side]]
        weights = [YES_NO_WEIGHTS.get(name, 1) * _rarity(truth, name) for name in open_topics]
        topic = rng.choices(open_topics, weights)[0]
    values = yes_no_values(truth, topic)
    return ask_yes_no(truth, topic, rng.choice(values[side] or values[1 - side]), rng, split)


def _describe(truth: ClipTruth, rng: random.Random, split: str, form: str | None) -> QA:
    form = form or rng.choice(DESCRIBE_FORMS)
    lead, many = truth.instrument, plural(truth.instrument)
    second = with_article(truth.accompaniment or "-")
    low, high = bpm_range(truth.tempo)
    drums = "with drums" if truth.drums else "without drums"
    told = ["instrument", "texture", "drums", "tempo", "loudness", "style"]
    if form == "short":
        players = {
            "solo": f"solo {lead}",
            "duo": f"a duo of {lead} and {truth.accompaniment}",
            "ensemble": f"an ensemble of {many}",
            "band": f"a band of {lead}, bass and drums",
        }[truth.texture]
        answer = f"A {truth.loudness} {truth.style} piece at a {truth.tempo} tempo for {players}."
        told = [name for name in told if name != "drums" or truth.drums]
    elif form == "detail":
        players = {
            "solo": "It is a solo: nobody else plays.",
            "duo": f"It is a duo with {second}.",
            "ensemble": f"It is an ensemble of several {many}.",
            "band": "It is a band with bass and drums.",
        }[truth.texture]
        answer = (
            f"The lead instrument is {with_article(lead)}, from the {truth.family} family, in the {truth.register} "
            f"register. {players} The tempo is {truth.tempo}, around {low} to {high} beats per minute, and the "
            f"playing is {truth.loudness}. {'There are drums.' if truth.drums else 'There are no drums.'} "
            f"The style is {truth.style}."
        )
        told += ["family", "register"]
    elif form == "hear":
        players = {
            "solo": f"a solo of {with_article(lead)}",
            "duo": f"a duo of {with_article(lead)} and {second}",
            "ensemble": f"an ensemble of {many}",
            "band": f"a band: {with_article(lead)} with bass and drums",
        }[truth.texture]
        ending = "" if truth.drums else " There are no drums."
        answer = (
            f"I hear {players}, in the {truth.register} register, {truth.loudness}, at a {truth.tempo} tempo.{ending}"
        )
        told = ["instrument", "texture", "drums", "tempo", "loudness", "register"]
    else:
        answer = (
            f"The style is {truth.style}. The lead comes from the {truth.family} family, probably "
            f"{with_article(lead)}, in {with_article(truth.texture)} {drums}. "
            f"The tempo is {truth.tempo} and the playing {truth.loudness}."
        )
        told += ["family"]
    question = _pick(TRAINING, HELD_OUT, f"describe {form}", split, rng)
    return QA("describe", question, answer, {name: getattr(truth, name) for name in told}, form)


def _gibberish(rng: random.Random) -> str:
    if rng.random() < 0.15:
        return rng.choice(("???", "...", "!!!", "?", "-", "12345", "0", "# $ %", ":)", ";;;", "<>", "1 2 3 4"))
    return " ".join(_no_word(rng) for _ in range(rng.randint(1, 5))) + rng.choice(("", "", "?", "."))


def _cannot_tell(rng: random.Random, split: str, topic: str | None) -> QA:
    weights = [UNKNOWABLE_WEIGHTS.get(name, 1) for name in UNKNOWABLE_TOPICS]
    topic = topic or rng.choices(UNKNOWABLE_TOPICS, weights)[0]
    unseen = split == "unseen"
    if topic in CANNOT_TELL:
        thing, training, held_out = CANNOT_TELL[topic]
        question = _pick({topic: training}, {topic: held_out}, topic, split, rng)
        answer = rng.choice((f"I cannot tell {thing} from this clip.", f"I cannot tell {thing}."))
    elif topic == "unknown_instrument":
        name = rng.choice(UNKNOWN_INSTRUMENTS)
        slots = {"x": name, "xs": f"{name}s", "an_x": with_article(name)}
        question = _pick(YES_NO_TRAINING, YES_NO_HELD_OUT, "instrument", split, rng, slots)
        answer = f"I cannot tell: I do not know the sound of {with_article(name)}."
    elif topic == "unknown_genre":
        name = rng.choice(UNKNOWN_GENRES)
        training, held_out = UNKNOWN_GENRE_WORDINGS
        question = _pick({topic: training}, {topic: held_out}, topic, split, rng, {"value": name})
        answer = f"I cannot tell: I do not know {name} as a style."
    elif topic == "off_topic":
        question = _pick({topic: OFF_TOPIC_TRAINING}, {topic: OFF_TOPIC_HELD_OUT}, topic, split, rng)
        answer = "I cannot tell: I only answer questions about the sound of this clip."
    else:
        foreign = rng.choice(FOREIGN_HELD_OUT if unseen else FOREIGN_TRAINING)
        question = foreign if topic == "foreign" else _gibberish(rng)
        answer = "I cannot tell what you ask: please ask in English about the sound of this clip."
    return QA("cannot_tell", question, answer, "cannot tell", topic)


def sample_pair(
    truth: ClipTruth, rng: random.Random, split: str = "train", kind: str | None = None, topic: str | None = None
) -> QA:
    """Draw a question about a clip and its true answer.

    `kind` and `topic` fix what is asked (topics: `YES_NO_TOPICS`, `DESCRIBE_FORMS`, `UNKNOWABLE_TOPICS`); otherwise
    they are drawn, kinds by `KIND_WEIGHTS`. The same state of `rng` gives the same pair. Raises ValueError for an
    unknown split or kind.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: choose from {SPLITS}")
    kind = kind or rng.choices(KINDS, list(KIND_WEIGHTS.values()))[0]
    if kind in CLOSED_KINDS:
        return _closed(kind, truth, rng, split)
    if kind == "yes_no":
        return _yes_no(truth, rng, split, topic)
    if kind == "describe":
        return _describe(truth, rng, split, topic)
    if kind == "cannot_tell":
        return _cannot_tell(rng, split, topic)
    makers = {
        "bpm": _bpm,
        "instruments": _instruments,
        "second_instrument": _second_instrument,
        "drums": _drums,
        "choice": _choice,
    }
    if kind not in makers:
        raise ValueError(f"no kind {kind!r}: choose from {KINDS}")
    return makers[kind](truth, rng, split)


def sample_conversation(truth: ClipTruth, rng: random.Random, turns: int = 2, split: str = "train") -> list[QA]:
    """Draw `turns` pairs about one clip, to be asked one after another; none asks what one before it asked."""
    drawn: list[QA] = []
    while len(drawn) < turns:
        pair = sample_pair(truth, rng, split)
        if all((pair.kind, pair.topic, pair.asked) != (other.kind, other.topic, other.asked) for other in drawn):
            drawn.append(pair)
    return drawn
