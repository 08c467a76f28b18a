"""The real texts, a language model's server and a file server on loopback, and generated audio."""

import gzip
import json
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="session")
def datasets_cache(tmp_path_factory):
    """What `datasets` prepares goes with the tests' other files, and is never found by a later run."""
    patch = pytest.MonkeyPatch()
    patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
    yield
    patch.undo()


def unpacked(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(gzip.decompress((HERE / "data" / f"{name}.gz").read_bytes()))
    return path


@pytest.fixture(scope="session")
def musiccaps(tmp_path_factory) -> Path:
    """The real musiccaps-public.csv."""
    return unpacked("musiccaps-public.csv", tmp_path_factory.mktemp("musiccaps"))


@pytest.fixture(scope="session")
def eval_musicqa(tmp_path_factory) -> Path:
    """The real EvalMusicQA.json."""
    return unpacked("EvalMusicQA.json", tmp_path_factory.mktemp("release"))


class Server:
    """A script of this folder that serves on loopback: `root`, and `stats()` of what it did."""

    def __init__(self, script: str, *arguments: object):
        command = [sys.executable, str(HERE / script), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"

    def stats(self) -> dict:
        with urllib.request.urlopen(f"{self.root}/stats", timeout=10) as response:
            return json.load(response)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def serve():
    servers = []

    def start(script: str, *arguments: object) -> Server:
        servers.append(Server(script, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def llm_server(serve):
    """Starts a language model's server: `llm_server("--misbehave", "0.3")`."""
    return partial(serve, "llm_server.py")


@pytest.fixture
def file_server(serve):
    """Starts a server of a folder's files: `file_server(folder)`."""
    return partial(serve, "file_server.py")


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_tone(path: Path, seconds: float = 0.5, rate: int = 16_000, pitch: float = 220.0, channels: int = 1) -> bytes:
    """A tone with overtones, written as what the file's ending says; returns the file's bytes."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3)) * 0.2
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path.read_bytes()


@pytest.fixture(scope="session")
def tone():
    return write_tone
