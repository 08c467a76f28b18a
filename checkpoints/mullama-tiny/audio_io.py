"""
Read any audio file as mono float32 at the rate the model wants.

`read_audio` gives a whole file or a part of it, `stream_windows` the same one window at a time, `audio_duration` its
length. wav, flac, ogg and mp3 are decoded by soundfile, every other container by torchcodec where that is installed;
soxr resamples. This file travels to the Hub beside `processing_mullama.py`, so it imports public libraries only.
"""

import io
import math
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLING_RATE = 24_000  # Hz, what MERT hears
BLOCK_SECONDS = 1.0  # decoded at once: bounds the memory, and what is lost where a file breaks off
CODEC_BLOCK_SECONDS = 600.0  # the same for torchcodec, which decodes from the beginning for each block
PREROLL_SECONDS = 0.5  # decoded and dropped after a seek
UNKNOWN_FRAMES = 2**60
URL_TIMEOUT = 30.0  # seconds without an answer

AudioSource = str | os.PathLike | bytes


class AudioError(ValueError):
    """Audio that cannot be read, in one line that names the file, what is wrong with it and what to do."""


def read_audio(
    source: AudioSource,
    start: float | None = None,
    end: float | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> np.ndarray:
    """
    Decode audio to mono at `sampling_rate`. Only the asked part is decoded: the file is seeked, not read through.

    Args:
        source (`str`, `os.PathLike` or `bytes`): A path, an `http(s)://` URL, or the bytes of a file.
        start, end (`float`, *optional*): Seconds from the beginning; an `end` past the end of the file means its end.
        sampling_rate (`int`, defaults to 24000): Rate of the result in Hz.

    Returns:
        `np.ndarray`: `(samples,)`, float32; channels averaged. A file that breaks off gives what decodes of it.

    Raises:
        AudioError: nothing can be decoded (missing, empty, not audio, no sample in the asked part, only NaN).
    """
    return np.concatenate(list(_stream_mono(source, start, end, sampling_rate)))


def stream_windows(
    source: AudioSource,
    window_seconds: float = 60.0,
    start: float | None = None,
    end: float | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> Iterator[np.ndarray]:
    """
    `read_audio`, one window at a time: yields `(samples,)` float32 arrays of `window_seconds`, the last one shorter.

    Put together they are exactly what `read_audio` returns, but no more than one window and one block is held here.
    """
    window_samples = round(window_seconds * sampling_rate)
    if window_samples < 1:
        raise AudioError(f"a window of {window_seconds} s holds no sample: give a longer one")
    window, filled = np.empty(window_samples, dtype=np.float32), 0
    for block in _stream_mono(source, start, end, sampling_rate):
        while len(block):
            taken = block[: window_samples - filled]
            window[filled : filled + len(taken)] = taken
            filled += len(taken)
            block = block[len(taken) :]
            if filled == window_samples:
                yield window
                window, filled = np.empty(window_samples, dtype=np.float32), 0
    if filled:
        yield window[:filled]


def audio_duration(source: AudioSource) -> float:
    """
    Length in seconds as the file's header states it (a truncated file may hold less), else by decoding it.

    Raises:
        AudioError: as `read_audio`.
    """
    with _open(source) as reader:
        if math.isinf(reader.duration):
            return sum(len(block) for block in reader.blocks(0.0, math.inf)) / reader.sampling_rate
        return reader.duration


def finite_samples(samples: np.ndarray, name: str) -> np.ndarray:
    """
    The samples with NaN and infinities taken as 0, and a warning that names their source.

    Raises:
        AudioError: none is finite.
    """
    finite = np.isfinite(samples)
    if finite.all():
        return samples
    if not finite.any():
        raise AudioError(f"{name}: every sample is NaN or infinite, there is nothing to hear")
    warnings.warn(f"{name}: {finite.size - int(finite.sum())} NaN or infinite samples taken as 0", stacklevel=2)
    return np.where(finite, samples, np.float32(0))


class _SequentialSoundFile(soundfile.SoundFile):
    """Reads on: soundfile seeks after each read of a seekable file, which garbles mp3 from block to block."""

    def seekable(self) -> bool:
        return False


class _SoundFileReader:
    """One open file or byte string, decoded by libsndfile."""

    def __init__(self, source: str | bytes, name: str):
        self._file = _SequentialSoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        self.name = name
        self.sampling_rate = self._file.samplerate
        # A flac written to a pipe does not know its length; libsndfile then gives the largest number there is.
        known = self._file.frames < UNKNOWN_FRAMES
        self.duration = self._file.frames / self._file.samplerate if known else math.inf

    def __enter__(self) -> "_SoundFileReader":
        return self

    def __exit__(self, *exc_info) -> None:
        self._file.close()

    def blocks(self, start: float, end: float) -> Iterator[np.ndarray]:
        """`(frames, channels)` float32 blocks of the part from `start` to `end` seconds."""
        first = round(start * self.sampling_rate)
        last = self._file.frames if end >= self.duration else round(end * self.sampling_rate)
        block_frames = round(BLOCK_SECONDS * self.sampling_rate)
        try:
            if first:
                # An mp3 decoder is right again a few frames after a seek: land earlier and throw those away.
                preroll = min(first, round(PREROLL_SECONDS * self.sampling_rate))
                self._file.seek(first - preroll)
                self._file.read(preroll, dtype="float32")
            while first < last:
                block = self._file.read(min(block_frames, last - first), dtype="float32", always_2d=True)
                if not len(block):
                    return
                first += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            # What came before was yielded already; where nothing came, the caller says so.
            warnings.warn(f"{self.name}: decoding broke off ({error}); using what came before", stacklevel=2)


class _TorchCodecReader:
    """One open file or byte string, decoded by FFmpeg through torchcodec."""

    def __init__(self, source: str | bytes, name: str, container: str):
        try:  # in a try block, else transformers' remote code would require it of everyone
            from torchcodec.decoders import AudioDecoder
        except (ImportError, OSError, RuntimeError) as error:  # not installed, or its FFmpeg is not
            raise AudioError(
                f"{name}: a file of type {container} needs torchcodec and FFmpeg: "
                "pip install 'mullama[codec]', or convert the file to wav, flac, ogg or mp3"
            ) from error
        try:
            self._decoder = AudioDecoder(source)
        except (RuntimeError, ValueError) as error:
            raise AudioError(f"{name}: looks like {container}, but has no audio that can be decoded") from error
        self.name = name
        self.sampling_rate = self._decoder.metadata.sample_rate
        self.duration = float(self._decoder.metadata.duration_seconds or math.inf)

    def __enter__(self) -> "_TorchCodecReader":
        return self

    def __exit__(self, *exc_info) -> None:
        del self._decoder

    def blocks(self, start: float, end: float) -> Iterator[np.ndarray]:
        """`(frames, channels)` float32 blocks of the part from `start` to `end` seconds."""
        end = min(end, self.duration)
        while start < end:
            stop = min(start + CODEC_BLOCK_SECONDS, end)
            try:
                block = self._decoder.get_samples_played_in_range(start, stop).data.numpy().T
            except RuntimeError:  # no frame in the range: the file ends before its header says
                return
            yield block
            start = stop


def _open(source: AudioSource) -> "_SoundFileReader | _TorchCodecReader":
    """Open with soundfile, else with torchcodec; a file that neither reads is refused in one line."""
    source, name, head = _resolve(source)
    try:
        return _SoundFileReader(source, name)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: soundfile takes a name ending in .raw for headerless
        pass
    container = _foreign_container(head)
    if container is None:
        raise AudioError(
            f"{name}: not audio that can be decoded (tried wav, flac, ogg, mp3); is it really an audio file?"
        )
    return _TorchCodecReader(source, name, container)


def _resolve(source: AudioSource) -> tuple[str | bytes, str, bytes]:
    """What a decoder opens, the name that messages use, and the first bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        source = bytes(source)
        name = f"<{len(source)} bytes>"
    elif isinstance(source, str) and source.startswith(("http://", "https://")):
        source, name = _download(source), source
    else:
        path = Path(source)
        name = str(path)
        try:
            with path.open("rb") as file:
                head = file.read(64)
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file") from None
        except IsADirectoryError:
            raise AudioError(f"{name}: a directory, not an audio file") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise AudioError(f"{name}: cannot be opened ({error})") from error
        if not head:
            raise AudioError(f"{name}: an empty file")
        return name, name, head
    if not source:
        raise AudioError(f"{name}: empty, no audio in it")
    return source, name, source[:64]


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=URL_TIMEOUT) as response:  # http(s) only: checked by the caller
            return response.read()
    except urllib.error.HTTPError as error:
        raise AudioError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{url}: cannot be fetched ({error})") from error


def _foreign_container(head: bytes) -> str | None:
    """Name of a container that soundfile does not read but FFmpeg may, from the file's first bytes."""
    if head[4:8] == b"ftyp":
        return "mp4/m4a"
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "aac"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"OggS":
        return "ogg"
    signatures = {
        b"\x1a\x45\xdf\xa3": "webm/matroska",
        b"\x30\x26\xb2\x75": "wma/asf",
        b"#!AMR": "amr",
        b"wvpk": "wavpack",
        b"MAC ": "ape",
        b"\x0b\x77": "ac3",
        b"FLV": "flv",
        b"\x00\x00\x01\xba": "mpeg",
    }
    return next((name for signature, name in signatures.items() if head.startswith(signature)), None)


def _stream_mono(
    source: AudioSource, start: float | None, end: float | None, sampling_rate: int
) -> Iterator[np.ndarray]:
    """Blocks of `(samples,)` float32 at `sampling_rate`, finite; at least one sample in all, or `AudioError`."""
    begin = 0.0 if start is None else float(start)
    stop = math.inf if end is None else float(end)
    with _open(source) as reader:
        name = reader.name
        if reader.duration == 0:
            raise AudioError(f"{name}: holds no audio, only a header")
        if not 0 <= begin < math.inf:
            raise AudioError(f"{name}: start is {begin:g} s, it must be 0 or more")
        if not begin < stop:
            raise AudioError(f"{name}: start ({begin:g} s) must lie before end ({stop:g} s)")
        if begin >= reader.duration:
            raise AudioError(f"{name}: start is {begin:g} s, but the audio ends at {reader.duration:.3f} s")

        resampler = None
        if reader.sampling_rate != sampling_rate:
            resampler = soxr.ResampleStream(reader.sampling_rate, sampling_rate, 1, dtype="float32", quality="HQ")
        samples, broken, given = 0, 0, 0
        for block in reader.blocks(begin, stop):
            finite = np.isfinite(block)
            if not finite.all():
                broken += block.size - int(finite.sum())
                block = np.where(finite, block, np.float32(0))
            samples += block.size
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
            resampled = mono if resampler is None else resampler.resample_chunk(mono)
            given += len(resampled)
            yield resampled
        if not samples:
            raise AudioError(f"{name}: no audio can be decoded from {begin:g} s on")
        if broken == samples:
            raise AudioError(f"{name}: every sample is NaN or infinite, there is nothing to hear")
        if broken:
            warnings.warn(f"{name}: {broken} NaN or infinite samples taken as 0", stacklevel=2)
        if resampler is not None:
            resampled = resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
            yield (resampled if given or len(resampled) else mono[:1])  # one at 192 kHz is not one at 24 kHz
