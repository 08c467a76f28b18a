"""
Decode many audio files ahead of a model, in processes of their own and in bounded memory.

A file comes window by window, so an hour of music takes no more room than a minute of it. A file that cannot be
decoded gives its reason, also one that takes its decoder's process along.
"""

import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue

import numpy as np

from .processing.audio_io import AudioError, stream_windows


class DecoderError(ValueError):
    """Processes that cannot be started, in one line."""


@dataclass(frozen=True)
class Windows:
    """How files are cut: seconds of a window, Hz, and the fewest samples of which a model makes something."""

    seconds: float
    sampling_rate: int
    min_samples: int


@dataclass(frozen=True)
class Decoded:
    """
    One window of a file, or its end.

    position: the file's, in the list that was given; window: `(samples,)` float32 mono, None at the end; seconds:
    where the window begins, at the end how long the file is; error: at the end of a file that gave nothing, why;
    notes: at the end, what was odd about it.
    """

    position: int
    window: np.ndarray | None
    seconds: float
    error: str | None = None
    notes: tuple[str, ...] = ()


def decode_ahead(paths: Sequence[Path], windows: Windows, workers: int, ahead: int) -> Iterator[Decoded]:
    """
    Decode files, in their order: each gives its windows, then its end.

    Args:
        workers (`int`): Processes that decode; 0 decodes here, when a window is asked for.
        ahead (`int`): Windows that wait decoded, in all; at least one for each process.

    Raises:
        DecoderError: the processes do not start.
    """
    if workers == 0:
        for position, path in enumerate(paths):
            yield from _decode(position, path, windows)
        return
    workers = min(workers, len(paths))
    pool = [_Worker(paths, windows, first, workers, math.ceil(ahead / workers)) for first in range(workers)]
    try:
        for position in range(len(paths)):
            while True:
                decoded = pool[position % workers].ready.get()
                if isinstance(decoded, BaseException):
                    raise decoded
                yield decoded
                if decoded.window is None:
                    break
    finally:
        for worker in pool:
            worker.stop()


@contextmanager
def hushed_decoders() -> Iterator[None]:
    """
    Keep stderr to ourselves: decoders in C write notes on a broken file to its descriptor, beside our one clear line.
    """
    python, descriptor = sys.stderr, os.dup(2)
    with (
        open(os.devnull, "wb") as nowhere,
        open(descriptor, "w", encoding=python.encoding, errors=python.errors) as own,
    ):
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = own
        try:
            yield
        finally:
            sys.stderr = python
            os.dup2(descriptor, 2)


class _Worker:
    """A process that decodes every so manieth file, and the thread that feeds it and takes what it gives."""

    def __init__(self, paths: Sequence[Path], windows: Windows, first: int, step: int, ahead: int):
        self.ready: Queue[Decoded | BaseException] = Queue(ahead)
        self._jobs = [(position, paths[position]) for position in range(first, len(paths), step)]
        self._windows = windows
        self._stopped = False
        self._process = self._connection = None
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End the process; the thread, which may wait for room in the queue, ends with ours."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def _run(self) -> None:
        try:
            for position, path in self._jobs:
                if self._process is None:
                    self._start()
                try:
                    self._connection.send((position, path))
                    while True:
                        decoded = self._connection.recv()
                        self.ready.put(decoded)
                        if decoded.window is None:
                            break
                except (EOFError, OSError):
                    if self._stopped:
                        return
                    self._process.join()
                    problem = f"{path}: decoding it ended the decoder's process (status {self._process.exitcode})"
                    self._process = None
                    self.ready.put(Decoded(position, None, 0.0, problem))
            self._connection.close()
        except BaseException as error:  # for the thread that waits for this one
            self.ready.put(error)

    def _start(self) -> None:
        # "spawn": a forked copy of a process that runs torch's threads may hang.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._windows), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._connection.recv()
        except EOFError:
            self._process.join()
            raise DecoderError(
                f"a process that decodes ended as it began (status {self._process.exitcode}): decode with 0 workers, "
                'or from a file that calls this below `if __name__ == "__main__":`'
            ) from None


def _serve(connection: Connection, windows: Windows) -> None:
    """A worker process: a path comes, its windows go, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        connection.send("ready")
        while True:
            position, path = connection.recv()
            for decoded in _decode(position, path, windows):
                connection.send(decoded)
    except (EOFError, OSError):
        return


def _decode(position: int, path: Path, windows: Windows) -> Iterator[Decoded]:
    samples, error, notes = 0, None, []
    stream = _stream(path, windows)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                window = next(stream, None)
            except AudioError as problem:
                window, error = None, str(problem)
            except Exception as problem:  # whatever a decoder has against one file, the others are to be heard
                window, error = None, f"{path}: cannot be decoded ({type(problem).__name__}: {problem})"
        notes += [str(warning.message) for warning in caught]
        if window is None:
            break
        begin = samples / windows.sampling_rate
        samples += len(window)
        if begin == 0 or len(window) >= windows.min_samples:  # of a shorter rest the encoder makes no frame
            yield Decoded(position, window, begin)
    yield Decoded(position, None, samples / windows.sampling_rate, error, tuple(notes))


def _stream(path: Path, windows: Windows) -> Iterator[np.ndarray]:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that is no text, which libsndfile is not given: read it for it
        try:
            yield from stream_windows(path.read_bytes(), windows.seconds, sampling_rate=windows.sampling_rate)
        except AudioError as problem:
            raise AudioError(f"{path}: {str(problem).partition(': ')[2]}") from problem
    else:
        yield from stream_windows(path, windows.seconds, sampling_rate=windows.sampling_rate)
