"""SFTTrainer for MU-LLaMA: the same order of rows however often a run is stopped, and one line on what goes wrong.

What is added to TRL's: a sampler that a resumed run finds again; checkpoints that count only when they are whole;
parameters that train beside a LoRA; tokens per second; and a stop at NaN, at too many broken clips, at a full disk and
at too little memory.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import TrainerCallback
from transformers.trainer_utils import rotate_checkpoints
from trl import SFTTrainer

from .collator import REPORT
from .data import MAX_UNREADABLE
from .mixture import Mixture

COMPLETE = "complete.json"  # written last into a checkpoint: without it, a checkpoint is no checkpoint
OTHER_WEIGHTS = "other_trained.safetensors"  # what trained beside a LoRA, which PEFT does not save
LENGTH_POOL = 50  # steps whose rows are sorted by length together
STREAM_CLIPS = 100  # of a stream, before the share of broken ones is judged


class TrainingError(ValueError):
    """Training that cannot go on, in one line that says at which step, why, and what to do."""


def set_trainable(model: nn.Module, patterns: list[str]) -> list[str]:
    """Let exactly the parameters train whose whole name matches a pattern; returns their names.

    Under PEFT, whose wrappers' names do not count, what PEFT trains goes on training. Raises ValueError for a pattern
    that matches nothing.
    """
    is_peft = isinstance(model, PeftModel)
    plain = {
        name: re.sub(r"^base_model\.model\.|\.base_layer(?=\.)", "", name) for name, _ in model.named_parameters()
    }
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in plain.values()):
            raise ValueError(f"`trainable`: no parameter's name matches {pattern!r}")
    for name, parameter in model.named_parameters():
        matched = any(re.fullmatch(pattern, plain[name]) for pattern in patterns)
        parameter.requires_grad_(matched or (is_peft and parameter.requires_grad))
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


class RowSampler(Sampler[int]):
    """
    Rows in an order that depends on seed and epoch alone, however a step's rows are shared among processes.

    doors: of each row; rows of one step come through one door, and what is left over from whole steps is left out,
        other rows in each epoch. lengths: rows of one step are of like lengths. step_rows: of all processes together.
    """

    def __init__(self, doors: np.ndarray, lengths: np.ndarray | None, step_rows: int, seed: int):
        self.by_door = [np.flatnonzero(doors == door) for door in np.unique(doors)]
        self.lengths, self.step_rows, self.seed, self.epoch = lengths, step_rows, seed, 0

    def __len__(self) -> int:
        if len(self.by_door) == 1:
            return len(self.by_door[0])
        return sum(len(rows) // self.step_rows * self.step_rows for rows in self.by_door)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        steps, rest = [], []
        for rows in self.by_door:
            rows = rng.permutation(rows)
            if self.lengths is not None:
                pool = LENGTH_POOL * self.step_rows
                pools = [rows[start : start + pool] for start in range(0, len(rows), pool)]
                rows = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in pools])
            whole = len(rows) // self.step_rows * self.step_rows
            steps += list(rows[:whole].reshape(-1, self.step_rows))
            rest = rows[whole:].tolist() if len(self.by_door) == 1 else []
        for number in rng.permutation(len(steps)):
            yield from steps[number].tolist()
        yield from rest


class _Epoch(TrainerCallback):
    """Tells sampler and collator the epoch, before a row of it is drawn."""

    def __init__(self, trainer: "MuLlamaTrainer"):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        epoch = int(state.epoch or 0)
        self.trainer.data_collator.epoch = epoch
        if self.trainer.sampler is not None:
            self.trainer.sampler.epoch = epoch


class MuLlamaTrainer(SFTTrainer):
    """
    TRL's SFTTrainer, for batches of `AnswerCollator`.

    Args:
        mixture: What trains.
        trainable: Patterns for `set_trainable`.
        recipe: What makes this run this run; a checkpoint of another one is not gone on with.
    """

    def __init__(self, *args, mixture: Mixture, trainable: list[str], recipe: dict, **kwargs):
        super().__init__(*args, train_dataset=mixture.rows, **kwargs)
        self.mixture, self.recipe, self.sampler = mixture, recipe, None
        self.trained = set_trainable(self.model, trainable)
        if not self.trained:
            raise TrainingError("nothing trains: name parameters in `trainable`, or say `use_peft: true`")
        if (self.args.bf16 or self.args.fp16) and not self.is_deepspeed_enabled:
            # Steps of a small learning rate vanish in the rounding of half precision.
            for parameter in filter(lambda parameter: parameter.requires_grad, self.model.parameters()):
                parameter.data = parameter.data.float()
        self.report: dict = {}
        self.heard, self.unreadable, self.cut_texts, self.texts = set(), {}, 0, 0
        self._clock, self._tokens_before = time.monotonic(), 0
        self.add_callback(_Epoch(self))

    # Data

    def _get_train_sampler(self, train_dataset=None) -> Sampler | None:
        if self.mixture.table is None:
            return None
        args, doors = self.args, self.mixture.table["door"]
        if args.train_sampling_strategy == "sequential" and len(set(doors)) == 1:
            return SequentialSampler(self.mixture.rows)
        lengths = self.mixture.table["length"] if args.train_sampling_strategy == "group_by_length" else None
        step_rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.sampler = RowSampler(doors, lengths, step_rows, args.seed)
        return self.sampler

    def _get_eval_sampler(self, eval_dataset) -> Sampler:
        return SequentialSampler(eval_dataset)

    def _prepare_inputs(self, inputs: dict) -> dict:
        inputs = dict(inputs)
        self.report = inputs.pop(REPORT, self.report)
        return super()._prepare_inputs(inputs)

    def _account(self) -> None:
        """Count what the batch tells of itself, and stop if too many clips cannot be read."""
        self.texts += len(self.report["clips"])
        self.cut_texts += self.report["cut"]
        self.heard.update(self.report["clips"])
        for line in self.report["unreadable"]:
            self.unreadable.setdefault(line.split(": ")[0], line)
        clips = self.mixture.clips or max(len(self.heard), STREAM_CLIPS)
        if len(self.unreadable) > MAX_UNREADABLE * clips / self.args.world_size:
            raise TrainingError(
                f"step {self.state.global_step + 1}: {len(self.unreadable)} of {clips} clips cannot be read, more "
                f"than {MAX_UNREADABLE:.0%}; the first: {next(iter(self.unreadable.values()))}"
            )

    # Steps

    def training_step(self, model: nn.Module, inputs: dict, num_items_in_batch=None) -> torch.Tensor:
        """TRL's, which stops at a loss that is no number, and explains too little memory."""
        step = self.state.global_step + 1
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except (RuntimeError, MemoryError) as error:
            if _is_out_of_memory(error):
                raise TrainingError(self._lower_what(step)) from error
            raise
        self._account()
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {step}: the loss is {loss.item()}, on the clips {', '.join(self.report['clips'])}. "
                f"{self._last_good()} Look at those clips, or lower `learning_rate` (now {self.args.learning_rate})"
            )
        return loss

    def _lower_what(self, step: int) -> str:
        args, advice = self.args, []
        if args.per_device_train_batch_size > 1:
            advice.append(
                f"lower `per_device_train_batch_size` (now {args.per_device_train_batch_size}) and raise "
                f"`gradient_accumulation_steps` (now {args.gradient_accumulation_steps}) by as much"
            )
        if not (args.gradient_checkpointing or args.activation_checkpointing):
            advice.append("say `gradient_checkpointing: true`")
        if self.data_collator.layer_means is None and self.mixture.clips != 0:
            advice.append("train on cached `features`, without the encoder's work")
        advice.append("lower `max_length`, use LoRA (`use_peft: true`), or shard with training/accelerate/fsdp2.yaml")
        return f"step {step}: out of memory: {'; '.join(advice)}. {self._last_good()}"

    def _last_good(self) -> str:
        last = last_checkpoint(self.args.output_dir)
        return f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's, with tokens per second between two logs, evaluation and saving left out."""
        if "loss" in logs:
            now, tokens = time.monotonic(), self._total_train_tokens
            logs["tokens_per_second"] = round((tokens - self._tokens_before) / max(now - self._clock, 1e-9), 1)
            self._clock, self._tokens_before = now, tokens
            if self.cut_texts:
                logs["cut_texts"] = self.cut_texts / self.texts
            if self.unreadable:
                logs["unreadable_clips"] = len(self.unreadable)
        super().log(logs, start_time)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """TRL's; the clock of tokens per second stands meanwhile."""
        started, clock = time.monotonic(), self._clock
        metrics = super().evaluate(*args, **kwargs)  # calls itself for each of several sets
        self._clock = clock + time.monotonic() - started
        return metrics

    # Checkpoints

    def create_model_card(self, *args, **kwargs) -> None:
        """None for each checkpoint: the finished model gets its own."""

    def _save_checkpoint(self, model: nn.Module, trial) -> None:
        """Transformers' own, whole or not at all: older ones go only when this one is marked as complete."""
        started, output_dir = time.monotonic(), Path(self.args.output_dir)
        folder = output_dir / f"checkpoint-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                (folder / COMPLETE).write_text(json.dumps(self.recipe), encoding="utf-8")
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise TrainingError(
                f"step {self.state.global_step}: {folder} cannot be written ({' '.join(str(error).split())}). "
                f"{self._last_good()} Make room, or lower `save_total_limit`, and run the same command again"
            ) from error
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            rotate_checkpoints(str(output_dir), limit, self.state.best_model_checkpoint, use_mtime=True)
        self._clock += time.monotonic() - started

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if not (self.args.should_save and isinstance(self.accelerator.unwrap_model(self.model), PeftModel)):
            return
        # A sharded model's state dict comes gathered.
        tensors = dict(self.model.named_parameters()) if state_dict is None else state_dict
        other = [name for name in self.trained if "lora_" not in name and ".modules_to_save." not in name]
        if other:
            kept = {name: tensors[name].detach().cpu().contiguous() for name in other}
            save_file(kept, Path(output_dir or self.args.output_dir) / OTHER_WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        other = Path(resume_from_checkpoint) / OTHER_WEIGHTS
        if other.is_file() and not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            self.model.load_state_dict(load_file(other), strict=False)


def last_checkpoint(output_dir: str | Path, recipe: dict | None = None) -> str | None:
    """
    The last complete checkpoint of a run, None if there is none; one that a kill left unfinished is passed over.

    Raises TrainingError if it is of another `recipe`.
    """
    found = [
        (int(folder.name.rpartition("-")[2]), folder)
        for folder in Path(output_dir).glob("checkpoint-*")
        if folder.name.rpartition("-")[2].isdigit() and (folder / COMPLETE).is_file()
    ]
    if not found:
        return None
    _, folder = max(found)
    if recipe is not None:
        begun = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        changed = [key for key in recipe if begun.get(key) != json.loads(json.dumps(recipe[key]))]
        if changed:
            raise TrainingError(
                f"{output_dir} holds a run of another recipe: `{changed[0]}` was {begun.get(changed[0])} and is "
                f"{recipe[changed[0]]}; give another `output_dir`, or remove its checkpoints to begin anew"
            )
    return str(folder)


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
