"""The collator's labels token by token, what each recipe trains, and a real run of a recipe on what was heard."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("trl", reason="training needs the extra mullama[train]")

from datasets import Dataset
from mullama.modeling_mullama import MuLlamaConfig, MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaFeatureExtractor, MuLlamaProcessor
from mullama.training.collator import IGNORE_INDEX, AnswerCollator
from mullama.training.encoder import tiny_mert_config
from mullama.training.sft import MuLlamaArguments, set_trainable, train
from mullama.training.tiny_tokenizer import train_tokenizer
from trl import SFTConfig, TrlParser

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
ROWS = [
    {"clip": 0, "question": "Which instrument is playing?", "answer": "It is a piano.", "length": 42},
    {"clip": 1, "question": "Describe the audio", "answer": "A slow folk tune for solo violin.", "length": 51},
    {"clip": 1, "question": "Drums?", "answer": "No, there are no drums.", "length": 29},
    {"clip": 0, "question": "Is it loud or soft?", "answer": "The music is loud.", "length": 37},
] * 4


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A MU-LLaMA of a few thousand weights with a real tokenizer."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = train_tokenizer([text for row in ROWS for text in (row["question"], row["answer"])], folder, 400)
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 4, "num_adapter_layers": 1, "tie_word_embeddings": True}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": tokenizer.pad_token_id}
    config = MuLlamaConfig(audio_config=tiny_mert_config(32, 2).to_dict(), text_config=text)
    torch.manual_seed(0)
    MuLlamaForConditionalGeneration(config).save_pretrained(folder)
    MuLlamaProcessor(MuLlamaFeatureExtractor(min_samples=1984), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def layer_means() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 32)).astype(np.float16)


def test_loss_is_on_the_answer_and_its_end_alone(start, layer_means):
    processor = MuLlamaProcessor.from_pretrained(start)
    batch = AnswerCollator(processor, layer_means)(ROWS[:4])
    assert batch["audio_features"].shape == (4, 3, 32)
    assert torch.equal(batch["audio_features"][0], torch.from_numpy(layer_means[0].astype(np.float32)))
    for row, ids, labels, mask in zip(
        ROWS, batch["input_ids"], batch["labels"], batch["attention_mask"], strict=False
    ):
        learned = labels[labels != IGNORE_INDEX]
        assert torch.equal(learned, ids[labels != IGNORE_INDEX])
        assert processor.tokenizer.decode(learned[:-1]) == row["answer"]
        assert learned[-1] == processor.tokenizer.eos_token_id
        assert (labels[mask == 0] == IGNORE_INDEX).all()
        assert row["question"] in processor.tokenizer.decode(ids[(labels == IGNORE_INDEX) & (mask == 1)])


def test_noise_is_a_share_of_the_spread_over_clips(start):
    processor = MuLlamaProcessor.from_pretrained(start)
    heard = np.random.default_rng(1).standard_normal((50, 3, 32)).astype(np.float32) * 5
    collate = AnswerCollator(processor, heard, noise=0.1)
    torch.manual_seed(0)
    added = torch.stack([collate(ROWS[:1])["audio_features"][0] for _ in range(40)]) - torch.from_numpy(heard[0])
    assert 0.4 < added.std().item() < 0.6


@pytest.mark.parametrize(
    ("recipe", "trains", "rests"),
    [
        ("tiny_language", r"model\.language_model\.", r"audio_prefix|multi_modal_projector|audio_tower"),
        (
            "tiny_adapter",
            r"audio_prefix|multi_modal_projector",
            r"audio_tower|_proj\.weight$(?<!projector)|embed_tokens",
        ),
        ("tiny_answers", r"language_model|multi_modal_projector", r"audio_tower"),
    ],
)
def test_what_a_recipe_trains(start, recipe, trains, rests):
    model = MuLlamaForConditionalGeneration.from_pretrained(start)
    names = set_trainable(model, yaml.safe_load((CONFIGS / f"{recipe}.yaml").read_text())["trainable"])
    assert names and all(re.search(trains, name) for name in names)
    resting = {name for name, _ in model.named_parameters()} - set(names)
    assert all("audio_tower" not in name for name in names)
    assert any(re.search(rests, name) for name in resting)
    if recipe == "tiny_language":
        assert not [name for name in names if "audio_prefix" in name]
    if recipe == "tiny_adapter":
        assert not [name for name in names if "language_model" in name and "audio_prefix" not in name]


def test_a_pattern_that_matches_nothing_is_refused(start):
    model = MuLlamaForConditionalGeneration.from_pretrained(start)
    with pytest.raises(ValueError, match="no parameter's name matches"):
        set_trainable(model, ["language_model"])


def test_a_recipe_trains_what_it_names_and_nothing_else(start, layer_means, tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "questions.parquet")
    np.save(tmp_path / "layer_means.npy", layer_means)
    parser = TrlParser((MuLlamaArguments, SFTConfig))
    overrides = [
        f"--model={start}",
        f"--questions={tmp_path / 'questions.parquet'}",
        f"--output_dir={tmp_path / 'out'}",
    ]
    overrides += [f"--layer_means={tmp_path / 'layer_means.npy'}", "--max_steps=3", "--per_device_train_batch_size=4"]
    overrides += ["--warmup_steps=0", "--dataloader_num_workers=0", "--logging_steps=1"]
    trainer = train(*parser.parse_args_and_config(["--config", str(CONFIGS / "tiny_adapter.yaml"), *overrides]))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3 and np.isfinite(losses).all()
    before = MuLlamaForConditionalGeneration.from_pretrained(start).state_dict()
    after = MuLlamaForConditionalGeneration.from_pretrained(tmp_path / "out").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("audio_prefix" in name or "multi_modal_projector" in name for name in changed)
    assert any("gate" in name for name in changed)
