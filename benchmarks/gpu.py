"""
MU-LLaMA's real shapes on a GPU: LLaMA-2-7B and MERT-330M with random weights, in bfloat16.

    python benchmarks/gpu.py [--tokens 128] [--batches 1 16] [--repeats 3] [--encoder-batch 4]

- The limit: a token of a batch of 1 reads every weight of the decoder once, so it cannot take less than their bytes /
  the bandwidth, which is measured by copying 1 GiB in the same run.
- Decoding: tokens a second of the steps after the first, with music and without, with a growing cache, a static one,
  and a static one compiled; peak memory of each.
- The encoder: seconds and peak memory for a minute of audio, for ten, and for some minutes at once.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from mullama.modeling_mullama import MertConfig, MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaTextConfig
from transformers import AutoModelForMultimodalLM, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging

PROMPT_TOKENS = 64
CACHES = {
    "growing cache": {},
    "static cache": {"cache_implementation": "static", "disable_compile": True},
    "static cache, compiled": {"cache_implementation": "static"},
}


def released_config() -> MuLlamaConfig:
    """LLaMA-2-7B, whose last 20 layers hear MERT-v1-330M, with the biases of the released weights."""
    text_config = MuLlamaTextConfig(
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        attention_bias=True,
        mlp_bias=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    audio_config = MertConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        do_stable_layer_norm=True,
    )
    return MuLlamaConfig(audio_config=audio_config, text_config=text_config)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of copying 1 GiB."""
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [seconds(lambda: target.copy_(source)) for _ in range(10)]
    return 2 * source.numel() / min(times)


def seconds(function: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_gib(function: Callable[[], object]) -> float:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    function()
    return torch.cuda.max_memory_allocated() / 2**30


def decoder_bytes(model: MuLlamaForConditionalGeneration) -> int:
    """Bytes of the weights that each new token reads; of the embeddings it reads one row."""
    parameters = [*model.model.language_model.layers.parameters(), *model.lm_head.parameters()]
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


class Clock(StoppingCriteria):
    """Stops nothing; notes when the first and the last token were there."""

    def __init__(self, tokens: int):
        self.tokens, self.count, self.times = tokens, 0, []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs) -> torch.Tensor:
        self.count += 1
        if self.count in (1, self.tokens):
            torch.cuda.synchronize()
            self.times.append(time.perf_counter())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def decoding_speed(model: MuLlamaForConditionalGeneration, batch: int, args: argparse.Namespace, **options) -> float:
    """Tokens a second, all rows together, of the steps after the first."""
    ids = torch.randint(3, model.config.text_config.vocab_size, (batch, PROMPT_TOKENS), device=model.device)
    speeds = []
    for _ in range(2 + args.repeats):
        clock = Clock(args.tokens)
        criteria = StoppingCriteriaList([clock])
        model.generate(ids, max_new_tokens=args.tokens, do_sample=False, stopping_criteria=criteria, **options)
        speeds.append(batch * (args.tokens - 1) / (clock.times[1] - clock.times[0]))
    return statistics.median(speeds[2:])  # the first two warm up and compile


def report_decoding(model: MuLlamaForConditionalGeneration, args: argparse.Namespace) -> None:
    weights, bandwidth = decoder_bytes(model), copy_bandwidth(model.device)
    limit = bandwidth / weights
    print(f"decoder {weights / 2**30:.2f} GiB, copy bandwidth {bandwidth / 1e9:.0f} GB/s: limit {limit:.1f} tokens/s")
    text_width = model.config.text_config.hidden_size
    for batch in args.batches:
        audio_embeds = torch.randn(batch, text_width, device=model.device, dtype=model.dtype)
        for name, options in CACHES.items():
            memory = peak_gib(lambda: decoding_speed(model, batch, args, audio_embeds=audio_embeds, **options))  # noqa: B023
            music = decoding_speed(model, batch, args, audio_embeds=audio_embeds, **options)
            plain = decoding_speed(model, batch, args, **options)
            of_limit = f", {music / limit:.2f} of the limit" if batch == 1 else ""
            print(f"batch {batch}, {name}: {music:.1f} tokens/s with music{of_limit}, {plain:.1f} without (ratio "
                  f"{music / plain:.3f}), peak {memory:.2f} GiB", flush=True)  # fmt: skip


def report_encoder(model: MuLlamaForConditionalGeneration, args: argparse.Namespace) -> None:
    minute = 60 * model.config.audio_config.sample_rate
    weights = torch.cuda.memory_allocated() / 2**30
    for batch, windows in ((1, 1), (1, 10), (args.encoder_batch, 1)):
        audio = torch.randn(batch, windows, minute, device=model.device)

        def encode() -> None:
            with torch.no_grad():
                model.get_audio_features(audio)  # noqa: B023

        encode()
        elapsed = statistics.median(seconds(encode) for _ in range(args.repeats))
        memory = peak_gib(encode) - weights
        print(f"encoder, {batch} x {windows} min: {elapsed:.3f} s, {memory:.2f} GiB beyond the weights", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoder-batch", type=int, default=4)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This benchmark needs a CUDA device, and torch sees none.")
    logging.set_verbosity_error()

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForMultimodalLM.from_config(released_config(), dtype=torch.bfloat16).eval()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {model.num_parameters() / 1e9:.2f} G parameters"
    )
    report_decoding(model, args)
    report_encoder(model, args)


if __name__ == "__main__":
    main()
