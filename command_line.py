"""What every command of the shell shares: the numbers that it takes, and the one line that it says on stderr."""

import argparse
import sys


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
