"""What commands of the shell share: the arguments that they take, and the one line that they say on stderr."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState

WAIT_DAYS = 30  # that the first process to be ready waits for the last


def positive_int(text: str) -> int:
    """An argument's whole number from 1; wrong usage otherwise."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return number


def temperature(text: str) -> float:
    """An argument's finite number from 0; wrong usage otherwise."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more")
    return number


def one_line(message: object) -> str:
    """A message without its line breaks; an empty exception by its name."""
    return " ".join(str(message).split()) or type(message).__name__


def say(line: str) -> None:
    """Tell the user something beside the results, on one line."""
    print(f"mullama: {one_line(line)}", file=sys.stderr, flush=True)


def hush_transformers(debug: bool) -> None:
    """No warnings of transformers' between a command's lines, unless it is debugged; no bars but on a terminal."""
    from transformers.utils import logging

    if not debug:
        logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()


def join_processes(device: str | None) -> "PartialState":
    """Accelerate's state of this process among those that were launched together; one alone is the main one."""
    from datetime import timedelta

    import torch
    from accelerate import PartialState

    on_cpu = device == "cpu" or not torch.accelerator.is_available()  # on CPUs they know each other only if told
    # Shares take unequal times, and who waits too long gives up.
    return PartialState(cpu=on_cpu, timeout=timedelta(days=WAIT_DAYS))


def add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long an answer may be, and whether it is drawn."""
    parser.add_argument(
        "--max-new-tokens", type=positive_int, default=512, metavar="N", help="longest answer (default: 512)"
    )
    parser.add_argument(
        "--temperature",
        type=temperature,
        default=0.0,
        metavar="T",
        help="0 (default) gives the likeliest answer, more a drawn one",
    )


def add_asking_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what putting questions to a song takes, whichever command puts them: model, part, answers, device."""
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded tiny model)")
    parser.add_argument("--start", type=float, metavar="S", help="hear from this second on")
    parser.add_argument("--end", type=float, metavar="S", help="hear up to this second")
    add_answer_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of drawn answers (default: 0)")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps, ... (default: a GPU if there is one)")
