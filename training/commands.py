"""
The subcommands `mullama train` and `mullama data features`: their arguments, and what each runs and prints.

Only the standard library is imported until a command runs, so that `mullama --help` is instant.
"""

import argparse
import sys
from pathlib import Path

RECIPES = Path(__file__).parent / "configs"


def add_train_parser(subparsers, common: argparse.ArgumentParser) -> None:
    """Add `train`; `common` holds the arguments that every command of `mullama` has."""
    train = subparsers.add_parser(
        "train",
        parents=[common],
        help="train by a recipe",
        description="Train by a recipe, in this process. The same command goes on with a run that was stopped or "
        "killed. For several processes: accelerate launch -m mullama.training.sft --config RECIPE.yaml",
    )
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml") if path.stem != "tiny_encoder"))
    train.add_argument("config", metavar="RECIPE", help=f"a YAML file, or one of {names}")
    train.add_argument(
        "overrides", nargs=argparse.REMAINDER, metavar="--KEY VALUE", help="keys of the recipe to set otherwise"
    )
    train.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    named = RECIPES / f"{args.config}.yaml"
    config = Path(args.config) if Path(args.config).is_file() or not named.is_file() else named
    if not config.is_file():
        raise FileNotFoundError(f"{args.config}: no such file, nor a recipe of {RECIPES.name}")
    _hide_bars_from_files()
    from .sft import make_parser, train

    parser = make_parser()
    parser.prog = "mullama train"
    train(*parser.parse_args_and_config(["--config", str(config), *args.overrides]))
    return 0


def add_features_parser(commands, common: argparse.ArgumentParser) -> None:
    """Add `features` to the commands of `mullama data`."""
    features = commands.add_parser(
        "features",
        parents=[common],
        help="hear every clip once, for training",
        description="Store what a model's encoder hears of each clip, so that training need not hear it again. "
        "Killed, the same command goes on. For several processes: accelerate launch -m mullama.training.features",
    )
    features.add_argument("dataset", metavar="DATASET", help="dataset folder, file or Hub id, with a column `audio`")
    features.add_argument("--model", required=True, metavar="M", help="folder or Hub id of the model that hears")
    features.add_argument("--out", required=True, metavar="DIR", help="feature folder to make")
    features.add_argument("--split", default="train", help="split of the dataset (default: train)")
    features.add_argument("--name", help="config of the dataset")
    features.add_argument("--batch-size", type=int, default=4, metavar="N", help="clips heard together (default: 4)")
    features.set_defaults(run=_features)


def _features(args: argparse.Namespace) -> int:
    _hide_bars_from_files()
    from accelerate import PartialState

    from .features import write_features

    facts = write_features(args.dataset, args.model, args.out, args.split, args.name, args.batch_size)
    if PartialState().is_main_process:
        print(f"{args.out}: {facts['heard']} clips heard, {facts['unreadable']} unreadable")
    return 0


def _hide_bars_from_files() -> None:
    """Loading weights and data shows progress on a terminal only."""
    if not sys.stderr.isatty():
        import datasets
        from transformers.utils import logging

        datasets.disable_progress_bars()
        logging.disable_progress_bar()
