"""What each recipe trains, by name, how, and in which optimizer group."""

import re
from pathlib import Path

import pytest
from mullama.training.mixture import DataSource
from mullama.training.sft import make_parser
from mullama.training.trainer import MuLlamaTrainer

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
PROJECTOR = [
    *(f"layer_weights.{part}" for part in ("weight", "bias")),
    *(f"linear.{part}" for part in ("weight", "bias")),
    *(f"blocks.{n}.{part}.weight" for n in range(3) for part in ("norm", "gate_proj", "up_proj", "down_proj")),
]
PROJECTIONS = [
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
]
LAYERS, HEARING = range(3), range(1, 3)  # of the random model
TEXT = "model.language_model"
BRIDGE = {f"model.multi_modal_projector.{name}" for name in PROJECTOR} | {
    f"{TEXT}.layers.{layer}.self_attn.audio_prefix.{name}" for layer in HEARING for name in ("query", "gate")
}
LORA = {
    f"base_model.model.{TEXT}.layers.{layer}.{name}.lora_{part}.default.weight"
    for layer in LAYERS
    for name in PROJECTIONS
    for part in "AB"
}
NORMS = {f"{TEXT}.norm.weight"} | {
    f"{TEXT}.layers.{layer}.{name}_layernorm.weight" for layer in LAYERS for name in ("input", "post_attention")
}
WEIGHTS = {f"{TEXT}.layers.{layer}.{name}.weight" for layer in LAYERS for name in PROJECTIONS}
BIASES = {
    f"base_model.model.{TEXT}.layers.{layer}.{name}.base_layer.bias"
    for layer in LAYERS
    for name in PROJECTIONS
    if not re.search(r"[kv]_proj", name)
}
SAVED = {
    re.sub(r"(multi_modal_projector|audio_prefix)", r"\1.modules_to_save.default", f"base_model.model.{name}")
    for name in BRIDGE
}
TRAINED = {
    "pretrain": BRIDGE,
    "finetune": LORA | BIASES | {f"base_model.model.{name}" for name in NORMS},
    "lora": LORA | SAVED,
    "joint": BRIDGE | NORMS | WEIGHTS | {f"{TEXT}.embed_tokens.weight", "lm_head.weight"},
    "tiny_language": NORMS | WEIGHTS | {f"{TEXT}.embed_tokens.weight"},
    "tiny_adapter": BRIDGE,
    "tiny_answers": {name for name in BRIDGE | NORMS | WEIGHTS | {f"{TEXT}.embed_tokens.weight"}},
}


@pytest.fixture
def start(monkeypatch):
    """Runs a recipe up to its first step; returns the trainer."""
    monkeypatch.setattr(MuLlamaTrainer, "train", lambda self, **kwargs: self.create_optimizer())
    monkeypatch.setattr("mullama.training.sft.finish", lambda *args: None)
    from mullama.training.sft import train

    def run(recipe: str, datasets=None, **keys) -> MuLlamaTrainer:
        values = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        parsed = make_parser().parse_args_and_config(["--config", str(CONFIGS / f"{recipe}.yaml"), *values])
        for key in ("audio_model", "text_model"):
            setattr(parsed[0], key, None)
        parsed[0].standardise_audio = False
        parsed[0].datasets = [DataSource(str(datasets), split="finetune")]
        return train(*parsed)

    return run


@pytest.mark.parametrize("recipe", TRAINED)
def test_what_a_recipe_trains(recipe, start, random_model, musicqa, tmp_path):
    keys = {"datasets": musicqa}
    if recipe.startswith("tiny"):
        import datasets
        import numpy as np

        datasets.Dataset.from_list([{"clip": 0, "question": "Drums?", "answer": "No.", "length": 9}] * 4).to_parquet(
            tmp_path / "questions.parquet"
        )
        np.save(tmp_path / "means.npy", np.zeros((1, 3, 32), np.float16))
        keys = {"questions": tmp_path / "questions.parquet"}
        keys |= {} if recipe == "tiny_language" else {"layer_means": tmp_path / "means.npy"}
    trainer = start(recipe, model=random_model, use_cpu="true", output_dir=tmp_path / "out", **keys)
    assert set(trainer.trained) == TRAINED[recipe]
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert trained == TRAINED[recipe]
    decayed, kept = trainer.optimizer.param_groups
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    assert not [name for p in decayed["params"] if re.search(r"bias|norm", name := names[id(p)])]
    assert all(re.search(r"bias|norm", names[id(p)]) for p in kept["params"])
    assert (decayed["weight_decay"], kept["weight_decay"]) == (trainer.args.weight_decay, 0.0)


def test_the_papers_numbers():
    def read(recipe: str):
        return make_parser().parse_args_and_config(["--config", str(CONFIGS / f"{recipe}.yaml"), "--use_cpu", "true"])

    for recipe, epochs, warmup, rows, length in (("pretrain", 150, 5, 4, 96), ("finetune", 20, 1, 32, 512)):
        args, training, _ = read(recipe)
        base = {4: 1e-4, 32: 1e-3}[rows]
        assert training.learning_rate == pytest.approx(base * rows / 256)
        assert training.per_device_train_batch_size * training.gradient_accumulation_steps == rows
        assert (training.num_train_epochs, args.warmup_epochs, training.max_length) == (epochs, warmup, length)
        assert (training.adam_beta1, training.adam_beta2, training.weight_decay) == (0.9, 0.95, 0.05)
        assert training.lr_scheduler_type == "cosine"
