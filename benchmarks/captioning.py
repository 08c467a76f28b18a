"""
How fast a folder is captioned: in batches against one by one, and decoding ahead against decoding in between.

    python benchmarks/captioning.py [--model M] [--files N] [--turns N]

Songs of 5 to 20 s in four formats are captioned in turns by one model that is loaded before; medians are told.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

FORMATS = ("wav", "flac", "ogg", "mp3")
WAYS = {"batch 1, workers 0": (1, 0), "batch 16, workers 0": (16, 0), "batch 16, workers 2": (16, 2)}


def write_songs(folder: Path, count: int) -> None:
    """Stereo songs at 44.1 kHz, as collections have them."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for number in range(count):
        seconds = np.arange(round(rng.uniform(5, 20) * 44_100)) / 44_100
        samples = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 800) * seconds) + rng.normal(0, 0.02, len(seconds))
        soundfile.write(folder / f"{number:04}.{FORMATS[number % 4]}", np.stack([samples] * 2, axis=1), 44_100)


def main() -> None:
    # Not above: the processes that decode import this file, and are slow to start if it imports torch.
    from mullama import captioning

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or Hub id (default: the embedded model)")
    parser.add_argument("--files", type=int, default=48)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    asker = captioning.load_asker(args.model)
    captioning.load_asker = lambda *_: asker
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        (music := Path(folder, "music")).mkdir()
        write_songs(music, args.files)
        for turn in range(args.turns):
            for way, (batch_size, workers) in WAYS.items():
                out = Path(folder, f"{turn} {way}.jsonl")
                settings = captioning.CaptionSettings(args.model)
                began = time.perf_counter()
                captioning.caption_files([music], out, settings, batch_size=batch_size, workers=workers)
                times[way].append(time.perf_counter() - began)
    medians = {way: statistics.median(seconds) for way, seconds in times.items()}
    for way, seconds in medians.items():
        print(f"{way}: {args.files / seconds:.2f} files a second")
    alone, batched, ahead = medians.values()
    print(f"a batch of 16 takes {batched / alone:.2f} of the time; two workers take {ahead / batched:.2f} of that")


if __name__ == "__main__":
    main()
