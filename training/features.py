"""Hear once: each clip's layer means, computed once and kept, are all that the language side needs of the music."""

from pathlib import Path

import numpy as np
import torch
from mullama.modeling_mullama.modeling_mert import MertModel
from mullama.processing import MuLlamaFeatureExtractor
from tqdm import tqdm


@torch.no_grad()
def write_layer_means(
    encoder: MertModel, extractor: MuLlamaFeatureExtractor, clips: np.ndarray, out: Path, batch_size: int = 50
) -> None:
    """Write the layer means of `clips` (clips, samples; int16) to `out`, float16 (clips, layers + 1, width)."""
    encoder.eval()
    shape = (len(clips), encoder.config.num_hidden_layers + 1, encoder.config.hidden_size)
    partial = out.with_suffix(".partial.npy")
    layer_means = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    for start in tqdm(range(0, len(clips), batch_size), desc="hearing", disable=None):
        waveforms = clips[start : start + batch_size].astype(np.float32) / 32768
        inputs = extractor(list(waveforms), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        layer_means[start : start + batch_size] = encoder(inputs["input_values"][:, 0]).layer_means.numpy()
    layer_means.flush()
    partial.replace(out)
