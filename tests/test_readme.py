"""
Every command and every Python block of the README runs as it stands there, one after another, in a folder that holds
what the repository's root holds, so that what they write stays out of it.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [line[2:] for language, block in BLOCKS if language == "console" for line in block.splitlines()]
PROGRAMS = [block for language, block in BLOCKS if language == "python"]

NOT_RUN = {
    ".venv/bin/mullama convert --checkpoint checkpoint.pth --llama meta-llama/Llama-2-7b-hf "
    "--mert m-a-p/MERT-v1-330M --out mullama-7b --dtype bfloat16": "it needs the released weights, some of them gated",
    '.venv/bin/mullama ask song.mp3 "Which instruments play?" --model mullama-7b': "it needs the released weights",
    ".venv/bin/mullama push model mullama-7b USER/mullama-7b --private": "it needs the Hub",
    ".venv/bin/pip install --quiet -e '.[demo]'": "the tests' environment has it",
    ".venv/bin/mullama app": "it serves until it is stopped: tests/spaces_app runs it",
    ".venv/bin/mullama push space USER/ask-music": "it needs the Hub: tests/spaces_app pushes to one on loopback",
    ".venv/bin/mullama push space USER/ask-music --model USER/mullama-7b": "it needs the Hub",
    ".venv/bin/mullama caption music --out captioned --questions questions.txt --push-to-hub USER/captioned": "it "
    "needs the Hub: tests/hub/test_caption_push.py pushes to one on loopback",
    ".venv/bin/accelerate launch -m mullama.cli caption music --out captions.parquet --model mullama-7b": "it needs "
    "the released weights",
    ".venv/bin/accelerate launch --config_file training/accelerate/fsdp2.yaml -m mullama.training.sft "
    "--config training/configs/joint.yaml": "it needs GPUs",
    ".venv/bin/mullama evaluate --model Qwen/Qwen2-Audio-7B-Instruct --data USER/MusicQA:test "
    "--out results-qwen2": "it needs the Hub: tests/evaluation/test_peers.py runs a tiny model of this class",
    ".venv/bin/mullama evaluate --model http://127.0.0.1:8000/v1 --data USER/MusicQA:test "
    "--out results-served": "it needs a server: tests/evaluation/test_peers.py runs one on loopback",
    ".venv/bin/mullama evaluate --model space:OWNER/LTU --data USER/MusicQA:test --out results-ltu": "it needs "
    "the net: tests/evaluation/test_peers.py asks a Space on loopback",
    ".venv/bin/mullama evaluate probe --encoder mert clap encodec logmel --data MagnaTagATune "
    "--out results-probe": "it needs MagnaTagATune and the Hub: tests/evaluation/test_probe.py probes small ones",
    "make test": "it is what runs this",
    "make lint": "CI runs it by itself",
    "make tiny": "it trains for two hours",
}
NEEDS_THE_APP = "gradio_client"  # a program that asks a running `mullama app`, as tests/spaces_app does


# Commands whose result is a file, and which tell on stderr what they did.
WRITES_FILES = re.compile(r"mullama data (generate|build|features)|mullama (caption|evaluate|train) |> \S+$")


def test_blocks_are_all_of_a_kind_that_is_run():
    assert COMMANDS and PROGRAMS
    assert {language for language, _ in BLOCKS} == {"console", "python"}
    assert all(
        line.startswith("$ ") for language, block in BLOCKS if language == "console" for line in block.splitlines()
    )
    assert set(NOT_RUN) <= set(COMMANDS)


def test_generated_blocks_can_be_filled_in():
    for name in ("tiny-results", "speed"):
        assert TEXT.count(f"<!-- {name}:begin -->") == TEXT.count(f"<!-- {name}:end -->") == 1
        assert TEXT.index(f"<!-- {name}:begin -->") < TEXT.index(f"<!-- {name}:end -->")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if not target.startswith("http"):
            assert (REPOSITORY / target).exists(), target


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for path in REPOSITORY.iterdir():
        if path.name not in (".git", ".venv", "data", "runs"):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def language_model() -> Iterator[str]:
    """What the README's http://localhost:8000/v1 stands for: a language model's server."""
    script = REPOSITORY / "tests" / "dataset_scripts" / "llm_server.py"
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        server.kill()


def run(*command: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, **how)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, workspace, language_model):
    if command in NOT_RUN:
        pytest.skip(f"not run: {NOT_RUN[command]}")
    if command.startswith("make "):
        if "pip install" in (dry := run("make", "--dry-run", command[5:], cwd=REPOSITORY)).stdout:
            pytest.skip(f"not run: it would install into .venv, which this environment was not made by: {dry.stderr}")
        workspace = REPOSITORY
    # The README's .venv is the environment that runs this test.
    line = command.replace(".venv/bin", shlex.quote(str(Path(sys.executable).parent)))
    line = line.replace("http://localhost:8000/v1", language_model)
    done = run("bash", "-o", "pipefail", "-c", line, cwd=workspace)
    assert done.returncode == 0, done.stderr
    if WRITES_FILES.search(command):
        assert "Traceback" not in done.stderr
    else:
        assert done.stdout.strip() and done.stderr == ""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.splitlines()[-1].strip())
def test_program(program, workspace):
    if NEEDS_THE_APP in program:
        pytest.skip("not run: it needs `mullama app` running, as tests/spaces_app has it")
    done = run(sys.executable, "-c", program, cwd=workspace, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
