"""
The subcommands `mullama caption` and `mullama chat`: their arguments, and what each runs and prints.

Only the standard library is imported until a command runs, so that `mullama --help` is instant.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from .command_line import add_asking_arguments, hush_transformers, join_processes, positive_int, say


def add_caption_parser(subparsers, common: argparse.ArgumentParser) -> None:
    """Add `caption`; `common` holds the arguments that every command of `mullama` has."""
    caption = subparsers.add_parser(
        "caption",
        parents=[common],
        help="caption whole folders of audio",
        description="Caption every audio file at and below the paths. When a run was stopped or killed, the same "
        "command goes on where it was. `accelerate launch -m mullama.cli caption ...` shares the files among GPUs.",
    )
    caption.add_argument("paths", nargs="+", metavar="PATH", help="audio file, or folder to go through")
    caption.add_argument(
        "--out", required=True, metavar="OUT", help="file to write, .jsonl, .csv or .parquet, or a dataset's folder"
    )
    caption.add_argument("--questions", metavar="FILE", help="ask these as well, one a line")
    caption.add_argument("--per-window", action="store_true", help="caption every window of a file as well")
    caption.add_argument("--push-to-hub", metavar="REPO", help="upload the dataset's folder to USER/NAME")
    caption.add_argument("--model", help="model folder or Hub id (default: the embedded tiny model)")
    caption.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps, ... (default: a GPU if there is one)")
    caption.add_argument(
        "--batch-size", type=positive_int, default=16, metavar="N", help="files heard together (default: 16)"
    )
    caption.add_argument("--workers", type=_count, default=2, metavar="N", help="processes that decode (default: 2)")
    caption.add_argument(
        "--max-new-tokens", type=positive_int, default=512, metavar="N", help="longest answer (default: 512)"
    )
    caption.set_defaults(run=_caption, refuse=caption.error)


def _caption(args: argparse.Namespace) -> int:
    from .caption_output import FILE_FORMS

    if args.push_to_hub and Path(args.out).suffix in FILE_FORMS:
        args.refuse("--push-to-hub uploads a dataset: give a folder as --out")
    if args.push_to_hub:
        from .model_card.push import check_push

        check_push(args.push_to_hub)
    state = _prepare_torch(args)
    from .captioning import CaptionSettings, Share, caption_files, finish, read_questions
    from .decoding import hushed_decoders

    questions = read_questions(args.questions) if args.questions else ()
    settings = CaptionSettings(args.model, questions, args.per_window, args.max_new_tokens)
    share, device = Share(), args.device
    if state is not None:
        share, device = Share(state.process_index, state.num_processes), device or str(state.device)
    with nullcontext() if args.debug else hushed_decoders():
        try:
            caption_files(
                args.paths,
                args.out,
                settings,
                device=device,
                batch_size=args.batch_size,
                workers=args.workers,
                share=share,
            )
        except KeyboardInterrupt:
            say(f"stopped; what is done is kept in {args.out}.partial: the same command goes on")
            raise
        if state is not None:
            state.wait_for_everyone()
        report = finish(args.paths, args.out, settings, args.workers) if share.index == 0 else None
    if state is not None:
        state.wait_for_everyone()
        state.destroy_process_group()
    if report is None:
        return 0
    unheard = f"; {report.failed} could not be heard (the first: {report.first_error})" if report.failed else ""
    print(f"{args.out}: {report.files} files{unheard}")
    if args.push_to_hub:
        from .model_card.push import PushError, dataset_push

        try:
            print(dataset_push(args.out, args.push_to_hub).run())
        except PushError as error:
            again = f"mullama push dataset {args.out} {args.push_to_hub}"
            raise PushError(f"{args.out} is whole, but not uploaded (`{again}` does it): {error}") from error
    return 0 if report.failed < report.files else 1


def _prepare_torch(args: argparse.Namespace):
    """
    Import torch and transformers, quietly and no more of them than needed.

    Returns Accelerate's state where this is one of several processes, else None.
    """
    from .model_info import require_mullama

    require_mullama(args.model)
    state = None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        state = join_processes(args.device)
    else:
        from .fast_start import collect_garbage_again, skip_compiler_and_distribution

        skip_compiler_and_distribution()
        from . import asking  # noqa: F401

        collect_garbage_again()
    hush_transformers(args.debug)
    return state


def add_chat_parser(subparsers, common: argparse.ArgumentParser) -> None:
    """Add `chat`; `common` holds the arguments that every command of `mullama` has."""
    chat = subparsers.add_parser(
        "chat",
        parents=[common],
        help="talk about a song in the terminal",
        description="Talk about a song: it is heard once, and each question may refer to the earlier ones. "
        "/song PATH turns to another song; an empty line or Ctrl-D ends. Questions may also come through a pipe.",
    )
    chat.add_argument("audio", metavar="AUDIO", help="audio file of any length")
    add_asking_arguments(chat)
    chat.set_defaults(run=_chat)


def _chat(args: argparse.Namespace) -> int:
    _prepare_torch(args)
    from .asking import Song, load_asker
    from .chatting import chat
    from .decoding import hushed_decoders

    asker = load_asker(args.model, args.device)
    parts = iter([(args.start, args.end)])  # of the first song; of others the whole

    def hear(path: str) -> Song:
        with nullcontext() if args.debug else hushed_decoders():
            return asker.hear(path, *next(parts, (None, None)))

    interactive = sys.stdin.isatty()
    all_answered = chat(
        asker,
        hear,
        args.audio,
        _typed() if interactive else filter(None, map(str.strip, sys.stdin)),
        say,
        interactive,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        seed=args.seed,
    )
    return 0 if all_answered or interactive else 1


def _typed() -> Iterator[str]:
    """What is typed at the prompt, until an empty line or Ctrl-D."""
    with suppress(ImportError):  # Windows has none
        import readline  # noqa: F401 - the cursor keys then edit, and recall what was typed

    while True:
        try:
            line = input("> ")
        except EOFError:
            print(flush=True)
            return
        if not line.strip():
            return
        yield line


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more")
    return number
