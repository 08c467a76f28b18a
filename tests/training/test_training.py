"""Whole runs on real audio: what a run reads, leaves behind, survives and refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mullama import MuLlamaForConditionalGeneration
from mullama.asking import load_asker
from mullama.training.collator import IGNORE_INDEX
from mullama.training.data import DataError
from mullama.training.features import write_features
from mullama.training.trainer import TrainingError, last_checkpoint

LORA = {
    "use_peft": True,
    "lora_r": 4,
    "lora_target_modules": [r"model\.language_model\.layers\.\d+\..*\.(q|k|v|o|gate|up|down)_proj"],
}
ADAPTER = [r"model\.multi_modal_projector\..*", r".*\.audio_prefix\.(query|gate)"]


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def finetune(musicqa: Path, **more) -> dict:
    return {"path": str(musicqa), "split": "finetune", **more}


@pytest.fixture(scope="module")
def features(musicqa, random_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "finetune"
    write_features(str(musicqa), str(random_model), folder, split="finetune")
    return folder


def test_a_finished_folder_is_the_hubs_and_opens_by_every_door(run_recipe, musicqa, random_model, tmp_path, features):
    trainer = run_recipe(
        datasets=[finetune(musicqa, features=str(features))],
        eval_datasets=[finetune(musicqa, features=str(features))],
        eval_strategy="steps",
        eval_steps=2,
        sample_answers=2,
        max_eval_rows=6,
        save_strategy="steps",
        save_steps=2,
        report_to="tensorboard",
        lora_modules_to_save=["multi_modal_projector", "audio_prefix"],
        lora_dropout=0.1,
        **LORA,
    )
    out = tmp_path / "out"
    assert {"model.safetensors", "modeling_mullama.py", "processing_mullama.py", "README.md", "loss.png"} <= {
        path.name for path in out.iterdir()
    }
    assert not (out / "training_args.bin").exists() and not (out / ".finished.tmp").exists()
    card = (out / "README.md").read_text()
    assert "lora_r: 4" in card and str(musicqa) in card and "![loss](loss.png)" in card and "eval" in card.lower()
    # The tuned model in memory and the merged one on disk answer alike, also through the ordinary door.
    rows = trainer.mixture.rows
    batch = trainer.data_collator([rows[0], rows[4]])
    batch.pop("report")
    trainer.model.eval()
    tuned = trainer.model(**batch).logits
    merged = MuLlamaForConditionalGeneration.from_pretrained(out).eval()
    assert merged.config.text_config.value_correction_rank == 4
    assert torch.allclose(merged(**batch).logits, tuned, atol=1e-5)
    asker = load_asker(out)
    assert isinstance(asker.ask(asker.hear(musicqa.parent / "audio" / "c3.wav"), "Is it high?", 8), str)
    # What was watched.
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 4 and samples[0]["question"] == "Describe the audio"
    assert samples[0]["truth"] == "A tone of pitch 0." and samples[0]["step"] == 2
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert any("eval_loss" in entry for entry in history) and "tokens_per_second" in history[0]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(out.glob("runs/*")))).Reload()
    assert {"train/loss", "eval/loss", "train/learning_rate", "train/tokens_per_second"} <= set(
        events.Tags()["scalars"]
    )
    assert "samples/text_summary" in events.Tags()["tensors"]


def test_the_encoder_is_frozen_and_never_in_train_mode(run_recipe, musicqa, random_model, monkeypatch):
    from mullama.training.trainer import MuLlamaTrainer

    modes = []
    step = MuLlamaTrainer.training_step

    def watched(self, model, *args):
        loss = step(self, model, *args)
        tower = next(m for name, m in model.named_modules() if name.endswith("audio_tower"))
        modes.append((model.training, any(module.training for module in tower.modules())))
        assert not [p for p in tower.parameters() if p.requires_grad or p.grad is not None]
        return loss

    monkeypatch.setattr(MuLlamaTrainer, "training_step", watched)
    trainer = run_recipe(datasets=[finetune(musicqa)], max_steps=2, **LORA)
    assert modes == [(True, False)] * 2
    tower = {k: v for k, v in trainer.model.state_dict().items() if "audio_tower" in k}
    before = MuLlamaForConditionalGeneration.from_pretrained(random_model).state_dict()
    assert tower and all(torch.equal(v, before[k.removeprefix("base_model.model.")]) for k, v in tower.items())


def test_cached_features_give_the_waveforms_loss(run_recipe, musicqa, features):
    how = {"trainable": ADAPTER, "train_sampling_strategy": "sequential"}
    heard = losses(run_recipe(datasets=[finetune(musicqa)], **how))
    cached = losses(run_recipe(datasets=[finetune(musicqa, features=str(features))], **how))
    assert np.allclose(heard, cached, atol=1e-3) and len(heard) == 3


def test_features_of_another_encoder_are_refused(run_recipe, musicqa, features, random_model, tmp_path):
    model = MuLlamaForConditionalGeneration.from_pretrained(random_model)
    model.model.audio_tower.encoder.layers[0].final_layer_norm.weight.data[0] += 0.1
    shutil.copytree(random_model, tmp_path / "other")
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(DataError, match="heard by another encoder"):
        run_recipe(
            model=str(tmp_path / "other"), datasets=[finetune(musicqa, features=str(features))], trainable=ADAPTER
        )


def test_text_only_rows_are_mixed_in(run_recipe, musicqa, alpaca, features):
    text = {"path": str(alpaca), "text_only": True, "weight": 0.5}
    trainer = run_recipe(
        datasets=[finetune(musicqa, weight=0.5), text], trainable=ADAPTER + [r"model\.language_model\.norm\.weight"]
    )
    doors = trainer.mixture.table["door"]
    assert len(doors) >= 60 and set(doors) == {0, 1} and 0.3 < doors.mean() < 0.7
    batches = [trainer.data_collator([trainer.mixture.rows[i] for i in batch]) for batch in _batches(trainer.sampler)]
    assert {"input_values" in batch for batch in batches} == {True, False}  # none mixes the two
    # With the paper's second of silence every batch hears something, waveforms or features.
    for source in (finetune(musicqa, weight=0.5), finetune(musicqa, weight=0.5, features=str(features))):
        trainer = run_recipe(datasets=[source, text], trainable=ADAPTER, silence_seconds=1.0)
        assert len(set(trainer.mixture.table["door"])) == 1
        assert len(losses(trainer)) == 3


def _batches(sampler):
    rows = list(sampler)
    return [rows[i : i + 4] for i in range(0, len(rows), 4)]


@pytest.mark.slow
def test_a_stream_is_the_same_as_the_dataset(run_recipe, musicqa, alpaca):
    trainer = run_recipe(datasets=[finetune(musicqa, streaming=True)], trainable=ADAPTER, max_steps=2)
    assert len(losses(trainer)) == 2
    rows = list(trainer.mixture.rows)
    assert len(rows) == 48 and rows[0]["audio"]["bytes"] and len({row["id"] for row in rows}) == 16
    both = [finetune(musicqa, streaming=True), {"path": str(alpaca), "text_only": True, "streaming": True}]
    assert len(losses(run_recipe(datasets=both, trainable=ADAPTER, silence_seconds=1.0, max_steps=6))) == 6
    with pytest.raises(DataError, match="silence_seconds"):
        run_recipe(datasets=both, trainable=ADAPTER)


def test_clips_that_cannot_be_read_are_skipped_and_counted(run_recipe, musicqa, tmp_path):
    import datasets

    undecoded = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    table = datasets.load_dataset(str(musicqa), split="finetune").cast_column("audio", datasets.Audio(decode=False))
    table = datasets.Dataset.from_dict(
        table.to_dict(), features=datasets.Features({**table.features, "audio": undecoded})
    )
    broken = [row["audio"] if n != 3 else {"bytes": b"no audio", "path": "c3.wav"} for n, row in enumerate(table)]
    rows = datasets.Dataset.from_dict({**table.to_dict(), "audio": broken}, features=table.features)
    more = datasets.concatenate_datasets([rows, table, table])
    more.to_parquet(tmp_path / "a_few.parquet")
    rows.to_parquet(tmp_path / "many.parquet")
    how = {"trainable": ADAPTER, "max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 8}
    trainer = run_recipe(datasets=[{"path": str(tmp_path / "a_few.parquet")}], **how)
    assert list(trainer.unreadable) == ["c3"] and len(losses(trainer)) == 18
    batch = trainer.data_collator([rows[2], rows[3]])
    assert (batch["labels"][1] == IGNORE_INDEX).all() and (batch["labels"][0] != IGNORE_INDEX).any()
    with pytest.raises(TrainingError, match=r"1 of 16 clips cannot be read, more than 5%; the first: c3: "):
        run_recipe(datasets=[{"path": str(tmp_path / "many.parquet")}], output_dir=str(tmp_path / "two"), **how)


def test_a_loss_that_is_no_number_stops_and_names_the_clips(run_recipe, musicqa, features, tmp_path):
    shutil.copytree(features, tmp_path / "features")
    means = np.load(tmp_path / "features" / "layer_means.npy")
    means[5] = np.nan
    np.save(tmp_path / "features" / "layer_means.npy", means)
    source = finetune(musicqa, features=str(tmp_path / "features"))
    how = {"trainable": ADAPTER, "train_sampling_strategy": "sequential", "per_device_train_batch_size": 3}
    with pytest.raises(TrainingError, match=r"step \d+: the loss is nan, on the clips .*c5"):
        run_recipe(datasets=[source], max_steps=30, save_strategy="steps", save_steps=2, **how)


def test_a_checkpoint_that_a_kill_left_unfinished_is_passed_over(run_recipe, musicqa, features, tmp_path):
    how = {"datasets": [finetune(musicqa, features=str(features))], "trainable": ADAPTER}
    how |= {"save_strategy": "steps", "save_steps": 2, "max_steps": 6, "noise": 0.2}
    whole = losses(run_recipe(**how, output_dir=str(tmp_path / "whole")))
    run_recipe(**how)
    out = tmp_path / "out"
    assert last_checkpoint(out).endswith("checkpoint-6")
    shutil.rmtree(out / "checkpoint-6")
    (out / "checkpoint-4" / "complete.json").unlink()
    (out / "checkpoint-4" / "optimizer.pt").write_bytes(b"half of it")
    assert last_checkpoint(out).endswith("checkpoint-2")
    assert np.allclose(losses(run_recipe(**how)), whole, atol=1e-5)
    with pytest.raises(TrainingError, match=r"a run of another recipe: `learning_rate` was 0.001 and is 0.002"):
        run_recipe(**how, learning_rate=0.002)


def test_what_cannot_be_trained_is_refused_in_a_line(run_recipe, musicqa, alpaca, features, tmp_path):
    def refused(words: str, error=DataError, **keys) -> None:
        with pytest.raises(error, match=words) as caught:
            run_recipe(**{"trainable": ADAPTER, "datasets": [finetune(musicqa)], **keys})
        assert "\n" not in str(caught.value)

    refused("has no column `audio`.*text_only: true", datasets=[{"path": str(alpaca)}])
    refused("hear one piece|hears one piece", packing=True)
    refused("Unknown split", datasets=[{"path": str(musicqa), "split": "pretrain"}])
    refused("some datasets of the recipe only", datasets=[finetune(musicqa, weight=1.0), finetune(musicqa)])
    refused("unknown key `wieght`", datasets=[finetune(musicqa, wieght=1.0)])
    refused("needed are `qa`", datasets=[{"path": str(_table(tmp_path, {"text": ["a"], "audio": ["b"]}))}])
    refused("no room for an answer: the prompt without its question", max_length=3)
    refused("names neither `datasets` nor `questions`", datasets=None)
    refused("names no `model`", model=None)
    refused("nothing trains", TrainingError, trainable=None)
    refused("no such file", datasets=[{"path": str(tmp_path / "missing.jsonl")}])
    refused("does not exist", datasets=[finetune(musicqa, features=str(tmp_path / "none"))])
    refused("needs cached features", standardise_audio=True)
    refused("hub_model_id", ValueError, push_to_hub=True)


def _table(folder: Path, columns: dict) -> Path:
    import datasets

    datasets.Dataset.from_dict(columns).to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


@pytest.mark.parametrize(
    "more",
    [
        {"gradient_checkpointing": True},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        {"bf16": True, "dtype": "bfloat16"},
    ],
)
def test_ways_to_save_memory_learn_the_same(run_recipe, musicqa, features, more, tmp_path):
    how = {"datasets": [finetune(musicqa, features=str(features))], "trainable": ADAPTER}
    how["train_sampling_strategy"] = "sequential"
    plain = losses(run_recipe(**how, output_dir=str(tmp_path / "plain")))
    saving = run_recipe(**how, **more)
    assert np.allclose(losses(saving), plain, atol=5e-2 if "bf16" in more else 1e-5)
    if "bf16" in more:  # a small step is not lost in the rounding of what trains
        assert {p.dtype for p in saving.model.parameters() if p.requires_grad} == {torch.float32}
