"""
The command `mullama`: reads arguments, calls one function of one folder, prints what it returns.

A subcommand is a function `_add_NAME` that describes its arguments and a function `_NAME` that runs it. Results go to
stdout, everything else to stderr; the exit status is 0 done, 1 failed, 2 wrong usage. Only the standard library is
imported here: a subcommand imports what it needs when it runs, so that `mullama --help` is instant.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

from .command_line import add_asking_arguments, hush_transformers, one_line, say

INTERRUPTED = 130  # what a shell gives for Ctrl-C
FIRST_PORT = 7860  # where Gradio's pages are looked for


def main(argv: list[str] | None = None) -> int:
    """Run one command line, by default this process's, and return its exit status."""
    args = _parser().parse_args(argv)
    # A file's name may be no valid text of the terminal's encoding, and so may a question.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdin.reconfigure(errors="replace")
    if not args.debug:
        warnings.showwarning = lambda message, *where, **more: say(f"warning: {one_line(message)}")
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our answers has left: say nothing, and let the interpreter close a stdout that still works.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.debug:
            raise
        expected = isinstance(error, (ValueError, OSError, ImportError))
        say(one_line(error) if expected else f"{type(error).__name__}: {one_line(error)} (--debug shows where)")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mullama", description="Ask a piece of music.")
    parser.add_argument("--version", action="version", version=f"mullama {importlib.metadata.version('mullama')}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show where an error came from")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_ask(subparsers, common)
    _add_chat_and_caption(subparsers, common)
    _add_app(subparsers, common)
    _add_info(subparsers, common)
    _add_convert(subparsers, common)
    _add_push(subparsers, common)
    _add_data(subparsers, common)
    _add_train(subparsers, common)
    _add_evaluate(subparsers, common)
    return parser


def _add_ask(subparsers, common: argparse.ArgumentParser) -> None:
    ask = subparsers.add_parser(
        "ask",
        parents=[common],
        help="ask audio files a question",
        description="Ask audio files a question. Each file is heard once, however many questions it is asked.",
    )
    ask.add_argument("audio", nargs="+", metavar="AUDIO", help="audio file of any length")
    ask.add_argument("question", metavar="QUESTION", help="the question; - reads questions from stdin, one a line")
    add_asking_arguments(ask)
    form = ask.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a line")
    form.add_argument("--stream", action="store_true", help="print an answer as it is made")
    ask.set_defaults(run=_ask)


def _ask(args: argparse.Namespace) -> int:
    from .fast_start import collect_garbage_again, skip_compiler_and_distribution
    from .model_info import require_mullama

    require_mullama(args.model)
    skip_compiler_and_distribution()
    from .asking import load_asker
    from .decoding import hushed_decoders

    collect_garbage_again()
    hush_transformers(args.debug)

    asker = load_asker(args.model, args.device)
    songs = {}
    asked = failed = 0
    for question in _questions(args.question):
        for path in args.audio:
            asked += 1
            try:
                if path not in songs:
                    songs[path] = None  # one that cannot be heard is told once, and left out of further questions
                    with nullcontext() if args.debug else hushed_decoders():
                        songs[path] = asker.hear(path, args.start, args.end)
                if songs[path] is None:
                    continue
                label = f"{path}: " if len(args.audio) > 1 else ""
                answer = asker.ask(
                    songs[path],
                    question,
                    max_new_tokens=args.max_new_tokens,
                    temperature=args.temperature,
                    seed=args.seed,
                    on_text=_print_pieces(label) if args.stream else None,
                )
            except ValueError as error:
                if args.debug:
                    raise
                say(one_line(error))
                failed += 1
                continue
            if args.json:
                line = {"audio": path, "question": question, "answer": answer, "seconds": songs[path].seconds}
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                print("" if args.stream else f"{label}{answer}", flush=True)
    if not asked:
        raise ValueError("no question came on stdin: write one a line")
    return 1 if failed else 0


def _questions(question: str) -> Iterator[str]:
    """The question itself, or those that come on stdin, each as soon as it is there."""
    if question == "-":
        yield from filter(None, (line.strip() for line in sys.stdin))
    else:
        yield question


def _print_pieces(label: str) -> Callable[[str], None]:
    """A function that prints an answer's pieces as they come, the label before the first."""
    labels = iter([label])
    return lambda piece: print(next(labels, ""), piece, sep="", end="", flush=True)


def _add_info(subparsers, common: argparse.ArgumentParser) -> None:
    info = subparsers.add_parser(
        "info",
        parents=[common],
        help="tell what a model is",
        description="Tell what a MU-LLaMA or MERT model is, from its files alone.",
    )
    info.add_argument("model", metavar="MODEL", nargs="?", help="model folder or Hub id (default: the embedded one)")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> int:
    from .model_info import describe_model

    facts = describe_model(args.model)
    if args.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            shown = f"{value:,}" if isinstance(value, int) else value
            print(f"{name.replace('_', ' '):{width}}  {shown}")
    return 0


def _add_chat_and_caption(subparsers, common: argparse.ArgumentParser) -> None:
    from .commands import add_caption_parser, add_chat_parser

    add_chat_parser(subparsers, common)
    add_caption_parser(subparsers, common)


def _add_app(subparsers, common: argparse.ArgumentParser) -> None:
    app = subparsers.add_parser(
        "app",
        parents=[common],
        help="open the web page: talk about a song, caption many",
        description="Run the Space's page on this machine. Programs use it with gradio_client or as MCP tools.",
    )
    app.add_argument(
        "--model", help="model folder or Hub id, whose code is trusted (default: the embedded tiny model)"
    )
    app.add_argument("--port", type=int, metavar="P", help="port to listen on (default: the first free from 7860 on)")
    app.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in")
    app.set_defaults(run=_app)


def _app(args: argparse.Namespace) -> int:
    import runpy

    from .model_info import EMBEDDED_MODEL, require_mullama

    model = str(EMBEDDED_MODEL) if args.model is None else args.model
    require_mullama(model)
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the page needs Gradio: pip install 'mullama[demo]'")
    os.environ.update(MULLAMA_MODEL=model, GRADIO_SERVER_NAME=args.host)
    # Gradio itself cannot try a second port where MCP tools are served.
    port = args.port or int(os.environ.get("GRADIO_SERVER_PORT") or _first_free_port())
    if not _is_free(port):
        raise OSError(f"port {port} is taken: give another with --port")
    os.environ.update(GRADIO_SERVER_PORT=str(port), GRADIO_NUM_PORTS="1")
    # The page is no part of this package, but a Space of its own: run it as one does.
    folder = os.path.join(os.path.dirname(__file__), "spaces_app")
    sys.path.insert(0, folder)
    runpy.run_path(os.path.join(folder, "app.py"), run_name="__main__")
    return 0


def _first_free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        if _is_free(port):
            return port
    raise OSError(f"no port is free from {FIRST_PORT} to {FIRST_PORT + 99}: give one with --port")


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) != 0


def _add_data(subparsers, common: argparse.ArgumentParser) -> None:
    from .dataset_scripts.commands import add_data_parsers
    from .training.commands import add_features_parser

    # `features` needs a model, which `dataset_scripts` knows nothing of.
    add_features_parser(add_data_parsers(subparsers, common), common)


def _add_train(subparsers, common: argparse.ArgumentParser) -> None:
    from .training.commands import add_train_parser

    add_train_parser(subparsers, common)


def _add_evaluate(subparsers, common: argparse.ArgumentParser) -> None:
    from .evaluation.commands import add_evaluate_parser
    from .evaluation.side_commands import add_side_parsers

    add_side_parsers(add_evaluate_parser(subparsers, common), common)


def _add_convert(subparsers, common: argparse.ArgumentParser) -> None:
    convert = subparsers.add_parser(
        "convert",
        parents=[common],
        help="make released weights one model folder",
        description="Make MU-LLaMA's released files one model folder. With --mert alone, export a MERT that works on "
        "transformers 5.",
    )
    convert.add_argument("--checkpoint", metavar="CKPT", help="MU-LLaMA's checkpoint.pth")
    convert.add_argument("--llama", metavar="LLAMA", help="Meta's folder, a Hugging Face folder or a Hub id")
    convert.add_argument("--mert", metavar="MERT", required=True, help="MERT's folder or Hub id")
    convert.add_argument("--out", metavar="DIR", required=True, help="folder to write, which must not exist")
    convert.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        default="float32",
        help="type of the written weights (default: float32, which is exact; the others take half the space)",
    )
    convert.set_defaults(run=_convert, refuse=convert.error)


def _convert(args: argparse.Namespace) -> int:
    if (args.checkpoint is None) != (args.llama is None):
        args.refuse("give --checkpoint and --llama, or neither to export a MERT alone")
    from transformers.utils import logging as transformers_logging

    from .model_card.cards import make_converted_card, make_mert_card
    from .modeling_mullama.convert_mullama import export_mert, read_release

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()

    hub_ids = [name for name in (args.llama, args.mert) if name and not os.path.isdir(os.path.expanduser(name))]
    if args.checkpoint is None:
        export_mert(args.mert, args.out, args.dtype, lambda config: make_mert_card(config, *hub_ids))
    else:
        release = read_release(args.checkpoint, args.llama, args.mert)
        release.write(args.out, args.dtype, make_converted_card(release.config, args.dtype, hub_ids))
        print(*release.report, sep="\n")
    print(f"Wrote {args.out}.")
    return 0


def _add_push(subparsers, common: argparse.ArgumentParser) -> None:
    push = subparsers.add_parser(
        "push", help="upload a model, a dataset or the Space", description="Upload to the Hub."
    )
    kinds = push.add_subparsers(title="what", metavar="WHAT", required=True)
    for kind, what in {"model": "a model folder", "dataset": "a dataset folder", "space": "the Space"}.items():
        parser = kinds.add_parser(kind, parents=[common], help=what, description=f"Upload {what} to the Hub.")
        if kind != "space":
            parser.add_argument("folder", metavar="DIR", help=f"{what} with its card, README.md")
        parser.add_argument("repo_id", metavar="REPO_ID", help="USER/NAME; it is created if it does not exist")
        if kind == "space":
            parser.add_argument("--model", metavar="REPO_ID", help="the model that the Space shows")
        parser.add_argument("--private", action="store_true", help="a repository that is created is private")
        parser.add_argument("--tag", help="tag what was uploaded (default: v1, v2 and so on)")
        parser.add_argument("--dry-run", action="store_true", help="list what would go, and send nothing")
        parser.set_defaults(run=_push, kind=kind)


def _push(args: argparse.Namespace) -> int:
    from huggingface_hub.utils import disable_progress_bars

    from .model_card.push import dataset_push, model_push, space_push

    if not sys.stderr.isatty():
        disable_progress_bars()
    if args.kind == "space":
        push = space_push(args.repo_id, args.model)
    else:
        push = {"model": model_push, "dataset": dataset_push}[args.kind](args.folder, args.repo_id)
    if args.dry_run:
        print(*push.describe(), sep="\n")
    else:
        print(push.run(args.private, args.tag))
    return 0


if __name__ == "__main__":
    sys.exit(main())
