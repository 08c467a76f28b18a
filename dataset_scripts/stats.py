"""What a built dataset holds, counted from its Parquet files without reading the audio: figures and plots."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .rows import SPLITS

TOP_TAGS = 30


def dataset_stats(folder: str | Path) -> dict:
    """
    Counts and lengths of a dataset folder that `mullama data build` made.

    Returns:
        `{"splits": {split: {...}}, "sources", "kinds", "tags", "bytes"}`, a split's dict holding `clips`,
        `clips_with_audio`, `pairs`, `hours`, and for `duration_seconds`, `question_words`, `answer_words` the
        smallest, 5 %, middle, 95 % and largest value and the mean.

    Raises:
        ValueError: no dataset of that form, or a broken file in it.
    """
    return _count(Path(folder))[0]


def plot_stats(folder: str | Path, out: str | Path) -> list[Path]:
    """Draw durations, text lengths, question kinds and tags as PNG files in `out`, and return their paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stats, values = _count(Path(folder))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = []

    def draw(name: str, title: str, x_label: str, y_label: str, fill) -> None:
        figure = Figure(figsize=(7, 4), layout="constrained")
        FigureCanvasAgg(figure)  # no display is needed, and no global state left
        axes = figure.subplots()
        fill(axes)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)

    def histogram(measure: str, bins: int):
        def fill(axes) -> None:
            splits = [split for split in values if len(values[split][measure])]
            axes.hist([values[split][measure] for split in splits], bins=bins, stacked=True, label=splits)
            axes.legend()

        return fill

    if any(len(measures["duration_seconds"]) for measures in values.values()):
        draw("durations", "Length of the audio", "seconds", "clips", histogram("duration_seconds", 40))
    draw("question_lengths", "Length of the questions", "words", "questions", histogram("question_words", 30))
    draw("answer_lengths", "Length of the answers", "words", "answers", histogram("answer_words", 50))

    def bars(counts: dict[str, int]):
        def fill(axes) -> None:
            axes.barh(list(counts), list(counts.values()))
            axes.invert_yaxis()

        return fill

    draw("question_kinds", "First words of the questions", "questions", "", bars(stats["kinds"]["first_words"]))
    if stats["tags"]:
        draw("tags", "Most frequent tags", "clips", "", bars(dict(list(stats["tags"].items())[:TOP_TAGS])))
    return paths


def _count(folder: Path) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    files = sorted((folder / "text").glob("*.parquet"))
    if not files:
        raise ValueError(f"{folder}: no text/*.parquet in it; is it a dataset that `mullama data build` made?")
    sources, kinds, first_words, tags = Counter(), Counter(), Counter(), Counter()
    splits: dict[str, dict[str, list]] = {}
    for path in files:
        split = path.name.split("-")[0]
        measures = splits.setdefault(
            split, {"clips": [], "duration_seconds": [], "question_words": [], "answer_words": []}
        )
        try:
            for batch in pq.ParquetFile(path).iter_batches(columns=["source", "tags", "qa", "duration"]):
                for row in batch.to_pylist():
                    sources[row["source"]] += 1
                    tags.update(row["tags"])
                    measures["clips"].append(len(row["qa"]))
                    if row["duration"] is not None:
                        measures["duration_seconds"].append(row["duration"])
                    for pair in row["qa"]:
                        kinds[pair["kind"]] += 1
                        words = pair["question"].split()
                        first_words[" ".join(words[:2]).lower().rstrip("?")] += 1
                        measures["question_words"].append(len(words))
                        measures["answer_words"].append(len(pair["answer"].split()))
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path}: broken, or not of this project's form ({error})") from error
    values = {
        split: {name: np.asarray(numbers) for name, numbers in splits[split].items()}
        for split in SPLITS
        if split in splits
    }
    stats = {
        "splits": {split: _summary(measures) for split, measures in values.items()},
        "sources": dict(sources.most_common()),
        "kinds": {**kinds, "first_words": dict(first_words.most_common(12))},
        "tags": dict(tags.most_common()),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*.parquet")),
    }
    return stats, values


def _summary(measures: dict[str, np.ndarray]) -> dict:
    summary = {
        "clips": len(measures["clips"]),
        "clips_with_audio": len(measures["duration_seconds"]),
        "pairs": int(measures["clips"].sum()),
        "hours": float(measures["duration_seconds"].sum() / 3600),
    }
    for name in ("duration_seconds", "question_words", "answer_words"):
        numbers = measures[name]
        if len(numbers):
            low, first, middle, last, high = np.percentile(numbers, [0, 5, 50, 95, 100])
            summary[name] = {
                "min": float(low),
                "p5": float(first),
                "median": float(middle),
                "p95": float(last),
                "max": float(high),
                "mean": float(numbers.mean()),
            }
    return summary
