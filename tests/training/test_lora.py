"""A merged LoRA answers as it did unmerged, with music and without, and the folder opens as any other."""

import pytest
import torch
from mullama import MuLlamaConfig, MuLlamaForConditionalGeneration
from mullama.training.lora import load_adapter, merge_lora
from mullama.training.trainer import set_trainable
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

PROJECTIONS = r"model\.language_model\.layers\.\d+\..*\.(q|k|v|o|gate|up|down)_proj"
TOP_VALUE = r"model\.language_model\.layers\.2\.self_attn\.v_proj"


def _model(folder, biases: bool = False) -> MuLlamaForConditionalGeneration:
    config = MuLlamaConfig.from_pretrained(folder)
    config.text_config.attention_bias = config.text_config.mlp_bias = biases
    return MuLlamaForConditionalGeneration.from_pretrained(folder, config=config).eval()


def _inputs(model) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    ids = torch.randint(5, 300, (2, 12))
    return {"input_ids": ids, "audio_features": torch.randn(2, 3, 32)}


@torch.no_grad()
def _shake(model) -> None:
    for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
        parameter += 0.1 * torch.randn_like(parameter)


@pytest.mark.parametrize("target", [PROJECTIONS, TOP_VALUE])
@pytest.mark.parametrize("saved", [None, ["multi_modal_projector", "audio_prefix"]])
def test_a_merged_lora_answers_as_before(random_model, tmp_path, target, saved):
    model = _model(random_model)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=target, modules_to_save=saved, init_lora_weights=False)
    tuned = get_peft_model(model, config).eval()
    _shake(tuned)
    inputs = _inputs(model)
    heard, deaf = tuned(**inputs).logits, tuned(input_ids=inputs["input_ids"]).logits
    merged = merge_lora(tuned).eval()
    assert merged.config.text_config.value_correction_rank == 4
    assert torch.allclose(merged(**inputs).logits, heard, atol=1e-5)
    assert torch.allclose(merged(input_ids=inputs["input_ids"]).logits, deaf, atol=1e-5)
    assert not torch.allclose(heard, deaf, atol=1e-2)
    merged.save_pretrained(tmp_path)
    loaded = MuLlamaForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.allclose(loaded(**inputs).logits, heard, atol=1e-5)


def test_without_the_correction_it_would_answer_otherwise(random_model):
    tuned = get_peft_model(_model(random_model), LoraConfig(r=4, target_modules=TOP_VALUE, init_lora_weights=False))
    inputs = _inputs(tuned)
    heard = tuned.eval()(**inputs).logits
    merged = merge_lora(tuned).eval()
    for layer in merged.model.language_model.layers[1:]:
        layer.self_attn.audio_prefix.value_correction_b.data.zero_()
    assert not torch.allclose(merged(**inputs).logits, heard, atol=1e-4)


def test_a_second_lora_is_merged_on_top_of_the_first(random_model):
    model = _model(random_model).double()  # what is added and taken off is large here, and float32 rounds it
    inputs = _inputs(model)
    for rank in (4, 2):
        config = LoraConfig(r=rank, target_modules=PROJECTIONS, init_lora_weights=False)
        tuned = get_peft_model(model, config).double().eval()
        _shake(tuned)
        heard = tuned(**inputs).logits
        model = merge_lora(tuned).eval()
        assert torch.allclose(model(**inputs).logits, heard, atol=1e-8)
    assert model.config.text_config.value_correction_rank == 6


def test_what_trained_beside_the_lora_is_kept(random_model, tmp_path):
    tuned = get_peft_model(_model(random_model, biases=True), LoraConfig(r=4, target_modules=PROJECTIONS))
    others = [r"model\.language_model\..*norm\.weight", r"model\.language_model\..*\.(q|o|gate|up|down)_proj\.bias"]
    trained = set_trainable(tuned, others)
    _shake(tuned)
    tuned.eval().save_pretrained(tmp_path)
    tensors = dict(tuned.named_parameters())
    save_file(
        {name: tensors[name].detach() for name in trained if "lora_" not in name},
        tmp_path / "other_trained.safetensors",
    )
    inputs = _inputs(tuned)
    merged = merge_lora(load_adapter(_model(random_model, biases=True), tmp_path)).eval()
    assert torch.allclose(merged(**inputs).logits, tuned(**inputs).logits, atol=1e-5)


def test_dora_on_the_values_is_refused(random_model):
    tuned = get_peft_model(_model(random_model), LoraConfig(r=2, use_dora=True, target_modules=PROJECTIONS))
    with pytest.raises(ValueError, match="DoRA"):
        merge_lora(tuned)
