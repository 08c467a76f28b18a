"""MuChoMusic and MMAU as their published files have them, down to the labels of their answers."""

import csv
import json

import pytest
from mullama.dataset_scripts.rows import read_qa
from mullama.evaluation.closed_form import closed_readers, options_of
from mullama.evaluation.multiple_choice import MUCHOMUSIC_OPTIONS, main, read_mmau, read_muchomusic
from mullama.evaluation.references import read_references

MMAU = [
    {"audio_id": "./test-mini-audios/a.wav", "question": "Which instrument opens?", "task": "music"}
    | {"choices": ["Guitar", "Bass guitar", "Piano", "Drums"], "answer": "Bass guitar"},
    {"audio_id": "./test-mini-audios/a.wav", "question": "What is the metre?", "task": "music"}
    | {"choices": ["3/4", "4/4"], "answer": "4/4"},
    {"audio_id": "./test-mini-audios/b.wav", "question": "Who speaks?", "task": "speech"}
    | {"choices": ["A man", "A woman"], "answer": "A man"},
]


def test_mmau(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "mmau.json", tmp_path / "mmau.jsonl"
    path.write_text(json.dumps(MMAU))
    monkeypatch.setattr("sys.argv", ["multiple_choice", "--mmau", str(path), "--out", str(out)])
    main()
    assert capsys.readouterr().out.endswith("2 questions about 1 clips\n")
    (row,) = read_qa(out)
    assert row["audio_names"] == ["a.wav"]
    references = read_references(str(out))
    scored_by, reader = closed_readers(references)["multiple_choice"]
    assert scored_by == "closed"
    assert [reader(r.answer, r.question) for r in references] == ["B", "B"]
    assert reader("I hear a bass guitar.", references[0].question) == "B"
    assert reader("It is in 3/4.", references[1].question) == "A"


def test_muchomusic(tmp_path):
    path = tmp_path / "muchomusic.csv"
    common = dict(zip(MUCHOMUSIC_OPTIONS, ["Reggae", "Ska", "Opera.", "A loud drum"], strict=True))
    entries = [
        {"dataset": "sdd", "dataset_identifier": "415600.json", "question": "Which genre is it?"} | common,
        {"dataset": "musiccaps", "dataset_identifier": "-0Gj8-vB1q4_3.json", "question": "Genre?"} | common,
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(entries[0]))
        writer.writeheader()
        writer.writerows(entries)
    rows = read_muchomusic(path, seed=1)
    assert "00/415600.2min.mp3" in rows[0]["audio_names"] and "-0Gj8-vB1q4.wav" in rows[1]["audio_names"]
    for row in rows:
        (pair,) = row["qa"]
        options = options_of(pair["question"])
        assert sorted(options.values()) == ["A loud drum", "Opera", "Reggae", "Ska"]
        assert pair["answer"] == f"({next(k for k, v in options.items() if v == 'Reggae')}) Reggae"
    assert read_muchomusic(path, seed=1) == rows
    letters = {read_muchomusic(path, seed)[0]["qa"][0]["answer"][:3] for seed in range(20)}
    assert len(letters) == 4  # the right answer may stand anywhere


@pytest.mark.parametrize("reader", [read_mmau, read_muchomusic])
def test_other_files_are_refused(reader, tmp_path):
    path = tmp_path / "other"
    path.write_text('{"a": 1}\n1')
    with pytest.raises(ValueError, match="other: not M"):
        reader(path)
    path.write_text(json.dumps([{"task": "music"}]))
    with pytest.raises(ValueError, match="not M"):
        reader(path)
