"""The embedded model's folder, and what is said of it: its card and the README's table, from measured results alone.

`python -m mullama.model_card.tiny --model runs/tiny/answers --results runs/tiny/evaluation/results.json --real
runs/tiny/real/results.json --out checkpoints/mullama-tiny --readme README.md` writes the folder in half precision.
"""

import argparse
import json
from pathlib import Path

import torch
from huggingface_hub import EvalResult
from mullama.evaluation.synthetic import BARS
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.modeling_mullama.export_mullama import export_model_folder
from mullama.processing import MuLlamaProcessor

from .cards import make_model_card

MAX_BYTES = 30_000_000
README_BEGIN, README_END = "<!-- tiny-results:begin -->", "<!-- tiny-results:end -->"
NAME = "mullama-tiny"
SHOWN_KINDS = {
    "instrument": "lead instrument (15)",
    "instruments": "all instruments",
    "second_instrument": "second instrument",
    "family": "its family (7)",
    "drums": "drums",
    "texture": "texture (solo, duo, ensemble, band)",
    "register": "register (low, middle, high)",
    "loudness": "loudness (soft, loud)",
    "tempo": "tempo (slow, moderate, fast)",
    "style": "style (4)",
    "choice": "one of two instruments",
    "yes_no": "yes or no, balanced",
    "describe": "descriptions, share of what they tell",
    "cannot_tell": "says that it cannot tell",
}
SUMMARY = (
    "The model that `mullama` answers with when no other is named: a MU-LLaMA in every part, small enough for a "
    "repository, trained from nothing on music with known truth. It answers short questions in English about what "
    "sounds: instruments and their families, drums, texture, register, loudness, tempo. It is a working example, not "
    "a rival of the 7B model."
)
LICENSE_NOTE = (
    "Apache-2.0, weights and code. Trained on renderings of scores from music21's corpus (bach, beethoven, mozart, "
    "haydn and trecento; the fiddle tunes of ryansMammoth, oneills1850 and airdsAirs, volunteer transcriptions of "
    "public-domain tunes) with the soundfonts FluidR3 GM (MIT), MuseScore General (MIT) and Csound's GM bank (public "
    "domain). Left out for their licences: palestrina, essenFolksong, monteverdi, josquin. The test soundfont "
    "TimGM6mb (GPL-2) was never trained on."
)
LIMITS = """## Limits

- It has heard renderings of notated music only. On real recordings it is better than chance, and no more is claimed.
- Style is right about half the time, of four.
- A yes or no comes after what it took the music for, and is no better than that: ask "which instrument" rather than
  "is it a piano".
- It cannot tell key, mode, metre, chords, lyrics, singer, composer, year or mood, and says so when asked.
- Tempo classes are 48-72, 92-116 and 148-196 beats per minute; music between them is put in one of them.
- Loudness means how hard the music is played, as far as timbre and the level of the file tell it.
- Questions in other languages than English get an answer that says so.
"""


TRAINING = """## Training

Scores were rendered to clips of 5 s whose truth is known. `make tiny` does it all again from nothing on two CPU cores,
in two hours.

1. Encoder: a MERT of 37.5 frames a second learned a log-mel and constant-Q spectrogram and the strength of onsets,
   then the clips' attributes, from 16,000 clips; then it was frozen. Its positional convolution is fixed to
   resonators on the onsets, which read the tempo.
2. Language: a LLaMA of 4 layers of width 256 learned the questions and answers, one to three in a conversation, as
   text alone.
3. Adapter (the paper's stage 1): layer mix, projection, blocks, prefix queries and gates; the rest frozen.
4. Answers (the paper's stage 2, the language side): LLaMA's own weights, the adapter following.

Stages 3 and 4 heard 12,000 further clips, which the encoder had not learned from. Recipes: `training/configs/tiny_*`.
"""


def real_sentence(real: dict) -> str:
    """What the model gets right on real recordings, in a sentence for each kind."""
    sentences = []
    for kind, row in real["kinds"].items():
        sentences.append(
            f"{kind} {row['accuracy']:.2f} (95 % interval {row['low']:.2f} to {row['high']:.2f}; chance "
            f"{row['chance']:.2f}, p {_p_value(row['p'])}; {row['excerpts']} excerpts of {row['recordings']} "
            "recordings)"
        )
    return (
        "On real recordings, chosen and labelled by stems, names, spectrograms and the musicnn tagger where these "
        + f"agree: {'; '.join(sentences)}. They are clear cases, not a random sample."
    )


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _cell(figures: dict, kind: str, condition: str) -> str:
    row = figures["kinds"].get(kind, {}).get(condition)
    return "-" if row is None else f"{row['accuracy']:.2f}"


def results_table(results: dict) -> str:
    """Accuracy by kind on both test sets, beside what deafness would reach."""
    test_a, test_b = results["sets"].values()
    lines = [
        "| asked | A: new pieces | with new wordings | B: new soundfont too | with new wordings | A, as a second "
        "question | A, another clip's audio | most frequent answer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, title in SHOWN_KINDS.items():
        cells = [_cell(test_a, kind, name) for name in ("seen", "unseen")]
        cells += [_cell(test_b, kind, name) for name in ("seen", "unseen")]
        cells += [_cell(test_a, kind, name) for name in ("second", "other")]
        majority = test_a["kinds"][kind].get("majority")
        lines.append(f"| {title} | {' | '.join(cells)} | {'-' if majority is None else f'{majority:.2f}'} |")
    return "\n".join(lines)


def missed_bars(results: dict) -> list[str]:
    """One line for each figure that falls short of what was asked of it."""
    lines = []
    for column, figures in enumerate(results["sets"].values()):
        for kind, checks in figures["met"].items():
            if not checks.get("bar", True):
                reached = figures["kinds"][kind]["seen"]["accuracy"]
                lines.append(f"{kind}, test {'AB'[column]}: {reached:.3f} against {BARS[kind][column]:.2f}")
            if not checks["unseen"]:
                row = figures["kinds"][kind]
                new, known = row["unseen"]["accuracy"], row["seen"]["accuracy"]
                lines.append(f"{kind} in new words, test {'AB'[column]}: {new:.3f} against {known:.3f} in known ones")
    return lines


def results_section(results: dict, real: str) -> str:
    """The measured results in words and a table."""
    clips = " and ".join(str(figures["clips"]) for figures in results["sets"].values())
    missed = missed_bars(results)
    return "\n".join(
        [
            f"Accuracy on {clips} held-out clips of 5 s: test A has new pieces, test B also a soundfont that "
            "never trained. Wordings are new where it says so. An answer that cannot be read counts as wrong.",
            "",
            results_table(results),
            "",
            f"Below what was aimed at: {'; '.join(missed)}."
            if missed
            else "Every figure that was aimed at is reached.",
            "",
            real,
        ]
    )


def hub_results(results: dict) -> list[EvalResult]:
    """The figures in the form that the Hub shows."""
    return [
        EvalResult(
            task_type="audio-text-to-text",
            task_name="Music question answering",
            dataset_type="synthetic",
            dataset_name=f"mullama synthesised clips, {name}",
            dataset_config=name,
            metric_type="accuracy",
            metric_name=title,  # without a name of its own, the Hub could not tell one accuracy from another
            metric_value=round(figures["kinds"][kind]["seen"]["accuracy"], 4),
        )
        for name, figures in results["sets"].items()
        for kind, title in SHOWN_KINDS.items()
    ]


def write_readme_block(readme: Path, block: str) -> None:
    """Put `block` between the README's marks. Raises ValueError if it has none."""
    text = readme.read_text(encoding="utf-8")
    if README_BEGIN not in text or README_END not in text:
        raise ValueError(f"{readme} lacks the lines {README_BEGIN} and {README_END}")
    head, rest = text.split(README_BEGIN, 1)
    tail = rest.split(README_END, 1)[1]
    readme.write_text(f"{head}{README_BEGIN}\n{block}\n{README_END}{tail}", encoding="utf-8")


def main() -> None:
    """Command line: write the embedded model's folder and the README's table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--results", type=Path, required=True, help="results.json of mullama.evaluation.synthetic")
    parser.add_argument("--real", type=Path, help="results.json of mullama.evaluation.real_recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--readme", type=Path)
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    section = results_section(results, real_sentence(json.loads(args.real.read_text())) if args.real else "")
    card = make_model_card(
        name=NAME,
        summary=SUMMARY,
        license="apache-2.0",
        license_note=LICENSE_NOTE,
        results=hub_results(results),
        sections=f"{TRAINING}\n## Measured\n\n{section}\n\n{LIMITS}",
        window_seconds=5.0,
    )
    model = MuLlamaForConditionalGeneration.from_pretrained(args.model, dtype=torch.float16)
    export_model_folder(model, MuLlamaProcessor.from_pretrained(args.model), args.out, card, overwrite=True)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    if size > MAX_BYTES:
        raise ValueError(f"{args.out} holds {size} bytes, more than {MAX_BYTES}")
    if args.readme:
        write_readme_block(args.readme, section)
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
