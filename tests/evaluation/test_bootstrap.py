"""Intervals and tests: against what theory says, and by track."""

import numpy as np
import pytest
import sacrebleu
from mullama.evaluation.bootstrap import Statistic, difference, interval
from mullama.evaluation.metrics.musicqa.musicqa import sacrebleu_of, sacrebleu_statistics


def mean_of(values: np.ndarray) -> Statistic:
    """One pair a track."""
    return Statistic(np.stack([values, np.ones(len(values))], axis=1), lambda sums: sums[:, 0] / sums[:, 1])


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(1).normal(5, 2, 400)
    statistic = mean_of(values)
    low, high = interval(statistic, seed=0)
    error = values.std() / np.sqrt(400)
    assert statistic.value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.25 * error)
    assert interval(statistic, seed=0) == (low, high)
    assert interval(statistic, seed=1) != (low, high)


def test_a_tracks_questions_stay_together():
    """Nine questions of a track that are all alike are worth one, not nine."""
    values = np.random.default_rng(0).normal(0, 1, 50)
    alike = Statistic(np.stack([9 * values, np.full(50, 9)], axis=1), lambda sums: sums[:, 0] / sums[:, 1])
    by_track, by_question = interval(alike, 0), interval(mean_of(np.repeat(values, 9)), 0)
    assert by_track == pytest.approx(interval(mean_of(values), 0))
    assert np.ptp(by_track) > 2.5 * np.ptp(by_question)  # 3 in theory


def test_paired_differences():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 200)  # some tracks are hard for everybody
    theirs, ours = hard + rng.normal(0, 0.5, 200), hard + 0.2 + rng.normal(0, 0.5, 200)
    found = difference(mean_of(ours), mean_of(theirs), seed=0)
    assert found["difference"] == pytest.approx((ours - theirs).mean())
    assert 0 < found["low"] < found["high"] and found["p"] < 0.01  # unpaired, 5 points of spread would hide it
    same = difference(mean_of(theirs), mean_of(theirs), seed=0)
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)


def test_p_values_are_even_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = [difference(mean_of(rng.normal(size=30)), mean_of(rng.normal(size=30)), seed)["p"] for seed in range(200)]
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


def test_sacrebleu_of_sums_is_the_corpus_score():
    said = ["a slow piano piece", "fast drums and a loud guitar", "", "a flute"]
    true = ["a slow and sad piano piece", "loud drums and a fast guitar", "a choir sings", "a flute alone"]
    statistics = np.array([sacrebleu_statistics(*pair) for pair in zip(said, true, strict=True)])
    statistic = Statistic(statistics, lambda sums: np.array([sacrebleu_of(row.tolist()) for row in sums]))
    assert statistic.value == pytest.approx(sacrebleu.corpus_bleu(said, [true]).score, abs=1e-9)
    drawn = [0, 0, 1, 3]
    resample = statistic.of(statistics[drawn].sum(axis=0, keepdims=True))[0]
    direct = sacrebleu.corpus_bleu([said[i] for i in drawn], [[true[i] for i in drawn]]).score
    assert resample == pytest.approx(direct, abs=1e-9)
