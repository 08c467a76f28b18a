"""Scores -> note lists: the pieces of music21's corpus whose licences let weights trained on them ship.

`python -m mullama.dataset_scripts.synthetic.scores --out scores.jsonl` parses each score once (minutes) and writes one
piece a line: its style, time signature, down-beats, and parts of notes in quarter notes and MIDI numbers.
"""

import argparse
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

# Collection of music21's corpus -> style. Left out for their licences: palestrina, essenFolksong, monteverdi, josquin;
# left out because a style of a dozen pieces cannot be held out from itself: schumann, chopin, joplin.
STYLE_OF_COLLECTION = {
    "trecento": "medieval",
    "bach": "baroque",
    "haydn": "classical",
    "mozart": "classical",
    "beethoven": "classical",
    "ryansMammoth": "folk",
    "oneills1850": "folk",
    "airdsAirs": "folk",
}
SPLITS = ("train", "validation", "test")


@dataclass
class Piece:
    """One piece: `parts` of (onset, duration, MIDI pitch), `downbeats` the onsets of bars; times in quarter notes."""

    name: str
    style: str
    time_signature: str
    downbeats: list[float]
    parts: list[list[tuple[float, float, int]]]

    @property
    def split(self) -> str:
        """The split the piece belongs to, by the checksum of its name: one in ten validation, one in ten test."""
        return {0: "test", 5: "validation"}.get(zlib.crc32(self.name.encode()) % 10, "train")


def corpus_files() -> list[tuple[str, str]]:
    """(style, path) of every score file of the allowed collections, sorted by path."""
    import music21

    root = Path(music21.__file__).parent / "corpus"
    files = []
    for collection, style in STYLE_OF_COLLECTION.items():
        folder = root / collection
        if not folder.is_dir():
            raise FileNotFoundError(
                f"music21's corpus has no folder {collection!r}: install music21 10.5 with its corpus"
            )
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".mxl", ".xml", ".krn", ".abc"}:
                files.append((style, str(path)))
    return sorted(files, key=lambda item: item[1])


def _notes(part) -> list[tuple[float, float, int]]:
    notes = []
    for element in part.flatten().notes:
        onset, duration = float(element.offset), float(element.quarterLength)
        if duration <= 0 or not element.pitches:
            continue
        notes.extend((round(onset, 4), round(duration, 4), pitch.midi) for pitch in element.pitches)
    return sorted(notes)


def parse_file(item: tuple[str, str]) -> list[Piece]:
    """The pieces of one score file (an ABC file may hold hundreds); scores that music21 cannot read give none."""
    import music21

    style, path = item
    name = "/".join(Path(path).parts[-2:])
    try:
        parsed = music21.converter.parse(path)
    except (
        music21.exceptions21.Music21Exception,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        print(f"{name}: not readable by music21 ({type(error).__name__}), left out", flush=True)
        return []
    scores = list(parsed.scores) if isinstance(parsed, music21.stream.Opus) else [parsed]
    pieces = []
    for number, score in enumerate(scores):
        parts = [notes for notes in map(_notes, score.parts) if len(notes) > 8]
        signatures = list(score.recurse().getElementsByClass(music21.meter.TimeSignature))
        if not parts or not signatures:
            continue
        bars = sorted(
            {round(float(bar.offset), 4) for bar in score.parts[0].getElementsByClass(music21.stream.Measure)}
        )
        pieces.append(Piece(f"{name}#{number}", style, signatures[0].ratioString, bars, parts))
    return pieces


def write_scores(out: Path, processes: int | None = None) -> int:
    """Parse the allowed corpus into `out`, JSON lines in path order; returns the number of pieces."""
    files = corpus_files()
    count, partial = 0, out.with_suffix(".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool, partial.open("w") as sink:
        for pieces in tqdm(pool.map(parse_file, files, chunksize=4), total=len(files), desc="scores", disable=None):
            for piece in pieces:
                sink.write(json.dumps(asdict(piece), separators=(",", ":")) + "\n")
                count += 1
    partial.replace(out)
    return count


def read_scores(path: Path) -> Iterator[Piece]:
    """The pieces of a file that `write_scores` made."""
    with path.open() as source:
        for line in source:
            yield Piece(**json.loads(line))


def main() -> None:
    """Command line: parse the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(f"{write_scores(args.out)} pieces in {args.out}")


if __name__ == "__main__":
    main()
