"""
Peak memory of converting a release and of loading the result, at 1.1 billion parameters.

    python benchmarks/convert_memory.py [--dir DIR] [--dtype float32|float16|bfloat16]

A release of random weights is generated (about 3 GB on disk), converted by `mullama convert` in one process, loaded
and asked in another. Prints each one's peak resident memory and the bound that it is held to; exit status 1 if one is
passed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mullama.tests.modeling_mullama.release_maker import Shape, make_release

GIB = 1024**3
SHAPE = Shape(
    dim=2048,
    layers=20,
    heads=16,
    kv_heads=16,
    ffn=5632,
    adapted=12,
    projector=8192,
    rank=16,
    mert_layers=12,
    mert_dim=768,
)
# Weights that nothing has touched take no memory yet: only an answer shows what holding them takes.
LOAD = """
import resource, sys, torch
from transformers import AutoModelForMultimodalLM
import mullama
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model = AutoModelForMultimodalLM.from_pretrained(sys.argv[1])
with torch.no_grad():
    model(input_ids=torch.tensor([[1, 5, 7]]), input_values=torch.randn(1, 48_000))
print(model.num_parameters(), sum(p.nbytes for p in model.parameters()), before)
"""


def peak_of(*command: str | Path) -> tuple[int, str]:
    """Peak resident memory of a command in bytes, and what it printed."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command[0]} failed")
    return usage.ru_maxrss * 1024, printed


def make_in_process(folder: Path) -> None:
    """Generates the release in a child, so that this process stays small: a child's peak begins at its parent's."""
    if (pid := os.fork()) == 0:
        make_release(folder, SHAPE)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit("the release could not be generated")


def measure(folder: Path, dtype: str) -> bool:
    """Prints the peaks beside their bounds; returns whether they hold."""
    make_in_process(folder)
    release = ["--checkpoint", folder / "checkpoint.pth", "--llama", folder / "LLaMA", "--mert", folder / "MERT"]
    mullama = Path(sys.executable).with_name("mullama")
    peak, printed = peak_of(mullama, "convert", *release, "--out", folder / "out", "--dtype", dtype)
    print(printed, end="")
    shard = (folder / "LLaMA/7B/consolidated.00.pth").stat().st_size
    written = sum(path.stat().st_size for path in (folder / "out").glob("*.safetensors"))
    bound = written + shard + GIB
    print(f"convert: written {written / GIB:.2f} GiB, one shard {shard / GIB:.2f} GiB")
    print(f"convert: peak {peak / GIB:.2f} GiB, bound {bound / GIB:.2f} GiB")

    load_peak, printed = peak_of(sys.executable, "-c", LOAD, folder / "out")
    parameters, weights, before = map(int, printed.split())
    print(
        f"load: {parameters:,} parameters in {dtype}, {weights / GIB:.2f} GiB; {before / GIB:.2f} GiB before loading"
    )
    print(f"load: peak {load_peak / GIB:.2f} GiB, bound {1.2 * weights / GIB:.2f} GiB")
    return peak < bound and load_peak < 1.2 * weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dir", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        sys.exit(0 if measure(Path(name), args.dtype) else 1)
