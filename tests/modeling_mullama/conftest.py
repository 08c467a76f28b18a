"""Small random models, whose adapter is far from zero, and sounds for them."""

from pathlib import Path

import pytest
import torch
from mullama.modeling_mullama import MertConfig, MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaTextConfig

SAMPLES = 2400


def small_encoder(**kwargs) -> MertConfig:
    values = dict(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=32,
        conv_dim=(16,) * 4,
        conv_kernel=(10, 3, 3, 2),
        conv_stride=(5, 2, 2, 2),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        do_stable_layer_norm=True,
    )
    return MertConfig(**values | kwargs)


def small_model(seed: int = 0, **text) -> MuLlamaForConditionalGeneration:
    """Five layers, the last three adapted, grouped-query attention."""
    values = dict(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        num_adapter_layers=3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    config = MuLlamaConfig(
        audio_config=small_encoder(),
        text_config=MuLlamaTextConfig(**values | text),
        num_projector_layers=2,
        projector_intermediate_size=40,
    )
    model = MuLlamaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "audio_prefix" in name or "multi_modal_projector" in name or "lm_head" in name:
                parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


@pytest.fixture
def model() -> MuLlamaForConditionalGeneration:
    return small_model()


@pytest.fixture
def audio() -> torch.Tensor:
    """Three sounds, (3, samples)."""
    return torch.randn(3, SAMPLES, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ids() -> torch.Tensor:
    """Three prompts of the same length."""
    return torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def release() -> Path:
    """A release of MU-LLaMA, shrunk: see tests/fixtures/README.md."""
    return Path(__file__).parents[1] / "fixtures" / "mullama_release_tiny"
