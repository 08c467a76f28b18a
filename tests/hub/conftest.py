"""A Hub on loopback, a model folder to push to it, and processes that see nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mullama.model_card.cards import make_converted_card
from mullama.modeling_mullama.convert_mullama import read_release
from mullama.tests.hub.loopback_hub import Hub
from mullama.tests.modeling_mullama.release_maker import Shape, make_release

MULLAMA = Path(sys.executable).with_name("mullama")
# Programs for people without this package begin so.
NOT_INSTALLED = "import sys; sys.modules['mullama'] = None\n"


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def process(hub, tmp_path):
    """Runs a command in a fresh process with a fresh cache, which knows this Hub and a token for it."""

    def run(*command: str, **environment: str | None) -> subprocess.CompletedProcess:
        values = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_alice",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_MODULES_CACHE": str(tmp_path / "modules"),
            "OMP_NUM_THREADS": "1",
        }
        values = {name: value for name, value in (os.environ | values | environment).items() if value is not None}
        return subprocess.run(
            [str(part) for part in command], env=values, cwd=tmp_path, capture_output=True, text=True, timeout=600
        )

    return run


@pytest.fixture
def push(process):
    """`mullama push`; its result, after it has done its work."""

    def run(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess:
        return process(MULLAMA, "push", *arguments, **environment)

    return run


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A small MU-LLaMA, converted from a generated release."""
    folder = tmp_path_factory.mktemp("release")
    make_release(folder, Shape(dim=32, layers=3, ffn=64, projector=48, mert_layers=1))
    release = read_release(folder / "checkpoint.pth", str(folder / "LLaMA"), str(folder / "MERT"))
    return release.write(folder / "model", card=make_converted_card(release.config, "float32"))
