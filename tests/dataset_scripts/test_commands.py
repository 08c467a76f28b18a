"""`mullama data`, from the shell: from captions to a dataset that is asked, and the errors of a user's mistakes."""

import json
import subprocess
import sys

import datasets
import pytest


def mullama(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mullama.cli", "data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_from_captions_to_a_dataset(musiccaps, llm_server, tone, tmp_path):
    clips = ["-0Gj8-vB1q4", "-0SdAVK79lg", "-0vPFx-wRRI"]
    for clip in clips[1:]:
        tone(tmp_path / "audio" / f"[{clip}]-[30-40].wav", seconds=1.0)
    (tmp_path / "audio" / "[-0xzrMun0Rs]-[30-40].wav").write_bytes(b"a page that said: video unavailable")
    qa, out = tmp_path / "qa.jsonl", tmp_path / "MyMusicQA"
    done = mullama(
        *("generate", "--source", "musiccaps", "--root", musiccaps.parent, "--llm", llm_server().url, "--out", qa),
        *("--audio", tmp_path / "audio"),
    )
    assert done.returncode == 0 and done.stdout == ""
    assert done.stderr.splitlines() == [
        f"mullama: 3 of 5521 clips have audio in {tmp_path / 'audio'}",
        f"mullama: 3 of 3 clips are in {qa} (3 of them new)",
    ]
    done = mullama("build", "--qa", qa, "--audio", tmp_path / "audio", "--out", out, "--num-proc", 2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"mullama: {out}: 3 clips, 27 pairs, 2 clips with audio (0.0 h) in 1 shard",
        f"mullama: 1 clips have no usable audio: {out}/left_out.jsonl tells why",
    ]
    rows = list(datasets.load_dataset(str(out), split="pretrain", streaming=True))
    assert [row["id"] for row in rows] == clips[1:] and all(len(row["qa"]) == 9 for row in rows)

    done = mullama("stats", out, "--json")
    stats = json.loads(done.stdout)
    assert stats["splits"]["pretrain"]["clips"] == 3 and stats["splits"]["pretrain"]["clips_with_audio"] == 2
    assert stats["kinds"]["template"] == 12 and stats["kinds"]["open"] == 15
    assert all(open(path, "rb").read(4) == b"\x89PNG" for path in stats["plots"]) and len(stats["plots"]) == 5


def test_the_release_as_text(eval_musicqa, tmp_path):
    out = tmp_path / "text"
    done = mullama("import-release", "--json", eval_musicqa, "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    done = mullama("stats", out, "--plots", tmp_path / "plots")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["split", "clips", "with", "audio"]
    assert lines[1].split() == ["test", "560", "0", "5040", "0.0", "-", "7", "20"]
    assert "kinds: template 2240, open 2800" in lines
    assert lines[-1] == str(tmp_path / "plots" / "question_kinds.png")


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (
            ["generate", "--source", "csv", "--root", "gone.csv", "--llm", "m", "--out", "o"],
            1,
            "gone.csv: no such file",
        ),
        (["generate", "--source", "csv", "--root", "r", "--llm", "m"], 2, "required: --out"),
        (["generate", "--source", "cd", "--root", "r", "--llm", "m", "--out", "o"], 2, "invalid choice: 'cd'"),
        (["build", "--qa", "gone.jsonl", "--out", "o"], 1, "gone.jsonl: no such file"),
        (["build", "--qa", "a", "--out", "o", "--num-proc", "0"], 2, "must be 1 or more"),
        (["import-release", "--json", "gone.json", "--out", "o"], 1, "gone.json: its name does not tell its split"),
        (["stats", "gone"], 1, "gone: no text/*.parquet in it"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(arguments, status, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = mullama(*arguments)
    assert done.returncode == status and done.stdout == ""
    assert problem in done.stderr and "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.startswith("mullama: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
