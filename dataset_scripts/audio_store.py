"""
Audio files in a folder or, unpacked by nobody, in a zip: found by name, read whole, checked by decoding them.
"""

import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from ..processing.audio_io import SAMPLING_RATE, AudioError, audio_duration, stream_windows

AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".mp4", ".webm", ".wma", ".aif", ".aiff"}
LARGEST_FILE = 1_000_000_000  # bytes; Parquet's readers hold a row whole, and Arrow no more than 2 GiB
MISSING_SHARE = 0.1  # of the stated length: a file that decodes to less than the rest is broken


class AudioStore:
    """
    The audio files below a folder, or in a zip that is read in place.

    A clip's audio is looked up in the list of what is there, so no name in a data file reaches outside of it.

    Args:
        path (`str` or `Path`): The folder or zip.
        names (*optional*): The files of a folder that belong to it, by their paths in it; by default all audio files.
    """

    def __init__(self, path: str | Path, names: Iterable[str] | None = None):
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            self.is_zip = False
            found = (
                (Path(folder) / file).relative_to(self.path).as_posix()
                for folder, _, files in os.walk(self.path)
                for file in files
            )
        elif zipfile.is_zipfile(self.path):
            self.is_zip = True
            try:
                found = [info.filename for info in self._open_zip().infolist() if not info.is_dir()]
            except zipfile.BadZipFile as error:
                raise AudioError(f"{self.path}: a broken zip ({error}); download it again") from error
        elif self.path.exists():
            raise AudioError(f"{self.path}: neither a folder of audio files nor a whole zip of them")
        else:
            raise AudioError(f"{self.path}: no such file or folder")
        audio_files = (name for name in found if PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES)
        self._names = set(audio_files if names is None else names)
        self._by_file_name = _unique_by(self._names, lambda name: PurePosixPath(name).name)
        self._by_stem = _unique_by(self._names, lambda name: PurePosixPath(name).stem)

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_zip": None}  # each process opens the zip itself

    def find(self, names: Iterable[str]) -> str | None:
        """The first of the names that is there: at that path, else by its file name, else by that without ending."""
        for name in names:
            path = PurePosixPath(name)
            if name in self._names:
                return name
            found = self._by_file_name.get(path.name) or self._by_stem.get(path.stem)
            if found:
                return found
        return None

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises `AudioError` where the disk or the zip does not give them."""
        try:
            size = self._open_zip().getinfo(name).file_size if self.is_zip else (self.path / name).stat().st_size
            if size > LARGEST_FILE:
                raise AudioError(f"{name}: {size / 1e9:.1f} GB, more than a row can hold; cut it")
            return self._open_zip().read(name) if self.is_zip else (self.path / name).read_bytes()
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise AudioError(f"{name}: cannot be read ({error})") from error
        # What zipfile raises for a member that is encrypted, or compressed by a method that Python has not.
        except (RuntimeError, NotImplementedError) as error:
            raise AudioError(f"{name}: cannot be unpacked ({error})") from error

    def _open_zip(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = zipfile.ZipFile(self.path)
        return self._zip


def _unique_by(names: Iterable[str], key) -> dict[str, str]:
    """Names by a part of them, without those that share it."""
    found: dict[str, str | None] = {}
    for name in names:
        found[key(name)] = None if key(name) in found else name
    return {part: name for part, name in found.items() if name is not None}


@dataclass(frozen=True)
class ClipAudio:
    """One clip's audio file, and what it decodes to: seconds, or why it cannot be used."""

    name: str
    data: bytes
    duration: float
    error: str | None = None


def load_clip_audio(store: AudioStore, name: str, flac: bool = False, sampling_rate: int | None = None) -> ClipAudio:
    """
    Read a file and decode it from end to end, to know that it can be.

    The bytes stay as found, unless `flac` or `sampling_rate` (Hz) ask for 16-bit mono FLAC instead, at 24 kHz if no
    other rate is given. Nothing is raised for broken audio: `error` says what is wrong with it.
    """
    rate = sampling_rate or SAMPLING_RATE
    encode = flac or sampling_rate is not None
    encoded = io.BytesIO()
    try:
        data = store.read(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file that breaks off is told of by its missing part
            stated = audio_duration(data)
            windows = stream_windows(data, sampling_rate=rate)
            samples = _encode_flac(windows, encoded, rate) if encode else sum(len(window) for window in windows)
    except AudioError as error:
        _, _, told = str(error).partition(": ")  # the reader calls bytes `<123 bytes>`; we know the file's name
        return ClipAudio(name, b"", 0.0, f"{name}: {told}")
    duration = samples / rate
    wav_bytes = _stated_wav_bytes(data)
    if len(data) < (1 - MISSING_SHARE) * wav_bytes:
        return ClipAudio(name, b"", duration, f"{name}: breaks off, {len(data)} of {wav_bytes} bytes are there")
    if duration < (1 - MISSING_SHARE) * stated < float("inf"):
        return ClipAudio(name, b"", duration, f"{name}: breaks off after {duration:.2f} s of {stated:.2f} s")
    if encode:
        return ClipAudio(str(PurePosixPath(name).with_suffix(".flac")), encoded.getvalue(), duration)
    return ClipAudio(name, data, duration)


def _stated_wav_bytes(data: bytes) -> int:
    """What a wav file's header says of its size, which libsndfile silently corrects; 0 where it does not tell."""
    stated = int.from_bytes(data[4:8], "little")
    return stated + 8 if data[:4] == b"RIFF" and stated != 0xFFFFFFFF else 0  # as written into a pipe


def _encode_flac(windows: Iterable[np.ndarray], target: io.BytesIO, rate: int) -> int:
    samples = 0
    with soundfile.SoundFile(target, "w", samplerate=rate, channels=1, format="FLAC", subtype="PCM_16") as file:
        for window in windows:
            file.write(np.clip(window, -1.0, 1.0))
            samples += len(window)
    return samples
