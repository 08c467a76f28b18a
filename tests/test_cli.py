"""The command line as a user meets it: the installed command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

COMMAND = str(Path(sys.executable).with_name("mullama"))
QUESTION = "Which instruments play?"


def mullama(*args: object, text: str | None = None, status: int = 0, **how) -> subprocess.CompletedProcess:
    """Run `mullama`; `text` goes to its stdin. It must end with `status`, and never with a traceback."""
    done = subprocess.run([COMMAND, *map(str, args)], input=text, capture_output=True, encoding="utf-8", **how)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def ask(random_model):
    """`mullama ask` on the random model, with answers of a few tokens."""

    def ask(*args: object, **how) -> subprocess.CompletedProcess:
        return mullama("ask", *args, "--model", random_model, "--max-new-tokens", 12, **how)

    return ask


@pytest.fixture(scope="module")
def songs(audio_corpus) -> list[Path]:
    """Two files that sound unlike: a chord, and silence."""
    return [audio_corpus.odd["ogg"], audio_corpus.odd["silence"]]


@pytest.fixture(scope="module")
def first_answer(ask, songs) -> str:
    done = ask(songs[0], QUESTION)
    assert done.stderr == ""
    return done.stdout


def test_help_is_instant_and_imports_nothing_of_size():
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mullama.cli", "--help"], capture_output=True, text=True
    )
    assert listed.returncode == 0 and " ask " in listed.stdout and " info " in listed.stdout
    imported = {line.rsplit("|", 1)[1].strip() for line in listed.stderr.splitlines() if "|" in line}
    assert not {"torch", "transformers", "numpy", "soundfile", "huggingface_hub"} & imported

    def seconds() -> float:
        """Of a processor: benchmarks/cli_start.py takes the time by the clock, which others on the machine slow."""
        with subprocess.Popen([COMMAND, "--help"], stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


def test_version():
    assert mullama("--version").stdout.startswith("mullama 0.")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("sing",),
        ("ask",),
        ("ask", "song.wav"),
        ("ask", "song.wav", QUESTION, "--json", "--stream"),
        ("ask", "song.wav", QUESTION, "--temperature", "-1"),
        ("ask", "song.wav", QUESTION, "--temperature", "nan"),
        ("ask", "song.wav", QUESTION, "--max-new-tokens", "0"),
        ("ask", "song.wav", QUESTION, "--start", "soon"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(args):
    done = mullama(*args, status=2)
    assert done.stdout == "" and done.stderr.startswith("usage: mullama")


def test_answer_is_the_models_own(first_answer, random_model, songs):
    """The command starts without torch's compiler; here is the whole library, and the public way."""
    from mullama import MuLlamaForConditionalGeneration, MuLlamaProcessor

    model = MuLlamaForConditionalGeneration.from_pretrained(random_model)
    processor = MuLlamaProcessor.from_pretrained(random_model)
    content = [{"type": "audio", "path": str(songs[0])}, {"type": "text", "text": QUESTION}]
    inputs = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True, return_dict=True)
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    answer = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert first_answer == f"{answer.strip()}\n"


def test_streaming_prints_the_same(ask, songs, first_answer):
    assert ask(songs[0], QUESTION, "--stream").stdout == first_answer


def test_every_audio_is_asked_every_question_and_heard_once(random_model, songs):
    """In one run: questions from stdin, JSON lines, the part that was heard, and how often the encoder ran."""
    code = """
import sys
from mullama.cli import main
status = main(sys.argv[1:])
from mullama.modeling_mullama.modeling_mert import MertModel
print("encoder ran", COUNT[0], file=sys.stderr)
sys.exit(status)
"""
    count = """
import mullama.asking
from mullama.modeling_mullama.modeling_mert import MertModel
COUNT, forward = [0], MertModel.forward
def counted(*args, **kwargs):
    COUNT[0] += 1
    return forward(*args, **kwargs)
MertModel.forward = counted
"""
    questions = "Is it slow?\n\n  Is it fast?  \n它是什么风格？\n"
    args = ("ask", *songs, "-", "--json", "--start", 0.25, "--end", 0.75, "--model", random_model)
    done = subprocess.run(
        [sys.executable, "-P", "-c", count + code, *map(str, args), "--max-new-tokens", "4"],
        input=questions,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "encoder ran 2"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    asked = ["Is it slow?", "Is it fast?", "它是什么风格？"]
    assert [(line["question"], line["audio"]) for line in lines] == [(q, str(s)) for q in asked for s in songs]
    assert all(line["seconds"] == 0.5 and isinstance(line["answer"], str) for line in lines)
    assert "它是什么风格？" in done.stdout  # as itself, not as \\u escapes


def test_drawn_answers_come_again_with_their_seed(ask, songs):
    questions = f"{QUESTION}\n" * 2
    drawn = {}
    for seed in (1, 2):
        done = ask(songs[0], "-", "--temperature", 5, "--seed", seed, "--json", text=questions)
        drawn[seed] = [json.loads(line)["answer"] for line in done.stdout.splitlines()]
    assert drawn[1][0] == drawn[1][1] and drawn[2][0] == drawn[2][1]
    assert drawn[1][0] != drawn[2][0]


def test_one_bad_file_loses_no_other(ask, songs, tmp_path):
    done = ask(songs[0], tmp_path / "gone.wav", songs[1], QUESTION, status=1)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{songs[0]}: ") and second.startswith(f"{songs[1]}: ")
    assert done.stderr == f"mullama: {tmp_path / 'gone.wav'}: no such file\n"


def test_no_question_on_stdin(ask, songs):
    done = ask(songs[0], "-", text="\n \n", status=1)
    assert done.stdout == "" and done.stderr == "mullama: no question came on stdin: write one a line\n"


def test_debug_shows_where(random_model, tmp_path):
    command = [COMMAND, "ask", str(tmp_path / "gone.wav"), QUESTION, "--model", str(random_model), "--debug"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "gone.wav" in done.stderr


def test_a_closed_pipe_is_no_error(random_model, songs):
    reads_nothing, writes = os.pipe()
    os.close(reads_nothing)
    args = [COMMAND, "ask", *map(str, songs), QUESTION, "--model", str(random_model), "--max-new-tokens", "4"]
    done = subprocess.run(args, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert done.returncode == 1 and done.stderr == ""


def test_ctrl_c_ends_quietly(random_model, songs):
    args = [COMMAND, "ask", str(songs[0]), "-", "--model", str(random_model), "--max-new-tokens", "4"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # What runs in the background of a shell inherits that it ignores the signal.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(args, **pipes, preexec_fn=heed) as process:
        process.stdin.write(f"{QUESTION}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline()  # it waits for the next question now
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130 and process.stderr.read() == b""


def test_info_of_a_mullama(random_model):
    facts = json.loads(mullama("info", random_model, "--json").stdout)
    assert facts["class"] == "MuLlamaForConditionalGeneration"
    assert facts["encoder_layers"] == 2 and facts["language_model_layers"] == 3
    assert facts["layers_that_hear"] == "2 (the last)"
    assert facts["encoder_frames_per_second"] == 75 and facts["window_seconds"] == 5.0
    from mullama import MuLlamaForConditionalGeneration

    model = MuLlamaForConditionalGeneration.from_pretrained(random_model)
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    shown = mullama("info", random_model).stdout
    assert f"{facts['parameters']:,}" in shown and "window seconds" in shown


def test_info_tells_what_the_card_says(random_model, tmp_path):
    for path in random_model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "README.md").write_text(
        "---\nlicense: apache-2.0\ndatasets:\n- a/one\n- b/two\n---\n# A model\n\n"
        "## Training data\n\nScores,\nrendered.\n\nMore.\n"
    )
    facts = json.loads(mullama("info", tmp_path, "--json").stdout)
    assert facts["license"] == "apache-2.0" and facts["datasets"] == "a/one, b/two"
    assert facts["training_data"] == "Scores, rendered."


def test_info_of_a_mert(release):
    facts = json.loads(mullama("info", release / "release" / "MERT", "--json").stdout)
    assert facts["class"] == "MertModel" and facts["layers"] == 4 and facts["width"] == 32
