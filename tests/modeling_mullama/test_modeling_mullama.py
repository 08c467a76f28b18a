"""The injection, the three audio doors, windows and batches, training, and what trainers expect of the model."""

import pytest
import torch
from mullama.modeling_mullama import (
    MuLlamaConfig,
    MuLlamaForConditionalGeneration,
    MuLlamaModel,
    MuLlamaTextConfig,
)
from torch import nn
from transformers import AutoConfig, AutoModelForMultimodalLM, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from .conftest import SAMPLES, small_encoder, small_model


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((ours - theirs).abs().max() < tolerance)


def llama_of(model: MuLlamaForConditionalGeneration) -> LlamaForCausalLM:
    """Plain LLaMA with the same weights."""
    llama = LlamaForCausalLM(model.config.text_config).eval()
    weights = {key: value for key, value in model.state_dict().items() if "audio_prefix" not in key}
    weights = {key.replace("model.language_model.", "model."): value for key, value in weights.items()}
    llama.load_state_dict({key: value for key, value in weights.items() if key in llama.state_dict()})
    return llama


@pytest.mark.parametrize("biases", [True, False])
def test_without_audio_it_is_llama_bitwise(biases, ids):
    model = small_model(attention_bias=biases, mlp_bias=biases)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, llama_of(model)(ids).logits)


def test_closed_gates_are_llama_bitwise(model, ids, audio):
    llama = llama_of(model)
    with torch.no_grad():
        for layer in model.model.language_model.layers[2:]:
            layer.self_attn.audio_prefix.gate.zero_()
        assert torch.equal(model(ids, input_values=audio).logits, llama(ids).logits)


def test_the_last_layers_are_adapted(model):
    adapted = [hasattr(layer.self_attn, "audio_prefix") for layer in model.model.language_model.layers]
    assert adapted == [False, False, True, True, True]


def two_softmaxes(attention: nn.Module, hidden_states, position_embeddings, audio_embeds) -> torch.Tensor:
    """LLaMA-Adapter's attention as its paper writes it: a causal softmax, and a gated one over a prefix token."""
    batch, length = hidden_states.shape[:2]
    split = (batch, length, -1, attention.head_dim)
    query, key, value = (
        projection(hidden_states).view(split).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    groups = attention.num_key_value_groups
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * attention.scaling
    scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
    output = scores.softmax(-1) @ value

    prefix = (audio_embeds + attention.audio_prefix.query)[:, None]  # (batch, 1, width)
    prefix_key = attention.k_proj(prefix).view(batch, 1, -1, attention.head_dim).transpose(1, 2)
    prefix_value = attention.v_proj(prefix).view(batch, 1, -1, attention.head_dim).transpose(1, 2)
    prefix_key, prefix_value = prefix_key.repeat_interleave(groups, 1), prefix_value.repeat_interleave(groups, 1)
    prefix_scores = (query @ prefix_key.transpose(2, 3) * attention.scaling).softmax(-1)  # ones: a single key
    output = output + attention.audio_prefix.gate.tanh()[..., None] * (prefix_scores @ prefix_value)
    return attention.o_proj(output.transpose(1, 2).reshape(batch, length, -1))


def test_injection_is_llama_adapters_second_softmax(ids):
    model = small_model(attention_bias=True)
    inputs = {}
    attention = model.model.language_model.layers[-1].self_attn
    with torch.no_grad():
        attention.q_proj.bias.normal_()
        attention.o_proj.bias.normal_()
    attention.register_forward_hook(
        lambda module, args, kwargs, output: inputs.update(kwargs, output=output[0]), with_kwargs=True
    )
    audio_embeds = torch.randn(3, 32)
    with torch.no_grad():
        model(ids, audio_embeds=audio_embeds)
        expected = two_softmaxes(attention, inputs["hidden_states"], inputs["position_embeddings"], audio_embeds)
    assert close(inputs["output"], expected)


def test_prefix_sees_the_value_matrix_less_the_merged_lora(ids):
    """Released weights: LoRA merged into `v_proj`, which the prefix must not see."""
    base, merged = small_model(), small_model(value_correction_rank=4)
    merged.load_state_dict(base.state_dict(), strict=False)
    audio_embeds = torch.randn(3, 32)
    values = base.model.language_model.get_audio_prefix(audio_embeds)
    with torch.no_grad():
        for layer in merged.model.language_model.layers[2:]:
            prefix = layer.self_attn.audio_prefix
            layer.self_attn.v_proj.weight += prefix.value_correction_b @ prefix.value_correction_a
    assert close(merged.model.language_model.get_audio_prefix(audio_embeds), values)
    assert not close(merged(ids).logits, base(ids).logits, 1e-2)


def test_the_three_doors_lead_to_the_same_place(model, ids, audio):
    with torch.no_grad():
        heard = model.get_audio_features(audio)
        assert heard.layer_means.shape == (3, 4, 24) and heard.pooler_output.shape == (3, 32)
        outputs = [
            model(ids, input_values=audio),
            model(ids, audio_features=heard.layer_means),
            model(ids, audio_embeds=heard.pooler_output),
            model(ids, audio_prefix=model.model.language_model.get_audio_prefix(heard.pooler_output)),
        ]
        assert all(close(output.logits, outputs[0].logits) for output in outputs)
        assert not close(outputs[0].logits, model(ids).logits, 1e-2)
        assert torch.equal(outputs[0].audio_hidden_states, heard.pooler_output)


def test_two_doors_are_one_too_many(model, ids, audio):
    with pytest.raises(ValueError, match="`input_values` and `audio_embeds` were given"):
        model(ids, input_values=audio, audio_embeds=torch.zeros(3, 32))
    with pytest.raises(ValueError, match="`audio_features` and `audio_embeds` were given"):
        model.generate(ids, audio_features=torch.zeros(3, 4, 24), audio_embeds=torch.zeros(3, 32), max_new_tokens=1)


def test_one_audio_serves_many_texts_and_two_do_not_serve_three(model, ids, audio):
    with torch.no_grad():
        one = model(ids, input_values=audio[:1]).logits
        assert close(one, model(ids, input_values=audio[:1].expand(3, -1)).logits)
        with pytest.raises(ValueError, match="2 audios do not go with 3 texts"):
            model(ids, input_values=audio[:2])


def test_a_projected_vector_has_unit_norm_before_it_is_lifted(model, audio):
    norms = []
    model.model.multi_modal_projector.linear.register_forward_pre_hook(
        lambda module, args: norms.append(args[0].norm(dim=-1))
    )
    model.get_audio_features(audio)
    assert close(norms[0], torch.ones(3))


def windows_of_unlike_length() -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
    lengths = [[SAMPLES, SAMPLES, 700], [1500, 0, 0], [SAMPLES, 90, 0]]
    mask = torch.arange(SAMPLES) < torch.tensor(lengths)[..., None]
    values = torch.randn(3, 3, SAMPLES, generator=torch.Generator().manual_seed(3))
    return torch.where(mask, values, 5.0), mask.long(), lengths


@pytest.mark.parametrize("trained", [True, False])
def test_windows_are_averaged_by_their_frames_and_a_batch_equals_its_members(model, trained):
    """In groups when the encoder is frozen, and padded together when it is trained."""
    values, mask, lengths = windows_of_unlike_length()
    tower = model.model.audio_tower
    tower.requires_grad_(trained)
    batch = model.get_audio_features(values, mask)
    for item, item_lengths in enumerate(lengths):
        with torch.no_grad():
            windows = [tower(values[item, i : i + 1, :n]) for i, n in enumerate(item_lengths) if n]
        frames = torch.tensor([float(window.last_hidden_state.shape[1]) for window in windows])
        means = torch.cat([window.layer_means for window in windows])
        expected = (means * (frames / frames.sum())[:, None, None]).sum(0)
        assert close(batch.layer_means[item], expected)
        single = model.get_audio_features(values[item : item + 1], mask[item : item + 1])
        assert close(batch.layer_means[item], single.layer_means[0])
        assert close(batch.pooler_output[item], single.pooler_output[0], 1e-4)


def test_a_long_audio_is_encoded_in_pieces_no_longer_than_a_window(model, monkeypatch):
    monkeypatch.setattr("mullama.modeling_mullama.modeling_mullama.MAX_SAMPLES_AT_ONCE", 2 * SAMPLES)
    shapes = []
    model.model.audio_tower.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    model.get_audio_features(torch.randn(1, 5, SAMPLES))
    assert shapes == [(2, SAMPLES), (2, SAMPLES), (1, SAMPLES)]


def test_an_item_without_audio_is_refused(model):
    values, mask, _ = windows_of_unlike_length()
    mask[1] = 0
    with pytest.raises(ValueError, match="Audio 1 of the batch has not one frame"):
        model.get_audio_features(values, mask)
    with pytest.raises(ValueError, match="has shape"):
        model.get_audio_features(values, mask[:, 0])


@pytest.mark.parametrize("attention", ["eager", "flex_attention"])
def test_attention_implementations_agree(model, ids, audio, attention):
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, input_values=audio).logits
        model.set_attn_implementation(attention)
        assert model.model.language_model.config._attn_implementation == attention
        # Compiling flex attention would take minutes and show nothing more.
        with torch.compiler.set_stance("force_eager"):
            logits = model(ids, attention_mask=mask, input_values=audio).logits
    assert close(logits[mask.bool()], expected[mask.bool()], 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(model, ids, audio, dtype):
    with torch.no_grad():
        expected = model(ids, input_values=audio)
        output = model.to(dtype)(ids, input_values=audio)
    assert output.logits.dtype == dtype
    similarity = nn.functional.cosine_similarity(output.logits.float().flatten(), expected.logits.flatten(), dim=0)
    assert similarity > 0.99


def test_a_frozen_encoder_is_never_in_training_mode(model):
    model.train()
    assert model.training and model.model.language_model.training and not model.model.audio_tower.training
    assert not any(parameter.requires_grad for parameter in model.model.audio_tower.parameters())
    model.model.audio_tower.requires_grad_(True)
    assert model.train().model.audio_tower.training
    assert not model.eval().model.audio_tower.training


def test_training_reaches_the_adapter_and_not_the_encoder_unless_asked(model, ids, audio):
    model.train()
    model(ids, input_values=audio, labels=ids).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is None for name, gradient in gradients.items() if "audio_tower" in name)
    assert all(gradient.any() for name, gradient in gradients.items() if "audio_tower" not in name)
    model.model.audio_tower.requires_grad_(True)
    model.eval()(ids, input_values=audio, labels=ids).loss.backward()
    weight = model.model.audio_tower.feature_extractor.conv_layers[0].conv.weight
    assert weight.grad is not None and weight.grad.any()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_trains_the_same(model, ids, audio, use_reentrant):
    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(ids, input_values=audio, labels=ids, use_cache=False).loss.backward()
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        return {name: parameter.grad.clone() for name, parameter in trained.items()}

    model.train()
    plain = gradients()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    checkpointed = gradients()
    assert {"model.multi_modal_projector.linear.weight", "model.language_model.embed_tokens.weight"} <= plain.keys()
    for name in plain:
        assert plain[name].any() and torch.allclose(plain[name], checkpointed[name], rtol=1e-4, atol=1e-6), name


def test_logits_are_the_head_of_the_base_models_last_state(model, ids, audio):
    """What TRL's trainers rely on: `base_model_prefix`, no change of length, no loss of its own."""
    with torch.no_grad():
        hidden_states = getattr(model, model.base_model_prefix)(ids, input_values=audio).last_hidden_state
        output = model(ids, input_values=audio, labels=ids, output_hidden_states=True)
        assert hidden_states.shape[:2] == ids.shape
        assert torch.equal(output.logits, model.lm_head(hidden_states))
        assert torch.equal(output.hidden_states[-1], hidden_states) and len(output.hidden_states) == 6
        cross_entropy = nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        assert close(output.loss, cross_entropy)
        kept = model(ids, input_values=audio, logits_to_keep=2).logits
        assert close(kept, output.logits[:, -2:])


def test_tied_heads_stay_tied(tmp_path, ids, audio):
    model = small_model(tie_word_embeddings=True)
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    loaded = MuLlamaForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    with torch.no_grad():
        assert close(loaded(ids, input_values=audio).logits, model(ids, input_values=audio).logits, 1e-4)


def test_saved_and_loaded_it_is_the_same(model, tmp_path, ids, audio):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMultimodalLM.from_pretrained(tmp_path)
    assert type(loaded) is MuLlamaForConditionalGeneration
    assert not any(parameter.requires_grad for parameter in loaded.model.audio_tower.parameters())
    config = AutoConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "again")
    again = AutoConfig.from_pretrained(tmp_path / "again")
    assert config.to_dict() | {"_name_or_path": None} == again.to_dict() | {"_name_or_path": None}
    with torch.no_grad():
        assert close(loaded(ids, input_values=audio).logits, model(ids, input_values=audio).logits, 1e-4)
    base, info = MuLlamaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not any(parameter.requires_grad for parameter in base.audio_tower.parameters())


def test_offloaded_to_disk_it_is_the_same(tmp_path, ids, audio):
    """`device_map`: here, everything that can be is on disk, and brought to the CPU when it is used."""
    pytest.importorskip("accelerate")
    model = small_model(value_correction_rank=2)
    model.save_pretrained(tmp_path)
    language_model = "model.language_model."
    device_map = {language_model + name: "cpu" for name in ("embed_tokens", "norm", "rotary_emb", "layers.0")}
    device_map |= {f"{language_model}layers.{index}": "disk" for index in range(1, 5)}
    device_map |= {"model.multi_modal_projector": "disk", "model.audio_tower": "disk", "lm_head": "cpu"}
    offloaded = MuLlamaForConditionalGeneration.from_pretrained(
        tmp_path, device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert {parameter.device.type for parameter in offloaded.parameters()} == {"cpu", "meta"}
    windows = torch.cat([audio, audio], dim=1).view(3, 2, SAMPLES)
    with torch.no_grad():
        expected = model(ids, input_values=windows).logits
        assert close(offloaded(ids, input_values=windows).logits, expected, 1e-4)
    greedy = dict(max_new_tokens=4, do_sample=False)
    expected = model.generate(ids, input_values=audio, **greedy)
    assert torch.equal(offloaded.generate(ids, input_values=audio, **greedy), expected)


def test_configuration():
    config = MuLlamaConfig(
        text_config=dict(hidden_size=64), audio_config=dict(model_type="mert_model", deepnorm=False)
    )
    assert config.projector_intermediate_size == 256 and config.projector_norm_eps == 1e-6
    assert config.text_config.model_type == "mullama_text" and config.audio_config.model_type == "mert"
    assert config.get_text_config() is config.text_config
    with pytest.raises(ValueError, match=r"`num_adapter_layers` must be in \[0, 4\]"):
        MuLlamaTextConfig(num_hidden_layers=4, num_adapter_layers=5)
    with pytest.raises(ValueError, match="must not be negative"):
        MuLlamaTextConfig(value_correction_rank=-1)


def test_projector_keeps_its_own_epsilon():
    model = small_model(rms_norm_eps=1e-2)
    assert model.model.multi_modal_projector.blocks[0].norm.variance_epsilon == 1e-6
    assert model.model.language_model.norm.variance_epsilon == 1e-2


def test_no_adapted_layer_hears_nothing(ids, audio):
    model = small_model(num_adapter_layers=0)
    with torch.no_grad():
        assert torch.equal(model(ids, input_values=audio).logits, model(ids).logits)
    assert model.generate(ids, input_values=audio, max_new_tokens=3).shape == (3, 12)


def test_encoders_hidden_states_on_request(model, audio):
    heard = model.get_audio_features(audio[:, None], output_hidden_states=True)
    assert len(heard.hidden_states) == small_encoder().num_hidden_layers + 1
    assert close(torch.stack([state.mean(1) for state in heard.hidden_states], 1), heard.layer_means)
