"""The dataset's card: what is in it, counted while it was built, and what each source's licence allows."""

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import DatasetCardData

from .rows import SPLITS

if TYPE_CHECKING:
    from .build import BuildReport

# What the owners of a source allow with its text and with its audio (REFERENCE.md 5).
SOURCE_NOTES = {
    "musiccaps": (
        "[MusicCaps](https://huggingface.co/datasets/google/MusicCaps)",
        "CC-BY-SA-4.0",
        "videos of YouTube: not redistributable, keep this part private",
    ),
    "magnatagatune": (
        "[MagnaTagATune](https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset)",
        "CC-BY-NC-SA-3.0",
        "Magnatune, CC-BY-NC-SA: not for commercial use",
    ),
    "jamendo": (
        "[MTG-Jamendo](https://github.com/MTG/mtg-jamendo-dataset)",
        "CC-BY-NC-SA-4.0",
        "a Creative Commons licence of each track's own",
    ),
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Licences that the Hub knows by name; others are told in the card's text.
_HUB_LICENSES = {
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "unknown", "other"),
}


def write_card(path: Path, report: "BuildReport", name: str, with_audio: bool) -> None:
    """Write `README.md` of a built dataset: YAML with `configs`, counts, licences, a sample."""
    text = f"{card_head(report, name, with_audio)}\n\n{_body(report, name, with_audio, _splits(report))}"
    path.write_text(text, encoding="utf-8")


def card_head(report: "BuildReport", name: str, with_audio: bool) -> str:
    """The card's metadata: what `load_dataset` and the Hub read."""
    splits = _splits(report)
    configs = []
    if with_audio:
        configs.append(_config("default", "data", [split for split in splits if report.shards[split]], report))
    configs.append(_config("text", "text", splits, report))
    configs[0]["default"] = True
    licenses = sorted({license.lower() for license in report.licenses.values()})
    data = DatasetCardData(
        language="en",
        license=[license if license in _HUB_LICENSES else "other" for license in licenses],
        task_categories=["question-answering", "text-generation"],
        size_categories=[next((label for bound, label in _SIZES if report.clips.total() < bound), "n>1M")],
        tags=["music", "audio", "music-question-answering", "mullama"],
        pretty_name=name,
        configs=configs,
    )
    return f"---\n{data.to_yaml()}\n---"


def _splits(report: "BuildReport") -> list[str]:
    return [split for split in SPLITS if any(key[0] == split for key in report.clips)]


def _config(name: str, folder: str, splits: list[str], report: "BuildReport") -> dict:
    files = [{"split": split, "path": f"{folder}/{split}-*.parquet"} for split in splits]
    # `datasets` names its cache by a folder's name and configs, not by what is in it: the fingerprint makes a dataset
    # that was built anew another one.
    return {"config_name": name, "data_files": files, "description": f"fingerprint {report.fingerprint}"}


def _body(report: "BuildReport", name: str, with_audio: bool, splits: list[str]) -> str:
    config, split = "" if with_audio else ', "text"', splits[-1]
    parts = [
        f"# {name}",
        "Questions and answers about music, in the form of MusicQA (the MU-LLaMA paper, arXiv 2308.11276): one row a "
        "clip, with the answers to four fixed questions (`template`) and to open ones (`open`).",
        "```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("THIS_FOLDER_OR_REPO"{config}, split="{split}", streaming=True)\n'
        'print(next(iter(rows))["qa"][0])\n```',
        "## What is in it",
        _counts(report),
    ]
    if with_audio:
        parts.append(
            "Config `default` embeds each clip's audio file (`audio: {bytes, path}`, undecoded: no torchcodec is "
            "needed); config `text` holds the same rows without audio."
        )
    if report.left_out:
        parts.append(
            f"{len(report.left_out)} clips have no usable audio and are in `text` only; `left_out.jsonl` tells why."
        )
    if report.models:
        parts.append(
            f"The answers were written by {', '.join(sorted(report.models))} from captions or tags, not by ear."
        )
    else:
        parts.append("The answers were written by a language model from captions or tags, not by ear.")
    parts += ["## Licences", _licenses(report), "## A row", _sample(report)]
    return "\n\n".join(parts) + "\n"


def _counts(report: "BuildReport") -> str:
    lines = ["| split | source | clips | with audio | pairs | hours |", "|---|---|---:|---:|---:|---:|"]
    for key in sorted(report.clips, key=lambda key: (SPLITS.index(key[0]), key[1])):
        split, source = key
        lines.append(
            f"| {split} | {source} | {report.clips[key]:,} | {report.audio_clips[key]:,} | {report.pairs[key]:,} "
            f"| {report.seconds[key] / 3600:.1f} |"
        )
    return "\n".join(lines)


def _licenses(report: "BuildReport") -> str:
    lines = ["| source | its text | its audio |", "|---|---|---|"]
    for source, license in sorted(report.licenses.items()):
        if source in SOURCE_NOTES:
            lines.append("| " + " | ".join(SOURCE_NOTES[source]) + " |")
        else:
            lines.append(f"| {source} | {license} | as its owner says |")
    return (
        "\n".join(lines) + "\n\nQuestions and answers derive from the sources' text, so they stand under its licence. "
        "MusicQA as it was released is tagged MIT, which cannot override these licences. Where audio may not be "
        "redistributed, text may: publish config `text` alone."
    )


def _sample(report: "BuildReport") -> str:
    sample = report.sample
    if sample is None:
        return "(no row has usable audio)"
    known = [f"`{sample['id']}`"]
    if sample["duration"]:
        known.append(f"{sample['duration']:.1f} s")
    if sample["caption"]:
        known.append(f"caption: {sample['caption']}")
    if sample["tags"]:
        known.append(f"tags: {', '.join(sample['tags'])}")
    pairs = "\n".join(f"- *{pair['question']}* {pair['answer']}" for pair in sample["qa"])
    return "; ".join(known) + f"\n\n{pairs}"
