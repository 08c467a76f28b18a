"""musicnn's tagger in torch: its own weights on a tone (golden numbers), where the wheel is at hand."""

import os

import pytest
import torch
from mullama.evaluation.musicnn import SAMPLING_RATE, TAGS, MusicnnTagger

WHEEL = os.environ.get("MUSICNN_WHEEL", "")


def test_a_missing_wheel_is_named_with_its_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="pip download --no-deps musicnn==0.1.0"):
        MusicnnTagger(tmp_path / "musicnn.whl")


@pytest.mark.skipif(not WHEEL, reason="MUSICNN_WHEEL does not name musicnn's wheel (29 MB, not part of the tests)")
def test_tags_of_a_chord_and_of_noise():
    tagger = MusicnnTagger(WHEEL)
    time = torch.arange(3 * SAMPLING_RATE) / SAMPLING_RATE
    chord = sum(torch.sin(2 * torch.pi * frequency * time) for frequency in (220.0, 277.18, 329.63)) / 6
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0)) / 6
    tags, penultimate = tagger(torch.stack([chord, noise]))
    assert tags.shape == (2, 50) and penultimate.shape == (2, 200)
    singly = tagger(chord[None])[0][0]
    torch.testing.assert_close(tags[0], singly, atol=1e-5, rtol=1e-4)
    golden = {"slow": 0.12844, "ambient": 0.10487, "drums": 0.00197}
    for tag, value in golden.items():
        assert tags[0, TAGS.index(tag)].item() == pytest.approx(value, abs=2e-4), tag
