"""
The encoder's peak memory and time, with layer means taken while it runs, against keeping every hidden state.

    python benchmarks/encoder_memory.py [--seconds 60] [--minutes 10] [--repeats 3] [--width 1024] [--layers 24]

MERT-330M's shape, random weights, float32. "Kept" asks transformers' `HubertModel`, with the same weights, for every
hidden state, stacks them as MU-LLaMA's release does, and averages; "states" is the same of this project's `MertModel`,
whose convolutions see the audio in pieces; "running" is what this project does. Memory is what a run adds to the
process at its peak (its resident set, sampled every 2 ms), each run in a process of its own; time is measured in one
process, taking turns. Then `--minutes` of audio in windows of 60 s, through `get_audio_features`, against one window.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time

import torch
from mullama.modeling_mullama import MertConfig, MertModel, MuLlamaConfig, MuLlamaModel, MuLlamaTextConfig
from transformers import HubertConfig, HubertModel

SAMPLING_RATE = 24_000


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def added_memory(function) -> int:
    """How many bytes the process grows by, at most, while `function` runs."""
    before = peak = resident_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_bytes())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return peak - before


def encoder_config(args: argparse.Namespace) -> MertConfig:
    return MertConfig(
        hidden_size=args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 64,
        intermediate_size=4 * args.width,
        do_stable_layer_norm=True,
    )


def hubert_of(encoder: MertModel) -> HubertModel:
    values = {key: value for key, value in encoder.config.to_dict().items() if key != "model_type"}
    hubert = HubertModel(HubertConfig(**values)).eval()
    hubert.load_state_dict(encoder.state_dict())
    return hubert


@torch.no_grad()
def kept(hubert: HubertModel, audio: torch.Tensor) -> torch.Tensor:
    output = hubert(audio, output_hidden_states=True)
    return torch.stack((*output.hidden_states[:-1], output.last_hidden_state), dim=1).mean(-2)


@torch.no_grad()
def states(encoder: MertModel, audio: torch.Tensor) -> torch.Tensor:
    return torch.stack(encoder(audio, output_hidden_states=True).hidden_states, dim=1).mean(-2)


@torch.no_grad()
def running(encoder: MertModel, audio: torch.Tensor) -> torch.Tensor:
    return encoder(audio).layer_means


def measure_one(args: argparse.Namespace) -> None:
    """In a process of its own: one run, and the bytes that it added."""
    torch.manual_seed(0)
    if args.only == "windows":
        text_config = MuLlamaTextConfig(
            vocab_size=64, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            num_adapter_layers=1,
        )  # fmt: skip
        model = MuLlamaModel(MuLlamaConfig(audio_config=encoder_config(args), text_config=text_config)).eval()
        audio = torch.randn(1, args.windows, 60 * SAMPLING_RATE)
        with torch.no_grad():
            model.get_audio_features(audio[:, :1, :SAMPLING_RATE])
            print(added_memory(lambda: model.get_audio_features(audio)))
        return
    encoder = MertModel(encoder_config(args)).eval()
    audio = torch.randn(1, args.seconds * SAMPLING_RATE)
    function = {"kept": kept, "states": states, "running": running}[args.only]
    encoder = hubert_of(encoder) if function is kept else encoder
    function(encoder, audio[:, :SAMPLING_RATE])
    print(added_memory(lambda: function(encoder, audio)))


def memory_of(args: argparse.Namespace, only: str, windows: int = 1) -> int:
    command = [sys.executable, __file__, "--only", only, "--windows", str(windows), "--seconds", str(args.seconds)]
    command += ["--width", str(args.width), "--layers", str(args.layers)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--only", choices=("kept", "states", "running", "windows"), help=argparse.SUPPRESS)
    parser.add_argument("--windows", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        measure_one(args)
        return

    memory = {name: memory_of(args, name) for name in ("kept", "states", "running")}
    for name in ("kept", "states"):
        print(f"{args.seconds} s: {memory[name] / 2**20:.0f} MiB {name}, {memory['running'] / 2**20:.0f} MiB running, "
              f"ratio {memory['running'] / memory[name]:.2f}", flush=True)  # fmt: skip

    torch.manual_seed(0)
    encoder = MertModel(encoder_config(args)).eval()
    audio = torch.randn(1, args.seconds * SAMPLING_RATE)
    hubert = hubert_of(encoder)
    contenders = {"kept": (kept, hubert), "states": (states, encoder), "running": (running, encoder)}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    results = {}
    for repeat in range(args.repeats):
        for name in contenders if repeat % 2 else reversed(contenders):
            function, model = contenders[name]
            function(model, audio[:, :SAMPLING_RATE])
            start = time.perf_counter()
            results[name] = function(model, audio)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name in ("kept", "states"):
        difference = (results[name] - results["running"]).abs().max()
        print(f"{args.seconds} s: {medians[name]:.2f} s {name}, {medians['running']:.2f} s running, ratio "
              f"{medians['running'] / medians[name]:.3f} (median of {args.repeats}); difference {difference:.0e}",
              flush=True)  # fmt: skip
    del encoder, hubert, contenders, audio, results

    one, many = memory_of(args, "windows", 1), memory_of(args, "windows", args.minutes)
    print(f"{args.minutes} min in windows of 60 s: {many / 2**20:.0f} MiB, one window: {one / 2**20:.0f} MiB, ratio "
          f"{many / one:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
