"""
How soon the shell answers: `mullama --help`, and `mullama ask` from a cold start against importing its libraries.

Every command is run in turn, so that whatever else the machine does slows all alike; the least of each is told, and
the ratio of those. Bars: `--help` under 0.3 s; `ask` with the embedded model at most 1.5 times
`python -c "import torch, transformers"`.

    python benchmarks/cli_start.py [--model DIR] [--rounds N]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MULLAMA = str(Path(sys.executable).with_name("mullama"))
CLIP = REPOSITORY / "spaces_app" / "examples" / "sectoid_metal_madness.ogg"


def run(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of processors that a command takes; it must end well."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder (default: the embedded one)")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    model = ["--model", args.model] if args.model else []
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "mullama --help": [MULLAMA, "--help"],
        "import torch, transformers": [sys.executable, "-c", "import torch, transformers"],
        "mullama ask": [MULLAMA, "ask", str(CLIP), "Which instruments play?", "--max-new-tokens", "32", *model],
        "import a model class": [sys.executable, "-c", "from transformers import LlamaForCausalLM"],
    }
    for command in commands.values():
        run(command)  # once unmeasured: files come into memory
    times = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            times[name].append(run(command))
    best = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    libraries = best["import torch, transformers"]
    print(f"{'':28}{'clock':>9}{'ratio':>7}{'processor':>11}{'ratio':>7}")
    for name, (clock, processor) in best.items():
        ratios = clock / libraries[0], processor / libraries[1]
        print(f"{name:28}{clock:7.2f} s{ratios[0]:7.2f}{processor:9.2f} s{ratios[1]:7.2f}")
    print(json.dumps({"rounds": args.rounds, "processors": os.cpu_count(), "seconds": best}))


if __name__ == "__main__":
    main()
