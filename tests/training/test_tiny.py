"""The embedded model's training text, and its parts, as the recipes of the show join them again."""

import json

import numpy as np
import torch
from datasets import Dataset
from mullama.dataset_scripts.synthetic.truth import ClipTruth
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.training.tiny import CONVERSATIONS_PER_CLIP, write_parts, write_questions
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


def test_questions_are_conversations_about_their_clip(tmp_path):
    parts = {"instrument": "flute", "family": "woodwind", "accompaniment": None, "instruments": ["flute"]}
    sound = {"texture": "solo", "drums": False, "register": "high", "loudness": "soft", "tempo": "slow", "bpm": 60.0}
    origin = {"style": "folk", "piece": "tune", "soundfont": "fluid", "seconds": 5.0}
    truths = [ClipTruth(id=name, **parts, **sound, **origin) for name in ("clip-0", "clip-1")]
    clips = tmp_path / "clips"
    clips.mkdir()
    np.save(clips / "clips.npy", np.zeros((2, 8), np.int16))
    (clips / "truth.jsonl").write_text("".join(json.dumps(truth.to_dict()) + "\n" for truth in truths))

    for name in ("first", "again"):
        write_questions(clips, tmp_path / f"{name}.parquet")
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    rows = Dataset.from_parquet(str(tmp_path / "first.parquet"), cache_dir=str(tmp_path / "cache")).to_list()
    assert [row["clip"] for row in rows] == [0] * CONVERSATIONS_PER_CLIP + [1] * CONVERSATIONS_PER_CLIP
    assert {len(row["messages"]) for row in rows} == {2, 4, 6}
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert row["length"] == sum(len(message["content"]) for message in row["messages"])
    told = " ".join(
        message["content"] for row in rows for message in row["messages"] if message["role"] == "assistant"
    )
    assert "flute" in told and "there are drums" not in told
