"""The page of measured and quoted results."""

import io
import json
import re

import pytest
from mullama.cli import main
from mullama.evaluation.published import ResultsError, read_published, read_results


def estimate(value: float) -> dict:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


@pytest.fixture(autouse=True)
def own_stdin(monkeypatch):
    """pytest's is none that the command line can set up."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture
def results(tmp_path):
    """What `mullama evaluate` writes, by the command itself, of two tracks."""
    lines = [
        {"id": f"track-{n}", "question": "What is it?", "answer": said, "reference": true}
        for n, (said, true) in enumerate([("A calm harp plays.", "A calm harp tune."), ("Drums.", "Loud drums play.")])
    ]
    (tmp_path / "ours.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "evaluation"
    command = ["evaluate", "--predictions", str(tmp_path / "ours.jsonl"), "--out", str(out), "--no-bertscore"]
    assert main(command) == 0
    return out


def test_every_row_says_whether_it_is_measured_or_quoted(results, tmp_path, capsys):
    page = tmp_path / "page.md"
    assert main(["evaluate", "table", str(results), str(results / "results.json"), "--out", str(page)]) == 0
    text = page.read_text()
    legacy, standard = text.split("## Protocol `standard`")
    rows = [line for line in legacy.splitlines() if line.startswith("|")][2:]
    assert all(re.search(r"\| (measured|quoted: arXiv .*) \|$", row) for row in rows)
    measured = json.loads((results / "results.json").read_text())["protocols"]["legacy"]["systems"]
    assert sum(row.endswith("| measured |") for row in rows) == len(measured)  # the same results, given twice
    assert "| *blind:* " in legacy and "**ours**" in legacy  # what needs no music stands beside
    value = measured["ours"]["overall"]["character_bleu"]["value"]
    assert f"| **ours** | ours.jsonl (2 questions) | {value:.3f} [" in legacy
    assert "| MU-LLaMA | MusicQA evaluation | 0.306 | 0.385 | 0.466 | 0.901 | quoted: arXiv 2308.11276" in legacy
    assert "quoted" not in standard
    assert "sacreBLEU" in standard
    capsys.readouterr()
    assert main(["evaluate", "table", str(results)]) == 0
    assert "| LTU | MusicQA evaluation | 0.242 |" in capsys.readouterr().out


def test_quoted_numbers_are_the_papers():
    """REFERENCE.md 6, written out again."""
    metrics = ("character_bleu", "meteor", "rouge_l_recall", "bertscore_recall")
    quoted = {(row["system"], row["task"]): tuple(float(row[m]) for m in metrics) for row in read_published()}
    assert quoted == {
        ("LTU", "question answering"): (0.242, 0.274, 0.326, 0.887),
        ("LLaMA-Adapter", "question answering"): (0.273, 0.334, 0.413, 0.895),
        ("MU-LLaMA", "question answering"): (0.306, 0.385, 0.466, 0.901),
        ("LP-MusicCaps", "captioning"): (0.227, 0.177, 0.227, 0.877),
        ("MU-LLaMA", "captioning"): (0.278, 0.261, 0.312, 0.888),
    }
    assert {row["protocol"] for row in read_published()} == {"legacy"}


def test_what_is_no_results_file_is_told(tmp_path):
    (tmp_path / "other.json").write_text('{"protocols": []}')
    (tmp_path / "text.json").write_text("no JSON")
    for name, problem in [("none.json", "No such file"), ("other.json", "not a results.json"), ("text.json", "not a")]:
        with pytest.raises(ResultsError, match=problem):
            read_results(tmp_path / name)


def test_a_quoted_row_without_its_source_is_refused(tmp_path):
    head = "system,task,dataset,protocol,character_bleu,meteor,rouge_l_recall,bertscore_recall,quoted_from\n"
    for row, problem in [
        ("X,qa,d,legacy,0.1,0.1,0.1,0.1,\n", "line 2: needs system"),
        ("X,qa,d,own,0.1,0.1,0.1,0.1,paper\n", "no protocol 'own'"),
        ("X,qa,d,legacy,high,0.1,0.1,0.1,paper\n", "character_bleu is no number: 'high'"),
    ]:
        (tmp_path / "published.csv").write_text(head + row)
        with pytest.raises(ResultsError, match=problem):
            read_published(tmp_path / "published.csv")
