"""
`mullama evaluate probe` and `mullama evaluate table`: their arguments, and what they run and print.

Only the standard library is imported until a command runs, so that `mullama --help` is instant.
"""

import argparse
import importlib.util
import json
from pathlib import Path

from ..command_line import hush_transformers, positive_int, say


def add_side_parsers(evaluate: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the two to `mullama evaluate`; `common` holds the arguments that every command of `mullama` has."""
    commands = evaluate.add_subparsers(title="besides", metavar="COMMAND")
    _add_probe(commands, common)
    _add_table(commands, common)


def _add_probe(commands, common: argparse.ArgumentParser) -> None:
    probe = commands.add_parser(
        "probe",
        parents=[common],
        help="measure what frozen encoders hear of music's tags",
        description="Train the same small head on each frozen encoder, and score it on MagnaTagATune's 50 most "
        "frequent tags. What an encoder heard is kept; a run that was killed goes on with the same command.",
    )
    probe.add_argument(
        "--encoder",
        required=True,
        nargs="+",
        metavar="E",
        help="mert, clap, encodec (the released ones, from the Hub), logmel, or folder or Hub id of a MERT, MU-LLaMA, "
        "CLAP or EnCodec",
    )
    probe.add_argument(
        "--data", required=True, metavar="DIR", help="MagnaTagATune: annotations_final.csv and folders 0 to f of mp3"
    )
    probe.add_argument("--out", required=True, metavar="DIR", help="folder for the features, probe.json and probe.md")
    probe.add_argument("--batch-size", type=positive_int, default=16, metavar="N", help="(default: 16)")
    probe.add_argument("--seed", type=int, default=0, metavar="N", help="of the head's training (default: 0)")
    probe.add_argument("--device", help="torch's name of a device (default: a GPU where there is one)")
    probe.add_argument("--json", action="store_true", help="print one JSON object a line and encoder")
    probe.set_defaults(run=_probe)


def _probe(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError("probing needs scikit-learn: pip install 'mullama[eval]'")
    from ..asking import pick_device
    from .encoders import open_encoder
    from .probe import probe, read_tagged_clips, to_dict, to_markdown

    hush_transformers(args.debug)
    out, device = Path(args.out), pick_device(args.device)
    clips = read_tagged_clips(args.data)
    if clips.missing:
        say(f"{clips.missing} clips have no audio in {args.data}, and are left out")
    encoders = [open_encoder(name, device) for name in dict.fromkeys(args.encoder)]
    results = []
    for encoder in encoders:
        result = probe(encoder, clips, out / "features", args.seed, device, args.batch_size)
        results.append(result)
        if args.json:
            print(json.dumps(to_dict(result), ensure_ascii=False), flush=True)
    if unreadable := results[0].unreadable:
        say(f"{len(unreadable)} clips cannot be read, and are left out (for example {unreadable[0]})")
    table = to_markdown(results, clips, args.seed)
    _write(
        out / "probe.json", json.dumps([to_dict(result) for result in results], indent=1, ensure_ascii=False) + "\n"
    )
    _write(out / "probe.md", table)
    if not args.json:
        print(table, end="")
    return 0


def _add_table(commands, common: argparse.ArgumentParser) -> None:
    table = commands.add_parser(
        "table",
        parents=[common],
        help="set measured results beside published ones",
        description="One page of several results beside the numbers of papers, each marked measured or quoted.",
    )
    table.add_argument("results", nargs="+", metavar="RESULTS", help="results.json of mullama evaluate, or its folder")
    table.add_argument("--out", metavar="FILE", help="the Markdown page to write (default: print it)")
    table.set_defaults(run=_table)


def _table(args: argparse.Namespace) -> int:
    from .published import read_published, read_results, results_page

    page = results_page([read_results(path) for path in args.results], read_published())
    if args.out:
        _write(Path(args.out), page)
        say(f"wrote {args.out}")
    else:
        print(page, end="")
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
