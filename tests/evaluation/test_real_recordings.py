"""Evaluation on real recordings: its table, reading Debian packages, its figures, and its command."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mullama.evaluation.real_recordings import (
    TABLE,
    WORDINGS,
    ask,
    evaluate_real_recordings,
    judge,
    load_excerpts,
    main,
    read_from_package,
    read_table,
)

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="reads Debian packages with dpkg-deb")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with a real Debian package of two recordings: a tone at 220 Hz and one at 440 Hz, 3 s each."""
    folder = tmp_path_factory.mktemp("packages")
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: tones-music\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: tones\n"
    )
    (root / "usr/share/tones").mkdir(parents=True)
    time = np.arange(3 * 24_000) / 24_000
    for name, frequency in (("low one.flac", 220), ("high.flac", 440)):
        soundfile.write(root / "usr/share/tones" / name, 0.5 * np.sin(2 * np.pi * frequency * time), 24_000)
    package = folder / "tones-music_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", root, package], check=True, capture_output=True)
    shutil.rmtree(root)
    return folder


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["package", "file", "start", "end", "drums", "family", "source"])
        rows.writerow(["tones-music", "usr/share/tones/low one.flac", 0.5, 2.5, "no", "brass", "made"])
        rows.writerow(["tones-music", "usr/share/tones/high.flac", 0, 1, "yes", "", "made"])
    return path


def test_the_table_has_enough_of_everything():
    excerpts = read_table()
    assert len(excerpts) >= 20
    assert all(excerpt.source for excerpt in excerpts)
    assert sum(excerpt.drums is True for excerpt in excerpts) >= 8
    assert sum(excerpt.drums is False for excerpt in excerpts) >= 8
    families = [excerpt.family for excerpt in excerpts if excerpt.family]
    assert len(families) >= 15 and len(set(families)) >= 3
    assert TABLE.read_text(encoding="utf-8").startswith("package,file,start,end,drums,family,source")


def test_stems_of_one_song_count_as_one_recording():
    stems = [excerpt for excerpt in read_table() if Path(excerpt.file).stem in ("song", "guitar")]
    assert stems
    assert len({excerpt.recording for excerpt in stems}) == len({Path(excerpt.file).parent for excerpt in stems})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("a,b,0,1,maybe,,c", "line 2: no such label: 'maybe'"), ("a,b,4,3,yes,,c", "line 2: the excerpt ends at 3.0 s")],
)
def test_a_wrong_row_is_named(tmp_path, line, complaint):
    path = tmp_path / "table.csv"
    path.write_text(f"package,file,start,end,drums,family,source\n{line}\n")
    with pytest.raises(ValueError, match=complaint):
        read_table(path)


@needs_dpkg
def test_excerpts_are_cut_from_the_package(packages, table):
    low, high = load_excerpts(packages, read_table(table))
    assert len(low) == 48_000 and len(high) == 24_000
    for waveform, frequency in ((low, 220), (high, 440)):
        assert np.abs(np.fft.rfft(waveform)).argmax() == frequency * len(waveform) / 24_000


@needs_dpkg
def test_what_is_missing_is_named_with_its_remedy(packages, tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get download other-music"):
        read_from_package(packages, "other-music", ["x"])
    with pytest.raises(FileNotFoundError, match="does not hold usr/share/none.ogg"):
        read_from_package(packages, "tones-music", ["usr/share/none.ogg"])


def test_questions_are_half_seen_half_unseen_and_repeatable():
    asked = ask("drums", 3, seed=1)
    assert asked == ask("drums", 3, seed=1) != ask("drums", 3, seed=2)
    assert all(len(row) == 2 * WORDINGS for row in asked)


def test_figures_tell_hearing_from_guessing():
    truths = [True, False] * 12
    names = [f"recording {number // 2}" for number in range(24)]
    hearing = judge(truths, [[truth] * 8 for truth in truths], names, seed=0)
    assert hearing["accuracy"] == hearing["balanced"] == hearing["low"] == 1.0
    assert hearing["p"] < 0.001 and hearing["chance"] == pytest.approx(0.5, abs=0.02) and hearing["majority"] == 0.5
    deaf = judge(truths, [[True] * 8 for _ in truths], names, seed=0)
    assert deaf["accuracy"] == deaf["chance"] == 0.5 and deaf["p"] == 1.0
    assert deaf["by_value"] == {"False": 0.0, "True": 1.0}
    half = judge(truths, [[truth] * 4 + [None] * 4 for truth in truths], names, seed=0)
    assert (half["seen"], half["unseen"]) == (1.0, 0.0)


@needs_dpkg
def test_evaluation_answers_every_labelled_excerpt(model_folder, packages, table, tmp_path):
    results = evaluate_real_recordings(str(model_folder), packages, tmp_path / "out", table=table)
    assert results["kinds"]["drums"]["excerpts"] == 2 and results["kinds"]["family"]["excerpts"] == 1
    lines = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 2 * WORDINGS
    assert json.loads((tmp_path / "out/results.json").read_text()) == results
    assert "| drums |" in (tmp_path / "out/results.md").read_text()


def test_command_tells_what_to_fetch_and_what_is_missing(tmp_path, model_folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["real_recordings", "--list"])
    main()
    assert capsys.readouterr().out.startswith("apt-get download ")
    arguments = ["--model", model_folder, "--packages", tmp_path, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["real_recordings", *map(str, arguments)])
    with pytest.raises(SystemExit, match=f"error: {tmp_path} has no .*: run `apt-get download"):
        main()
