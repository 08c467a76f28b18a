"""Pieces -> clips with truth: choose players, tempo and dynamics for an excerpt, and render it with a soundfont.

`python -m mullama.dataset_scripts.synthetic.render --scores scores.jsonl --out DIR --clips N --seed S --split train
--soundfonts fluid musescore csound` writes DIR/clips.npy (N, samples) int16 mono 24 kHz and DIR/truth.jsonl. Clip i
depends on (seed, i) alone, so any number of processes gives the same set.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .scores import SPLITS, Piece, read_scores
from .truth import FAMILY_OF, INSTRUMENTS, POLYPHONIC, STYLES, TEMPI, TEMPO_BPM, ClipTruth

SAMPLING_RATE = 24_000
SECONDS = 5.0

# Debian's packages: fluid-soundfont-gm (MIT), musescore-general-soundfont-small (MIT/CC0), csound-soundfont (public
# domain), and for tests only, never for training, timgm6mb-soundfont (GPL-2).
SOUNDFONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "musescore": Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
    "csound": Path("/usr/share/sounds/sf2/sf_GMbank.sf2"),
    "timgm6mb": Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
}

# Instrument -> General MIDI programs (from 0) and the range its mean pitch is shifted into, as MIDI numbers.
PLAYED_BY = {
    "piano": ((0, 0, 0, 1, 2), 36, 96),
    "harpsichord": ((6,), 36, 89),
    "organ": ((19, 19, 16, 18), 36, 91),
    "accordion": ((21, 21, 23), 45, 88),
    "guitar": ((24, 24, 25, 25, 27, 29, 30), 40, 84),
    "harp": ((46,), 36, 96),
    "violin": ((40,), 55, 96),
    "cello": ((42,), 36, 72),
    "trumpet": ((56,), 54, 84),
    "trombone": ((57,), 40, 70),
    "saxophone": ((65, 66), 46, 82),
    "clarinet": ((71,), 50, 88),
    "flute": ((73,), 60, 96),
    "choir": ((52, 52, 53), 43, 80),
    "marimba": ((12,), 45, 91),
}
BASS_PROGRAMS = (32, 33, 33, 34, 35)
LEAD, SECOND, BASS, DRUMS = 0, 1, 2, 9  # MIDI channels; General MIDI fixes the drums' to 9
# The lead is mixed to the front, as in a recording, else nobody could say which of two players leads: the others sound
# 8, 7 and 5 dB softer (the synthesiser's gain is the cube of a channel's volume).
CHANNEL_VOLUME, VOLUMES = 7, {LEAD: 127, SECOND: 93, BASS: 97, DRUMS: 105}
KICK, SNARE, CLOSED_HAT, OPEN_HAT, RIDE, CRASH = 36, 38, 42, 46, 51, 49

# Common styles would drown the rare ones if pieces were drawn evenly.
STYLE_WEIGHTS = {"medieval": 0.16, "baroque": 0.28, "classical": 0.26, "folk": 0.3}
SILENCE_RMS = 1e-3


@dataclass
class Excerpt:
    """A planned clip: note events (on and off in seconds, channel, pitch, velocity), programs by channel, truth."""

    events: list[tuple[float, float, int, int, int]]
    programs: dict[int, int]
    drum_kit: int
    truth: ClipTruth


def quarters_per_beat(time_signature: str) -> float | None:
    """Length of the felt beat in quarter notes, or None for signatures whose beat is not agreed on."""
    upper, lower = map(int, time_signature.split("/"))
    if lower == 8 and upper % 3 == 0:
        return 1.5
    if lower == 2:
        return 2.0
    return 1.0 if lower == 4 and upper in (2, 3, 4) else None


def _octave_shift(mean: float, low: int, high: int) -> int:
    shift = 0
    while mean + shift < low:
        shift += 12
    while mean + shift > high:
        shift -= 12
    return shift


def _drum_events(rng, first_beat: float, beat: float, per_bar: int, compound: bool, seconds: float, velocity: int):
    """A drum pattern locked to the beat; `first_beat` is the (possibly negative) time of a down-beat."""
    hat = rng.choice([CLOSED_HAT, CLOSED_HAT, RIDE, OPEN_HAT])
    four_on_the_floor, busy = rng.random() < 0.25, rng.random() < 0.5
    subdivisions = 3 if compound else (2 if busy or rng.random() < 0.5 else 1)
    events, number = [], 0
    while (time := first_beat + number * beat) < seconds:
        position = number % per_bar
        strong = position == 0 or (per_bar == 4 and position == 2)
        hits = [KICK if strong else SNARE]
        if four_on_the_floor and not strong:
            hits.append(KICK)
        if position == 0 and rng.random() < 0.08:
            hits.append(CRASH)
        events += [(time, time + 0.1, DRUMS, hit, velocity + 6) for hit in hits]
        if busy and not strong and rng.random() < 0.3:
            events.append((time + beat / 2, time + beat / 2 + 0.1, DRUMS, KICK, velocity - 6))
        for step in range(subdivisions):
            at = time + step * beat / subdivisions
            events.append((at, at + 0.05, DRUMS, hat, velocity - (12 if step == 0 else 22)))
        number += 1
    return [event for event in events if event[0] >= 0]


def plan_excerpt(piece: Piece, rng: np.random.Generator, clip_id: str, soundfont: str, seconds: float):
    """Plan a clip of `seconds` from `piece`; None where the piece has no stretch that fits."""
    quarters = quarters_per_beat(piece.time_signature)
    if quarters is None or not piece.downbeats:
        return None
    tempo = rng.choice(TEMPI)
    bpm = float(rng.uniform(*TEMPO_BPM[tempo]))
    second_per_quarter = 60 / bpm / quarters
    needed = seconds / second_per_quarter
    end = max(onset + duration for part in piece.parts for onset, duration, _ in part)
    starts = [bar for bar in piece.downbeats if bar <= end - needed] or piece.downbeats[:1]
    start = float(rng.choice(starts))

    instrument = str(rng.choice(INSTRUMENTS))
    polyphonic = instrument in POLYPHONIC
    many = len(piece.parts) > 1
    texture = str(rng.choice(["solo", "duo", "ensemble", "band"], p=[0.2, 0.26, 0.3, 0.24]))
    if texture == "ensemble" and (not many or polyphonic):
        texture = "solo"  # several parts on a keyboard, guitar or harp are one player
    melody = piece.parts[0] if rng.random() < 0.6 else piece.parts[int(rng.integers(len(piece.parts)))]

    accompaniment, lead_parts, second_parts, second_octave = None, [melody], [], 0
    if texture == "ensemble" or (texture in ("solo", "band") and polyphonic and many and rng.random() < 0.6):
        lead_parts = piece.parts[:5]
    elif texture == "duo":
        accompaniment = str(rng.choice([name for name in INSTRUMENTS if FAMILY_OF[name] != FAMILY_OF[instrument]]))
        lead_parts = piece.parts[:1]
        if not many:
            second_parts, second_octave = piece.parts[:1], -12  # a second player doubles a tune at the octave
        else:
            second_parts = piece.parts[1:5] if accompaniment in POLYPHONIC else piece.parts[-1:]

    soft = rng.random() < 0.4
    velocity = int(rng.integers(34, 50)) if soft else int(rng.integers(98, 118))
    bars = np.asarray(piece.downbeats)
    events: list[tuple[float, float, int, int, int]] = []

    def play(parts, channel, name, level, octave=0):
        """Add the excerpt's notes of `parts`, each shifted by octaves into the instrument's range; their pitches."""
        _, low, high = PLAYED_BY[name]
        played = []
        for part in parts:
            notes = [note for note in part if start - 0.01 <= note[0] < start + needed]
            if not notes:
                continue
            shift = octave + _octave_shift(float(np.mean([pitch for *_, pitch in notes])) + octave, low, high)
            for onset, duration, pitch in notes:
                in_bar = onset - bars[max(0, np.searchsorted(bars, onset + 0.01) - 1)]
                on_the_beat = abs(in_bar / quarters - round(in_bar / quarters)) < 0.01
                accent = 12 if in_bar < 0.01 else (5 if on_the_beat else -6)
                on = (onset - start) * second_per_quarter + rng.uniform(0, 0.012)
                off = on + max(0.03, duration * second_per_quarter * rng.uniform(0.82, 0.97))
                sounding = pitch + shift
                sounding += 12 * (sounding < low - 5) - 12 * (sounding > high + 5)
                events.append((on, off, channel, int(sounding), int(level + accent + rng.normal(0, 4))))
                played.append(sounding)
        return played

    octave = int(rng.choice([0, 0, 0, 12, -12]))
    pitches = play(lead_parts, LEAD, instrument, velocity, octave)
    if len(pitches) < 4:
        return None
    programs = {LEAD: int(rng.choice(PLAYED_BY[instrument][0]))}
    instruments, drum_kit = [instrument], 0
    if accompaniment:
        if not play(second_parts, SECOND, accompaniment, velocity - 10, second_octave):
            return None
        programs[SECOND] = int(rng.choice(PLAYED_BY[accompaniment][0]))
        instruments.append(accompaniment)
    if texture == "band":
        beat, per_bar = 60 / bpm, 3 if piece.time_signature in ("3/4", "9/8", "3/2") else 4
        if piece.time_signature in ("2/4", "6/8", "2/2"):
            per_bar = 2
        events += _drum_events(rng, 0.0, beat, per_bar, quarters == 1.5, seconds, velocity)
        lowest = piece.parts[-1]
        for number in range(int(seconds / beat) + 1):  # the bass walks on the beat along the lowest part
            at = start + number * quarters
            sounding = [pitch for onset, duration, pitch in lowest if onset <= at + 0.01 < onset + duration]
            if sounding and (number % 2 == 0 or rng.random() < 0.6):
                pitch = sounding[0] + _octave_shift(sounding[0], 28, 45)
                events.append((number * beat, number * beat + beat * 0.9, BASS, int(pitch), velocity))
        programs[BASS] = int(rng.choice(BASS_PROGRAMS))
        drum_kit = int(rng.choice([0, 0, 8, 16, 24]))
        instruments += ["bass", "drums"]

    mean_pitch = float(np.mean(pitches))
    truth = ClipTruth(
        id=clip_id,
        instrument=instrument,
        family=FAMILY_OF[instrument],
        accompaniment=accompaniment,
        instruments=instruments,
        texture=texture,
        drums=texture == "band",
        register="low" if mean_pitch < 55 else ("high" if mean_pitch >= 72 else "middle"),
        loudness="soft" if soft else "loud",
        tempo=str(tempo),
        bpm=round(bpm, 1),
        style=piece.style,
        piece=piece.name,
        soundfont=soundfont,
        seconds=seconds,
    )
    return Excerpt(events, programs, drum_kit, truth)


class Renderer:
    """Soundfonts held open in one synthesiser, for rendering many clips in one process."""

    def __init__(self, soundfonts: list[str]):
        import tinysoundfont

        self.synth = tinysoundfont.Synth(samplerate=SAMPLING_RATE)
        self.loaded = {}
        for name in soundfonts:
            if not SOUNDFONTS[name].is_file():
                raise FileNotFoundError(
                    f"{SOUNDFONTS[name]} is missing: install Debian's soundfont package for {name!r}"
                )
            self.loaded[name] = self.synth.sfload(str(SOUNDFONTS[name]))

    def render(self, excerpt: Excerpt) -> np.ndarray:
        """The excerpt as mono float32 at 24 kHz."""
        seconds, soundfont = excerpt.truth.seconds, self.loaded[excerpt.truth.soundfont]
        self.synth.sounds_off()
        self.synth.generate(SAMPLING_RATE)  # let what the last clip left ring out
        for channel, program in excerpt.programs.items():
            self.synth.program_select(channel, soundfont, 0, program, False)
            self.synth.control_change(channel, CHANNEL_VOLUME, VOLUMES[channel])
        if excerpt.truth.drums:
            self.synth.program_select(DRUMS, soundfont, 128, excerpt.drum_kit, True)
            self.synth.control_change(DRUMS, CHANNEL_VOLUME, VOLUMES[DRUMS])
        changes = [(on, 1, channel, pitch, velocity) for on, _, channel, pitch, velocity in excerpt.events]
        changes += [(off, 0, channel, pitch, 0) for _, off, channel, pitch, _ in excerpt.events]
        samples, position, end = [], 0, round(seconds * SAMPLING_RATE)
        for time, on, channel, pitch, velocity in [*sorted(changes), (seconds, 0, LEAD, 0, 0)]:
            upto = min(int(time * SAMPLING_RATE), end)
            if upto > position:
                samples.append(np.frombuffer(self.synth.generate(upto - position), dtype=np.float32).copy())
                position = upto
            if time >= seconds:
                break
            if on:
                self.synth.noteon(channel, pitch, min(124, max(12, velocity)))
            else:
                self.synth.noteoff(channel, pitch)
        return np.concatenate(samples).reshape(-1, 2).mean(axis=1)


def darker(waveform: np.ndarray, cutoff: float) -> np.ndarray:
    """`waveform` falling by 6 dB an octave above `cutoff` Hz, as instruments do when played softly.

    Soundfonts ask that of velocity by default; the synthesiser here leaves it out.
    """
    frequencies = np.fft.rfftfreq(len(waveform), 1 / SAMPLING_RATE)
    return np.fft.irfft(np.fft.rfft(waveform) / np.sqrt(1 + (frequencies / cutoff) ** 2), len(waveform))


def in_a_room(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A recording of `waveform`: often some reverberation, always a microphone's noise floor and limiter, any gain."""
    if rng.random() < 0.6:
        length = int(SAMPLING_RATE * rng.uniform(0.1, 0.6))
        decay = np.exp(-np.arange(length) / length * 6)
        response = rng.standard_normal(length) * decay * rng.uniform(0.004, 0.025)
        response[0] = 1.0
        size = 1 << int(np.ceil(np.log2(len(waveform) + length)))
        spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(response, size)
        waveform = np.fft.irfft(spectrum, size)[: len(waveform)]
    waveform = waveform + rng.standard_normal(len(waveform)) * 10 ** (rng.uniform(-70, -60) / 20)
    return np.tanh(waveform * 0.7 * 10 ** (rng.uniform(-3, 3) / 20))


def render_clip(renderer: Renderer, pieces: dict[str, list[Piece]], seed: int, index: int, name: str, seconds: float):
    """Clip `index` of the set `name`: (samples int16, truth). Draws again until an excerpt sounds."""
    rng = np.random.default_rng([seed, index])
    styles = [style for style in STYLES if pieces.get(style)]
    weights = np.array([STYLE_WEIGHTS[style] for style in styles])
    while True:
        style = str(rng.choice(styles, p=weights / weights.sum()))
        piece = pieces[style][int(rng.integers(len(pieces[style])))]
        soundfont = str(rng.choice(list(renderer.loaded)))
        excerpt = plan_excerpt(piece, rng, f"{name}-{index:06d}", soundfont, seconds)
        if excerpt is None:
            continue
        dry = renderer.render(excerpt)
        if np.sqrt(np.mean(dry**2)) < SILENCE_RMS:
            continue
        if excerpt.truth.loudness == "soft":
            dry = darker(dry, rng.uniform(2000, 5000))
        wet = in_a_room(dry, rng)
        return np.round(wet * 32767).astype(np.int16), excerpt.truth


_worker: tuple[Renderer, dict[str, list[Piece]]] | None = None


def _start_worker(scores: Path, soundfonts: list[str], split: str) -> None:
    global _worker
    pieces: dict[str, list[Piece]] = {}
    for piece in read_scores(scores):
        if piece.split == split:
            pieces.setdefault(piece.style, []).append(piece)
    _worker = Renderer(soundfonts), pieces


def _render_index(seed: int, name: str, seconds: float, index: int):
    return render_clip(*_worker, seed, index, name, seconds)


def render_set(
    scores: Path,
    out: Path,
    clips: int,
    seed: int,
    soundfonts: list[str],
    split: str,
    seconds: float = SECONDS,
    processes: int | None = None,
) -> None:
    """Render `clips` clips of `seconds` each into `out` (clips.npy, truth.jsonl), the truth written last."""
    out.mkdir(parents=True, exist_ok=True)
    shape = (clips, round(seconds * SAMPLING_RATE))
    waveforms = np.lib.format.open_memmap(out / "clips.npy", mode="w+", dtype=np.int16, shape=shape)
    unfinished = out / "truth.jsonl.partial"
    start = partial(_start_worker, scores, soundfonts, split)
    with ProcessPoolExecutor(processes or os.cpu_count(), initializer=start) as pool, unfinished.open("w") as sink:
        rendered = pool.map(partial(_render_index, seed, out.name, seconds), range(clips), chunksize=16)
        for index, (samples, truth) in enumerate(tqdm(rendered, total=clips, desc=out.name, disable=None)):
            waveforms[index] = samples
            sink.write(json.dumps(truth.to_dict()) + "\n")
    waveforms.flush()
    unfinished.replace(out / "truth.jsonl")


def load_clips(folder: Path) -> tuple[np.ndarray, list[ClipTruth]]:
    """A rendered set: (clips, samples) int16 at 24 kHz, memory-mapped, and each clip's truth."""
    truths = [ClipTruth(**json.loads(line)) for line in (folder / "truth.jsonl").read_text().splitlines()]
    return np.load(folder / "clips.npy", mmap_mode="r"), truths


def main() -> None:
    """Command line: render one set of clips."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--soundfonts", nargs="+", choices=sorted(SOUNDFONTS), required=True)
    parser.add_argument("--split", choices=SPLITS, required=True, help="which pieces to draw from")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--processes", type=int)
    args = parser.parse_args()
    render_set(
        args.scores,
        args.out,
        args.clips,
        args.seed,
        args.soundfonts,
        args.split,
        args.seconds,
        args.processes,
    )


if __name__ == "__main__":
    main()
