"""
Frozen music encoders behind one door: mono audio in, one vector a layer out, the mean over time.

MERT (alone, or the one inside a MU-LLaMA) gives each of its layers; CLAP its audio embedding; EnCodec its encoder's
output before quantising; the log-mel spectrogram itself is what an encoder has to beat.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import ClapFeatureExtractor, ClapModel, EncodecModel, PreTrainedModel
from transformers.audio_utils import mel_filter_bank

from ..model_info import model_folder
from ..modeling_mullama import MertModel, MuLlamaConfig
from ..processing import MuLlamaFeatureExtractor, MuLlamaProcessor

DEFAULT_MODELS = {
    "mert": "m-a-p/MERT-v1-330M",
    "clap": "laion/larger_clap_music",
    "encodec": "facebook/encodec_24khz",
}
LOGMEL = "logmel"
MEL_RATE, MEL_BINS, MEL_FFT, MEL_HOP = 24_000, 128, 2048, 480
WINDOW_SECONDS = 10.0  # CLAP's own; it bounds EnCodec's memory
SHORTEST_SECONDS = 0.1  # shorter audio is padded to it, a shorter rest left out


class EncoderError(ValueError):
    """An encoder that there is not or that cannot be used, in one line that names it and what is wrong."""


@dataclass(frozen=True)
class Encoder:
    """
    A frozen encoder.

    name: as the user gave it; sampling_rate: Hz that it hears; window_seconds: longer audio is cut in such windows;
    encode: `(batch, samples)` float32 -> `(batch, layers, width)` float32; frames: what a window of so many samples
    weighs in its audio's mean; layers, width: of the vectors.
    """

    name: str
    sampling_rate: int
    window_seconds: float
    encode: Callable[[np.ndarray], np.ndarray]
    frames: Callable[[int], int]
    layers: int
    width: int

    def windows(self, audio: np.ndarray) -> list[np.ndarray]:
        """An audio's windows, the last one shorter, but none too short to be heard."""
        length, shortest = (round(seconds * self.sampling_rate) for seconds in (self.window_seconds, SHORTEST_SECONDS))
        if len(audio) < shortest:
            audio = np.pad(audio, (0, shortest - len(audio)))
        windows = [audio[start : start + length] for start in range(0, len(audio), length)]
        return windows[:-1] if len(windows[-1]) < shortest else windows

    def mean_features(self, audios: list[np.ndarray], batch_size: int) -> np.ndarray:
        """The mean over time of each audio, `(audios, layers, width)`; windows of one length share a batch."""
        by_length: dict[int, list[tuple[int, np.ndarray]]] = {}
        for row, audio in enumerate(audios):
            for window in self.windows(audio):
                by_length.setdefault(len(window), []).append((row, window))
        sums, weights = np.zeros((len(audios), self.layers, self.width)), np.zeros(len(audios))
        for length, windows in by_length.items():
            weight = self.frames(length)
            for start in range(0, len(windows), batch_size):
                rows, waveforms = zip(*windows[start : start + batch_size], strict=True)
                for row, vectors in zip(rows, self.encode(np.stack(waveforms)), strict=True):
                    sums[row] += weight * vectors
                    weights[row] += weight
        return (sums / weights[:, None, None]).astype(np.float32)


def open_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """
    Open what a user names: `mert`, `clap`, `encodec` (the released models, from the Hub), `logmel`, or a folder or Hub
    id of a MERT, MU-LLaMA, CLAP or EnCodec.

    Raises:
        ModelError or EncoderError: there is no such encoder, or its weights are incomplete.
    """
    if name == LOGMEL:
        return _finish(name, MEL_RATE, WINDOW_SECONDS, _logmel(torch.device(device)))
    model = DEFAULT_MODELS.get(name, name)
    config = model_folder(model) / "config.json"
    try:
        model_type = json.loads(config.read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"{config}: not the configuration of a model") from error
    openers = {"mert": _mert, "mert_model": _mert, "mullama": _mullama, "clap": _clap, "encodec": _encodec}
    if model_type not in openers:
        raise EncoderError(f"{model}: a {model_type!r} model; what can be probed is a MERT, MU-LLaMA, CLAP or EnCodec")
    return openers[model_type](name, model, torch.device(device))


def _finish(
    name: str,
    sampling_rate: int,
    window_seconds: float,
    encode: Callable[[np.ndarray], np.ndarray],
    frames: Callable[[int], int] = lambda samples: samples,
) -> Encoder:
    _, layers, width = encode(np.zeros((1, sampling_rate), np.float32)).shape
    return Encoder(name, sampling_rate, window_seconds, encode, frames, layers, width)


def _mert(name: str, model: str, device: torch.device) -> Encoder:
    """A MERT heard as it was released: each window normalised."""
    mert = _load(MertModel, model, device)
    return _finish_mert(name, mert, MuLlamaFeatureExtractor(sampling_rate=mert.config.sample_rate), device)


def _mullama(name: str, model: str, device: torch.device) -> Encoder:
    """The MERT inside a MU-LLaMA, heard as its own processor has it."""
    try:
        extractor = MuLlamaProcessor.from_pretrained(model).feature_extractor
        config = MuLlamaConfig.from_pretrained(model).audio_config
    except (OSError, ValueError, StrictDataclassError) as error:
        raise EncoderError(f"{model}: cannot be loaded as a MU-LLaMA: {_first_line(error)}") from error
    mert = _load(MertModel, model, device, config=config, key_mapping={r"^(model\.)?audio_tower\.": ""})
    return _finish_mert(name, mert, extractor, device)


def _finish_mert(name: str, mert: MertModel, extractor: MuLlamaFeatureExtractor, device: torch.device) -> Encoder:
    @torch.inference_mode()
    def encode(waveforms: np.ndarray) -> np.ndarray:
        inputs = extractor(list(waveforms), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return mert(inputs["input_values"][:, 0].to(device, mert.dtype)).layer_means.cpu().numpy()

    return _finish(name, extractor.sampling_rate, extractor.window_seconds, encode, mert.frame_lengths)


def _clap(name: str, model: str, device: torch.device) -> Encoder:
    """CLAP's audio embedding. Windows of its own length, so that nothing is cropped by chance."""
    clap = _load(ClapModel, model, device)
    extractor = ClapFeatureExtractor.from_pretrained(model)

    @torch.inference_mode()
    def encode(waveforms: np.ndarray) -> np.ndarray:
        inputs = extractor(list(waveforms), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        # A fusing extractor calls one of a batch, drawn at random, longer than it is.
        inputs["is_longer"] = torch.zeros(len(waveforms), 1, dtype=torch.bool)
        output = clap.get_audio_features(**inputs.to(device, clap.dtype))
        return output.pooler_output[:, None].float().cpu().numpy()

    return _finish(name, extractor.sampling_rate, float(extractor.max_length_s), encode)


def _encodec(name: str, model: str, device: torch.device) -> Encoder:
    """EnCodec's encoder, before its quantiser. Mono audio stands in both channels of a stereo one."""
    encodec = _load(EncodecModel, model, device)
    config = encodec.config

    @torch.inference_mode()
    def encode(waveforms: np.ndarray) -> np.ndarray:
        mono = torch.from_numpy(waveforms).to(device, encodec.dtype)[:, None]  # (batch, 1, samples)
        if config.normalize:
            mono = mono / (mono.square().mean(-1, keepdim=True).sqrt() + 1e-8)
        states = encodec.encoder(mono.expand(-1, config.audio_channels, -1))  # (batch, width, frames)
        return states.mean(-1)[:, None].float().cpu().numpy()

    return _finish(name, config.sampling_rate, config.chunk_length_s or WINDOW_SECONDS, encode)


def _logmel(device: torch.device) -> Callable[[np.ndarray], np.ndarray]:
    """128 mel bands of a power spectrogram in decibels."""
    filters = mel_filter_bank(MEL_FFT // 2 + 1, MEL_BINS, 0.0, MEL_RATE / 2, MEL_RATE, "slaney", "slaney")
    filters = torch.from_numpy(filters.T.astype(np.float32)).to(device)  # (mels, frequencies)
    window = torch.hann_window(MEL_FFT, device=device)

    @torch.inference_mode()
    def encode(waveforms: np.ndarray) -> np.ndarray:
        samples = torch.from_numpy(waveforms).to(device)
        spectrum = torch.stft(samples, MEL_FFT, MEL_HOP, window=window, pad_mode="constant", return_complex=True)
        decibels = 10 * torch.log10(filters @ spectrum.abs().square() + 1e-10)  # (batch, mels, frames)
        return decibels.mean(-1)[:, None].cpu().numpy()

    return encode


def _load(kind: type[PreTrainedModel], model: str, device: torch.device, **how) -> PreTrainedModel:
    try:
        loaded, report = kind.from_pretrained(model, output_loading_info=True, **how)
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise EncoderError(f"{model}: cannot be loaded as an encoder: {_first_line(error)}") from error
    # What masks audio in pre-training is used nowhere here, and released weights may lack it.
    if missing := sorted(report["missing_keys"] - {"masked_spec_embed"}):
        raise EncoderError(f"{model}: {len(missing)} of its weights are missing, the first is {missing[0]}")
    if device.type == "cpu":
        loaded = loaded.float()
    return loaded.to(device).eval()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
