"""The tables' figures are the metric module's, by kind and overall; what is missing is said and not made up."""

import random

import evaluate
import mullama
import numpy as np
import pytest
from mullama.dataset_scripts.synthetic.questions import sample_pair
from mullama.evaluation.baselines import other_references
from mullama.evaluation.closed_form import closed_readers
from mullama.evaluation.metrics.musicqa import musicqa
from mullama.evaluation.predictions import Answer
from mullama.evaluation.references import Reference
from mullama.evaluation.scoring import PairScores, SystemAnswers, score_systems

MODULE = f"{mullama.__path__[0]}/evaluation/metrics/musicqa"


def answers(texts: list[str]) -> list[Answer]:
    return [Answer(text, text) for text in texts]


@pytest.fixture(scope="module")
def scored(real_references, wordnet):
    """90 real pairs of ten tracks: the truth with a word less, and other tracks' references."""
    references = real_references[:90]
    said = [" ".join(reference.answer.split()[:-1]) for reference in references]
    other = other_references(references, 1, seed=0)
    systems = [SystemAnswers("ours", answers(said), False), SystemAnswers("other", answers(other), True)]
    return references, {"ours": said, "other": other}, score_systems(references, systems, seed=0, deaf="other")


@pytest.mark.parametrize("protocol", ["legacy", "standard"])
@pytest.mark.parametrize("group", ["overall", "template", "open"])
def test_equal_to_the_module(protocol, group, scored):
    references, said, results = scored
    chosen = [n for n, reference in enumerate(references) if group in ("overall", reference.kind)]
    for name, texts in said.items():
        direct = evaluate.load(MODULE, protocol).compute(
            predictions=[texts[n] for n in chosen], references=[references[n].answer for n in chosen]
        )
        row = results["protocols"][protocol]["systems"][name][group]
        assert row.pop("bertscore_recall" if protocol == "legacy" else "bertscore_f1") is None
        for metric, estimate in row.items():
            if metric == "cider_d":  # of captions alone, by their document frequencies
                continue
            assert estimate["value"] == pytest.approx(direct[metric], rel=0, abs=1e-9), metric
            if "low" in estimate:
                assert estimate["low"] <= estimate["value"] <= estimate["high"]
        if group == "template" and protocol == "standard":
            assert row["cider_d"]["value"] == pytest.approx(direct["cider_d"], rel=0, abs=1e-9)


def test_gains(scored):
    _, _, results = scored
    for table in results["protocols"].values():
        assert table["gain_over_blind"] == table["gain_by_hearing"]  # there is one blind row
        for metric, gain in table["gain_over_blind"].items():
            values = [table["systems"][name]["overall"][metric]["value"] for name in ("ours", "other")]
            assert gain["difference"] == pytest.approx(values[0] - values[1])
            assert 0 < gain["low"] <= gain["difference"] <= gain["high"] and gain["p"] < 0.01
        assert not {"distinct_1", "length_ratio"} & set(table["gain_over_blind"])


def test_closed_kinds_are_the_modules_too(truths_of, wordnet):
    rng = random.Random(0)
    references, said = [], []
    for truth in truths_of(40):
        for number, kind in enumerate(("instrument", "drums", "describe")):
            pair = sample_pair(truth, rng, "seen", kind)
            references.append(Reference(truth.id, number, pair.question, pair.answer, pair.kind))
            said.append(rng.choice([pair.answer, "It is a harp.", "Yes.", "I hear music."]))
    results = score_systems(references, [SystemAnswers("ours", answers(said), False)])
    assert set(results["closed"]) == {"instrument", "drums"}
    for kind, table in results["closed"].items():
        row = table["systems"]["ours"]["overall"]
        assert table["questions"] == 40
        chosen = [n for n, reference in enumerate(references) if reference.kind == kind]
        _, reader = closed_readers(references)[kind]
        labels = [[reader(text, "") for text in (said[n], references[n].answer)] for n in chosen]
        predictions, truth = map(list, zip(*labels, strict=True))
        direct = evaluate.load(MODULE, "closed").compute(predictions=predictions, references=truth)
        for metric, value in direct.items():
            assert row[metric]["value"] == pytest.approx(value, rel=0, abs=1e-9), (kind, metric)
        assert row["unreadable"]["value"] == pytest.approx(np.mean([not label for label in predictions]))
    assert results["closed"]["instrument"]["systems"]["ours"]["overall"]["unreadable"]["value"] > 0


def test_without_wordnet_everything_else_is_scored(real_references, monkeypatch):
    def missing(*_) -> float:
        raise musicqa.MissingResource(musicqa.WORDNET_MISSING)

    monkeypatch.setattr(musicqa, "meteor", missing)
    systems = [SystemAnswers("ours", answers(["music"] * 9), False)]
    results = score_systems(real_references[:9], systems)
    row = results["protocols"]["legacy"]["systems"]["ours"]["overall"]
    assert row["meteor"] is None and row["character_bleu"]["value"] > 0
    assert "python -m nltk.downloader wordnet" in results["missing"]["meteor"]


@pytest.mark.slow
def test_processes_change_nothing(real_references, wordnet):
    truth = [reference.answer for reference in real_references]
    pairs = list(zip(truth[:2100], truth[9:2109], strict=True))
    one, two = PairScores(), PairScores()
    one.add(pairs, processes=1)
    two.add(pairs, processes=2)
    assert np.array_equal(one.texts(pairs), two.texts(pairs))
