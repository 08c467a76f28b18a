"""Supervised fine-tuning with TRL.

    accelerate launch -m mullama.training.sft --config training/configs/tiny_adapter.yaml

A recipe is a YAML file: what is read (`model`, `questions`, `layer_means`), which parameters train (`trainable`,
regular expressions on their names), and any field of trl's SFTConfig.
"""

import re
from dataclasses import dataclass, field

import numpy as np
from datasets import load_dataset
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor
from torch import nn
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer, TrlParser

from .collator import AnswerCollator


@dataclass
class MuLlamaArguments:
    """What is trained, and on what."""

    model: str = field(metadata={"help": "model folder to start from"})
    questions: str = field(metadata={"help": "Parquet file of question, answer, clip"})
    trainable: list[str] = field(metadata={"help": "regular expressions; a parameter trains whose name one matches"})
    layer_means: str | None = field(default=None, metadata={"help": ".npy of cached layer means; none: text only"})
    noise: float = field(default=0.0, metadata={"help": "noise on layer means, in standard deviations"})


def set_trainable(model: nn.Module, patterns: list[str]) -> list[str]:
    """Let exactly the parameters train whose whole name matches a pattern; returns their names.

    Raises ValueError for a pattern that matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(f"`trainable`: no parameter's name matches {pattern!r}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(re.fullmatch(pattern, name) for pattern in patterns))
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


class SayProgress(TrainerCallback):
    """One line a log, where there is no terminal for a progress bar."""

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        shown = {key: logs[key] for key in ("loss", "learning_rate", "mean_token_accuracy") if key in logs}
        if state.is_world_process_zero and shown:
            print(f"step {state.global_step}/{state.max_steps} {shown}", flush=True)


def train(script_args: MuLlamaArguments, training_args: SFTConfig) -> SFTTrainer:
    """Run one recipe; the trained model and the processor are saved to `training_args.output_dir`."""
    # Model
    model = MuLlamaForConditionalGeneration.from_pretrained(script_args.model)
    processor = MuLlamaProcessor.from_pretrained(script_args.model)
    set_trainable(model, script_args.trainable)

    # Dataset
    questions = load_dataset("parquet", data_files=script_args.questions, split="train")
    layer_means = np.load(script_args.layer_means, mmap_mode="r") if script_args.layer_means else None

    # Training
    training_args.remove_unused_columns = False
    training_args.dataset_kwargs = {"skip_prepare_dataset": True}
    training_args.max_length = None
    trainer = SFTTrainer(
        model=model,
        args=training_args,
        train_dataset=questions,
        data_collator=AnswerCollator(processor, layer_means, script_args.noise),
        processing_class=processor,
        callbacks=[SayProgress()],
    )
    trainer.train()
    trainer.save_model(training_args.output_dir)
    processor.save_pretrained(training_args.output_dir)
    return trainer


def main() -> None:
    """Command line: `--config FILE.yaml`, any field as a flag."""
    train(*TrlParser((MuLlamaArguments, SFTConfig)).parse_args_and_config())


if __name__ == "__main__":
    main()
