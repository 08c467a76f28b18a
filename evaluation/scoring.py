"""
Scores of systems and of what needs no music, side by side: both protocols, closed-form questions, intervals, gains.

`score_systems` takes everybody's answers to the same questions. What a pair of texts scores is computed once, however
often the pair comes, on all processor cores.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from .bootstrap import Statistic, difference, interval
from .closed_form import closed_readers
from .metrics.musicqa import musicqa
from .predictions import Answer
from .references import Reference

CAPTION_KINDS = ("template", "describe", "caption")
PROTOCOLS = {
    "legacy": ("character_bleu", "meteor", "rouge_l_recall", "bertscore_recall"),
    "standard": (
        "sacrebleu",
        "meteor",
        "rouge_l_f1",
        "bertscore_f1",
        "cider_d",
        "distinct_1",
        "distinct_2",
        "length_ratio",
    ),
}
# Properties of texts, not qualities: more is not better, so there is nothing to gain.
PROPERTIES = ("distinct_1", "distinct_2", "length_ratio", "octave_errors", "unreadable")
# Columns of what a pair scores.
CHARACTER_BLEU, METEOR, ROUGE_RECALL, ROUGE_F1 = range(4)
SACREBLEU = slice(4, 14)
WORDS = slice(14, 16)
COLUMNS = 16
MIN_PAIRS_FOR_PROCESSES = 2_000
CHUNK = 200


@dataclass(frozen=True)
class SystemAnswers:
    """A row of the tables: a system's answers in the references' order. `blind`: it does not hear the track."""

    name: str
    answers: list[Answer]
    blind: bool


class PairScores:
    """What pairs of prediction and reference score, each computed once."""

    def __init__(self, bertscore: musicqa.BertScore | None = None) -> None:
        self.bertscore = bertscore
        self.meteor_missing: str | None = None
        self._texts: dict[tuple[str, str], np.ndarray] = {}
        self._bert: dict[tuple[str, str], np.ndarray] = {}
        try:
            musicqa.meteor("music", "music")
        except musicqa.MissingResource as error:
            self.meteor_missing = str(error)

    def add(self, pairs: Sequence[tuple[str, str]], processes: int | None = None) -> None:
        """Compute what is not known yet."""
        new = list(dict.fromkeys(pair for pair in pairs if pair not in self._texts))
        processes = processes or os.cpu_count() or 1
        chunks = [new[start : start + CHUNK] for start in range(0, len(new), CHUNK)]
        compute = partial(_score_chunk, with_meteor=self.meteor_missing is None)
        with tqdm(total=len(new), desc="scoring", unit="pair", disable=None, delay=2) as bar:

            def keep(results) -> None:
                for chunk, scores in zip(chunks, results, strict=True):
                    self._texts.update(zip(chunk, scores, strict=True))
                    bar.update(len(chunk))

            if processes == 1 or len(new) < MIN_PAIRS_FOR_PROCESSES:
                keep(map(compute, chunks))
            else:
                # "spawn": a forked copy of a process that runs Arrow's threads may hang
                with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
                    keep(pool.map(compute, chunks))
        if self.bertscore is not None:
            new = list(dict.fromkeys(pair for pair in pairs if pair not in self._bert))
            if new:
                scores = self.bertscore.score(*map(list, zip(*new, strict=True)))
                self._bert.update(zip(new, scores, strict=True))

    def texts(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """`(pairs, COLUMNS)`."""
        return np.stack([self._texts[pair] for pair in pairs])

    def bert(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Recall and F1, `(pairs, 2)`."""
        return np.stack([self._bert[pair] for pair in pairs])


def _score_chunk(pairs: list[tuple[str, str]], with_meteor: bool) -> np.ndarray:
    scores = np.zeros((len(pairs), COLUMNS))
    for row, (prediction, reference) in zip(scores, pairs, strict=True):
        row[CHARACTER_BLEU] = musicqa.character_bleu(prediction, reference)
        row[METEOR] = musicqa.meteor(prediction, reference) if with_meteor else np.nan
        row[ROUGE_RECALL], row[ROUGE_F1] = musicqa.rouge_l(prediction, reference)
        row[SACREBLEU] = musicqa.sacrebleu_statistics(prediction, reference)
        row[WORDS] = len(prediction.split()), len(reference.split())
    return scores


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def _sacrebleu(sums: np.ndarray) -> np.ndarray:
    return np.array([musicqa.sacrebleu_of(row.tolist()) for row in sums])


def _balanced_accuracy(sums: np.ndarray) -> np.ndarray:
    right, true, _ = sums.reshape(len(sums), 3, -1).transpose(1, 0, 2)  # each (draws, labels)
    return _mean_of_present(right, true, true)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    right, true, said = sums.reshape(len(sums), 3, -1).transpose(1, 0, 2)
    return _mean_of_present(2 * right, true + said, true)


def _mean_of_present(above: np.ndarray, below: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Each draw's mean of above / below over the labels that are true of something in it."""
    shares = np.where(true > 0, above / np.where(below > 0, below, 1), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a draw without any
        return np.nanmean(shares, axis=1)


class _Tracks:
    """Sums over each track's pairs."""

    def __init__(self, references: list[Reference]) -> None:
        names = {track: row for row, track in enumerate(dict.fromkeys(r.track for r in references))}
        self.of_pair = np.array([names[reference.track] for reference in references])
        self.count = len(names)

    def sums(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """`values` (chosen pairs, parts) -> (tracks, parts)."""
        sums = np.zeros((self.count, values.shape[1]))
        np.add.at(sums, self.of_pair[chosen], values)
        return sums

    def mean(self, values: np.ndarray, chosen: np.ndarray) -> Statistic:
        values = np.asarray(values, dtype=float)
        return Statistic(self.sums(np.stack([values, np.ones(len(values))], axis=1), chosen), _ratio)


def text_statistics(
    protocol: str,
    references: list[Reference],
    predictions: list[str],
    chosen: np.ndarray,
    scores: PairScores,
    captions: dict[int, float],
) -> dict[str, Statistic | float | None]:
    """Every score of a protocol for the `chosen` pairs: one with an interval, one without, or None where missing."""
    tracks = _Tracks(references)
    texts = [predictions[pair] for pair in chosen]
    pairs = [(predictions[pair], references[pair].answer) for pair in chosen]
    columns = scores.texts(pairs)
    found: dict[str, Statistic | float | None] = {}
    found["meteor"] = None if scores.meteor_missing else tracks.mean(columns[:, METEOR], chosen)
    column = 0 if protocol == "legacy" else 1
    bert = None if scores.bertscore is None else tracks.mean(scores.bert(pairs)[:, column], chosen)
    if protocol == "legacy":
        found["character_bleu"] = tracks.mean(columns[:, CHARACTER_BLEU], chosen)
        found["rouge_l_recall"] = tracks.mean(columns[:, ROUGE_RECALL], chosen)
        found["bertscore_recall"] = bert
    else:
        found["sacrebleu"] = Statistic(tracks.sums(columns[:, SACREBLEU], chosen), _sacrebleu)
        found["rouge_l_f1"] = tracks.mean(columns[:, ROUGE_F1], chosen)
        found["bertscore_f1"] = bert
        told = np.array([pair for pair in chosen if pair in captions], dtype=int)
        if len(told):
            found["cider_d"] = tracks.mean([captions[pair] for pair in told], told)
        # Resampling repeats texts, which makes them less distinct: no interval.
        found |= {f"distinct_{n}": musicqa.distinct(texts, n) for n in (1, 2)}
        found["length_ratio"] = Statistic(tracks.sums(columns[:, WORDS], chosen), _ratio)
    return {name: found[name] for name in PROTOCOLS[protocol] if name in found}


def closed_statistics(
    scored_by: str, references: list[Reference], said: list[str], true: list[str], chosen: np.ndarray
) -> dict[str, Statistic]:
    """Scores of a closed kind from the labels read from answers and references (of the `chosen` pairs)."""
    tracks = _Tracks(references)
    unreadable = tracks.mean([not label for label in said], chosen)
    if scored_by == "tempo":
        hits = [musicqa.tempo_hits(float(a) if a else None, float(b)) for a, b in zip(said, true, strict=True)]
        right, octave = zip(*hits, strict=True)
        return {
            "within_4_percent": tracks.mean(right, chosen),
            "octave_errors": tracks.mean(octave, chosen),
            "unreadable": unreadable,
        }
    labels = {label: column for column, label in enumerate(dict.fromkeys(true))}
    counts = np.zeros((len(said), 3, len(labels)))
    for row, answer, truth in zip(counts, said, true, strict=True):
        row[0, labels[truth]] = answer == truth
        row[1, labels[truth]] = 1
        if answer in labels:
            row[2, labels[answer]] = 1
    sums = tracks.sums(counts.reshape(len(said), -1), chosen)
    found = {
        "accuracy": tracks.mean([a == b for a, b in zip(said, true, strict=True)], chosen),
        "balanced_accuracy": Statistic(sums, _balanced_accuracy),
        "macro_f1": Statistic(sums, _macro_f1),
    }
    if scored_by == "key":
        weighted = [musicqa.key_score(a, b) if a else 0.0 for a, b in zip(said, true, strict=True)]
        found["weighted"] = tracks.mean(weighted, chosen)
    return found | {"unreadable": unreadable}


def score_systems(
    references: list[Reference],
    systems: list[SystemAnswers],
    seed: int = 0,
    bertscore: musicqa.BertScore | None = None,
    deaf: str | None = None,
    against: str | None = None,
    processes: int | None = None,
) -> dict:
    """
    Score everybody's answers to the same questions.

    Args:
        references: The questions, with their true answers.
        systems: The first is the one that is judged; blind ones are what it is judged by.
        seed (`int`): Of resamples and permutations.
        bertscore (*optional*): The model of BERTScore; without, it is missing from the tables.
        deaf (`str`, *optional*): Name of the first system's answers given with another track's audio: what it gains
            over them it gained by hearing.
        against (`str`, *optional*): Name of the system that the first one is tested against.
        processes (`int`, *optional*): That score; as many as there are processor cores by default.

    Returns:
        `{"protocols": {protocol: {"systems", "gain_over_blind", ...}}, "closed": {kind: {...}}, "missing"}`, ready for
        JSON. A score is `{"value", "low", "high"}`; a gain `{"over", "difference", "low", "high", "p"}`.
    """
    scores = PairScores(bertscore)
    texts = {system.name: {"legacy": [], "standard": []} for system in systems}
    for system in systems:
        for protocol in PROTOCOLS:
            texts[system.name][protocol] = [getattr(answer, protocol) for answer in system.answers]
    truth = [reference.answer for reference in references]
    scores.add(
        [pair for by in texts.values() for said in by.values() for pair in zip(said, truth, strict=True)], processes
    )

    everything = np.arange(len(references))
    kinds = {
        kind: np.array([pair for pair in everything if references[pair].kind == kind])
        for kind in dict.fromkeys(reference.kind for reference in references)
    }
    told = [pair for kind in CAPTION_KINDS for pair in kinds.get(kind, ())]
    results = {"protocols": {}, "closed": {}, "missing": {}}
    for protocol in PROTOCOLS:
        found: dict[str, dict[str, dict]] = {}
        for system in systems:
            said = texts[system.name][protocol]
            cider = musicqa.cider_d([said[pair] for pair in told], [truth[pair] for pair in told])
            captions = dict(zip(told, cider, strict=True))
            found[system.name] = {
                group: text_statistics(protocol, references, said, chosen, scores, captions)
                for group, chosen in {"overall": everything, **kinds}.items()
            }
        results["protocols"][protocol] = _compared(systems, found, seed, deaf, against)

    for kind, (scored_by, reader) in closed_readers(references).items():
        chosen = kinds[kind]
        true = [reader(truth[pair], references[pair].question) for pair in chosen]
        found = {}
        for system in systems:
            said = [reader(system.answers[pair].standard, references[pair].question) for pair in chosen]
            found[system.name] = {"overall": closed_statistics(scored_by, references, said, true, chosen)}
        compared = _compared(systems, found, seed, deaf, against)
        results["closed"][kind] = {
            "questions": len(chosen),
            "labels": len(set(true)),
            "scored_by": scored_by,
            **compared,
        }
    if scores.meteor_missing:
        results["missing"]["meteor"] = scores.meteor_missing
    return results


def _compared(
    systems: list[SystemAnswers], found: dict[str, dict[str, dict]], seed: int, deaf: str | None, against: str | None
) -> dict[str, dict]:
    """Every system's scores with intervals; what the first gains over blind ones, and its test against another."""
    ours = systems[0]
    compared: dict[str, dict] = {"systems": {}}
    for system in systems:
        groups = found[system.name].items()
        estimates = {
            group: {name: _estimate(score, seed) for name, score in scores.items()} for group, scores in groups
        }
        compared["systems"][system.name] = {"blind": system.blind, **estimates}
    qualities = [
        name
        for name, score in found[ours.name]["overall"].items()
        if isinstance(score, Statistic) and name not in PROPERTIES
    ]

    def gains(over_of) -> dict[str, dict]:
        """The first system's difference in each metric from the system that `over_of` names for it."""
        overs = {metric: over_of(metric) for metric in qualities}
        return {
            metric: {
                "over": over,
                **difference(found[ours.name]["overall"][metric], found[over]["overall"][metric], seed),
            }
            for metric, over in overs.items()
        }

    blind = [system.name for system in systems if system.blind]
    if blind and not ours.blind:
        compared["gain_over_blind"] = gains(
            lambda metric: max(blind, key=lambda name: found[name]["overall"][metric].value)
        )
    if deaf is not None:
        compared["gain_by_hearing"] = gains(lambda metric: deaf)
    if against is not None:
        compared["against"] = gains(lambda metric: against)
    return compared


def _estimate(statistic: Statistic | float | None, seed: int) -> dict[str, float] | None:
    if statistic is None:
        return None
    if isinstance(statistic, float):
        return {"value": statistic}
    low, high = interval(statistic, seed)
    return {"value": statistic.value, "low": low, "high": high}
