"""The tiny encoder's start: a filterbank, and resonators that tell a pulse's rate from its onsets."""

import numpy as np
import pytest
import torch

pytest.importorskip("trl", reason="training needs the extra mullama[train]")

from mullama.modeling_mullama import MertModel
from mullama.training.encoder import (
    FASTEST_PULSE,
    ONSETS,
    RESONATORS,
    SLOWEST_PULSE,
    AcousticTeacher,
    roles,
    start_as_filterbank,
    start_as_resonators,
    tiny_mert_config,
)

HOP, SPAN = 640, 1984
WIDTH = 128
FRAME_RATE = 37.5


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    model = MertModel(tiny_mert_config(WIDTH, 1)).eval()
    start_as_filterbank(model)
    start_as_resonators(model)
    return model


def pulses(rate: float, seconds: float = 5.0) -> torch.Tensor:
    """A train of onsets, one frame long, in frames."""
    train = torch.zeros(round(seconds * FRAME_RATE))
    train[(torch.arange(0, seconds - 0.1, 1 / rate) * FRAME_RATE).long()] = 1
    return train


@pytest.mark.parametrize("rate", [1.0, 1.7, 2.5, 4.0])
@torch.no_grad()
def test_resonators_tell_the_rate_of_the_onsets(encoder, rate):
    onset_channels, _ = roles(encoder.config)
    hidden = torch.zeros(1, round(5 * FRAME_RATE), WIDTH)
    hidden[..., onset_channels] = 4 * pulses(rate)[None, :, None]
    means = encoder.encoder.pos_conv_embed(hidden).mean(1)[0].view(16, -1)[:, ONSETS : ONSETS + RESONATORS]
    # Resonators are dealt out to the groups in turn, a cosine and a sine each.
    strength = means.view(16, RESONATORS // 2, 2).sum(-1).T.reshape(-1)
    rates = np.geomspace(SLOWEST_PULSE, FASTEST_PULSE, len(strength))
    below = [number for number, value in enumerate(rates) if value < 1.5 * rate]
    strongest = rates[max(below, key=lambda number: strength[number])]
    assert strongest == pytest.approx(rate, rel=0.15)


@torch.no_grad()
def test_a_steady_level_moves_no_resonator(encoder):
    onset_channels, _ = roles(encoder.config)
    hidden = torch.zeros(1, 400, WIDTH)
    hidden[..., onset_channels] = 3.0
    heard = encoder.encoder.pos_conv_embed(hidden)[0, 100:300].view(200, 16, -1)
    assert heard[..., ONSETS : ONSETS + RESONATORS].abs().max() < 1e-2


def test_what_is_fixed_stays_fixed_and_resonators_are_silent_before_the_convolution(encoder):
    assert not any(p.requires_grad for p in encoder.encoder.pos_conv_embed.parameters())
    assert not encoder.feature_extractor.conv_layers[0].conv.weight.requires_grad
    onset_channels, spectral = roles(encoder.config)
    assert len(onset_channels) == 16 and not set(onset_channels.tolist()) & set(spectral.tolist())
    with torch.no_grad():
        features = encoder.feature_extractor(torch.randn(2, 24_000) * 0.1).transpose(1, 2)
        projected = encoder.feature_projection(features)
    silent = sorted(set(range(WIDTH)) - set(onset_channels.tolist()) - set(spectral.tolist()))
    assert len(silent) == 16 * RESONATORS
    assert projected[..., silent].abs().max() == 0 and projected[..., spectral].abs().max() > 0


def test_teacher_finds_the_onsets_where_they_are():
    """Noise bursts at 0.5 and 1.2 s: onset strength peaks in the frames centred there."""
    teacher = AcousticTeacher(HOP, SPAN).eval()
    rng = np.random.default_rng(0)
    waveform = np.zeros(48_000, np.float32)
    for at in (0.5, 1.2):
        start = round(at * 24_000)
        waveform[start : start + 6000] = 0.3 * rng.standard_normal(6000) * np.exp(-np.arange(6000) / 2000)
    frames = (48_000 - SPAN) // HOP + 1
    spectrum, onsets = teacher(torch.from_numpy(waveform)[None], frames)
    assert spectrum.shape == (1, frames, 168) and onsets.shape == (1, frames, 1)
    times = (np.arange(frames) * HOP + SPAN / 2) / 24_000
    strength = onsets[0, :, 0].numpy()
    for at in (0.5, 1.2):
        near = np.abs(times - at) < 0.3
        assert times[near][strength[near].argmax()] == pytest.approx(at, abs=0.05)
