"""Evaluation on real recordings: drums and instrument family of excerpts from music that Debian ships.

The recordings are not part of this project: fetch them first, into a folder of their own, with the line that
`python -m mullama.evaluation.real_recordings --list` prints (Debian 12). Then

`python -m mullama.evaluation.real_recordings --model DIR --packages FOLDER --out DIR` cuts the excerpts that
real_recordings.csv names, asks about each, and writes results.json, predictions.jsonl and results.md.

Conventions: a label stands where its sources agree (the `source` column tells them: what the package says of a file,
musicnn's tags, the spectrogram as seen by eye); an empty one is not asked. Each excerpt is asked each question in
several wordings, some of which never trained; its figure is their mean. Intervals are 95 % bootstrap percentiles over
*recordings*, since excerpts of one recording are alike. Chance is what the model's own answers would reach if they
were dealt out to the excerpts at random, and `p` the share of 10,000 such deals that do as well as the model.
"""

import argparse
import csv
import io
import json
import random
import subprocess
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mullama.dataset_scripts.synthetic.questions import fill
from mullama.dataset_scripts.synthetic.truth import FAMILIES
from mullama.dataset_scripts.synthetic.wordings import HELD_OUT, TRAINING
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor, read_audio

from .answers import read_answer
from .synthetic import answer_questions, bootstrap_interval, encode_waveforms, write_whole

TABLE = Path(__file__).with_name("real_recordings.csv")
WORDINGS = 4  # of each split, for each excerpt and kind
DEALS = 10_000


@dataclass
class Excerpt:
    """A stretch of a recording, in seconds, with its labels; None is not known."""

    package: str
    file: str
    start: float
    end: float
    drums: bool | None
    family: str | None
    source: str

    @property
    def recording(self) -> str:
        """What excerpts are alike of: one file; the stems of one song lie in one folder, and count as one."""
        path = Path(self.file)
        return str(path.parent if path.stem in ("guitar", "song") else path)


def read_table(path: Path = TABLE) -> list[Excerpt]:
    """The excerpts of a table. Raises ValueError where a row's label or times are none."""
    excerpts = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if row["drums"] not in ("yes", "no", "") or row["family"] not in (*FAMILIES, ""):
                raise ValueError(f"{path} line {number}: no such label: {row['drums']!r}, {row['family']!r}")
            start, end = float(row["start"]), float(row["end"])
            if not 0 <= start < end:
                raise ValueError(f"{path} line {number}: the excerpt ends at {end} s, before its start at {start} s")
            drums = {"yes": True, "no": False, "": None}[row["drums"]]
            family = row["family"] or None
            excerpts.append(Excerpt(row["package"], row["file"], start, end, drums, family, row["source"]))
    return excerpts


def read_from_package(folder: Path, package: str, files: list[str]) -> dict[str, bytes]:
    """Contents of `files` of the Debian package that lies in `folder`.

    Raises FileNotFoundError, with what to do, where the package or a file of it is missing.
    """
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        raise FileNotFoundError(f"{folder} has no {package}_*.deb: run `apt-get download {package}` there")
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", found[-1]], capture_output=True, check=True).stdout
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name in files:
                contents[name] = tar.extractfile(member).read()
    missing = sorted(set(files) - contents.keys())
    if missing:
        raise FileNotFoundError(f"{found[-1].name} does not hold {missing[0]}: another version of the package?")
    return contents


def load_excerpts(folder: Path, excerpts: list[Excerpt]) -> list[np.ndarray]:
    """The excerpts' sound, mono float32 at 24 kHz, out of the Debian packages in `folder`."""
    waveforms = {}
    for package in dict.fromkeys(excerpt.package for excerpt in excerpts):
        wanted = [number for number, excerpt in enumerate(excerpts) if excerpt.package == package]
        contents = read_from_package(folder, package, [excerpts[number].file for number in wanted])
        for number in wanted:
            excerpt = excerpts[number]
            waveforms[number] = read_audio(contents[excerpt.file], start=excerpt.start, end=excerpt.end)
    return [waveforms[number] for number in range(len(excerpts))]


def ask(kind: str, count: int, seed: int) -> list[list[str]]:
    """For each of `count` excerpts, its questions of a kind: `WORDINGS` that trained, then as many that did not."""
    rng = random.Random(f"{seed} {kind}")
    return [
        [fill(template, rng) for source in (TRAINING, HELD_OUT) for template in rng.sample(source[kind], WORDINGS)]
        for _ in range(count)
    ]


def judge(truths: list, reads: list[list], recordings: list[str], seed: int) -> dict:
    """Figures of one kind: `truths` per excerpt, `reads` the values read from its answers, `recordings` its source."""
    right = np.array([[read == truth for read in row] for truth, row in zip(truths, reads, strict=True)], float)
    rng = np.random.default_rng(seed)
    values = sorted(set(truths), key=str)
    votes = np.array([[np.mean([read == value for read in row]) for value in values] for row in reads])
    columns = np.array([values.index(truth) for truth in truths])
    deals = [votes[rng.permutation(len(votes)), columns].mean() for _ in range(DEALS)]
    low, high = bootstrap_interval(right.mean(1), np.array(recordings), seed)
    return {
        "accuracy": float(right.mean()),
        "low": low,
        "high": high,
        "seen": float(right[:, :WORDINGS].mean()),
        "unseen": float(right[:, WORDINGS:].mean()),
        "balanced": float(np.mean([right[columns == number].mean() for number in range(len(values))])),
        "by_value": {str(value): float(right[columns == number].mean()) for number, value in enumerate(values)},
        "chance": float(np.mean(deals)),
        "majority": max(Counter(truths).values()) / len(truths),
        "p": float(np.mean(np.array(deals) >= right.mean() - 1e-9)),
        "excerpts": len(truths),
        "recordings": len(set(recordings)),
    }


def to_markdown(results: dict) -> str:
    """The figures as a table for people."""
    lines = ["| kind | accuracy | balanced | chance | p | majority | excerpts | recordings |", "|" + "---|" * 8]
    for kind, row in results["kinds"].items():
        accuracy = f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        numbers = f"{row['balanced']:.3f} | {row['chance']:.3f} | {row['p']:.4f} | {row['majority']:.3f}"
        lines.append(f"| {kind} | {accuracy} | {numbers} | {row['excerpts']} | {row['recordings']} |")
    for kind, row in results["kinds"].items():
        each = ", ".join(f"{value} {figure:.2f}" for value, figure in row["by_value"].items())
        lines += ["", f"{kind.capitalize()}, by truth: {each}."]
    return "\n".join(lines) + "\n"


def evaluate_real_recordings(
    model_folder: str, packages: Path, out: Path, seed: int = 0, device: str = "cpu", table: Path = TABLE
) -> dict:
    """Evaluate a model on the excerpts of `table`, write what is found into `out`, and return the figures."""
    excerpts = read_table(table)
    waveforms = load_excerpts(packages, excerpts)
    model = MuLlamaForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).to(device).eval()
    processor = MuLlamaProcessor.from_pretrained(model_folder)
    # One by one: excerpts of unlike length would only pad each other.
    means = torch.cat([encode_waveforms(model, processor, [waveform]) for waveform in waveforms])
    with torch.no_grad():
        embeds = model.model.get_audio_embeds(audio_features=means.to(device))

    results, predictions = {"seed": seed, "kinds": {}}, []
    for kind in ("drums", "family"):
        labelled = [number for number, excerpt in enumerate(excerpts) if getattr(excerpt, kind) is not None]
        questions = ask(kind, len(labelled), seed)
        heard = embeds[[number for number, asked in zip(labelled, questions, strict=True) for _ in asked]]
        answers = answer_questions(model, processor, sum(questions, []), heard)
        reads = []
        for row, (number, asked) in enumerate(zip(labelled, questions, strict=True)):
            excerpt, said = excerpts[number], answers[row * 2 * WORDINGS : (row + 1) * 2 * WORDINGS]
            reads.append([read_answer(kind, answer, "drums") for answer in said])
            predictions += [
                {"file": excerpt.file, "start": excerpt.start, "kind": kind, "question": question, "answer": answer}
                | {"read": read, "expected": getattr(excerpt, kind)}
                for question, answer, read in zip(asked, said, reads[-1], strict=True)
            ]
        truths = [getattr(excerpts[number], kind) for number in labelled]
        results["kinds"][kind] = judge(truths, reads, [excerpts[number].recording for number in labelled], seed)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in predictions))
    write_whole(out / "results.md", to_markdown(results))
    write_whole(out / "results.json", json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    """Command line: evaluate a model on real recordings."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--list", action="store_true", help="print the command that fetches the recordings, and stop")
    parser.add_argument("--model", help="model folder or Hub id")
    parser.add_argument("--packages", type=Path, help="folder that holds the Debian packages")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.list:
        print("apt-get download " + " ".join(dict.fromkeys(excerpt.package for excerpt in read_table())))
        return
    if not (args.model and args.packages and args.out):
        parser.error("--model, --packages and --out are needed")
    try:
        results = evaluate_real_recordings(args.model, args.packages, args.out, args.seed, args.device)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"error: {error}") from error
    print(to_markdown(results), end="")


if __name__ == "__main__":
    main()
