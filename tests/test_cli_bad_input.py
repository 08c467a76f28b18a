"""Bad input through the command line: an answer where there can be one, else one clear line, and nothing is lost."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("mullama"))
QUESTION = "Which instruments play?"


def ask(*args: object, model: Path, text: str | None = None) -> subprocess.CompletedProcess:
    command = [COMMAND, "ask", *map(str, args), "--model", str(model), "--max-new-tokens", "4", "--json"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")
    assert "Traceback" not in done.stderr
    return done


def one_line(done: subprocess.CompletedProcess) -> str:
    """The message of a command that failed and printed no answer."""
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("mullama: ") and done.stderr.count("\n") == 1
    return done.stderr


def test_the_whole_corpus_in_one_run(audio_corpus, random_model):
    """Answers for all that can be heard, a line for each of the rest, whatever stands between them."""
    odd = {kind: path for kind, path in audio_corpus.odd.items() if kind != "an hour"}
    done = ask(*odd.values(), *audio_corpus.bad.values(), QUESTION, model=random_model)
    assert done.returncode == 1
    answered = {line["audio"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(answered) == set(map(str, odd.values()))
    for kind, path in odd.items():
        slack = 1.1 if kind.startswith("truncated") else 0.06  # a broken last block is lost, or a window's tail
        assert answered[str(path)]["seconds"] == pytest.approx(audio_corpus.seconds[kind], abs=slack), kind

    lines = done.stderr.splitlines()
    assert all(line.startswith("mullama: ") for line in lines)
    errors = [line for line in lines if not line.startswith("mullama: warning: ")]
    assert len(errors) == len(audio_corpus.bad)
    for error, (kind, path) in zip(errors, audio_corpus.bad.items(), strict=True):
        assert str(path) in error and audio_corpus.words[kind] in error, kind
    warned = [line for line in lines if line.startswith("mullama: warning: ")]
    assert any("NaN" in line and str(odd["NaN and infinities"]) in line for line in warned)


@pytest.mark.slow
def test_an_hour_in_the_memory_of_a_window(audio_corpus, random_model):
    def peak_megabytes(kind: str) -> float:
        command = [COMMAND, "ask", audio_corpus.odd[kind], QUESTION, "--model", random_model, "--max-new-tokens", "4"]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as process:
            assert process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss / 1024

    assert isinstance(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, int)  # kilobytes, as Linux counts
    # An hour as float32 at 24 kHz alone is 346 MB.
    assert peak_megabytes("an hour") < peak_megabytes("ogg") + 100


def test_no_audio_after_start(audio_corpus, random_model):
    song = audio_corpus.odd["ogg"]
    for options, words in [
        (("--start", 7), "the audio ends at 6.000 s"),
        (("--start", 2, "--end", 1), "start (2 s) must lie before end (1 s)"),
    ]:
        line = one_line(ask(song, QUESTION, *options, model=random_model))
        assert str(song) in line and words in line


def test_questions_that_cannot_be_asked_stop_no_other(audio_corpus, random_model):
    song = audio_corpus.odd["ogg"]
    assert "the question is empty" in one_line(ask(song, " ", model=random_model))
    done = ask(song, "-", model=random_model, text=f"{'long ' * 20_000}\n{QUESTION}\n這首歌是什麼？\n")
    assert done.returncode == 1
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == [QUESTION, "這首歌是什麼？"]
    assert done.stderr.startswith("mullama: the question is too long: with the prompt ")
    assert done.stderr.count("\n") == 1


def test_models_that_are_none(audio_corpus, random_model, tmp_path):
    song = audio_corpus.odd["ogg"]
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("no model")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}')
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    for model, words in [
        (tmp_path / "gone", "no such model folder"),
        (tmp_path / "file", "no such model folder"),
        (empty, "no config.json"),
        (other, "a 'bert' model, not a MU-LLaMA"),
        (broken, "config.json"),
    ]:
        line = one_line(ask(song, QUESTION, model=model))
        assert str(model) in line and words in line


def copy_of(model: Path, folder: Path, without: str) -> Path:
    folder.mkdir()
    for path in model.iterdir():
        if path.name != without:
            (folder / path.name).symlink_to(path)
    return folder


def test_weights_that_are_missing_or_cut(audio_corpus, random_model, tmp_path):
    from safetensors.torch import load_file, save_file

    song, weights = audio_corpus.odd["ogg"], "model.safetensors"
    absent = copy_of(random_model, tmp_path / "absent", without=weights)
    assert "cannot be loaded as a model" in one_line(ask(song, QUESTION, model=absent))

    cut = copy_of(random_model, tmp_path / "cut", without=weights)
    (cut / weights).write_bytes((random_model / weights).read_bytes()[:-1000])
    assert f"{cut}: cannot be loaded as a model" in one_line(ask(song, QUESTION, model=cut))

    partial = copy_of(random_model, tmp_path / "partial", without=weights)
    tensors = load_file(random_model / weights)
    lost = next(name for name in tensors if "audio_tower" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, partial / weights, {"format": "pt"})
    line = one_line(ask(song, QUESTION, model=partial))
    assert "1 of its weights are missing" in line and lost in line


def test_a_device_that_is_none(audio_corpus, random_model):
    line = one_line(ask(audio_corpus.odd["ogg"], QUESTION, "--device", "toaster", model=random_model))
    assert "device 'toaster' cannot be used here" in line


def test_a_model_that_brings_code_does_not_run_it(audio_corpus, random_model, tmp_path):
    """Our own classes are used, whatever lies beside the weights."""
    marker = tmp_path / "ran"
    model = copy_of(random_model, tmp_path / "model", without="modeling_mullama.py")
    (model / "modeling_mullama.py").write_text(f"open({str(marker)!r}, 'w')\n")
    done = ask(audio_corpus.odd["ogg"], QUESTION, model=model)
    assert done.returncode == 0 and not marker.exists()
