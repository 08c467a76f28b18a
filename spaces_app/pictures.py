"""A spectrogram as a picture for the page, from samples alone."""

import base64
import io

import numpy as np
from PIL import Image

COLUMNS, BANDS = 1000, 112
FRAME = 2048  # samples
LOWEST, FLOOR = 40.0, -72.0  # Hz; dB below the loudest
MAX_FRAMES_PER_COLUMN = 8
# From silence to the loudest: night blue, violet, rose, amber, cream.
SHADES = np.array([[13, 16, 33], [47, 38, 112], [148, 52, 130], [232, 108, 88], [252, 188, 104], [255, 247, 214]])


def draw_spectrogram(samples: np.ndarray, rate: int) -> str:
    """
    The whole of `samples` `(samples,)` as a log-mel spectrogram, high notes above.

    Returns a `data:` URI of a WebP picture of 1000 x 112.
    """
    per_column = int(np.clip(len(samples) / COLUMNS / FRAME * 2, 1, MAX_FRAMES_PER_COLUMN))
    padded = np.pad(samples, FRAME // 2)
    starts = np.linspace(0, len(samples) - 1, COLUMNS * per_column).astype(int)
    window, bank = np.hanning(FRAME).astype(np.float32), mel_bank(rate)
    columns = []
    for group in np.split(starts, 50):  # a few frames at once, for the memory's sake
        frames = padded[group[:, None] + np.arange(FRAME)] * window
        power = np.abs(np.fft.rfft(frames)).astype(np.float32) ** 2  # (frames, bins)
        columns.append((power @ bank).reshape(-1, per_column, BANDS).mean(1))
    level = 10 * np.log10(np.concatenate(columns) + 1e-10)  # (columns, bands)
    shade = np.clip(1 - (level - level.max()) / FLOOR, 0, 1).T[::-1]
    at = np.linspace(0, 1, len(SHADES))
    pixels = np.stack([np.interp(shade, at, SHADES[:, channel]) for channel in range(3)], axis=-1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def mel_bank(rate: int) -> np.ndarray:
    """Triangles evenly spaced in mel, each of area 1, `(bins, bands)`."""
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(2595 * np.log10(1 + LOWEST / 700), highest, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(FRAME, 1 / rate)[:, None]
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling))
    return (bank / np.maximum(bank.sum(0), 1e-3)).astype(np.float32)
