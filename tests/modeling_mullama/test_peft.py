"""PEFT on MU-LLaMA: the prefix meets the base value matrix, and the adapter's own modules are trained and saved."""

import pytest
import torch

peft = pytest.importorskip("peft", reason="needs the extra `train`")

LORA = dict(
    r=4,
    target_modules=r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
    modules_to_save=["audio_prefix", "multi_modal_projector"],
    init_lora_weights=False,
)


def test_prefix_meets_the_base_value_matrix(model, audio):
    embeds = model.get_audio_features(audio).pooler_output
    expected = model.model.language_model.get_audio_prefix(embeds)
    tuned = peft.get_peft_model(model, peft.LoraConfig(**LORA)).eval()
    assert torch.equal(model.model.language_model.get_audio_prefix(embeds), expected)
    layer = model.model.language_model.layers[-1].self_attn
    assert not torch.allclose(layer.v_proj(embeds), layer.v_proj.base_layer(embeds))
    assert tuned.get_nb_trainable_parameters()[0] > 0


def test_adapter_is_trained_saved_and_loaded(model, ids, audio, tmp_path):
    base = {name: value.clone() for name, value in model.state_dict().items()}
    tuned = peft.get_peft_model(model, peft.LoraConfig(**LORA))
    tuned.train()
    tuned(input_ids=ids, input_values=audio, labels=ids).loss.backward()
    trained = {name for name, parameter in tuned.named_parameters() if parameter.grad is not None}
    assert any("audio_prefix.modules_to_save.default.query" in name for name in trained)
    assert any("audio_prefix.modules_to_save.default.gate" in name for name in trained)
    assert any("multi_modal_projector.modules_to_save.default.layer_weights" in name for name in trained)
    assert not any("audio_tower" in name for name in trained)
    with torch.no_grad():
        for parameter in filter(lambda parameter: parameter.requires_grad, tuned.parameters()):
            parameter -= 0.1
    tuned.eval()
    expected = tuned(input_ids=ids, input_values=audio).logits
    tuned.save_pretrained(tmp_path)

    fresh = type(model)(model.config).eval()
    fresh.load_state_dict(base)
    assert not torch.allclose(fresh(ids, input_values=audio).logits, expected, atol=1e-2)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path).eval()
    assert torch.allclose(loaded(input_ids=ids, input_values=audio).logits, expected, atol=1e-4)
    generated = loaded.generate(input_ids=ids, input_values=audio, max_new_tokens=4, do_sample=False)
    assert torch.equal(generated[:, 9], expected[:, -1].argmax(-1))
