"""
Training steps a second: from waveforms against cached features, batch 1 against 16, and against plain LLaMA.

    OMP_NUM_THREADS=1 python benchmarks/training.py [--steps 6] [--repeats 5] [--width 512] [--layers 8]

- Waveforms against cache: the embedded model's adapter, clips of 5 s, batch 8, the collator's decoding included.
- Batch 1 against 16: rows a second, from cached features.
- MU-LLaMA's step of SFTTrainer on music and text against a plain `LlamaForCausalLM`'s of the same decoder weights on
  the same texts, all decoder weights training, on one side with the adapter (random weights, --width and --layers).

Every two things compared alternate in one process; CPU seconds count, for other programs may share the machine, and
the median ratio is told.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import soundfile
import torch
from datasets import Dataset
from mullama.model_info import EMBEDDED_MODEL
from mullama.modeling_mullama import MertConfig, MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaTextConfig
from mullama.processing import MuLlamaProcessor
from mullama.training.collator import REPORT, AnswerCollator
from mullama.training.trainer import set_trainable
from transformers import LlamaForCausalLM
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

ADAPTER = [r"model\.multi_modal_projector\..*", r".*\.audio_prefix\.(query|gate)"]


def make_rows(count: int, words: int) -> list[dict]:
    """Questions about clips of noise, 5 s of FLAC each, and answers of `words` words."""
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        file = io.BytesIO()
        soundfile.write(file, 0.1 * rng.standard_normal(5 * 24_000), 24_000, format="FLAC")
        answer = " ".join(rng.choice(["slow", "piano", "music", "loud", "is", "a"], words))
        audio = {"bytes": file.getvalue(), "path": None}
        rows.append(
            {"id": str(number), "clip": number, "question": "What do you hear?", "answer": answer, "audio": audio}
        )
    return rows


def make_trainer(model: torch.nn.Module, processor: MuLlamaProcessor, folder: str) -> SFTTrainer:
    """TRL's trainer, with its optimizer, on batches that are given to `step`."""
    args = SFTConfig(
        folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    rows = Dataset.from_list([{"labels": [0]}])
    trainer = SFTTrainer(
        model, args, train_dataset=rows, processing_class=processor, data_collator=lambda batch: batch
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def step(trainer: SFTTrainer, batch: dict) -> None:
    trainer.training_step(trainer.model, {name: value for name, value in batch.items() if name != REPORT})
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


def ratio(
    first: Callable[[], None], second: Callable[[], None], steps: int, repeats: int
) -> tuple[float, float, float]:
    """CPU seconds a step of both, and the median of first / second, after one step each to warm up."""
    first(), second()
    times = []
    for _ in range(repeats):
        pair = []
        for run in (first, second):
            start = time.process_time()
            for _ in range(steps):
                run()
            pair.append((time.process_time() - start) / steps)
        times.append(pair)
    one, two = (statistics.median(column) for column in zip(*times, strict=True))
    return one, two, statistics.median(a / b for a, b in times)


def random_pair(width: int, layers: int, vocab: int) -> tuple[MuLlamaForConditionalGeneration, LlamaForCausalLM]:
    """MU-LLaMA and LLaMA with the same decoder weights."""
    torch.manual_seed(0)
    text_config = MuLlamaTextConfig(
        vocab_size=vocab,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=width * 8 // 3,
        num_adapter_layers=layers * 5 // 8,  # the released 20 of 32
    )
    audio_config = MertConfig(hidden_size=256, num_attention_heads=4, num_hidden_layers=4, conv_dim=(32,) * 7)
    model = MuLlamaForConditionalGeneration(MuLlamaConfig(audio_config=audio_config, text_config=text_config))
    plain = LlamaForCausalLM(text_config)
    plain.model.load_state_dict(model.model.language_model.state_dict(), strict=False)
    plain.lm_head.load_state_dict(model.lm_head.state_dict())
    return model, plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    args = parser.parse_args()
    logging.set_verbosity_error()
    folder = tempfile.mkdtemp()
    how = (args.steps, args.repeats)

    processor = MuLlamaProcessor.from_pretrained(EMBEDDED_MODEL)
    model = MuLlamaForConditionalGeneration.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    set_trainable(model, ADAPTER)
    trainer, rows = make_trainer(model, processor, folder), make_rows(16, words=30)
    means = np.random.default_rng(0).standard_normal((16, 5, 256)).astype(np.float16)
    heard, cached = AnswerCollator(processor), AnswerCollator(processor, means)
    slow, fast, times = ratio(lambda: step(trainer, heard(rows[:8])), lambda: step(trainer, cached(rows[:8])), *how)
    print(f"waveforms {1 / slow:.2f} steps/s, cached {1 / fast:.2f}: a cached step takes {1 / times:.3f} of the time")
    alone, many, times = ratio(lambda: step(trainer, cached(rows[:1])), lambda: step(trainer, cached(rows)), *how)
    print(f"batch 1 {1 / alone:.1f} rows/s, batch 16 {16 / many:.1f}: {16 * times:.2f} times as many")

    model, plain = random_pair(args.width, args.layers, len(processor.tokenizer))
    model.model.audio_tower.requires_grad_(False)
    music, text = make_trainer(model, processor, folder), make_trainer(plain, processor.tokenizer, folder)
    batch = AnswerCollator(processor, means)(make_rows(8, words=60))
    silent = {name: value for name, value in batch.items() if name != "audio_features"}
    ours, theirs, times = ratio(lambda: step(music, batch), lambda: step(text, silent), *how)
    decoder = sum(parameter.numel() for parameter in plain.parameters()) / 1e6
    adapter = sum(parameter.numel() for parameter in model.model.multi_modal_projector.parameters()) / 1e6
    shape = "x".join(map(str, batch["input_ids"].shape))
    print(f"SFT step, {decoder:.0f} M decoder, batch of {shape} tokens: with music {ours:.3f} s, of plain LLaMA")
    print(f"  {theirs:.3f} s: ratio {times:.3f}, the adapter of {adapter:.0f} M training too")
    model.model.multi_modal_projector.requires_grad_(False)
    frozen = make_trainer(model, processor, folder)
    *_, times = ratio(lambda: step(frozen, batch), lambda: step(text, silent), *how)
    print(f"  the projector frozen, as in the paper's stage 2: ratio {times:.3f}")


if __name__ == "__main__":
    main()
