"""
The subcommands of `mullama data`: their arguments, and what each runs and prints.

Only the standard library is imported until a command runs, so that `mullama --help` is instant.
"""

import argparse
import json
import sys

from ..command_line import positive_int, say


def add_data_parsers(subparsers, common: argparse.ArgumentParser):
    """
    Add `data` with its own subcommands; `common` holds the arguments that every command of `mullama` has.

    Returns what further subcommands of `data` are added to.
    """
    data = subparsers.add_parser("data", help="make, build and look at MusicQA", description="MusicQA, or your own.")
    commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_generate(commands, common)
    _add_build(commands, common)
    _add_import_release(commands, common)
    _add_stats(commands, common)
    return commands


def _add_generate(commands, common: argparse.ArgumentParser) -> None:
    generate = commands.add_parser(
        "generate",
        parents=[common],
        help="let a language model write questions and answers about clips",
        description="Let a language model write nine question-answer pairs about every clip, from its caption or "
        "tags. When a run was stopped or killed, the same command goes on where it was.",
    )
    generate.add_argument("--source", required=True, choices=["musiccaps", "magnatagatune", "jamendo", "csv"])
    generate.add_argument(
        "--root",
        required=True,
        metavar="DIR",
        help="the published file, or the folder that holds it; for csv any CSV, TSV or JSONL with a caption or tags",
    )
    generate.add_argument(
        "--llm",
        required=True,
        metavar="LLM",
        help="http://HOST/v1 of an OpenAI-compatible server (its key: OPENAI_API_KEY), or folder or Hub id of a "
        "transformers chat model; with --provider, a Hub id that runs there",
    )
    generate.add_argument("--llm-model", metavar="NAME", help="model at the URL (default: the first that it lists)")
    generate.add_argument("--provider", metavar="NAME", help="Hugging Face Inference Provider, or auto")
    generate.add_argument("--out", required=True, metavar="FILE", help="the qa.jsonl to write")
    generate.add_argument("--audio", metavar="PATH", help="folder or zip of the audio: clips without are left out")
    generate.add_argument("--merge-synonyms", action="store_true", help="merge MagnaTagATune's synonym tags")
    generate.add_argument("--limit", type=positive_int, metavar="N", help="the first N clips only")
    generate.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every request (default: 0)")
    generate.add_argument(
        "--concurrency",
        type=positive_int,
        default=16,
        metavar="N",
        help="requests at once (default: 16, at most 100)",
    )
    generate.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="S", help="seconds that a reply may take (default: 120)"
    )
    generate.set_defaults(run=_generate)


def _generate(args: argparse.Namespace) -> int:
    if args.concurrency > 100:
        raise ValueError(f"--concurrency {args.concurrency}: at most 100 connections are kept")
    from .sources import read_clips

    clips = read_clips(args.source, args.root, args.merge_synonyms)
    if args.audio:
        from .audio_store import AudioStore

        store = AudioStore(args.audio)
        heard = [clip for clip in clips if store.find(clip.audio_names)]
        say(f"{len(heard)} of {len(clips)} clips have audio in {args.audio}")
        if not heard:
            raise ValueError(
                f"{args.audio}: holds audio of no clip (looked for {clips[0].audio_names[0]} and the like)"
            )
        clips = heard
    if not sys.stderr.isatty():
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # transformers, imported later, keeps to it
    from .generate import generate_qa
    from .llm import open_llm

    llm = open_llm(args.llm, args.llm_model, args.provider, args.concurrency, args.timeout)
    try:
        report = generate_qa(clips, llm, args.out, seed=args.seed, concurrency=args.concurrency, limit=args.limit)
    except KeyboardInterrupt:
        say(f"stopped; what is done is kept in {args.out}.partial: the same command goes on")
        raise
    say(f"{report.done_before + report.done} of {report.clips} clips are in {args.out} ({report.done} of them new)")
    if report.failed:
        say(f"{report.failed} clips failed, {report.failures_path} tells why; the same command tries them once more")
    return 0 if report.done_before + report.done else 1


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="the dataset folder to make")
    parser.add_argument("--split", choices=["pretrain", "finetune", "train", "test"], help="split of all rows")
    parser.add_argument(
        "--flac", action="store_true", help="encode the audio as 16-bit mono FLAC, at 24 kHz if not told"
    )
    parser.add_argument(
        "--sampling-rate", type=positive_int, metavar="HZ", help="resample, and encode as 16-bit mono FLAC"
    )
    parser.add_argument("--num-proc", type=positive_int, default=1, metavar="N", help="processes (default: 1)")


def _add_build(commands, common: argparse.ArgumentParser) -> None:
    build = commands.add_parser(
        "build",
        parents=[common],
        help="build a dataset from questions and audio",
        description="Build a dataset that load_dataset streams: Parquet with the audio files embedded, and a card.",
    )
    build.add_argument(
        "--qa", required=True, nargs="+", metavar="FILE", help="qa.jsonl files of mullama data generate"
    )
    build.add_argument("--audio", metavar="PATH", help="folder or zip of the audio (without: the text alone)")
    _add_output_arguments(build)
    build.set_defaults(run=_build)


def _build(args: argparse.Namespace) -> int:
    from .rows import read_qa

    return _build_from(read_qa(*args.qa), args)


def _add_import_release(commands, common: argparse.ArgumentParser) -> None:
    release = commands.add_parser(
        "import-release",
        parents=[common],
        help="turn the released MusicQA into a dataset that loads",
        description="Turn MusicQA as it was released - JSON files and one zip, read in place - into a dataset that "
        "load_dataset streams.",
    )
    release.add_argument(
        "--json",
        required=True,
        nargs="+",
        metavar="FILE",
        help="PretrainMusicQA.json, FinetuneMusicQA.json, EvalMusicQA.json",
    )
    release.add_argument("--audio", metavar="PATH", help="audios.zip, or the folder (without: the text alone)")
    _add_output_arguments(release)
    release.set_defaults(run=_import_release)


def _import_release(args: argparse.Namespace) -> int:
    from .rows import read_release

    return _build_from(read_release(args.json, args.split), args)


def _build_from(rows, args: argparse.Namespace) -> int:
    from .build import build_dataset

    report = build_dataset(
        rows,
        args.out,
        args.audio,
        split=args.split,
        flac=args.flac,
        sampling_rate=args.sampling_rate,
        num_proc=args.num_proc,
    )
    shards = report.shards.total()
    say(
        f"{args.out}: {report.clips.total()} clips, {report.pairs.total()} pairs, {report.audio_clips.total()} clips "
        f"with audio ({report.seconds.total() / 3600:.1f} h) in {shards} shard{'' if shards == 1 else 's'}"
    )
    if report.left_out:
        say(f"{len(report.left_out)} clips have no usable audio: {args.out}/left_out.jsonl tells why")
    return 0


def _add_stats(commands, common: argparse.ArgumentParser) -> None:
    stats = commands.add_parser(
        "stats", parents=[common], help="count and plot a dataset", description="Count what a built dataset holds."
    )
    stats.add_argument("folder", metavar="DIR", help="a dataset folder that mullama data build made")
    stats.add_argument("--plots", metavar="DIR", help="where the PNG files go (default: DIR/stats)")
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    stats.set_defaults(run=_stats)


def _stats(args: argparse.Namespace) -> int:
    from .stats import dataset_stats, plot_stats

    stats = dataset_stats(args.folder)
    plots = plot_stats(args.folder, args.plots or f"{args.folder}/stats")
    if args.json:
        print(json.dumps(stats | {"plots": [str(path) for path in plots]}, ensure_ascii=False))
        return 0
    columns = ("split", "clips", "with audio", "pairs", "hours", "seconds", "words asked", "words answered")
    table = [columns]
    for split, numbers in stats["splits"].items():
        middles = [
            f"{numbers[name]['median']:.0f}" if name in numbers else "-"
            for name in ("duration_seconds", "question_words", "answer_words")
        ]
        counts = [numbers["clips"], numbers["clips_with_audio"], numbers["pairs"], f"{numbers['hours']:.1f}"]
        table.append((split, *map(str, counts), *middles))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    print("(seconds and words: the middle value)")
    kinds = {name: count for name, count in stats["kinds"].items() if name != "first_words"}
    print(f"kinds: {_listed(kinds)}")
    print(f"sources: {_listed(stats['sources'])}")
    if stats["tags"]:
        print(f"tags: {len(stats['tags'])} different; {_listed(dict(list(stats['tags'].items())[:8]))}, ...")
    print(f"size: {stats['bytes'] / 1e6:.1f} MB of Parquet")
    for path in plots:
        print(path)
    return 0


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be more than 0")
    return number
