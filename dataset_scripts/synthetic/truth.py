"""What is known of a synthesised clip: the closed vocabularies, and the record that carries a clip's truth."""

from dataclasses import asdict, dataclass

# Instrument -> family. Fifteen melody instruments of General MIDI that free soundfonts render recognisably.
FAMILY_OF = {
    "piano": "keyboard",
    "harpsichord": "keyboard",
    "organ": "keyboard",
    "accordion": "keyboard",
    "guitar": "plucked strings",
    "harp": "plucked strings",
    "violin": "bowed strings",
    "cello": "bowed strings",
    "trumpet": "brass",
    "trombone": "brass",
    "saxophone": "woodwind",
    "clarinet": "woodwind",
    "flute": "woodwind",
    "choir": "voices",
    "marimba": "mallets",
}
INSTRUMENTS = tuple(FAMILY_OF)
FAMILIES = tuple(dict.fromkeys(FAMILY_OF.values()))
# One player of these can sound several parts at once, so polyphony on them is still a solo.
POLYPHONIC = ("piano", "harpsichord", "organ", "accordion", "guitar", "harp", "marimba")

TEMPO_BPM = {"slow": (48, 72), "moderate": (92, 116), "fast": (148, 196)}
TEMPI = tuple(TEMPO_BPM)
TEXTURES = ("solo", "duo", "ensemble", "band")
REGISTERS = ("low", "middle", "high")
LOUDNESSES = ("soft", "loud")
STYLES = ("medieval", "baroque", "classical", "folk")

# Closed kinds: attribute of `ClipTruth` -> its values. `drums` is a yes/no matter and stands apart.
CLOSED_KINDS = {
    "instrument": INSTRUMENTS,
    "family": FAMILIES,
    "tempo": TEMPI,
    "texture": TEXTURES,
    "register": REGISTERS,
    "loudness": LOUDNESSES,
    "style": STYLES,
}


@dataclass
class ClipTruth:
    """Truth of one clip.

    `instrument` plays the lead; `accompaniment` is the second instrument of a duo, else None; `instruments` are all
    that sound, lead first, with "bass" and "drums" in a band. `texture`: solo is one player, duo two different
    instruments, ensemble several players of the lead's kind, band the lead with bass and drums. `register` is the
    lead's mean pitch: low under MIDI 55, high from 72. `bpm` counts the beats that `tempo` names.
    """

    id: str
    instrument: str
    family: str
    accompaniment: str | None
    instruments: list[str]
    texture: str
    drums: bool
    register: str
    loudness: str
    tempo: str
    bpm: float
    style: str
    piece: str
    soundfont: str
    seconds: float

    def to_dict(self) -> dict:
        """A JSON-ready dictionary of every field."""
        return asdict(self)
