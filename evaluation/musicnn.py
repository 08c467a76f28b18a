"""musicnn's MagnaTagATune tagger (Pons & Serra, 2019; ISC licence) in torch: an independent judge of recordings.

Its weights travel inside its own wheel, as a TensorFlow checkpoint that is read here without TensorFlow:
`pip download --no-deps musicnn==0.1.0` and `MusicnnTagger("musicnn-0.1.0-py3-none-any.whl")`.
"""

import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

SAMPLING_RATE = 16_000
FFT_SIZE, HOP, MELS = 512, 256, 96
CHECKPOINT = "musicnn/MTT_musicnn/"
TAGS = tuple(
    " ".join(
        """
    guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, beat, violin, vocal,
    synth, female, indian, opera, male, singing, vocals, no vocals, harpsichord, loud, quiet, flute, woman, male
    vocal, no vocal, pop, soft, sitar, solo, man, classic, choir, voice, new age, dance, male voice, female vocal,
    beats, harp, cello, no voice, weird, country, metal, female voice, choral
    """.split()
    ).split(", ")
)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _message(data: bytes) -> dict[int, list]:
    """Fields of a protocol buffer by number: integers, bytes, or fixed-width words."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = 4 if wire == 5 else 8
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _table_block(data: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    """Entries of one uncompressed block of a LevelDB table, whose keys share prefixes with their predecessor."""
    block = data[offset : offset + size]
    end = len(block) - 4 * (struct.unpack("<I", block[-4:])[0] + 1)
    entries, key, at = [], b"", 0
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        entries.append((key, block[at + fresh : at + fresh + length]))
        at += fresh + length
    return entries


def read_tensorflow_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """The float32 tensors of a TensorFlow V2 checkpoint of one shard, from its .index and .data files."""
    at, handles = 0, []
    for _ in range(4):
        value, at = _varint(index[-48:], at)
        handles.append(value)
    tensors = {}
    for _, handle in _table_block(index, *handles[2:]):
        offset, at = _varint(handle, 0)
        for key, entry in _table_block(index, offset, _varint(handle, at)[0]):
            fields = _message(entry)
            if not key or fields.get(1) != [1]:  # the header, and what is not float32
                continue
            shape = [_message(size)[1][0] for size in _message(fields[2][0]).get(2, [])]
            start = fields.get(4, [0])[0]
            tensors[key.decode()] = np.frombuffer(data[start : start + fields[5][0]], np.float32).reshape(shape)
    return tensors


class MusicnnTagger:
    """The tagger with its weights; call it on waveforms."""

    def __init__(self, wheel: str | Path, device: str | torch.device = "cpu"):
        """Read the weights out of musicnn's wheel. Raises FileNotFoundError without it."""
        if not Path(wheel).is_file():
            raise FileNotFoundError(f"{wheel} is missing: get it with `pip download --no-deps musicnn==0.1.0`")
        with zipfile.ZipFile(wheel) as archive:
            files = (archive.read(CHECKPOINT + name) for name in (".index", ".data-00000-of-00001"))
            tensors = read_tensorflow_checkpoint(*files)
        self.weights = {
            name: torch.from_numpy(value.copy()).to(device) for name, value in tensors.items() if "Adam" not in name
        }
        filters = mel_filter_bank(FFT_SIZE // 2 + 1, MELS, 0.0, SAMPLING_RATE / 2, SAMPLING_RATE, "slaney", "slaney")
        self.filters = torch.from_numpy(filters.T.astype(np.float32)).to(device)  # (mels, frequencies)
        self.window = torch.hann_window(FFT_SIZE, device=device)

    def _norm(self, x: torch.Tensor, number: int) -> torch.Tensor:
        name = "batch_normalization" + (f"_{number}" if number else "")
        gamma, beta, mean, var = (
            self.weights[f"{name}/{part}"].view(-1, *[1] * (x.dim() - 2))
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / torch.sqrt(var + 1e-3) * gamma + beta

    def _conv(self, x: torch.Tensor, number: int, padding: tuple[int, ...]) -> torch.Tensor:
        name = "conv2d" + (f"_{number}" if number else "")
        kernel = self.weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        return self._norm(F.relu(F.conv2d(F.pad(x, padding), kernel, self.weights[f"{name}/bias"])), number + 1)

    @torch.no_grad()
    def __call__(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tag waveforms of shape (batch, samples), float32 at 16 kHz, of any length from a second up.

        Returns the tags' probabilities, (batch, 50) in the order of `TAGS`, and the penultimate layer, (batch, 200).
        """
        spectrum = torch.stft(
            waveforms, FFT_SIZE, HOP, window=self.window, pad_mode="constant", return_complex=True
        )  # (batch, frequencies, frames)
        mels = torch.log10(10_000 * (self.filters @ spectrum.abs().square()) + 1)
        x = self._norm(mels.transpose(1, 2)[:, None], 0)  # (batch, 1, frames, mels)
        front = [self._conv(x, number, (0, 0, 3, 3)).amax(3) for number in (0, 1)]  # timbre
        for number, width in ((2, 128), (3, 64), (4, 32)):  # rhythm
            front.append(self._conv(x, number, (0, 0, (width - 1) // 2, width - 1 - (width - 1) // 2)).amax(3))
        layers = [torch.cat(front, 1).transpose(1, 2)[:, None]]  # (batch, 1, frames, 561)
        for number in (5, 6, 7):
            hidden = self._conv(layers[-1], number, (0, 0, 3, 3))[..., 0].transpose(1, 2)[:, None]
            layers.append(hidden if number == 5 else hidden + layers[-1])
        features = torch.cat(layers, 3)[:, 0]  # (batch, frames, 753)
        pooled = torch.stack([features.amax(1), features.mean(1)], 2).flatten(1)
        dense = F.relu(self._norm(pooled, 9) @ self.weights["dense/kernel"] + self.weights["dense/bias"])
        dense = self._norm(dense, 10)
        tags = torch.sigmoid(dense @ self.weights["dense_1/kernel"] + self.weights["dense_1/bias"])
        return tags, dense
