"""
Multiple-choice benchmarks as published files, made `qa.jsonl` for `mullama data build` and `mullama evaluate`.

    python -m mullama.evaluation.multiple_choice --muchomusic muchomusic.csv --out muchomusic.jsonl
    python -m mullama.evaluation.multiple_choice --mmau mmau-test-mini.json --out mmau.jsonl
    mullama data build --qa mmau.jsonl --audio test-mini-audios --split test --out mmau

Options stand lettered in the question, as both benchmarks ask. MuChoMusic's are shuffled by a seed; MMAU's come as
published, its music questions alone.
"""

import argparse
import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..dataset_scripts.rows import make_row

KIND = "multiple_choice"
LETTERS = "ABCDEFGH"
MUCHOMUSIC_OPTIONS = ("correct_answer", "distractor_1_answer", "distractor_2_answer", "distractor_3_answer")


def ask_choice(question: str, options: list[str], right: str) -> dict[str, str]:
    """A question with its options, and the right one's letter and words, as a row's `qa` holds them."""
    lettered = [f"({letter}) {' '.join(option.split())}" for letter, option in zip(LETTERS, options, strict=False)]
    return {
        "question": f"{question.strip()} Options: {' '.join(lettered)}",
        "answer": lettered[options.index(right)],
        "kind": KIND,
    }


def read_mmau(path: str | Path) -> list[dict]:
    """
    The music questions of MMAU's JSON: a list of `{"audio_id", "question", "choices", "answer", "task", ...}`.

    Raises ValueError or OSError: no such file, or not of that form.
    """
    clips: dict[str, dict] = {}
    try:
        for entry in json.loads(Path(path).read_text(encoding="utf-8")):
            if entry["task"] != "music":
                continue
            name = PurePosixPath(entry["audio_id"]).name
            row = make_row(PurePosixPath(name).stem, "mmau", [], split="test", audio_names=[name])
            pair = ask_choice(entry["question"], entry["choices"], entry["answer"])
            clips.setdefault(row["id"], row)["qa"].append(pair)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not MMAU's JSON ({type(error).__name__}: {error})") from error
    if not clips:
        raise ValueError(f"{path}: not MMAU's JSON, or without a question about music")
    return list(clips.values())


def read_muchomusic(path: str | Path, seed: int = 0) -> list[dict]:
    """
    The questions of MuChoMusic's CSV, each with its four options in an order drawn by the seed.

    Raises ValueError or OSError: no such file, or not of that form.
    """
    rng, clips = random.Random(seed), {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            for entry in csv.DictReader(file):
                options = [entry[name].strip() for name in MUCHOMUSIC_OPTIONS]
                identifier = entry["dataset_identifier"].removesuffix(".json")
                row = make_row(
                    identifier, entry["dataset"], [], split="test", audio_names=list(_audio_names(identifier))
                )
                pair = ask_choice(entry["question"], rng.sample(options, len(options)), options[0])
                clips.setdefault(identifier, row)["qa"].append(pair)
    except (csv.Error, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not MuChoMusic's CSV ({type(error).__name__}: {error})") from error
    if not clips:
        raise ValueError(f"{path}: not MuChoMusic's CSV, or without a question")
    return list(clips.values())


def _audio_names(identifier: str) -> Iterator[str]:
    """The Song Describer names its files by number, MusicCaps by the video before the last underscore."""
    if identifier.isdigit():
        yield f"{int(identifier) % 100:02d}/{identifier}.2min.mp3"
        yield f"{identifier}.2min.mp3"
        yield f"{identifier}.mp3"
    else:
        video = identifier.rpartition("_")[0] or identifier
        yield from (f"{name}.{ending}" for name in (video, identifier) for ending in ("wav", "mp3", "flac"))


def main() -> None:
    """Command line: a multiple-choice benchmark as qa.jsonl."""
    parser = argparse.ArgumentParser(prog="python -m mullama.evaluation.multiple_choice", description=main.__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--mmau", type=Path, metavar="FILE", help="mmau-test-mini.json")
    source.add_argument("--muchomusic", type=Path, metavar="FILE", help="muchomusic.csv")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the qa.jsonl to write")
    parser.add_argument("--seed", type=int, default=0, help="of MuChoMusic's order of options")
    args = parser.parse_args()
    try:
        rows = read_mmau(args.mmau) if args.mmau else read_muchomusic(args.muchomusic, args.seed)
        partial = args.out.with_name(f"{args.out.name}.partial")
        partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        partial.rename(args.out)
    except (OSError, ValueError) as error:
        raise SystemExit(f"mullama: {error}") from error
    print(f"{args.out}: {sum(len(row['qa']) for row in rows)} questions about {len(rows)} clips")


if __name__ == "__main__":
    main()
