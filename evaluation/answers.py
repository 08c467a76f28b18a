"""Answers in words -> values: a reader that forgives wording and takes the first value an answer commits to.

Conventions: case and punctuation do not matter; a value that is negated ("not a piano but a harp") does not count; "I
cannot tell" before any value is a value of its own, `CANNOT_TELL`; a question says nothing, so what is asked back is
skipped; None is an answer that says nothing readable.
"""

import re
import unicodedata

from mullama.dataset_scripts.synthetic.truth import CLOSED_KINDS, FAMILY_OF, TEMPO_BPM

CANNOT_TELL = "cannot tell"

# Value -> other words for it, as regular expressions; the value itself, plural too, always counts.
SYNONYMS = {
    "instrument": {
        "piano": ["pianoforte", "fortepiano", r"pianist", r"grand pianos?"],
        "harpsichord": ["cembalo", "clavecin"],
        "organ": ["organist", r"pipe organs?"],
        "accordion": ["squeeze ?box", "accordeon", "accordian"],
        "guitar": ["guitarist"],
        "harp": ["harpist"],
        "violin": [r"fiddles?", "violinist", "fiddler"],
        "cello": ["celli", r"violoncellos?", "cellist"],
        "trumpet": ["trumpeter"],
        "trombone": ["trombonist"],
        "saxophone": ["sax", "saxes", "saxophonist"],
        "clarinet": ["clarinet(?:t)?ist"],
        "flute": ["flautist", "flutist"],
        "choir": ["chorus", "choral", "vocals?", "voices?", "singers?", "singing", "choristers?"],
        "marimba": [],
    },
    "family": {
        "keyboard": ["keyboard instruments?"],
        "plucked strings": [r"plucked(?:[ -]string)?(?: instruments?)?"],
        "bowed strings": [r"bowed(?:[ -]string)?(?: instruments?)?"],
        "brass": ["brass instruments?"],
        "woodwind": [r"wood ?winds?", r"winds?", r"reeds?"],
        "voices": ["voice", "vocals?", "singing", "human voices?"],
        "mallets": ["mallet", r"tuned percussion", "mallet percussion"],
    },
    "tempo": {
        "slow": ["slowly", r"slow[ -]paced", "slower", "largo", "lento", "adagio"],
        "moderate": ["moderately", "medium", r"mid[ -]?tempo", "andante", "moderato"],
        "fast": ["quick", "quickly", "rapid", "rapidly", "brisk", r"up[ -]?tempo", "faster", "allegro", "presto"],
    },
    "texture": {
        "solo": ["alone", "soloist", "unaccompanied", r"(?:one|single|1) (?:instrument|player|musician|performer)"],
        "duo": ["duet", "pair", r"(?:two|2) (?:instruments|players|musicians|performers)"],
        "ensemble": ["orchestra", r"(?:several|many) (?:instruments|players|musicians|performers)", "quartet"],
        "band": ["bass and drums", "rhythm section"],
    },
    "register": {
        "low": ["deep", "bass register", "lower"],
        "middle": ["mid", "medium", "mid-range", "midrange"],
        "high": ["treble", "higher"],
    },
    "loudness": {
        "soft": ["softly", "quiet", "quietly", "gentle", "gently", "pianissimo", "softer"],
        "loud": ["loudly", "forte", "fortissimo", "louder"],
    },
    "style": {
        "medieval": ["mediaeval", "middle ages", "trecento"],
        "baroque": [],
        "classical": ["classic"],
        "folk": ["folk ?tune", "traditional"],
    },
}
# Names that hold the name of another instrument, but are not it.
NOT_THE_INSTRUMENT = re.compile(r"\b(?:bass guitars?|mouth organs?|french harps?)\b")
CANNOT = re.compile(
    r"\b(?:can ?not|could not|unable to|not able to|impossible to|hard to|difficult to)"
    r" (?:really |reliably |possibly )?(?:tell|say|answer|hear|determine|know|judge|identify|be (?:told|determined))\b"
    r"|\b(?:do not|does not|did not) know\b|\bnot (?:sure|certain|clear)\b|\bno idea\b|\bunclear\b|\bunknown\b"
)
# What opens a negation, and what ends one that is open.
NEGATION = re.compile(
    r"\b(?:not(?! only)|no|never|without|neither|nor|none|nothing|nobody|instead of|rather than|unlike|except)\b"
    r"|(?P<end>[.,;:!?\n]|\b(?:but|however|instead(?! of)|just|only|yes|it is|this is|i hear)\b)"
)
CONTRACTIONS = (("can't", "cannot"), ("won't", "will not"), ("isn't", "is not"), ("n't", " not"))
YES = re.compile(r"\b(?:yes|yeah|yep|yup|indeed|correct|certainly|definitely|absolutely|affirmative|true)\b")
NO = re.compile(r"\b(?:no|nope|nah|negative|false)\b")
# A verdict that follows its reason: "I hear a flute, so no, there is no piano."
CONCLUSION = re.compile(r"\b(?:so|therefore|thus|hence),? (?:the answer is )?(yes|no)\b(?=[,.:;!]|$)")
QUESTION = re.compile(r"[^.!?\n]*\?+")
NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")


def _plain(answer: str) -> str:
    text = unicodedata.normalize("NFKC", answer).replace("\u2019", "'").lower()
    for short, long in CONTRACTIONS:
        text = text.replace(short, long)
    text = re.sub(r"\bdont\b", "do not", text)
    text = re.sub(r"[*_`\"()\[\]\u2014\u2013]", " ", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def _negated(text: str, at: int) -> bool:
    """Whether the word at `at` stands inside a negation that began in its own clause."""
    inside = False
    for found in NEGATION.finditer(text, 0, at):
        inside = not found["end"]
        if found[0] == "no" and re.match(r" (?:it|this|that|there|the|i)\b", text[found.end() :]):
            inside = False  # "no it is a harp"
    return inside


def _pattern(kind: str, value: str) -> re.Pattern:
    plural = "(?:s|es)?" if kind in ("instrument", "family") and not value.endswith("s") else ""
    words = "|".join([re.escape(value) + plural, *SYNONYMS[kind].get(value, [])])
    return re.compile(rf"\b(?:{words})\b")


PATTERNS = {kind: {value: _pattern(kind, value) for value in values} for kind, values in CLOSED_KINDS.items()}


def _mentions(text: str, kind: str) -> list[tuple[int, str]]:
    """Where `text` commits to values of a closed kind: (position, value), in order, negated ones left out."""
    if kind == "instrument":
        text = NOT_THE_INSTRUMENT.sub(lambda found: " " * len(found[0]), text)
    found = {}
    for value, pattern in PATTERNS[kind].items():
        for match in pattern.finditer(text):
            if not _negated(text, match.start()):
                found.setdefault(match.start(), value)
    return sorted(found.items())


def _closed(text: str, kind: str) -> str | None:
    cannot, mentions = CANNOT.search(text), _mentions(text, kind)
    if cannot and (not mentions or cannot.start() < mentions[0][0]):
        return CANNOT_TELL
    if mentions:
        return mentions[0][1]
    if kind == "family":  # "a violin" names its family too
        instrument = _closed(text, "instrument")
        return FAMILY_OF.get(instrument)
    return None


def _tempo(text: str) -> str | None:
    """The tempo class by its word, or else by the first number (or range) of beats per minute."""
    value = _closed(text, "tempo")
    numbers = [float(number) for number in NUMBER.findall(text)]
    if value or not numbers:
        return value
    bpm = sum(numbers[:2]) / len(numbers[:2]) if re.search(r"\d\s*(?:-|to|and)\s*\d", text) else numbers[0]
    return min(TEMPO_BPM, key=lambda tempo: max(TEMPO_BPM[tempo][0] - bpm, bpm - TEMPO_BPM[tempo][1], 0))


def _affirms(text: str, word: str) -> bool | None:
    """Whether the text says that there is `word`, that there is none, or nothing of it."""
    found = re.search(rf"\b{re.escape(word)}(?:s|es|mers?|ming)?\b", text)
    return None if not found else not _negated(text, found.start())


def _yes_no(text: str, asked: str) -> bool | str | None:
    """The first yes or no, in front or as a conclusion; else whether what was asked for is said to be there."""
    cannot, yes, no = CANNOT.search(text), YES.match(text), NO.match(text)
    if yes or no:
        return bool(yes)
    concluded = CONCLUSION.search(text)
    if concluded and not (cannot and cannot.start() < concluded.start()):
        return concluded[1] == "yes"
    if cannot and cannot.start() < 12:
        return CANNOT_TELL
    if re.match(r"(?:of course|sure|there is|there are|i do|it (?:is|does)|they are)\b(?! (?:no|not)\b)[.!]?$", text):
        return True
    if re.match(r"(?:of course not|not really|there (?:is|are) (?:none|not)|i do not|it (?:is|does) not)\b", text):
        return False
    asked = re.sub(r"s$", "", asked)
    affirmed = _affirms(text, asked) if asked else None
    if affirmed is None and cannot:
        return CANNOT_TELL
    return affirmed


def _instruments(text: str) -> list[str] | str | None:
    values = {value for _, value in _mentions(text, "instrument")}
    values |= {word for word in ("bass", "drums") if _affirms(text, word.rstrip("s") if word == "drums" else word)}
    if not values and CANNOT.search(text):
        return CANNOT_TELL
    return sorted(values) or None


def _second_instrument(text: str) -> str | None:
    """What accompanies: an instrument, "none", "same" (more of the lead's kind) or "bass and drums"."""
    if CANNOT.match(text) or re.match(r"i (?:cannot|do not know)", text):
        return CANNOT_TELL
    if re.search(r"\b(?:bass and drums|drums and bass|rhythm section)\b", text):
        return "bass and drums"
    if (
        re.search(r"\b(?:more|other|others|further) (?!instruments?\b)\w+|\bensemble\b", text)
        and "no other" not in text
    ):
        return "same"
    after = re.search(r"\b(?:accompanied|backed|supported|joined) by (.*)", text)
    mentions = _mentions(after[1] if after else text, "instrument")
    if mentions:
        return mentions[0][1]
    if re.search(r"\b(?:nothing|nobody|none|no|alone|solo|unaccompanied)\b", text):
        return "none"
    return None


def _describe(text: str) -> dict[str, str | bool]:
    """Every attribute that a description tells."""
    told: dict[str, str | bool] = {}
    for kind in CLOSED_KINDS:
        value = _closed(text, kind)
        if value and value != CANNOT_TELL:
            told[kind] = value
    drums = _affirms(text, "drum")
    return told if drums is None else told | {"drums": drums}


def read_answer(kind: str, answer: str, asked: str = "") -> str | bool | list[str] | dict[str, str | bool] | None:
    """The value that an answer to a question of `kind` commits to, in the form of `QA.expected`.

    `asked` is the value that a yes/no question names, for answers without a yes or a no. `CANNOT_TELL` where it
    says so before any value; None where nothing can be read. Raises ValueError for an unknown kind.
    """
    text = QUESTION.sub("", _plain(answer)).strip()
    if kind in ("tempo", "bpm"):
        return _tempo(text)
    if kind in CLOSED_KINDS:
        return _closed(text, kind)
    if kind == "choice":
        return _closed(text, "instrument")
    if kind == "drums":
        return _yes_no(text, "drums")
    if kind == "yes_no":
        return _yes_no(text, asked)
    if kind == "instruments":
        return _instruments(text)
    if kind == "second_instrument":
        return _second_instrument(text)
    if kind == "describe":
        return _describe(text)
    if kind == "cannot_tell":
        return CANNOT_TELL if CANNOT.search(text) else None
    raise ValueError(f"no kind {kind!r} to read an answer to")
