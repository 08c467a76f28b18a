"""Reading audio: every rate, channel count and container; parts of files; windows; and files that are none."""

import http.server
import subprocess
import sys
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
import soundfile
import soxr
from mullama.processing.audio_io import AudioError, audio_duration, read_audio, stream_windows

RATE = 24_000
ODD = [
    "mp3",
    "ogg",
    "flac",
    "wav",
    "truncated mp3",
    "truncated wav",
    "truncated flac",
    "one sample",
    "one sample at 192 kHz",
    "10 ms",
    "silence",
    "direct current",
    "8 channels",
    "8 kHz",
    "192 kHz",
    "24 bit",
    "spaces and non-ASCII",
    "NaN and infinities",
]
BAD = ["missing", "directory", "empty file", "text renamed", "random bytes", "zero samples", "all NaN"]


def test_corpus_is_covered(audio_corpus):
    assert set(ODD) | {"an hour"} == set(audio_corpus.odd) and set(BAD) == set(audio_corpus.bad)


@pytest.mark.filterwarnings("ignore:.*(broke off|taken as 0)")
@pytest.mark.parametrize("kind", ODD)
def test_odd_audio_is_read(audio_corpus, kind):
    samples = read_audio(audio_corpus.odd[kind])
    assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) >= 1
    assert np.isfinite(samples).all()
    # A decoder loses up to a block where a file breaks off.
    slack = 1.1 if kind.startswith("truncated") else 0.001
    assert len(samples) / RATE == pytest.approx(audio_corpus.seconds[kind], abs=slack)


@pytest.mark.parametrize("kind", BAD)
def test_bad_audio_is_refused_in_one_line(audio_corpus, kind):
    path = audio_corpus.bad[kind]
    with pytest.raises(AudioError) as error:
        read_audio(path)
    message = str(error.value)
    assert str(path) in message and audio_corpus.words[kind] in message and "\n" not in message


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_channels_are_averaged_and_resampled_as_if_at_once(tmp_path, rate, channels):
    samples = np.random.default_rng(rate).normal(0, 0.1, (2 * rate + 17, channels)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, rate, subtype="FLOAT")
    mono = samples.mean(axis=1)
    expected = mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")
    np.testing.assert_allclose(read_audio(tmp_path / "noise.wav"), expected, atol=1e-7)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac", "wav"])
def test_a_file_in_blocks_equals_the_file_at_once(audio_corpus, kind):
    with soundfile.SoundFile(audio_corpus.odd[kind]) as file:
        mono = file.read(dtype="float32").mean(axis=1)
    np.testing.assert_allclose(read_audio(audio_corpus.odd[kind], sampling_rate=44_100), mono, atol=1e-7)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac", "wav"])
def test_a_part_equals_that_part_of_the_whole(audio_corpus, kind):
    whole = read_audio(audio_corpus.odd[kind])
    part = read_audio(audio_corpus.odd[kind], start=2.5, end=4.0)
    assert len(part) == 1.5 * RATE
    # Beyond the resampler's edges.
    np.testing.assert_allclose(part[100:-100], whole[60_100:95_900], atol=1e-5)


def test_end_past_the_file_is_its_end(audio_corpus):
    assert len(read_audio(audio_corpus.odd["wav"], start=5, end=1e9)) == RATE


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (-1, None, "0 or more"),
        (float("nan"), None, "0 or more"),
        (3, 2, "before end"),
        (3, 3, "before end"),
        (None, -2, "before end"),
        (None, float("nan"), "before end"),
        (6, None, "the audio ends at 6.000 s"),
        (1e9, None, "the audio ends at 6.000 s"),
    ],
)
def test_parts_that_are_none(audio_corpus, start, end, words):
    with pytest.raises(AudioError, match=words) as error:
        read_audio(audio_corpus.odd["wav"], start, end)
    assert "song.wav" in str(error.value)


def test_ten_seconds_of_an_hour_decode_ten_seconds(audio_corpus, monkeypatch):
    decoded = 0
    read = soundfile.SoundFile.read

    def counting_read(self, *args, **kwargs):
        nonlocal decoded
        block = read(self, *args, **kwargs)
        decoded += len(block)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting_read)
    assert len(read_audio(audio_corpus.odd["an hour"], start=3_500, end=3_510)) == 10 * RATE
    assert decoded <= 11 * 8_000


def test_ten_minutes_in_windows_hold_two_of_them(audio_corpus):
    tracemalloc.start()
    lengths = [len(window) for window in stream_windows(audio_corpus.odd["an hour"], window_seconds=60, end=600)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lengths == [60 * RATE] * 10
    assert peak < 3 * 60 * RATE * 4  # of 10 windows, float32


def test_windows_put_together_are_the_file(audio_corpus):
    windows = list(stream_windows(audio_corpus.odd["mp3"], window_seconds=1.7, start=0.3))
    assert [len(window) for window in windows[:-1]] == [40_800] * 3 and 0 < len(windows[-1]) < 40_800
    np.testing.assert_array_equal(np.concatenate(windows), read_audio(audio_corpus.odd["mp3"], start=0.3))


def test_not_finite_samples_are_silence_and_told(audio_corpus):
    with pytest.warns(UserWarning, match="NaN_and_infinities.wav: 3 NaN or infinite samples taken as 0"):
        samples = read_audio(audio_corpus.odd["NaN and infinities"])
    assert samples[5] == samples[700] == samples[701] == 0 and np.count_nonzero(samples) > 23_000


def test_bytes_are_read_as_their_file(audio_corpus):
    path = audio_corpus.odd["ogg"]
    np.testing.assert_array_equal(read_audio(path.read_bytes()), read_audio(path))
    with pytest.raises(AudioError, match="<9 bytes>: not audio"):
        read_audio(b"no audio!")


def test_urls_are_read_as_their_file(audio_corpus):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=audio_corpus.folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        samples = read_audio(f"{url}/song.flac", start=1, end=2)
        with pytest.raises(AudioError, match="the server answers 404"):
            read_audio(f"{url}/nothing.flac")
        server.shutdown()
    np.testing.assert_array_equal(samples, read_audio(audio_corpus.odd["flac"], start=1, end=2))
    with pytest.raises(AudioError, match="cannot be fetched"):
        read_audio(f"{url}/song.flac")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "8 kHz", "an hour"])
def test_duration(audio_corpus, kind):
    assert audio_duration(audio_corpus.odd[kind]) == pytest.approx(audio_corpus.seconds[kind], abs=1e-3)


def test_flac_of_unknown_length(audio_corpus, tmp_path):
    # As `flac - > file` leaves it: STREAMINFO's 36 bits of total samples are 0.
    data = bytearray(audio_corpus.odd["flac"].read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(data)
    np.testing.assert_array_equal(read_audio(tmp_path / "piped.flac"), read_audio(audio_corpus.odd["flac"]))
    assert audio_duration(tmp_path / "piped.flac") == pytest.approx(6.0)


def test_other_containers_name_the_extra(tmp_path):
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        pass
    else:
        pytest.skip("torchcodec is installed: it is the reader here")
    (tmp_path / "song.m4a").write_bytes(b"\x00\x00\x00 ftypM4A " + bytes(200))
    with pytest.raises(AudioError, match=r"song.m4a: a file of type mp4/m4a needs torchcodec.*mullama\[codec\]"):
        read_audio(tmp_path / "song.m4a")


def test_other_containers_with_torchcodec(tmp_path):
    try:
        from torchcodec.encoders import AudioEncoder
    except (ImportError, OSError, RuntimeError):
        pytest.skip("needs the extra `codec` and FFmpeg")
    import torch

    rate, time = 44_100, np.arange(3 * 44_100) / 44_100
    left, right = 0.4 * np.sin(2 * np.pi * 220 * time), 0.4 * np.sin(2 * np.pi * 330 * time)
    encoder = AudioEncoder(torch.tensor(np.stack([left, right]), dtype=torch.float32), sample_rate=rate)
    path = tmp_path / "song.m4a"
    encoder.to_file(str(path))
    expected = soxr.resample(((left + right) / 2).astype(np.float32), rate, RATE, quality="HQ")
    whole = read_audio(path)
    assert len(whole) == pytest.approx(3 * RATE, abs=0.05 * RATE)
    # The codec loses something, but no time.
    assert np.corrcoef(whole[2_000:60_000], expected[2_000:60_000])[0, 1] > 0.98
    part = read_audio(path.read_bytes(), start=1, end=2)
    np.testing.assert_allclose(part[100:-100], whole[RATE + 100 : 2 * RATE - 100], atol=1e-3)


def test_reading_needs_no_torch():
    code = (
        "import sys, mullama.processing.audio_io; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
