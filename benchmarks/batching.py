"""
A batch of questions on as many clips against one after the other, side by side in one process.

    python benchmarks/batching.py [--model FOLDER] [--size 16] [--tokens 64] [--seconds 10] [--repeats 3]

Without `--model`, a random model of about 100 M parameters with a small encoder. Each clip has its own question; both
sides encode every clip and greedily generate `--tokens` tokens. The two alternate; a repeat's ratio is the singles'
time / the batch's, and the median ratio is told. Answers are compared as well.
"""

import argparse
import statistics
import time

import mullama.modeling_mullama  # noqa: F401 - makes the model known to the Auto classes
import torch
from transformers import AutoModelForMultimodalLM
from transformers.utils import logging

from decoding import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder or Hub id; a random model if left out")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    logging.set_verbosity_error()

    if args.model:
        model = AutoModelForMultimodalLM.from_pretrained(args.model, dtype=torch.float32)
    else:
        model, _ = build(768, 12)
    vocabulary = model.config.text_config.vocab_size
    generator = torch.Generator().manual_seed(0)
    samples = int(args.seconds * model.config.audio_config.sample_rate)
    audio = torch.randn(args.size, samples, generator=generator)
    lengths = torch.randint(40, 65, (args.size, 1), generator=generator)
    ids = torch.randint(3, vocabulary, (args.size, 64), generator=generator)
    mask = (torch.arange(64) >= 64 - lengths).long()
    options = dict(max_new_tokens=args.tokens, min_new_tokens=args.tokens, do_sample=False)

    def batched() -> torch.Tensor:
        answers = model.generate(ids * mask, attention_mask=mask, input_values=audio, **options)
        return answers[:, 64:]

    def singly() -> torch.Tensor:
        rows = []
        for row in range(args.size):
            prompt = ids[row : row + 1, 64 - lengths[row] :]
            answer = model.generate(prompt, input_values=audio[row : row + 1], **options)
            rows.append(answer[:, prompt.shape[1] :])
        return torch.cat(rows)

    def seconds(function) -> tuple[float, torch.Tensor]:
        start = time.perf_counter()
        answers = function()
        return time.perf_counter() - start, answers

    print(f"{model.num_parameters() / 1e6:.0f} M parameters, {args.size} clips of {args.seconds:g} s, "
          f"{args.tokens} tokens, {torch.get_num_threads()} threads")  # fmt: skip
    seconds(batched)
    ratios = []
    for repeat in range(args.repeats):
        order = (batched, singly) if repeat % 2 else (singly, batched)
        results = {function: seconds(function) for function in order}
        (together, batch_answers), (apart, single_answers) = results[batched], results[singly]
        ratios.append(apart / together)
        same = (batch_answers == single_answers).float().mean()
        print(f"singles {apart:.2f} s, batch {together:.2f} s, ratio {apart / together:.2f}, same tokens {same:.3f}",
              flush=True)  # fmt: skip
    print(f"ratio {statistics.median(ratios):.2f} (median of {args.repeats})")


if __name__ == "__main__":
    main()
