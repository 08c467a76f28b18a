"""Evaluation of a model on synthesised clips with known truth: does it hear, and does it understand new wordings?

`python -m mullama.evaluation.synthetic --model DIR --data DATA_A DATA_B --out DIR` asks every clip one question a kind
in a wording that trained ("seen") and in one that did not ("unseen"), and the seen ones again with another clip's
audio ("other") and as the second of a conversation ("second"), after the model's own first answer. It writes
results.json, predictions.jsonl and results.md.

Conventions: a data folder is what `dataset_scripts.synthetic.render` writes; the first one is test A (new pieces), the
second test B (new pieces and a new soundfont). Accuracy counts an unreadable answer as wrong. Intervals are 95 %
bootstrap percentiles over clips. Majority is what a constant answer would reach; chance is what the model's own
answers would reach if they were dealt out at random. Yes/no questions are paired, so that every value is asked about
equally often where it is there and where it is not: chance is .5.
"""

import argparse
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mullama.dataset_scripts.synthetic.questions import (
    KINDS,
    QA,
    YES_NO_TOPICS,
    ask_yes_no,
    sample_pair,
    yes_no_values,
)
from mullama.dataset_scripts.synthetic.render import load_clips
from mullama.dataset_scripts.synthetic.truth import ClipTruth
from mullama.modeling_mullama import MuLlamaForConditionalGeneration
from mullama.processing import MuLlamaProcessor
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from .answers import CANNOT_TELL, read_answer

# Kind -> accuracy to reach on test A and on test B (issue 2 of this project).
BARS = {
    "instrument": (0.75, 0.62),
    "family": (0.80, 0.70),
    "drums": (0.97, 0.97),
    "texture": (0.76, 0.76),
    "register": (0.82, 0.82),
    "loudness": (0.77, 0.77),
    "tempo": (0.65, 0.65),
    "yes_no": (0.85, 0.78),
}
CONDITIONS = ("seen", "unseen", "other", "second", "none")
UNSEEN_MARGIN = 0.05
EVEN_KINDS = ("yes_no", "choice")  # two answers, made equally frequent
YES_NO_SHARE = 1 / 3  # of the clips, asked about each yes/no topic
BOOTSTRAPS = 1000
MAX_NEW_TOKENS = {"describe": 112}


@dataclass
class Asked:
    """A question about clip `clip`, asked while the model hears clip `heard` (None: nothing), after `before`."""

    clip: int
    heard: int | None
    condition: str
    qa: QA
    before: QA | None = None


def balanced_yes_no(truths: list[ClipTruth], topic: str, rng: random.Random, split: str) -> list[tuple[int, QA]]:
    """Yes/no questions about `topic` in pairs that name the same value: true of one clip, not of the other."""
    clips = rng.sample(range(len(truths)), round(YES_NO_SHARE * len(truths)))
    questions = []
    while clips:
        first = clips.pop()
        present = yes_no_values(truths[first], topic)[0]
        if not present:
            continue
        value = rng.choice(present)
        second = next((clip for clip in clips if value in yes_no_values(truths[clip], topic)[1]), None)
        if second is None:
            continue
        clips.remove(second)
        questions += [(clip, ask_yes_no(truths[clip], topic, value, rng, split)) for clip in (first, second)]
    return questions


def plan_questions(truths: list[ClipTruth], seed: int, without_audio: bool = False) -> list[Asked]:
    """All questions of an evaluation, the same for the same seed."""
    rng = random.Random(seed)
    order = rng.sample(range(len(truths)), len(truths))
    other = dict(zip(order, order[1:] + order[:1], strict=True))  # a derangement
    asked = []
    for split in ("seen", "unseen"):
        pairs = []
        for kind in KINDS:
            if kind == "yes_no":
                for topic in YES_NO_TOPICS:
                    pairs += balanced_yes_no(truths, topic, rng, split)
            else:
                pairs += [(clip, sample_pair(truth, rng, split, kind)) for clip, truth in enumerate(truths)]
        asked += [Asked(clip, clip, split, qa) for clip, qa in pairs]
        if split == "seen":
            hearing = [pair for pair in pairs if pair[1].kind not in ("describe", "cannot_tell")]
            asked += [Asked(clip, other[clip], "other", qa) for clip, qa in hearing]
            asked += second_questions(truths, hearing, seed)
            if without_audio:
                asked += [Asked(clip, None, "none", qa) for clip, qa in hearing]
    return asked


def second_questions(truths: list[ClipTruth], pairs: list[tuple[int, QA]], seed: int) -> list[Asked]:
    """The same questions, each asked after one of another kind."""
    rng = random.Random(f"second {seed}")
    asked = []
    for clip, qa in pairs:
        first = sample_pair(truths[clip], rng, "seen", rng.choice([kind for kind in KINDS if kind != qa.kind]))
        asked.append(Asked(clip, clip, "second", qa, first))
    return asked


def encoder_fingerprint(model: MuLlamaForConditionalGeneration) -> str:
    """A digest of the audio encoder's weights, to know stale features by."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.model.audio_tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode_waveforms(
    model: MuLlamaForConditionalGeneration,
    processor: MuLlamaProcessor,
    waveforms: Iterable[np.ndarray],
    batch: int = 32,
) -> torch.Tensor:
    """Each encoder layer's mean over time, (clips, layers + 1, width), of mono waveforms at the model's rate."""
    waveforms = list(waveforms)
    means = []
    for start in tqdm(range(0, len(waveforms), batch), desc="encoding", disable=None):
        audio = [np.asarray(samples, np.float32) for samples in waveforms[start : start + batch]]
        inputs = processor(audio=audio).to(model.device)
        means.append(model.get_audio_features(**inputs).layer_means.float().cpu())
    return torch.cat(means)


def layer_means_of(
    model: MuLlamaForConditionalGeneration, processor: MuLlamaProcessor, data: Path, count: int, cache: Path | None
) -> torch.Tensor:
    """Features of a set's first `count` clips, read from `cache` where it has them, else encoded and added to it."""
    fingerprint, known = encoder_fingerprint(model), {}
    if cache is not None and cache.is_file():
        with safe_open(cache, "pt") as file:
            if (file.metadata() or {}).get("encoder") != fingerprint:
                raise ValueError(f"{cache} holds another encoder's features: delete it, or give another --features")
            known = {name: file.get_tensor(name) for name in file.keys()}
    if data.name in known and len(known[data.name]) >= count:
        return known[data.name][:count]
    clips, _ = load_clips(data)
    means = encode_waveforms(model, processor, (clip.astype(np.float32) / 32768 for clip in clips[:count]))
    if cache is not None:
        partial = cache.with_name(cache.name + ".partial")
        save_file({**known, data.name: means}, partial, metadata={"encoder": fingerprint})
        partial.replace(cache)
    return means


@torch.no_grad()
def answer_questions(
    model: MuLlamaForConditionalGeneration,
    processor: MuLlamaProcessor,
    questions: list[str],
    audio_embeds: torch.Tensor | None,
    max_new_tokens: int = 40,
    batch: int = 256,
    before: list[list[dict[str, str]]] | None = None,
) -> list[str]:
    """Greedy answers; `audio_embeds` (questions, text width) is what each hears, None for nothing.

    `before` are the messages that each question follows. Questions of like length are batched together.
    """
    before = [[] for _ in questions] if before is None else before
    chats = [[*said, {"role": "user", "content": text}] for said, text in zip(before, questions, strict=True)]
    prompts = processor.apply_chat_template(chats, tokenize=False) if chats else []
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inputs = processor(text=[prompts[row] for row in rows]).to(model.device)
        heard = {} if audio_embeds is None else {"audio_embeds": audio_embeds[rows].to(model.device)}
        generated = model.generate(**inputs, **heard, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
        texts = processor.tokenizer.batch_decode(
            generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for row, text in zip(rows, texts, strict=True):
            answers[row] = text.strip()
    return answers


def answer_all(
    model: MuLlamaForConditionalGeneration, processor: MuLlamaProcessor, asked: list[Asked], audio_embeds: torch.Tensor
) -> list[str]:
    """The model's answers to `asked`, kind by kind; `audio_embeds` (clips, text width)."""
    second = [number for number, item in enumerate(asked) if item.before is not None]
    before = {}
    if second:
        firsts = [Asked(asked[number].clip, asked[number].heard, "first", asked[number].before) for number in second]
        for number, item, text in zip(second, firsts, answer_all(model, processor, firsts, audio_embeds), strict=True):
            said = {"role": "assistant", "content": text}
            before[number] = [{"role": "user", "content": item.qa.question}, said]
    groups = defaultdict(list)
    for number, item in enumerate(asked):
        groups[item.qa.kind, item.heard is None].append(number)
    answers = [""] * len(asked)
    with tqdm(total=len(asked), desc="answering", disable=None) as progress:
        for (kind, deaf), numbers in groups.items():
            heard = None if deaf else audio_embeds[[asked[number].heard for number in numbers]]
            questions = [asked[number].qa.question for number in numbers]
            said = [before.get(number, []) for number in numbers]
            texts = answer_questions(model, processor, questions, heard, MAX_NEW_TOKENS.get(kind, 40), before=said)
            for number, text in zip(numbers, texts, strict=True):
                answers[number] = text
            progress.update(len(numbers))
    return answers


def rightness(qa: QA, answer: str) -> float:
    """1 for a right answer, 0 for a wrong one; for a description the share of its attributes told right."""
    read = read_answer(qa.kind, answer, qa.asked)
    if qa.kind == "describe":
        return float(np.mean([read.get(name) == value for name, value in qa.expected.items()]))
    return float(read == qa.expected)


def bootstrap_interval(values: np.ndarray, clips: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values`, resampling the clips that they belong to."""
    _, index = np.unique(clips, return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), BOOTSTRAPS)
    low, high = np.percentile(drawn @ sums / (drawn @ counts), [2.5, 97.5])
    return float(low), float(high)


def _key(value) -> str:
    return json.dumps(value, sort_keys=True)


def _estimate(items: list[tuple[Asked, str, float]], seed: int) -> dict:
    values, clips = np.array([right for *_, right in items]), np.array([item.clip for item, *_ in items])
    low, high = bootstrap_interval(values, clips, seed)
    return {"accuracy": float(values.mean()), "low": low, "high": high, "n": len(items)}


def _chance(kind: str, items: list[tuple[Asked, str, float]]) -> float:
    """Accuracy of the model's own answers if they were dealt out to the questions at random."""
    if kind in EVEN_KINDS:
        return 0.5
    said = Counter(_key(read_answer(kind, answer, item.qa.asked)) for item, answer, _ in items)
    true = Counter(_key(item.qa.expected) for item, *_ in items)
    return sum(said[value] * count for value, count in true.items()) / len(items) ** 2


def score(asked: list[Asked], answers: list[str], seed: int) -> dict:
    """Figures of one set of clips: per kind, per yes/no topic, for descriptions and for what cannot be told."""
    judged = [(item, answer, rightness(item.qa, answer)) for item, answer in zip(asked, answers, strict=True)]
    by = defaultdict(list)
    for entry in judged:
        by[entry[0].qa.kind, entry[0].condition].append(entry)

    kinds = {}
    for kind in KINDS:
        if not (by[kind, "seen"] and by[kind, "unseen"]):  # so few clips that no yes/no questions pair
            continue
        figures = {name: _estimate(by[kind, name], seed) for name in CONDITIONS if by[kind, name]}
        figures["gap"] = figures["seen"]["accuracy"] - figures["unseen"]["accuracy"]
        if "other" in figures:
            truths = Counter(_key(item.qa.expected) for item, *_ in by[kind, "seen"])
            figures["majority"] = 0.5 if kind in EVEN_KINDS else max(truths.values()) / truths.total()
            figures["chance"] = _chance(kind, by[kind, "other"])
        if kind in ("instrument", "family"):
            each = defaultdict(list)
            for item, _, right in by[kind, "seen"]:
                each[item.qa.expected].append(right)
            figures["by_value"] = {value: float(np.mean(rights)) for value, rights in sorted(each.items())}
        kinds[kind] = figures

    topics = {}
    for topic in YES_NO_TOPICS:
        entries = {name: [e for e in by["yes_no", name] if e[0].qa.topic == topic] for name in ("seen", "unseen")}
        topics[topic] = {name: _estimate(items, seed) for name, items in entries.items() if items}
    unknowable = defaultdict(list)
    for item, _, right in by["cannot_tell", "seen"] + by["cannot_tell", "unseen"]:
        unknowable[item.qa.topic].append(right)
    recall = defaultdict(list)
    for item, answer, _ in by["describe", "seen"] + by["describe", "unseen"]:
        told = read_answer("describe", answer)
        for name, value in item.qa.expected.items():
            recall[name].append(told.get(name) == value)
    false_alarms = {
        name: [
            (item, answer, float(read_answer("cannot_tell", answer) == CANNOT_TELL))
            for item, answer, _ in judged
            if item.condition == name and item.qa.kind != "cannot_tell"
        ]
        for name in ("seen", "unseen")
    }
    return {
        "clips": len({item.clip for item in asked}),
        "kinds": kinds,
        "yes_no_topics": topics,
        "describe_recall": {name: float(np.mean(values)) for name, values in recall.items()},
        "cannot_tell_topics": {name: float(np.mean(values)) for name, values in unknowable.items()},
        "false_cannot_tell": {name: _estimate(items, seed) for name, items in false_alarms.items()},
    }


def against_bars(figures: dict, column: int) -> dict[str, dict]:
    """What is asked of each kind, and whether it is met: the bar, new wordings, and deafness to another's audio."""
    verdicts = {}
    for kind, row in figures["kinds"].items():
        checks = {"unseen": row["gap"] <= UNSEEN_MARGIN}
        if kind in BARS:
            checks["bar"] = row["seen"]["accuracy"] >= BARS[kind][column]
        if "other" in row:
            checks["other"] = row["other"]["accuracy"] <= row["majority"] or row["other"]["low"] <= row["chance"]
        verdicts[kind] = checks
    return verdicts


def _cell(row: dict, name: str) -> str:
    if name not in row:
        return "-"
    return f"{row[name]['accuracy']:.3f} [{row[name]['low']:.3f}, {row[name]['high']:.3f}]"


def to_markdown(results: dict) -> str:
    """The figures as tables for people."""
    lines = []
    for column, (name, figures) in enumerate(results["sets"].items()):
        letter = "AB"[column]
        lines += [f"## Test {letter}: {name}, {figures['clips']} clips", ""]
        accuracies = ("kind", "seen words", "unseen words", "second", "other audio", "chance", "majority")
        lines += [f"| {' | '.join(accuracies)} | bar | met | unseen | other |", "|" + "---|" * 11]
        for kind, row in figures["kinds"].items():
            checks = figures["met"][kind]
            marks = [
                "-" if check not in checks else "met" if checks[check] else "NOT MET"
                for check in ("bar", "unseen", "other")
            ]
            numbers = [f"{row[name]:.3f}" if name in row else "-" for name in ("chance", "majority")]
            bar = f"{BARS[kind][column]:.2f}" if kind in BARS else "-"
            accuracies = [_cell(row, name) for name in ("seen", "unseen", "second", "other")]
            cells = [kind, *accuracies, *numbers, bar, *marks]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", "Yes/no questions, balanced:", "", "| about | seen | unseen | n |", "|---|---|---|---|"]
        for topic, row in figures["yes_no_topics"].items():
            count = sum(row[name]["n"] for name in row)
            lines.append(f"| {topic} | {_cell(row, 'seen')} | {_cell(row, 'unseen')} | {count} |")
        told = ", ".join(f"{name} {value:.3f}" for name, value in figures["describe_recall"].items())
        untold = ", ".join(f"{name} {value:.2f}" for name, value in figures["cannot_tell_topics"].items())
        alarms = figures["false_cannot_tell"]
        lines += [
            "",
            f"Attributes told right in descriptions: {told}.",
            "",
            f"Says that it cannot tell what it cannot: {untold}.",
            "",
            f"Says so of what it could: {_cell(alarms, 'seen')} (seen), {_cell(alarms, 'unseen')} (unseen wordings).",
            "",
        ]
    return "\n".join(lines)


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def evaluate_synthetic(
    model_folder: str,
    data: list[Path],
    out: Path,
    clips: int | None = None,
    features: Path | None = None,
    seed: int = 0,
    without_audio: bool = False,
    device: str = "cpu",
) -> dict:
    """Evaluate a model on test A, and test B if given, write what is found into `out`, and return the figures.

    `clips` takes only the first so many of each set; `features` caches what the encoder hears. Raises ValueError for
    no or more than two sets, and FileNotFoundError where a set is missing.
    """
    if not 1 <= len(data) <= 2:
        raise ValueError(f"{len(data)} data folders: give test A, or test A and test B")
    for folder in data:
        if not (folder / "truth.jsonl").is_file():
            raise FileNotFoundError(f"{folder} is not a set of clips (no truth.jsonl): render one first")
    model = MuLlamaForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).to(device).eval()
    processor = MuLlamaProcessor.from_pretrained(model_folder)
    out.mkdir(parents=True, exist_ok=True)

    results, predictions = {"seed": seed, "sets": {}}, []
    for column, folder in enumerate(data):
        truths = load_clips(folder)[1][:clips]
        means = layer_means_of(model, processor, folder, len(truths), features)
        with torch.no_grad():
            embeds = model.model.get_audio_embeds(audio_features=means.to(device))
        asked = plan_questions(truths, seed, without_audio)
        answers = answer_all(model, processor, asked, embeds)
        figures = score(asked, answers, seed)
        results["sets"][folder.name] = figures | {"met": against_bars(figures, column)}
        for item, answer in zip(asked, answers, strict=True):
            read = read_answer(item.qa.kind, answer, item.qa.asked)
            line = {"set": folder.name, "clip": truths[item.clip].id, "condition": item.condition}
            line |= {"read": read, "right": rightness(item.qa, answer)}
            predictions.append(line | asdict(item.qa) | {"answer": answer, "true_answer": item.qa.answer})
    write_whole(out / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in predictions))
    write_whole(out / "results.md", to_markdown(results))
    write_whole(out / "results.json", json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    """Command line: evaluate a model on rendered test sets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", required=True, help="model folder or Hub id")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="test A, and test B")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, help="only the first so many clips of each set")
    parser.add_argument("--features", type=Path, help="safetensors file that keeps what the encoder hears")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-audio", action="store_true", help="ask once more with no audio at all")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    try:
        evaluate_synthetic(
            args.model, args.data, args.out, args.clips, args.features, args.seed, args.without_audio, args.device
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    print((args.out / "results.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
