"""The parts of the embedded model, as the recipes of the show join them again."""

import torch
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.training.tiny import write_parts
from transformers import AutoTokenizer


def test_parts_joined_again_are_the_model_that_has_seen_text_only(random_model, tmp_path):
    whole = MuLlamaForConditionalGeneration.from_pretrained(random_model).eval()
    whole.model.audio_tower.save_pretrained(tmp_path / "mert")
    write_parts(random_model, tmp_path / "mert", tmp_path / "parts")
    joined = MuLlamaForConditionalGeneration.from_audio_text_pretrained(
        tmp_path / "parts" / "encoder", tmp_path / "parts" / "language", num_adapter_layers=2
    ).eval()
    ids = AutoTokenizer.from_pretrained(tmp_path / "parts" / "language")(
        "Which instruments play?", return_tensors="pt"
    )
    with torch.no_grad():
        assert torch.equal(joined(**ids).logits, whole(**ids).logits)
        waveform = torch.randn(1, 24_000)
        means = [model.get_audio_features(waveform).layer_means for model in (joined, whole)]
    assert torch.equal(*means)
