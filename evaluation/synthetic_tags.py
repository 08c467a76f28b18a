"""
The synthesised set in MagnaTagATune's own layout, so that the encoder probe runs on music whose truth is known.

    python -m mullama.evaluation.synthetic_tags --train data/tiny/train --validation data/tiny/validation \
        --test data/tiny/test_a --out data/tiny/tagged --limit 2000

Every clip becomes an mp3 in one of the split's folders, its tags what is true of it: instruments, family, texture,
tempo, register, loudness, style.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import soundfile
from mullama.dataset_scripts.synthetic.render import SAMPLING_RATE, load_clips
from mullama.dataset_scripts.synthetic.truth import CLOSED_KINDS, ClipTruth
from tqdm import tqdm

from .probe import SPLIT_FOLDERS

TABLE = "annotations_final.csv"


def tags_of(truth: ClipTruth) -> set[str]:
    """What is true of a clip, as tags; values other than instruments carry their kind ("slow tempo")."""
    kinds = [kind for kind in CLOSED_KINDS if kind != "instrument"]
    return {*truth.instruments, *(f"{getattr(truth, kind)} {kind}" for kind in kinds)}


def write_layout(sets: dict[str, Path], out: Path, limit: int | None = None) -> int:
    """
    Lay out rendered sets (`load_clips`), one for each of the probe's splits, below `out`; the table is written last.

    Returns the number of clips; `limit` is the most of a split.
    """
    rows: list[tuple[str, set[str]]] = []
    for split, folder in sets.items():
        waveforms, truths = load_clips(folder)
        places = SPLIT_FOLDERS[split]
        for number, (samples, truth) in enumerate(
            zip(tqdm(waveforms[:limit], desc=split, disable=None), truths[:limit], strict=True)
        ):
            name = f"{places[number % len(places)]}/{truth.id.replace('/', '-')}.mp3"
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(out / name, np.asarray(samples), SAMPLING_RATE, format="MP3")
            rows.append((name, tags_of(truth)))
    tags = sorted(set().union(*(of_clip for _, of_clip in rows)))
    partial = out / f"{TABLE}.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        table.writerow(["clip_id", *tags, "mp3_path"])
        for number, (name, of_clip) in enumerate(rows, start=1):
            table.writerow([number, *(int(tag in of_clip) for tag in tags), name])
    partial.replace(out / TABLE)
    return len(rows)


def main() -> None:
    """Command line: lay out rendered sets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for split in SPLIT_FOLDERS:
        parser.add_argument(f"--{split}", type=Path, required=True, metavar="DIR", help="a rendered set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N clips of each only")
    args = parser.parse_args()
    sets = {split: getattr(args, split) for split in SPLIT_FOLDERS}
    print(f"{write_layout(sets, args.out, args.limit)} clips in {args.out}")


if __name__ == "__main__":
    main()
