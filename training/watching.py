"""What one sees of a training: a line a log, sample answers at each evaluation, and the loss as a picture."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback, TrackioCallback

from .collator import REPORT, AnswerCollator
from .data import conversations

SAMPLE_TOKENS = 64
LOSS_PLOT, SAMPLES = "loss.png", "samples.jsonl"
SHOWN = ("loss", "eval_loss", "learning_rate", "tokens_per_second", "mean_token_accuracy", "unreadable_clips")


class SayProgress(TrainerCallback):
    """One line a log, where there is no terminal for a progress bar."""

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        shown = {key: round(logs[key], 6) for key in SHOWN if key in logs}
        if state.is_world_process_zero and shown:
            print(f"step {state.global_step}/{state.max_steps} {shown}", file=sys.stderr, flush=True)


class LossPlot(TrainerCallback):
    """Draws the losses so far to `loss.png` in the output folder, at each checkpoint and at the end."""

    def on_save(self, args, state, control, **kwargs) -> None:
        if state.is_world_process_zero:
            plot_losses(state.log_history, Path(args.output_dir) / LOSS_PLOT)

    on_train_end = on_save


def plot_losses(log_history: list[dict[str, Any]], path: Path) -> None:
    """Draw training and evaluation loss over steps as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("loss", "training"), ("eval_loss", "evaluation")):
        points = [(entry["step"], entry[name]) for entry in log_history if name in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 50 else None)
    axes.set(xlabel="step", ylabel="loss (nats a token of the answers)")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(path)


class SampleAnswers(TrainerCallback):
    """
    Lets the model answer the first questions of the evaluation set at each evaluation.

    Answers are the likeliest ones. They go to `samples.jsonl` in the output folder, and to TensorBoard and trackio.
    """

    def __init__(self, collator: AnswerCollator, rows: list[dict]):
        self.collator, self.rows, self.trainer, self.answered_at = collator, rows, None, None

    @torch.no_grad()
    def on_evaluate(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.answered_at:  # once, however many sets are evaluated
            return
        self.answered_at = state.global_step
        answered = [self._answer(row) for row in self.rows]  # on all processes, which may share the weights
        if not state.is_world_process_zero:
            return
        path = Path(args.output_dir) / SAMPLES
        with path.open("a", encoding="utf-8") as file:
            for line in answered:
                file.write(json.dumps({"step": state.global_step, **line}, ensure_ascii=False) + "\n")
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
                text = "\n\n".join(f"**{a['question']}** {a['answer']} *({a['truth']})*" for a in answered)
                callback.tb_writer.add_text("samples", text, state.global_step)
            elif isinstance(callback, TrackioCallback):
                import pandas
                import trackio

                trackio.log({"samples": trackio.Table(dataframe=pandas.DataFrame(answered))}, step=state.global_step)

    def _answer(self, row: dict) -> dict[str, str]:
        model, processor = self.trainer.accelerator.unwrap_model(self.trainer.model), self.collator.processor
        batch = self.collator([row])
        clip = batch.pop(REPORT)["clips"][0]
        first = int((batch.pop("labels")[0] >= 0).long().argmax())
        prompt = batch["input_ids"][:, :first]
        audio = {name: value for name, value in batch.items() if name not in ("input_ids", "attention_mask")}
        was_training = model.training
        model.eval()
        with self.trainer.compute_loss_context_manager():
            output = model.generate(
                input_ids=prompt.to(model.device),
                attention_mask=batch["attention_mask"][:, :first].to(model.device),
                **{name: value.to(model.device) for name, value in audio.items()},
                max_new_tokens=SAMPLE_TOKENS,
                do_sample=False,
            )
        model.train(was_training)
        question = next(m["content"] for m in next(conversations(row)) if m["role"] == "user")
        answer, truth = (
            processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
            for ids in (output[0, first:], batch["input_ids"][0, first:])
        )
        return {"clip": clip, "question": question, "answer": answer, "truth": truth}
