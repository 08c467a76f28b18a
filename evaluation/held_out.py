"""
Rendered clips with known truth as a dataset of MusicQA's form, for `mullama evaluate`: one question a kind and clip.

    python -m mullama.evaluation.held_out --clips data/tiny/test_a --count 150 --out held_out
    python -m mullama.evaluation.held_out --clips data/tiny/train --count 2000 --out training_text --text-only
"""

import argparse
import random
import tempfile
from pathlib import Path

import soundfile

from ..dataset_scripts.build import BuildReport, build_dataset
from ..dataset_scripts.rows import make_row
from ..dataset_scripts.synthetic.questions import KINDS, sample_pair
from ..dataset_scripts.synthetic.render import load_clips
from ..processing.audio_io import SAMPLING_RATE


def build_held_out(
    clips: str | Path, out: str | Path, count: int, seed: int = 0, wordings: str = "seen", text_only: bool = False
) -> BuildReport:
    """
    Build a dataset folder, split `test`, of a rendered set's first clips.

    Args:
        clips (`str` or `Path`): What `dataset_scripts.synthetic.render` wrote.
        out (`str` or `Path`): The dataset folder to make.
        count (`int`): So many clips, each asked once about every kind.
        wordings (`str`): `seen` in training, or `unseen`.
        text_only (`bool`): Without audio: to count a training set's answers.

    Raises:
        ValueError or OSError: no such set, or `out` holds something.
    """
    clips = Path(clips)
    if not (clips / "truth.jsonl").is_file():
        raise FileNotFoundError(f"{clips}: not a rendered set (no truth.jsonl)")
    samples, truths = load_clips(clips)
    rng = random.Random(seed)
    rows = []
    for truth in truths[:count]:
        pairs = [sample_pair(truth, rng, wordings, kind) for kind in KINDS]
        qa = [{"question": pair.question, "answer": pair.answer, "kind": pair.kind} for pair in pairs]
        rows.append(
            make_row(truth.id, "synthetic", qa, license="mixed", split="test", audio_names=[f"{truth.id}.flac"])
        )
    if text_only:
        return build_dataset(rows, out)
    with tempfile.TemporaryDirectory() as folder:
        for row, clip in zip(rows, samples, strict=False):
            soundfile.write(Path(folder) / row["audio_names"][0], clip, SAMPLING_RATE)
        return build_dataset(rows, out, folder)


def main() -> None:
    """Command line: a rendered set as a dataset of MusicQA's form."""
    parser = argparse.ArgumentParser(prog="python -m mullama.evaluation.held_out", description=main.__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="rendered set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True, help="so many of its clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wordings", choices=("seen", "unseen"), default="seen")
    parser.add_argument("--text-only", action="store_true", help="leave the audio out")
    args = parser.parse_args()
    try:
        report = build_held_out(args.clips, args.out, args.count, args.seed, args.wordings, args.text_only)
    except (OSError, ValueError) as error:
        raise SystemExit(f"mullama: {error}") from error
    print(f"{args.out}: {report.clips.total()} clips, {report.pairs.total()} questions")


if __name__ == "__main__":
    main()
