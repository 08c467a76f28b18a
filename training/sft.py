"""Supervised fine-tuning with TRL.

    mullama train training/configs/finetune.yaml
    accelerate launch --config_file training/accelerate/ddp.yaml -m mullama.training.sft \
        --config training/configs/finetune.yaml

A recipe is a YAML file: what is trained and on what (arguments.py), any field of trl's SFTConfig, and `use_peft`,
`lora_*`, `dtype` of its ModelConfig. A run that was stopped or killed goes on with the same command.
"""

import os
import sys

from transformers import PrinterCallback
from trl import ModelConfig, SFTConfig, TrlParser, get_peft_config

from .arguments import MuLlamaArguments, identity_of, recipe_of
from .collator import AnswerCollator
from .data import DataError
from .features import LayerMeans
from .finishing import check_push, finish, push
from .mixture import load_mixture, load_questions
from .starting import load_start, standardise_audio
from .trainer import MuLlamaTrainer, last_checkpoint, set_trainable
from .watching import LossPlot, SampleAnswers, SayProgress


def train(
    script_args: MuLlamaArguments, training_args: SFTConfig, model_args: ModelConfig | None = None
) -> MuLlamaTrainer:
    """
    Run one recipe, from its last checkpoint if it has one; the finished model is in `training_args.output_dir`.

    Raises ValueErrors of one line: see `DataError`, `TrainingError`.
    """
    model_args = model_args or ModelConfig()
    if training_args.packing or training_args.padding_free:
        raise DataError(
            "`packing` and `padding_free` put several texts in one row, but a row hears one piece of music; "
            "`train_sampling_strategy: group_by_length` saves padding as well"
        )
    pushes, training_args.push_to_hub = training_args.push_to_hub, False  # ours is at the end, of the whole folder
    if pushes:
        check_push(training_args.hub_model_id)
    recipe = recipe_of(script_args, training_args, model_args)
    resumed = last_checkpoint(training_args.output_dir, identity_of(recipe, training_args))

    # Model
    model, processor = load_start(script_args, model_args, training_args.seed)
    peft_config = get_peft_config(model_args)
    if peft_config is None:
        set_trainable(model, script_args.trainable)

    # Dataset
    layer_means, heard_by = LayerMeans(), script_args.model or script_args.audio_model
    how = (model, processor, layer_means, heard_by, script_args.silence_seconds, training_args.seed)
    if script_args.questions:
        mixture = load_questions(script_args.questions, script_args.layer_means, layer_means)
    elif script_args.datasets:
        mixture = load_mixture(script_args.datasets, *how)
    else:
        raise DataError("the recipe names neither `datasets` nor `questions`")
    trained_clips = len(layer_means)
    evaluated = {}
    for source in script_args.eval_datasets:
        rows = load_mixture([source], *how).rows
        evaluated[os.path.basename(source.path)] = rows.take(script_args.max_eval_rows)
    if script_args.standardise_audio:
        standardise_audio(model, layer_means, training_args.seed)

    # Training
    if script_args.warmup_epochs is not None:
        training_args.warmup_steps = script_args.warmup_epochs / training_args.num_train_epochs
    training_args.disable_tqdm = not sys.stderr.isatty()
    training_args.remove_unused_columns = False
    training_args.dataset_kwargs = {"skip_prepare_dataset": True}
    max_length, training_args.max_length = training_args.max_length, None
    collator = AnswerCollator(
        processor,
        layer_means if len(layer_means) else None,
        script_args.noise,
        max_length,
        script_args.silence_seconds,
        training_args.pad_to_multiple_of,
        training_args.seed,
        noisy_clips=trained_clips,
    )
    first = next(iter(evaluated.values())).take(script_args.sample_answers) if evaluated else []
    samples = SampleAnswers(collator, list(first))
    trainer = MuLlamaTrainer(
        model=model,
        args=training_args,
        mixture=mixture,
        trainable=script_args.trainable,
        recipe=identity_of(recipe, training_args),
        eval_dataset=evaluated if len(evaluated) > 1 else next(iter(evaluated.values()), None),
        data_collator=collator,
        processing_class=processor,
        peft_config=peft_config,
        callbacks=[SayProgress(), LossPlot(), samples] if training_args.disable_tqdm else [LossPlot(), samples],
    )
    samples.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resumed)

    # Finishing
    base = None
    if peft_config is not None and training_args.should_save:
        base = load_start(script_args, model_args, training_args.seed)[0]
        if script_args.standardise_audio:
            standardise_audio(base, layer_means, training_args.seed)
    folder = finish(trainer, base, processor, recipe, script_args.license)
    if pushes and training_args.should_save:
        print(push(folder, training_args.hub_model_id, training_args.hub_private_repo))
    return trainer


def make_parser() -> TrlParser:
    """The parser of recipes: `parse_args_and_config(["--config", FILE, "--field", "value", ...])`."""
    return TrlParser((MuLlamaArguments, SFTConfig, ModelConfig), usage="%(prog)s --config RECIPE.yaml [--KEY VALUE]")


def main() -> None:
    """Command line: `--config FILE.yaml`, any key as a flag."""
    try:
        train(*make_parser().parse_args_and_config())
    except (ValueError, OSError) as error:
        if os.environ.get("MULLAMA_DEBUG"):
            raise
        raise SystemExit(f"mullama: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    main()
