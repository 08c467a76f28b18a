"""The finished model: a folder as the Hub has them, with a card that tells recipe, data and curve, and its upload."""

import os
import shutil
from pathlib import Path

import yaml
from mullama.model_card.cards import make_model_card
from mullama.model_card.push import PushError, model_push
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.modeling_mullama.export_mullama import MAX_SHARD_SIZE, released_generation_config
from mullama.processing import MuLlamaProcessor

from .lora import load_adapter, merge_lora
from .trainer import MuLlamaTrainer, TrainingError
from .watching import LOSS_PLOT

STAGING = ".finished.tmp"
LICENSE_NOTE = (
    "The weights stand under the licences of all that they were made from, which are named above: the language model, "
    "the encoder and the data. The code in this repository is Apache-2.0."
)


def check_push(repo_id: str | None) -> None:
    """Raises PushError at once, and not after days of training, if the model could not be pushed then."""
    from huggingface_hub import get_token
    from huggingface_hub.utils import validate_repo_id

    if repo_id is None:
        raise PushError("`push_to_hub: true` needs `hub_model_id: USER/NAME`.")
    validate_repo_id(repo_id)
    if get_token() is None:
        raise PushError("There is no token: log in with `hf auth login`, or set HF_TOKEN.")


def finish(
    trainer: MuLlamaTrainer,
    base: MuLlamaForConditionalGeneration | None,
    processor: MuLlamaProcessor,
    recipe: dict,
    license: str,
) -> Path:
    """
    Write the trained model to the run's folder, whole, beside its checkpoints.

    Args:
        base: For a LoRA run the model that it was put on, freshly loaded: the LoRA is merged into it.
        recipe: All that was set, for the card.
        license: Of the trained weights, by the Hub's name for it.

    Every process calls this: sharded weights are gathered. Returns the folder.
    """
    out = Path(trainer.args.output_dir)
    staging = out / STAGING
    if trainer.args.should_save:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(staging))
    trainer.accelerator.wait_for_everyone()
    if not trainer.args.should_save:
        return out
    if not any(staging.glob("*.safetensors")):
        raise TrainingError(
            f"the weights are in shards in {trainer.args.output_dir}: with FSDP say `fsdp_state_dict_type: "
            "FULL_STATE_DICT`, with DeepSpeed `zero3_save_16bit_model: true`, and run the same command again"
        )
    if base is not None:
        model = merge_lora(load_adapter(base, staging))
        shutil.rmtree(staging)
        model.save_pretrained(staging, max_shard_size=MAX_SHARD_SIZE)
    processor.save_pretrained(staging)
    if not (staging / "generation_config.json").is_file():
        released_generation_config(processor.tokenizer).save_pretrained(staging)
    (staging / "training_args.bin").unlink(missing_ok=True)  # a pickle
    sources = [source["path"] for source in recipe.get("datasets", [])] or [recipe["questions"]]
    bases = [recipe[key] for key in ("model", "audio_model", "text_model") if key in recipe]
    card = make_model_card(
        name=out.name,
        summary=f"A MU-LLaMA, trained with the recipe below for {trainer.state.global_step} steps.",
        license=license,
        license_note=LICENSE_NOTE,
        base_models=_hub_ids(bases),
        datasets=_hub_ids(sources),
        sections=training_section(trainer, recipe, [*bases, *sources]),
        window_seconds=processor.feature_extractor.window_seconds,
    )
    (staging / "README.md").write_text(card, encoding="utf-8")
    trainer.save_state()
    # The weights come last: what reads the folder by them finds all the rest.
    for path in sorted(staging.iterdir(), key=lambda path: path.suffix == ".safetensors"):
        os.replace(path, out / path.name)
    staging.rmdir()
    return out


def _hub_ids(names: list[str]) -> list[str]:
    """Those of the names that a card may link: no folders or files of this machine."""
    return list(dict.fromkeys(name for name in names if name.count("/") == 1 and not Path(name).exists()))


def training_section(trainer: MuLlamaTrainer, recipe: dict, sources: list[str]) -> str:
    """Markdown: what was trained from and on, how far the loss came, and the recipe."""
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    evaluated = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    told = [f"- {source}" for source in sources]
    facts = [f"{sum(p.numel() for p in trainer.model.parameters() if p.requires_grad):,} parameters trained."]
    if losses:
        facts.append(f"Training loss: {losses[0]:.4f} at first, {losses[-1]:.4f} at last.")
    if evaluated:
        facts.append(f"Evaluation loss: {evaluated[0]:.4f} at first, {evaluated[-1]:.4f} at last.")
    if trainer.cut_texts:
        facts.append(f"{trainer.cut_texts} of {trainer.texts} texts were cut to {recipe['max_length']} tokens.")
    if trainer.unreadable or trainer.mixture.left_out:
        facts.append(f"{len(trainer.unreadable)} clips could not be read; {trainer.mixture.left_out} rows had none.")
    lines = ["## Training", "", *told, "", " ".join(facts), "", f"![loss]({LOSS_PLOT})", ""]
    return "\n".join([*lines, "```yaml", yaml.safe_dump(recipe, sort_keys=False).strip(), "```"])


def push(folder: Path, repo_id: str, private: bool | None) -> str:
    """Upload the finished folder, its checkpoints left out. Returns the repository's address."""
    return model_push(folder, repo_id).run(private=bool(private))
