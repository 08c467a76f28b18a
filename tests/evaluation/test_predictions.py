"""Anybody's answers: every form is read, and what does not fit is counted by name and stays in the mean."""

import json

import pytest
from mullama.evaluation.predictions import OWN, read_predictions, references_within
from mullama.evaluation.references import Reference

REFERENCES = [
    Reference("one", 0, "Describe the audio", "A slow piano.", "template"),
    Reference("one", 1, "Is it fast?", "No.", "open"),
    Reference("two", 0, "Describe the audio", "Fast drums.", "template"),
    Reference("two", 1, "Is it fast?", "Yes.", "open"),
]


def texts(predictions) -> list[str]:
    return [answer.standard for answer in predictions.answers[OWN]]


def test_the_originals_form(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps(
            {
                "one.wav": {"Describe the audio": " a piano ", "is it  FAST?": "no"},
                "audios/two.wav": {"Describe the audio": "drums", "Is it fast?": "yes"},
            }
        )
    )
    read = read_predictions(path, REFERENCES)
    assert texts(read) == ["a piano", "no", "drums", "yes"]
    assert not read.problems.counts


@pytest.mark.parametrize("form", ["lines", "list"])
def test_everything_that_is_wrong_is_counted(form, tmp_path):
    entries = [
        {"id": "one", "question": "Describe the audio", "answer": "first"},
        {"audio_name": "one.wav", "question": "Describe the audio", "prediction": "second"},
        {"id": "three", "question": "Describe the audio", "answer": "of nothing"},
        {"id": "one", "question": "Who sings?", "answer": "nobody asked"},
        {"id": "one", "question": "Is it fast?", "answer": "   "},
        {"id": "two", "question": "Describe the audio", "answer": 7},
        {"question": "Is it fast?", "answer": "of whom?"},
        "text",
    ]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(entries) if form == "list" else "\n".join(map(json.dumps, entries)) + '\n{"id": "tw')
    read = read_predictions(path, REFERENCES)
    assert texts(read) == ["first", "", "", ""]
    expected = {
        "duplicate answer": 1,
        "unknown track": 1,
        "unknown question": 1,
        "answer that is not text": 1,
        "entry without id and question": 2,
        "empty answer": 2,
        "missing answer": 1,
    }
    assert read.problems.counts == expected | ({} if form == "list" else {"line that is not JSON": 1})
    assert read.problems.examples["missing answer"] == ["two: Is it fast?"]
    assert read.problems.examples["unknown track"] == ["three: Describe the audio"]


def test_text_that_is_not_utf_8(tmp_path):
    path = tmp_path / "latin.jsonl"
    line = json.dumps({"id": "one", "question": "Describe the audio", "answer": "Für Elise"}, ensure_ascii=False)
    path.write_bytes(line.encode("latin-1"))
    read = read_predictions(path, REFERENCES)
    assert texts(read)[0] == "F\ufffdr Elise"
    assert read.problems.counts == {"not UTF-8": 1, "missing answer": 3}
    path.write_text(line.replace("ü", "\ufffd"), encoding="utf-8")  # a model's own
    read = read_predictions(path, REFERENCES)
    assert read.problems.counts == {"character that is no text": 1, "missing answer": 3}


def test_files_that_answer_nothing(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"id": "x", "question": "y", "answer": "z"}))
    with pytest.raises(ValueError, match="answers none of the 4 questions"):
        read_predictions(path, REFERENCES)
    path.write_text('{"one": "a piano"}')
    with pytest.raises(ValueError, match="'one' does not hold question -> answer"):
        read_predictions(path, REFERENCES)
    path.write_text("[1, 2")
    with pytest.raises(ValueError, match="not JSON"):
        read_predictions(path, REFERENCES)
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / "none.jsonl", REFERENCES)


def test_a_file_that_holds_its_references(tmp_path):
    path = tmp_path / "predictions.jsonl"
    line = {"id": "one", "number": 1, "question": "Is it fast?", "reference": "No.", "kind": "open", "answer": "no"}
    path.write_text(json.dumps(line) + "\n" + json.dumps(line | {"heard": "silence"}))
    assert references_within(path) == [REFERENCES[1]]
    path.write_text(json.dumps({"id": "one", "question": "Is it fast?", "answer": "no"}))
    with pytest.raises(ValueError, match="give --references"):
        references_within(path)


def test_the_same_question_asked_twice_of_a_track(tmp_path):
    twice = [Reference("one", number, "Is it fast?", "No.", "open") for number in (0, 1)]
    path = tmp_path / "predictions.jsonl"
    lines = [{"id": "one", "number": n, "question": "Is it fast?", "answer": str(n)} for n in (1, 0)]
    path.write_text("\n".join(map(json.dumps, lines)))
    read = read_predictions(path, twice)
    assert (texts(read), read.problems.counts) == (["0", "1"], {})
