"""Real scores of music21's corpus, rendered with real soundfonts, to clips whose truth can be checked in the sound."""

import json
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("music21", reason="the synthesised set needs music21 (make tiny installs it)")
pytest.importorskip("tinysoundfont", reason="the synthesised set needs tinysoundfont (make tiny installs it)")

from mullama.dataset_scripts.synthetic.render import (
    SAMPLING_RATE,
    SOUNDFONTS,
    load_clips,
    quarters_per_beat,
    render_set,
)
from mullama.dataset_scripts.synthetic.scores import SPLITS, Piece, corpus_files, parse_file, read_scores
from mullama.dataset_scripts.synthetic.truth import FAMILY_OF, TEMPO_BPM

FONT = "csound"
needs_soundfont = pytest.mark.skipif(not SOUNDFONTS[FONT].is_file(), reason="needs Debian's csound-soundfont")


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    files = [item for item in corpus_files() if "bwv1" in item[1]][:8] + [
        item for item in corpus_files() if "ryansMammoth" in item[1]
    ][:12]
    return [piece for item in files for piece in parse_file(item)]


@pytest.fixture(scope="module")
def scores(pieces, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    path.write_text("".join(json.dumps(asdict(piece)) + "\n" for piece in pieces))
    return path


def test_scores_are_read_as_written(pieces, scores):
    assert len(pieces) >= 18
    chorale = next(piece for piece in pieces if piece.name.startswith("bach/"))
    assert chorale.style == "baroque" and len(chorale.parts) >= 4 and chorale.time_signature == "4/4"
    onset, duration, pitch = chorale.parts[0][0]
    assert duration > 0 and 55 <= pitch <= 90 and onset >= 0
    read = list(read_scores(scores))
    assert [piece.name for piece in read] == [piece.name for piece in pieces]
    assert {piece.split for piece in read} <= set(SPLITS)


def test_collections_with_unfit_licences_are_left_out():
    left_out = ("palestrina", "essenFolksong", "monteverdi", "josquin")
    assert not [path for _, path in corpus_files() if any(f"/{name}/" in path for name in left_out)]


@pytest.mark.parametrize(
    ("signature", "quarters"), [("4/4", 1.0), ("2/2", 2.0), ("6/8", 1.5), ("3/8", 1.5), ("7/8", None), ("6/4", None)]
)
def test_beat_of_a_time_signature(signature, quarters):
    assert quarters_per_beat(signature) == quarters


@needs_soundfont
def test_same_seed_gives_the_same_clips_by_any_number_of_processes(scores, tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        render_set(scores, tmp_path / name, 24, 7, [FONT], "train", seconds=2.0, processes=processes)
    (first, truths), (second, others) = load_clips(tmp_path / "one"), load_clips(tmp_path / "two")
    assert first.shape == (24, 2 * SAMPLING_RATE) and first.dtype == np.int16
    assert np.array_equal(first, second)
    assert [asdict(t) | {"id": ""} for t in truths] == [asdict(t) | {"id": ""} for t in others]


@needs_soundfont
def test_truth_holds_in_the_sound(scores, tmp_path):
    render_set(scores, tmp_path / "set", 80, 3, [FONT], "train", seconds=4.0)
    clips, truths = load_clips(tmp_path / "set")
    assert len({truth.instrument for truth in truths}) > 8
    high, low, loud, soft = [], [], [], []
    for clip, truth in zip(clips, truths, strict=True):
        assert truth.family == FAMILY_OF[truth.instrument] and truth.drums == ("drums" in truth.instruments)
        assert TEMPO_BPM[truth.tempo][0] <= truth.bpm <= TEMPO_BPM[truth.tempo][1]
        waveform = clip.astype(np.float64)
        (loud if truth.loudness == "loud" else soft).append(np.sqrt(np.mean(waveform**2)))
        if truth.texture == "solo":
            spectrum = np.abs(np.fft.rfft(waveform)) ** 2
            peak = np.argmax(spectrum[:8000]) / 4.0  # Hz: 4 s give bins of 1/4 Hz
            (high if truth.register == "high" else low if truth.register == "low" else []).append(peak)
    assert np.median(loud) > 2 * np.median(soft)
    if high and low:
        assert np.median(high) > np.median(low)
