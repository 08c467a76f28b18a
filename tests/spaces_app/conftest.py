"""The page as a user starts it, `mullama app` in a process of its own, and what the model says without it."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import soundfile
from mullama.asking import load_asker

MULLAMA = Path(sys.executable).with_name("mullama")
EXAMPLES = Path(__file__).parents[2] / "spaces_app" / "examples"
STARTS, START_SECONDS = 3, 240


@dataclass(frozen=True)
class Server:
    """url: of the page; uploads: the folder where visitors' files lie; process: which serves it."""

    url: str
    uploads: Path
    process: subprocess.Popen

    def uploaded(self, name: str) -> list[Path]:
        """Visitors' files of that name that are there now."""
        return [path for path in self.uploads.rglob(name) if path.is_file()]


@contextmanager
def serving(command: Sequence[str | Path], folder: Path, **environment: str) -> Iterator[Server]:
    """The page, served by a process that is started in that folder and ended afterwards."""
    values = {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "GRADIO_HEARTBEAT_INTERVAL": "0.5",  # seconds until it is noticed that a visitor has left
        "HF_MODULES_CACHE": str(folder / "modules"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    process, url = _start(command, folder, os.environ | values | environment)
    try:
        yield Server(url, folder / "uploads", process)
    finally:
        process.terminate()
        process.wait(30)


def _start(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen, str]:
    """Start it on a free port; again where the port was lost, or Gradio's five seconds to open it were too few."""
    log = folder / "log"
    for _ in range(STARTS):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = {"GRADIO_SERVER_PORT": str(free.getsockname()[1]), "GRADIO_NUM_PORTS": "1"}
        with log.open("w") as file:
            process = subprocess.Popen(
                command, env=environment | port, cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if found := re.search(r"Running on local URL:\s+(\S+)", log.read_text()):
                return process, found[1]
            time.sleep(0.2)
        process.kill()
        if not re.search("Cannot find empty port|is taken", log.read_text()):
            break
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    """`mullama app` on the embedded model, and a port that was free."""
    pytest.importorskip("gradio", reason="the page needs Gradio: pip install 'mullama[demo]'")
    with serving([MULLAMA, "app"], tmp_path_factory.mktemp("space")) as server:
        yield server


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Callable[[str, str, float], Path]:
    """Writes the beginning of an example as a wav of another name; the model has not heard that file yet."""
    folder = tmp_path_factory.mktemp("clips")

    def write(example: str, name: str, seconds: float) -> Path:
        samples, rate = soundfile.read(EXAMPLES / example)
        soundfile.write(folder / name, samples[: round(seconds * rate)], rate)
        return folder / name

    return write


@pytest.fixture(scope="session")
def expected() -> Callable[..., str]:
    """What the embedded model answers about a part of a file, by `mullama ask`'s own way."""
    asker = load_asker()

    @lru_cache
    def answer(path: Path, question: str, start: float | None = None, end: float | None = None) -> str:
        return asker.ask(asker.hear(path, start, end), question)

    return answer


@pytest.fixture(scope="session")
def in_conversation() -> Callable[..., list[str]]:
    """The embedded model's answers to questions put one after another: each (question, from second, to second)."""
    asker = load_asker()

    def answers(path: Path, *turns: tuple) -> list[str]:
        messages = []
        for question, *part in turns:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": asker.reply(asker.hear(path, *part), messages)})
        return [message["content"] for message in messages[1::2]]

    return answers
