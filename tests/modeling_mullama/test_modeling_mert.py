"""MERT against the released numbers, against HuBERT, and against itself on padded audio."""

import json

import pytest
import torch
from mullama.modeling_mullama import MertConfig, MertModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, HubertConfig, HubertModel

from .conftest import small_encoder

VARIANTS = [(norm, pre_norm) for norm in ("group", "layer") for pre_norm in (True, False)]


def normalise(wav: torch.Tensor) -> torch.Tensor:
    return (wav - wav.mean(-1, keepdim=True)) / (wav.var(-1, unbiased=False, keepdim=True) + 1e-7).sqrt()


def build(feat_extract_norm: str, pre_norm: bool) -> MertModel:
    torch.manual_seed(0)
    return MertModel(small_encoder(feat_extract_norm=feat_extract_norm, do_stable_layer_norm=pre_norm)).eval()


def test_layer_means_are_the_released_ones(release):
    golden = load_file(release / "golden.safetensors")
    model, info = MertModel.from_pretrained(release / "release" / "MERT", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        means = model(normalise(golden["wav"][:1])).layer_means[0]
    assert (means - golden["mert_layers0"]).abs().max() < 1e-5


def test_both_spellings_of_the_weight_norm_load(release, tmp_path, audio):
    old = MertModel.from_pretrained(release / "release" / "MERT")
    assert any("parametrizations.weight.original0" in name for name in old.state_dict())
    old.config.save_pretrained(tmp_path)
    save_file(old.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    new = MertModel.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(old(audio).layer_means, new(audio).layer_means)


def test_auto_classes_read_a_released_folder_without_its_remote_code(release):
    folder = release / "release" / "MERT"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "mert_model"
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    assert isinstance(config, MertConfig) and config.attention_relax == 32.0 and config.hidden_size == 32
    assert isinstance(AutoModel.from_pretrained(folder, trust_remote_code=False), MertModel)


def test_released_shapes_are_of_94_and_315_million_parameters():
    large = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    with torch.device("meta"):
        assert round(MertModel(MertConfig()).num_parameters() / 1e6) == 94
        assert round(MertModel(MertConfig(**large, do_stable_layer_norm=True)).num_parameters() / 1e6) == 315


@pytest.mark.parametrize(("norm", "pre_norm"), VARIANTS)
def test_equals_hubert_whose_weights_it_shares(norm, pre_norm, audio):
    model = build(norm, pre_norm)
    values = {key: value for key, value in model.config.to_dict().items() if key != "model_type"}
    hubert = HubertModel(HubertConfig(**values)).eval()
    hubert.load_state_dict(model.state_dict())
    with torch.no_grad():
        output = model(audio, output_hidden_states=True)
        expected = hubert(audio, output_hidden_states=True)
    assert torch.equal(output.last_hidden_state, expected.last_hidden_state)
    assert len(output.hidden_states) == len(expected.hidden_states) == 4
    for ours, theirs in zip(output.hidden_states[:-1], expected.hidden_states[:-1], strict=True):
        assert torch.equal(ours, theirs)
    # Released weights expect the last state after the final norm.
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    means = torch.stack([state.mean(1) for state in output.hidden_states], dim=1)
    assert (output.layer_means - means).abs().max() < 1e-6


@pytest.mark.parametrize(("norm", "pre_norm"), VARIANTS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_changes_nothing(norm, pre_norm, attention, audio):
    model = build(norm, pre_norm)
    model.set_attn_implementation(attention)
    lengths = [2400, 1333, 70]
    mask = torch.arange(2400) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        batch = model(torch.where(mask, audio, 7.0), mask, output_hidden_states=True)
        for row, length in enumerate(lengths):
            single = model(audio[row : row + 1, :length], output_hidden_states=True)
            assert (batch.layer_means[row] - single.layer_means[0]).abs().max() < 1e-5
            frames = single.last_hidden_state.shape[1]
            assert frames == model.frame_lengths(length)
            assert (batch.last_hidden_state[row, :frames] - single.last_hidden_state[0]).abs().max() < 1e-5


@pytest.mark.parametrize(("norm", "pre_norm"), VARIANTS)
@pytest.mark.parametrize("samples", [2400, 2399, 321])
def test_convolutions_in_pieces_are_the_whole_ones(norm, pre_norm, samples, audio, monkeypatch):
    """Without gradients, long audio goes through the convolutions in pieces; 70 samples a row are 1.75 frames."""
    model = build(norm, pre_norm)
    with torch.no_grad():
        whole = model(audio[:, :samples] + 0.5)
        monkeypatch.setattr("mullama.modeling_mullama.modeling_mert.CONV_SAMPLES_AT_ONCE", 210)
        runs = []
        model.feature_extractor.conv_layers[-1].register_forward_hook(lambda *_: runs.append(1))
        pieces = model(audio[:, :samples] + 0.5)
    assert len(runs) == model.frame_lengths(samples)
    assert pieces.last_hidden_state.shape == whole.last_hidden_state.shape
    assert (pieces.last_hidden_state - whole.last_hidden_state).abs().max() < 1e-5
    assert (pieces.layer_means - whole.layer_means).abs().max() < 1e-5


def test_a_row_without_audio_is_zero_and_harmless_to_the_others(audio):
    model = build("group", True).train()
    mask = torch.ones(3, 2400, dtype=torch.long)
    mask[1] = 0
    means = model(audio * mask, mask).layer_means
    assert not means[1].any() and means[0].any()
    means.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_trains_the_same(use_reentrant, audio):
    model = build("layer", False).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    model.config.layerdrop = 0.0
    for attention in model.encoder.layers:
        attention.attention.dropout = 0.0

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(audio).layer_means.square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    checkpointed = gradients()
    assert all(plain[name].any() for name in plain if "k_proj.bias" not in name)
    for name in plain:
        assert torch.allclose(plain[name], checkpointed[name], rtol=1e-4, atol=1e-5), name


def test_audio_of_less_than_a_frame_is_refused():
    model = build("group", True)
    assert model.frame_lengths(9) == 0 and model.frame_lengths(10_000) > 0
    with pytest.raises(ValueError, match="9 samples is too short"):
        model(torch.zeros(1, 9))


@pytest.mark.parametrize("name", ["deepnorm", "feature_extractor_cqt", "conv_pos_batch_norm"])
def test_variants_of_no_released_checkpoint_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=True. is not supported"):
        MertConfig(**{name: True})


def test_five_seconds_are_374_frames_and_a_minute_4499():
    with torch.device("meta"):
        model = MertModel(MertConfig(num_hidden_layers=1))
    assert model.frame_lengths(5 * 24_000) == 374
    assert model.frame_lengths(60 * 24_000) == 4499
    assert model.frame_lengths(torch.tensor([0, 399, 400])).tolist() == [0, 0, 1]
