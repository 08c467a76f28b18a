"""Several audios in a turn weigh the same, whatever their length: the mean of their unit vectors, normalised."""

import pytest
import torch
from mullama.modeling_mullama import MuLlamaConfig, MuLlamaModel


@pytest.fixture(scope="module")
def model() -> MuLlamaModel:
    torch.manual_seed(0)
    audio = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    audio |= {"conv_dim": (16, 16), "conv_kernel": (10, 4), "conv_stride": (5, 2), "num_conv_pos_embedding_groups": 4}
    text = {"vocab_size": 64, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_adapter_layers": 1}
    config = MuLlamaConfig(audio_config=audio | {"num_conv_pos_embeddings": 16}, text_config=text)
    return MuLlamaModel(config).eval()


@pytest.fixture(scope="module")
def audios() -> tuple[torch.Tensor, torch.Tensor]:
    """A short audio of one window and one of two windows, the second shorter."""
    torch.manual_seed(1)
    return torch.randn(700), torch.randn(1700)


def batch(audios, windows: int = 2, samples: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.zeros(1, len(audios), windows, samples)
    mask = torch.zeros_like(values)
    for row, audio in enumerate(audios):
        for number, window in enumerate(audio.split(samples)):
            values[0, row, number, : len(window)], mask[0, row, number, : len(window)] = window, 1
    return values, mask


@torch.no_grad()
def unit(model, audio) -> torch.Tensor:
    values, mask = batch([audio])
    mixed = model.multi_modal_projector.layer_weights(
        model.get_audio_features(values[:, 0], mask[:, 0]).layer_means.transpose(1, 2)
    )
    return torch.nn.functional.normalize(mixed.squeeze(-1), dim=-1)


@torch.no_grad()
def test_equals_the_normalised_mean_of_unit_vectors(model, audios):
    heard = model.get_audio_features(*batch(audios))
    assert heard.layer_means.shape == (1, 2, 3, 32)
    mean = torch.nn.functional.normalize(unit(model, audios[0]) + unit(model, audios[1]), dim=-1)
    projector = model.multi_modal_projector
    expected = projector.linear(mean)
    for block in projector.blocks:
        expected = block(expected)
    torch.testing.assert_close(heard.pooler_output, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(projector(heard.layer_means), heard.pooler_output)


@torch.no_grad()
def test_an_item_of_fewer_audios_is_heard_as_if_alone(model, audios):
    (values, mask), (alone, alone_mask) = batch(audios), batch(audios[1:])
    absent = torch.zeros_like(alone)
    values = torch.cat([values, torch.cat([alone, absent], dim=1)])
    mask = torch.cat([mask, torch.cat([alone_mask, absent], dim=1)])
    together = model.get_audio_features(values, mask).pooler_output
    single = model.get_audio_features(alone[:, 0], alone_mask[:, 0]).pooler_output
    torch.testing.assert_close(together[1:], single, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="Audio 1 of the batch"):
        model.get_audio_features(values, torch.cat([mask[:1], torch.zeros_like(mask[1:])]))
