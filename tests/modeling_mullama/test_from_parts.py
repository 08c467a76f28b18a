"""A base built from a MERT and a LLaMA: at first it is that LLaMA, and it goes through the same doors as any model."""

import pytest
import torch
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from transformers import AutoModelForMultimodalLM, LlamaConfig, LlamaForCausalLM


@pytest.fixture
def llama(tmp_path):
    """A folder with a decoder of LLaMA's architecture, tied and with grouped queries as SmolLM2's is."""
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@torch.no_grad()
def test_at_first_it_is_that_language_model(llama, release, ids, audio):
    mert = release / "release" / "MERT"
    model = MuLlamaForConditionalGeneration.from_audio_text_pretrained(mert, llama, num_adapter_layers=2).eval()
    expected = LlamaForCausalLM.from_pretrained(llama).eval()(ids).logits
    assert model.dtype == torch.bfloat16 and model.config.text_config.num_adapter_layers == 2
    assert torch.equal(model(ids, input_values=audio).logits, expected)
    assert model.generation_config.temperature == 0.6 and model.generation_config.max_new_tokens == 512

    # Its gates are all that keeps the audio out.
    for layer in model.model.language_model.layers[1:]:
        layer.self_attn.audio_prefix.gate.fill_(1.0)
    model.save_pretrained(llama.parent / "model")
    again = AutoModelForMultimodalLM.from_pretrained(llama.parent / "model")
    heard = again(ids, input_values=audio).logits
    assert torch.equal(heard, model(ids, input_values=audio).logits) and not torch.equal(heard, expected)
    assert again.lm_head.weight is again.model.language_model.embed_tokens.weight


def test_it_trains_with_the_encoder_frozen(llama, release, ids, audio):
    mert = release / "release" / "MERT"
    model = MuLlamaForConditionalGeneration.from_audio_text_pretrained(mert, llama, dtype="float32")
    model.train()
    model(ids, input_values=audio, labels=ids).loss.backward()
    assert model.model.language_model.layers[0].self_attn.audio_prefix.gate.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.model.audio_tower.parameters())


def test_another_kind_of_model_is_refused(llama):
    with pytest.raises(ValueError, match="is a 'llama' model, but 'mert' is expected"):
        MuLlamaForConditionalGeneration.from_audio_text_pretrained(llama, llama)
