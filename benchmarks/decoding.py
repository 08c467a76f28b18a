"""
Decoding with music against plain LLaMA of the same text configuration and weights, side by side in one process.

    python benchmarks/decoding.py [--tokens 128] [--repeats 7] [--batches 1 8] [--width 768] [--layers 12]

Both greedily generate `--tokens` tokens after a prompt of 64. Random weights of about 100 M by default, float32. The
two alternate; a repeat's ratio is plain time / time with music, and the median ratio is told (1: music costs nothing).
The music comes as layer means, so that the time includes the projector and each adapted layer's value, and the
encoder, which runs once per audio whatever is asked, is left out.
"""

import argparse
import statistics
import time

import torch
from mullama.modeling_mullama import MertConfig, MuLlamaConfig, MuLlamaForConditionalGeneration, MuLlamaTextConfig
from transformers import LlamaForCausalLM
from transformers.utils import logging


def build(width: int, layers: int) -> tuple[MuLlamaForConditionalGeneration, LlamaForCausalLM]:
    """MU-LLaMA with random weights and open gates, and LLaMA with the same decoder weights."""
    torch.manual_seed(0)
    text_config = MuLlamaTextConfig(
        vocab_size=16_000,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=width * 8 // 3,
        num_adapter_layers=layers * 5 // 8,  # the released 20 of 32
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    audio_config = MertConfig(hidden_size=64, num_attention_heads=4, intermediate_size=64, conv_dim=(32,) * 7)
    model = MuLlamaForConditionalGeneration(MuLlamaConfig(audio_config=audio_config, text_config=text_config)).eval()
    for layer in model.model.language_model.layers:
        if layer.is_adapted:
            torch.nn.init.normal_(layer.self_attn.audio_prefix.gate)
    plain = LlamaForCausalLM(text_config).eval()
    plain.model.load_state_dict(model.model.language_model.state_dict(), strict=False)
    plain.lm_head.load_state_dict(model.lm_head.state_dict())
    return model, plain


def seconds(model: torch.nn.Module, ids: torch.Tensor, tokens: int, **audio: torch.Tensor) -> float:
    start = time.perf_counter()
    output = model.generate(ids, max_new_tokens=tokens, do_sample=False, **audio)
    elapsed = time.perf_counter() - start
    assert output.shape[1] == ids.shape[1] + tokens
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    args = parser.parse_args()
    logging.set_verbosity_error()

    model, plain = build(args.width, args.layers)
    print(f"{plain.num_parameters() / 1e6:.0f} M parameters, {args.tokens} tokens, {torch.get_num_threads()} threads")
    for batch in args.batches:
        ids = torch.randint(3, 16_000, (batch, 64))
        music = {"audio_features": torch.randn(batch, 13, 64)}
        seconds(plain, ids, 8)
        seconds(model, ids, 8, **music)
        times = []
        for repeat in range(args.repeats):
            # Whichever runs first meets a colder machine: take turns.
            if repeat % 2:
                with_music = seconds(model, ids, args.tokens, **music)
                times.append((seconds(plain, ids, args.tokens), with_music))
            else:
                without = seconds(plain, ids, args.tokens)
                times.append((without, seconds(model, ids, args.tokens, **music)))
        ratio = statistics.median(without / with_music for without, with_music in times)
        without, with_music = (statistics.median(column) for column in zip(*times, strict=True))
        speed = (
            f"{batch * args.tokens / without:.1f} tokens/s plain, {batch * args.tokens / with_music:.1f} with music"
        )
        fastest = min(without for without, _ in times) / min(with_music for _, with_music in times)
        print(f"batch {batch}: {speed}, ratio {ratio:.3f} (median of {args.repeats}), of the fastest {fastest:.3f}")


if __name__ == "__main__":
    main()
