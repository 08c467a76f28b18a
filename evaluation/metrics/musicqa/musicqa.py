"""
Metrics of answers about music, as an `evaluate` module: `evaluate.load("./evaluation/metrics/musicqa", "legacy")`.

Conventions. Every pair is a prediction and one reference; an empty prediction scores 0. Means are over pairs.

legacy    what MU-LLaMA's tables were made with: NLTK's `sentence_bleu` on raw strings, so on *characters* (1-4,
          equal weights, no smoothing); METEOR on `wordpunct_tokenize`d text; `rouge_score`'s ROUGE-L *recall* with
          stemming; BERTScore's *recall*.
standard  sacreBLEU over words (its corpus score, 0-100, and its signature), METEOR, ROUGE-L F1 with stemming,
          BERTScore F1, CIDEr-D, distinct-1 and -2, length ratio.
closed    labels: accuracy, balanced accuracy and macro-F1 over the labels of the references; "" is a prediction that
          could not be read, and wrong.
tempo     beats per minute, by `mir_eval.tempo.detection`: within 4 %, and within 4 % of 2, 3, 1/2 or 1/3 times (an
          octave error).
key       `mir_eval.key.weighted_score` of keys such as "C# minor", and accuracy.

CIDEr-D (Vedantam et al. 2015): words are lower-cased runs of letters and digits, 1-4 words long; a word's document
frequency is over the references given; counts are clipped and lengths compared by a Gaussian of sigma 6; times 10.
"""

import functools
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import datasets
import evaluate
import numpy as np

CONFIGS = ("legacy", "standard", "closed", "tempo", "key")
CIDER_ORDER = 4
CIDER_SIGMA = 6.0
TEMPO_TOLERANCE = 0.04
OCTAVES = (2.0, 3.0, 1 / 2, 1 / 3)
WORDNET_MISSING = (
    "METEOR needs WordNet: python -m nltk.downloader wordnet; offline on Debian, apt install wordnet-base "
    "wordnet-sense-index and python -m mullama.evaluation.wordnet"
)

_DESCRIPTION = "Scores answers to questions about music, by MU-LLaMA's published protocol and by a sound one."
_KWARGS_DESCRIPTION = """
Args:
    predictions (list of str): answers; of `closed`, `tempo` and `key` labels read from them, "" where none was.
    references (list of str): the true answer of each.
    bertscore_model (str, optional): a model's name or folder for BERTScore, which is left out by default.
    metrics (list of str, optional): those that must be there. Without, METEOR is None where WordNet is missing.

Returns:
    dict of scores; with BERTScore also `bertscore_model`, with sacreBLEU also `sacrebleu_signature`.
"""
_CITATION = "https://arxiv.org/abs/2308.11276"


class MissingResource(OSError):
    """A metric's data or model that is not to be had, in one line that says how to get it."""


def character_bleu(prediction: str, reference: str) -> float:
    """NLTK's BLEU of two strings taken as sequences of characters, 0 to 1."""
    from nltk.translate.bleu_score import sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a text without a common n-gram, whose score is 0
        return float(sentence_bleu([reference], prediction))


@functools.cache
def _wordnet_and_stemmer():
    """NLTK's WordNet and Porter stemmer, each word looked up once."""
    from nltk.corpus import wordnet
    from nltk.stem.porter import PorterStemmer

    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise MissingResource(WORDNET_MISSING) from None

    class EachWordOnce:
        synsets = staticmethod(functools.cache(wordnet.synsets))
        stem = staticmethod(functools.cache(PorterStemmer().stem))

    return EachWordOnce


def meteor(prediction: str, reference: str) -> float:
    """NLTK's METEOR of wordpunct-tokenised texts, 0 to 1. Raises `MissingResource` without WordNet."""
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.meteor_score import single_meteor_score

    words = _wordnet_and_stemmer()
    return float(
        single_meteor_score(
            wordpunct_tokenize(reference), wordpunct_tokenize(prediction), stemmer=words, wordnet=words
        )
    )


@functools.cache
def _rouge_scorer():
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    class EachTextOnce:
        tokenize = staticmethod(functools.lru_cache(100_000)(DefaultTokenizer(use_stemmer=True).tokenize))

    return RougeScorer(["rougeL"], tokenizer=EachTextOnce)


def rouge_l(prediction: str, reference: str) -> tuple[float, float]:
    """ROUGE-L with stemming: recall and F1, 0 to 1."""
    score = _rouge_scorer().score(reference, prediction)["rougeL"]
    return float(score.recall), float(score.fmeasure)


@functools.cache
def _sacrebleu():
    from sacrebleu.metrics import BLEU

    return BLEU()


def sacrebleu_statistics(prediction: str, reference: str) -> list[int]:
    """What sacreBLEU sums over a corpus: 4 counts of right n-grams, 4 of all, the two lengths in tokens."""
    score = _sacrebleu().corpus_score([prediction], [[reference]])
    return [*map(int, score.counts), *map(int, score.totals), int(score.sys_len), int(score.ref_len)]


def sacrebleu_of(statistics: Sequence[float]) -> float:
    """sacreBLEU's score, 0 to 100, of summed `sacrebleu_statistics`."""
    sums = [round(number) for number in statistics]
    score = _sacrebleu().compute_bleu(sums[:4], sums[4:8], *sums[8:], smooth_method="exp")
    return float(score.score)


def sacrebleu_signature() -> str:
    """How sacreBLEU was computed, in its own words."""
    _sacrebleu().corpus_score(["a"], [["a"]])  # which tells it the number of references
    return str(_sacrebleu().get_signature())


def cider_words(text: str) -> list[str]:
    """The words that CIDEr-D and distinct-n count."""
    return re.findall(r"\w+", text.lower())


def _ngrams(words: list[str]) -> list[Counter]:
    return [
        Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
        for n in range(1, CIDER_ORDER + 1)
    ]


def cider_d(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """CIDEr-D of each prediction, 0 to 10; document frequencies are those of `references`."""
    said = [_ngrams(cider_words(text)) for text in predictions]
    true = [_ngrams(cider_words(text)) for text in references]
    frequency = Counter(ngram for counts in true for order in counts for ngram in order)
    documents = math.log(max(1, len(references)))

    def weights(counts: Counter) -> dict[tuple[str, ...], float]:
        return {ngram: count * (documents - math.log(max(1, frequency[ngram]))) for ngram, count in counts.items()}

    scores = []
    for prediction, reference in zip(said, true, strict=True):
        gap = prediction[0].total() - reference[0].total()
        total = 0.0
        for order in range(CIDER_ORDER):
            ours, theirs = weights(prediction[order]), weights(reference[order])
            norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            common = sum(min(ours[ngram], theirs[ngram]) * theirs[ngram] for ngram in ours.keys() & theirs.keys())
            total += common / norm if norm else 0.0
        scores.append(10 * total / CIDER_ORDER * math.exp(-(gap**2) / (2 * CIDER_SIGMA**2)))
    return scores


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words among all of the texts, 0 to 1."""
    ngrams = [
        tuple(words[start : start + n]) for words in map(cider_words, texts) for start in range(len(words) - n + 1)
    ]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


class BertScore:
    """BERTScore by one named model, loaded once."""

    def __init__(self, model: str, device: str | None = None) -> None:
        """Raises `MissingResource` where the model is not to be had."""
        from bert_score import BERTScorer
        from transformers import AutoConfig
        from transformers.utils import logging

        logging.set_verbosity_error()  # a language model's head is left out, rightly
        try:
            # Its own table knows the best layer of known models; of any other all layers are run.
            layers = AutoConfig.from_pretrained(model).num_hidden_layers if Path(model).is_dir() else None
            self._scorer = BERTScorer(model_type=model, num_layers=layers, device=device)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise MissingResource(f"BERTScore's model {model} cannot be loaded ({reason})") from error
        name = "/".join(Path(model).resolve().parts[-2:]) if Path(model).is_dir() else model
        self.model = f"{name}, layer {self._scorer.num_layers}"

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Recall and F1 of each pair, `(pairs, 2)`, not rescaled; each different pair is run once."""
        pairs = list(zip(predictions, references, strict=True))
        asked = sorted({pair for pair in pairs if pair[0].strip() and pair[1].strip()})
        known = {}
        if asked:
            _, recall, f1 = self._scorer.score(*map(list, zip(*asked, strict=True)))
            known = dict(zip(asked, zip(recall.tolist(), f1.tolist(), strict=True), strict=True))
        return np.array([known.get(pair, (0.0, 0.0)) for pair in pairs]).reshape(-1, 2)


def closed_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Accuracy, balanced accuracy and macro-F1 of labels, over the labels of the references."""
    right = Counter(true for said, true in zip(predictions, references, strict=True) if said == true)
    said, true = Counter(predictions), Counter(references)
    return {
        "accuracy": right.total() / len(references),
        "balanced_accuracy": float(np.mean([right[label] / count for label, count in true.items()])),
        "macro_f1": float(np.mean([2 * right[label] / (count + said[label]) for label, count in true.items()])),
    }


def tempo_hits(prediction: float | None, reference: float) -> tuple[bool, bool]:
    """Whether a tempo is right within 4 %, and whether it is an octave error, as right of a multiple."""
    if prediction is None:
        return False, False
    from mir_eval.tempo import detection

    def hit(factor: float) -> bool:
        # mir_eval compares two tempi with two; an absent one is 0.
        true, said = np.array([reference * factor, 0.0]), np.array([prediction, 0.0])
        return bool(detection(true, 1.0, said, tol=TEMPO_TOLERANCE)[1])

    right = hit(1.0)
    return right, not right and any(map(hit, OCTAVES))


def key_score(prediction: str, reference: str) -> float:
    """mir_eval's weighted score of two keys such as "C# minor", 0 to 1; 0 for one that is none."""
    from mir_eval.key import weighted_score

    try:
        return float(weighted_score(reference, prediction))
    except ValueError:
        return 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MusicQA(evaluate.Metric):
    """See the module's docstring; the configuration is the protocol."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in CONFIGS:
            raise ValueError(f"musicqa has the configurations {', '.join(CONFIGS)}, not {self.config_name!r}")
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        bertscore_model: str | None = None,
        metrics: list[str] | None = None,
    ) -> dict[str, float | str | None]:
        pairs = list(zip(predictions, references, strict=True))
        if self.config_name == "closed":
            return closed_scores(predictions, references)
        if self.config_name == "tempo":
            if bad := [text for text in references if _number(text) is None]:
                raise ValueError(f"{bad[0]!r} is no reference in beats per minute")
            hits = [tempo_hits(_number(said), float(true)) for said, true in pairs]
            right, octave = np.mean(hits, axis=0)
            return {"within_4_percent": float(right), "octave_errors": float(octave)}
        if self.config_name == "key":
            exact = closed_scores(predictions, references)["accuracy"]
            return {"weighted": float(np.mean([key_score(*pair) for pair in pairs])), "accuracy": exact}

        try:
            scores = {"meteor": float(np.mean([meteor(*pair) for pair in pairs]))}
        except MissingResource as error:
            if metrics and "meteor" in metrics:
                raise
            warnings.warn(str(error), stacklevel=2)
            scores = {"meteor": None}
        recall, f1 = np.mean([rouge_l(*pair) for pair in pairs], axis=0)
        if self.config_name == "legacy":
            scores["character_bleu"] = float(np.mean([character_bleu(*pair) for pair in pairs]))
            scores["rouge_l_recall"] = float(recall)
        else:
            scores["sacrebleu"] = sacrebleu_of(
                np.sum([sacrebleu_statistics(*pair) for pair in pairs], axis=0).tolist()
            )
            scores["sacrebleu_signature"] = sacrebleu_signature()
            scores["rouge_l_f1"] = float(f1)
            scores["cider_d"] = float(np.mean(cider_d(predictions, references)))
            scores |= {f"distinct_{n}": distinct(predictions, n) for n in (1, 2)}
            lengths = [sum(len(text.split()) for text in texts) for texts in (predictions, references)]
            scores["length_ratio"] = lengths[0] / lengths[1] if lengths[1] else math.nan
        if bertscore_model is not None:
            scorer = BertScore(bertscore_model)
            column, name = {"legacy": (0, "bertscore_recall"), "standard": (1, "bertscore_f1")}[self.config_name]
            scores[name] = float(scorer.score(predictions, references)[:, column].mean())
            scores["bertscore_model"] = scorer.model
        if unknown := sorted(set(metrics or ()) - set(scores)):
            raise ValueError(f"{self.config_name} has no {', '.join(unknown)}; it has {', '.join(scores)}")
        return scores
