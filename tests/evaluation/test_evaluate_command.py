"""`mullama evaluate` as a user runs it: a model on audio, anybody's answers, runs that were killed, bad input."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mullama import cli
from mullama.asking import load_asker
from mullama.dataset_scripts.build import build_dataset
from mullama.dataset_scripts.rows import make_row
from mullama.evaluation.answering import legacy_chunks
from mullama.evaluation.predictions import HEARD
from mullama.evaluation.systems import MuLlamaSystem, open_system
from mullama.processing.audio_io import read_audio

EXAMPLES = Path(__file__).parents[2] / "spaces_app" / "examples"
QUICK = ("--no-bertscore", "--max-new-tokens", "6", "--batch-size", "8")
QA = [
    {"question": "Describe the audio", "answer": "A loud folk piece for solo flute.", "kind": "template"},
    {"question": "Are there drums?", "answer": "No, there are no drums.", "kind": "drums"},
    {"question": "Is it sad?", "answer": "It sounds calm.", "kind": "open"},
]


def main(arguments: list[str]) -> int:
    """`mullama ARGUMENTS` in this process, which spares importing everything once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # restored, the command sets its own
        return cli.main(arguments)


def build(folder: Path, out: Path, seconds: dict[str, float]) -> Path:
    folder.mkdir()
    rows = []
    for number, (name, length) in enumerate(seconds.items()):
        time_ = np.arange(round(length * 24_000)) / 24_000
        soundfile.write(folder / f"{name}.flac", 0.3 * np.sin(2 * np.pi * 220 * (1 + number / 4) * time_), 24_000)
        rows.append(make_row(name, "synthetic", QA, split="test", audio_names=[f"{name}.flac"]))
    build_dataset(rows, out, folder)
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Five clips of a second, asked three questions each."""
    folder = tmp_path_factory.mktemp("evaluate")
    return build(folder / "audio", folder / "data", {f"clip-{number}": 1.0 for number in range(5)})


@pytest.fixture(scope="module")
def evaluated(random_model, data, wordnet, tmp_path_factory) -> Path:
    """A finished evaluation of the small random model."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    assert main(["evaluate", "--model", str(random_model), "--data", str(data), "--out", str(out), *QUICK]) == 0
    return out


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_model_beside_what_is_blind(evaluated, random_model):
    lines = lines_of(evaluated / "predictions.jsonl")
    assert len({line["answer"] for line in lines}) > 8  # gibberish, but not all alike
    assert [line["heard"] for line in lines] == [heard for heard in HEARD for _ in range(15)]
    results = json.loads((evaluated / "results.json").read_text())
    name = random_model.name
    blind = [f"{name}, {heard}" for heard in HEARD[1:]]
    blind += ["most frequent answer", "another track's reference", "three other references, joined"]
    for protocol in ("legacy", "standard"):
        table = results["protocols"][protocol]
        assert list(table["systems"]) == [name, *blind]
        assert [row["blind"] for row in table["systems"].values()] == [False] + 6 * [True]
        assert table["gain_over_blind"]["meteor"]["over"] in blind
        assert table["gain_by_hearing"]["meteor"]["over"] == blind[0]
        # All tracks have the same answers here, so that nothing beats repeating them.
        assert table["gain_over_blind"]["meteor"]["difference"] < 0
        assert table["systems"]["another track's reference"]["overall"]["meteor"]["value"] > 0.9
    assert results["closed"]["drums"]["systems"]["another track's reference"]["overall"]["accuracy"]["value"] == 1
    page = (evaluated / "results.md").read_text()
    assert "**gain over the best blind**" in page and "nrefs:1|case:mixed" in page
    assert "Missing, bertscore: left out by --no-bertscore." in page
    for plot in ("legacy.png", "standard.png", "closed.png"):
        assert (evaluated / plot).read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_asks_nothing_and_other_settings_are_refused(evaluated, random_model, data, capsys):
    command = ["evaluate", "--model", str(random_model), "--data", str(data), "--out", str(evaluated), *QUICK]
    before = (evaluated / "predictions.jsonl").stat().st_mtime_ns
    assert main([*command, "--json"]) == 0
    assert (evaluated / "predictions.jsonl").stat().st_mtime_ns == before
    assert json.loads(capsys.readouterr().out)["questions"] == 15
    assert main([*command, "--seed", "1"]) == 1
    assert "was begun with another seed (0, now 1); choose another --out" in capsys.readouterr().err


def test_a_run_that_was_killed_goes_on(evaluated, random_model, data, tmp_path):
    whole = lines_of(evaluated / "predictions.jsonl")
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_bytes((evaluated / "settings.json").read_bytes())
    # What two processes left when they were killed: answers that can be told from new ones, and a torn line.
    kept = [whole[number] | {"answer": f"kept {number}"} for number in (0, 7, 20, 33)]
    text = "".join(json.dumps(line) + "\n" for line in kept[:2])
    (out / "predictions.partial-0.jsonl").write_text(text + json.dumps(whole[1])[:40])
    (out / "predictions.partial-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept[2:]))
    assert main(["evaluate", "--model", str(random_model), "--data", str(data), "--out", str(out), *QUICK]) == 0
    expected = list(whole)
    for number, line in zip((0, 7, 20, 33), kept, strict=True):
        expected[number] = line
    assert lines_of(out / "predictions.jsonl") == expected
    assert not list(out.glob("*partial*"))


def test_predictions_alone_give_the_same_table(evaluated, tmp_path, capsys):
    own = ["evaluate", "--predictions", str(evaluated / "predictions.jsonl"), "--no-bertscore"]
    assert main([*own, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    results = json.loads((evaluated / "results.json").read_text())
    for protocol, table in results["protocols"].items():
        again = printed["protocols"][protocol]["systems"]
        assert list(table["systems"].values()) == list(again.values())


def test_anybodys_answers_with_what_is_wrong_with_them(data, wordnet, tmp_path, capsys):
    answers = {f"clip-{number}.wav": {pair["question"]: pair["answer"] for pair in QA} for number in range(4)}
    answers["clip-0.wav"]["Is it sad?"] = ""
    answers["clip-9.wav"] = {"Is it sad?": "No."}
    (tmp_path / "right.json").write_text(json.dumps(answers))
    poor = {track: {question: "a song" for question in asked} for track, asked in answers.items()}
    (tmp_path / "poor.json").write_text(json.dumps(poor))
    command = ["evaluate", "--predictions", str(tmp_path / "right.json"), "--references", str(data)]
    command += ["--against", str(tmp_path / "poor.json"), "--no-bertscore", "--json", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr()
    results = json.loads(printed.out)
    counts = {problem: found["count"] for problem, found in results["problems"].items()}
    assert counts == {
        "unknown track": 1,
        "missing answer": 3,
        "empty answer": 1,
        "poor: unknown track": 1,
        "poor: missing answer": 3,
    }
    assert "mullama: missing answer: 3 (for example clip-4: Describe the audio)" in printed.err
    assert "| missing answer | 3 of 15 | clip-4: Describe the audio |" in (tmp_path / "out" / "results.md").read_text()
    row = results["protocols"]["legacy"]["systems"]["right"]["overall"]
    assert row["character_bleu"]["value"] == pytest.approx(11 / 15)  # four of fifteen are not there
    test = results["protocols"]["legacy"]["against"]["character_bleu"]
    assert test["over"] == "poor" and test["difference"] > 0.5 and test["low"] > 0.3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give --data"),
        (["--model", "M", "--data", "D"], 2, "give --out"),
        (["--data", "D", "--against", "A"], 2, "--against needs --model or --predictions"),
        (["--data", "no/such/folder"], 1, "no/such/folder: no such dataset folder or file"),
        (["--data", "none.json"], 1, "none.json: no such file"),
        (["--model", "M", "--data", "none.jsonl", "--out", "O"], 1, "none.jsonl: no such file"),
        (["--predictions", "none.jsonl"], 1, "none.jsonl"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments, status, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if status == 2:
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", *arguments])
        assert stop.value.code == 2
    else:
        assert main(["evaluate", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_model_needs_audio_and_a_folder_of_its_own(random_model, data, tmp_path, capsys):
    rows = [make_row("clip-0", "synthetic", QA, split="test")]
    build_dataset(rows, tmp_path / "text")
    command = ["evaluate", "--model", str(random_model), *QUICK, "--out"]
    assert main([*command, str(tmp_path / "out"), "--data", str(tmp_path / "text")]) == 1
    assert "without audio" in capsys.readouterr().err
    assert main([*command, str(tmp_path), "--data", str(data)]) == 1
    assert "is there and holds no evaluation; choose another --out" in capsys.readouterr().err


def test_the_legacy_protocol_hears_every_second_minute(random_model, tmp_path, wordnet):
    chunks = legacy_chunks(np.zeros(round(150.5 * 24_000), np.float32))
    assert [len(chunk) / 24_000 for chunk in chunks] == [60, 30.5]
    assert legacy_chunks(np.zeros(60 * 24_000, np.float32)) == []
    data = build(tmp_path / "audio", tmp_path / "data", {"long": 125.0, "short": 1.0})
    out = tmp_path / "out"
    assert main(["evaluate", "--model", str(random_model), "--data", str(data), "--out", str(out), *QUICK]) == 0
    long, short = (
        [line for line in lines_of(out / "predictions.jsonl") if line["id"] == track and line["heard"] == "own audio"]
        for track in ("long", "short")
    )
    assert not any("legacy_answer" in line for line in short)
    samples = read_audio(tmp_path / "audio" / "long.flac")
    system = open_system(str(random_model))
    for line in long:
        chunks = [samples[: 60 * 24_000], samples[120 * 24_000 :]]
        parts = system.answer(chunks, [line["question"]] * 2, 6)
        assert line["legacy_answer"] == " ".join(filter(None, parts))


def test_a_single_track_has_no_other(random_model, tmp_path, wordnet):
    data = build(tmp_path / "audio", tmp_path / "data", {"alone": 1.0})
    out = tmp_path / "out"
    assert main(["evaluate", "--model", str(random_model), "--data", str(data), "--out", str(out), *QUICK]) == 0
    heard = {line["heard"] for line in lines_of(out / "predictions.jsonl")}
    assert heard == {"own audio", "silence", "text only"}
    systems = json.loads((out / "results.json").read_text())["protocols"]["legacy"]["systems"]
    assert "another track's reference" not in systems and "most frequent answer" in systems


@pytest.fixture(scope="module")
def asker():
    return load_asker()


def test_our_system_answers_as_ask_does_and_hears_each_audio_once(asker):
    clips = sorted(EXAMPLES.glob("*.ogg"))[:2]
    audios = [read_audio(path) for path in clips]
    questions = ["Which instruments play?", "Are there drums?", "Describe the audio."]
    heard = []
    hook = asker.model.model.audio_tower.register_forward_hook(lambda *_: heard.append(1))
    try:
        system = MuLlamaSystem(asker, "tiny", batch_size=4)
        asked = [audio for audio in audios for _ in questions] + [None]
        answers = system.answer(asked, [*questions * 2, questions[0]], 60)
        system.answer([audios[0].copy()], ["Is it fast?"], 10)
        times = len(heard)
    finally:
        hook.remove()
    songs = [asker.hear(path) for path in clips]
    assert answers[:-1] == [asker.ask(song, question, 60) for song in songs for question in questions]
    windows = asker.processor.feature_extractor.window_seconds
    assert times == sum(int(np.ceil(len(audio) / 24_000 / windows)) for audio in audios)


def test_a_drawn_answer_depends_on_its_seed_alone(asker):
    audios = [read_audio(path) for path in sorted(EXAMPLES.glob("*.ogg"))[:2]]
    asked = [audios[0], audios[1], None, audios[0]]
    questions = [
        "Describe the audio.",
        "Describe the audio in detail.",
        "What do you hear?",
        "Which instruments play?",
    ]
    drawn = MuLlamaSystem(asker, "tiny", seed=3, temperature=1.5, batch_size=4).answer(asked, questions, 30)
    one_by_one = MuLlamaSystem(asker, "tiny", seed=3, temperature=1.5, batch_size=1)
    assert [one_by_one.answer([a], [q], 30)[0] for a, q in zip(asked, questions, strict=True)] == drawn
    assert MuLlamaSystem(asker, "tiny", seed=4, temperature=1.5).answer(asked, questions, 30) != drawn


@pytest.mark.slow
def test_killed_for_real_and_finished_by_two_processes(random_model, wordnet, tmp_path):
    """SIGKILL in the middle, then two processes: the answers are those of one that nobody stopped."""
    data = build(tmp_path / "audio", tmp_path / "data", {f"clip-{number}": 0.3 for number in range(70)})
    arguments = ["evaluate", "--model", str(random_model), "--data", str(data), *QUICK, "--out"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    out = tmp_path / "out"
    arguments.append(str(out))
    one = subprocess.Popen([sys.executable, "-m", "mullama.cli", *arguments], stderr=subprocess.DEVNULL)
    partial = out / "predictions.partial-0.jsonl"
    while one.poll() is None and not (partial.is_file() and partial.stat().st_size):
        time.sleep(0.01)
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert 0 < len(lines_of(partial)) < 70 * 12
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, "-m", "mullama.cli", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert lines_of(out / "predictions.jsonl") == lines_of(tmp_path / "whole" / "predictions.jsonl")
    assert done.stdout.count("## Protocol `legacy`") == 1  # one of them scores


@pytest.mark.slow
def test_the_blind_figures_of_the_whole_real_text(eval_musicqa, wordnet, capsys):
    """REFERENCE.md 6: another track's reference .272 BLEU and .339 ROUGE-L, three of them .473 ROUGE-L."""
    assert main(["evaluate", "--data", str(eval_musicqa), "--no-bertscore", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["questions"], results["tracks"]) == (5040, 560)
    systems = results["protocols"]["legacy"]["systems"]
    one = systems["another track's reference"]["overall"]
    assert one["character_bleu"]["value"] == pytest.approx(0.272, abs=0.006)
    assert one["rouge_l_recall"]["value"] == pytest.approx(0.339, abs=0.006)
    three = systems["three other references, joined"]["overall"]
    assert three["rouge_l_recall"]["value"] == pytest.approx(0.473, abs=0.006)
