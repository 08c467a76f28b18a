"""Every command and every Python block of the README runs as it stands there, from the repository's root."""

import os
import re
import shlex
import subprocess
import sys
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
    "make test": "it is what runs this",
    "make lint": "CI runs it by itself",
    "make tiny": "it trains for hours",
}


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


def run(*command: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, **how)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command):
    if command in NOT_RUN:
        pytest.skip(f"not run: {NOT_RUN[command]}")
    if command.startswith("make ") and "pip install" in (dry := run("make", "--dry-run", command[5:])).stdout:
        pytest.skip(f"not run: it would install into .venv, which this environment was not made by: {dry.stderr}")
    # The README's .venv is the environment that runs this test.
    scripts = str(Path(sys.executable).parent)
    done = run("bash", "-o", "pipefail", "-c", command.replace(".venv/bin", shlex.quote(scripts)))
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.splitlines()[-1].strip())
def test_program(program):
    done = run(sys.executable, "-c", program, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
