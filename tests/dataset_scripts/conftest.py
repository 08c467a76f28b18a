"""The real texts, a language model's server and a file server on loopback, and generated audio."""

import gzip
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

HERE = Path(__file__).parent


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


class LLMServer:
    """A running llm_server.py: `url`, and `stats()` of what it did."""

    def __init__(self, *flags: str):
        command = [sys.executable, str(HERE / "llm_server.py"), *flags]
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
def llm_server():
    """Starts servers: `llm_server("--misbehave", "0.3")`."""
    servers = []

    def start(*flags: str) -> LLMServer:
        servers.append(LLMServer(*flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


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


class _RangeHandler(SimpleHTTPRequestHandler):
    """Files with byte ranges, as a Hub serves them; the server counts what it sends."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        asked = self.headers.get("Range")
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = (int(low), min(int(high or last), last)) if low else (size - int(high), last)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left:
                piece = file.read(min(left, 1 << 16))
                self.wfile.write(piece)
                left -= len(piece)
                self.server.sent[path.name] += len(piece)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def file_server():
    """Serves a folder: `url, sent = file_server(folder)`; `sent` counts the bytes sent of every file."""
    servers = []

    def serve(folder: Path) -> tuple[str, Counter]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_RangeHandler, directory=str(folder)))
        server.daemon_threads = True
        server.sent = Counter()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", server.sent

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
