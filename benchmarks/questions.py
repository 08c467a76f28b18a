"""
What a song costs and what a question costs: a prepared song is never heard again.

Asks one song several questions and counts how often the encoder runs; times hearing it, the first question and the
following ones, and the memory that hearing an hour takes above hearing a minute.

    python benchmarks/questions.py [--model DIR] [--minutes M]
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from mullama.asking import load_asker

CLIP = Path(__file__).parents[1] / "spaces_app" / "examples" / "sectoid_metal_madness.ogg"
QUESTIONS = ["Which instruments play?", "Are there drums?", "Is it fast or slow?", "Describe the audio."]


def long_song(minutes: float, folder: Path) -> Path:
    """The shipped clip over and over, as a file of so many minutes."""
    samples, rate = soundfile.read(CLIP, dtype="float32")
    path = folder / f"{minutes:g} minutes.flac"
    with soundfile.SoundFile(path, "w", rate, samples.shape[1]) as file:
        for _ in range(round(minutes * 60 * rate / len(samples))):
            file.write(samples)
    return path


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder (default: the embedded one)")
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    asker = load_asker(args.model)
    runs = []
    asker.model.model.audio_tower.register_forward_hook(lambda *_: runs.append(None))

    with tempfile.TemporaryDirectory() as folder:
        asker.hear(long_song(1, Path(folder)))
        after_a_minute = peak_megabytes()
        path = long_song(args.minutes, Path(folder))
        runs.clear()
        began = time.perf_counter()
        song = asker.hear(path)
        hearing = time.perf_counter() - began
    heard, memory = len(runs), peak_megabytes() - after_a_minute
    seconds = []
    for question in QUESTIONS:
        began = time.perf_counter()
        asker.ask(song, question, max_new_tokens=32)
        seconds.append(time.perf_counter() - began)
    result = {
        "song_seconds": round(song.seconds),
        "hearing_seconds": round(hearing, 2),
        "times_real_time": round(song.seconds / hearing),
        "windows": heard,
        "encoder_runs_of_questions": len(runs) - heard,
        "question_seconds": [round(second, 3) for second in seconds],
        "megabytes_above_a_minute": round(memory, 1),
        "megabytes_of_its_samples": round(float(np.prod([song.seconds, 24_000, 4])) / 2**20, 1),
    }
    for name, value in result.items():
        print(f"{name.replace('_', ' '):28}{value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
