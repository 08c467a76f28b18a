"""
How sure a score is: 95 % intervals and paired differences, by resampling *tracks*.

A track's questions share its music, so they are drawn or left out together. Every score here is a function of sums
over tracks (a mean: of scores and of counts; sacreBLEU: of its n-gram counts), which makes a resample a weighted sum.
Differences are paired: both systems see the same resamples. Their p-value is that of a two-sided permutation test
that swaps the two systems' answers track by track.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
PERMUTATIONS = 2000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Statistic:
    """A score: its sums over each track's pairs, `(tracks, parts)`, and what makes of `(draws, parts)` `(draws,)`."""

    sums: np.ndarray
    of: Callable[[np.ndarray], np.ndarray]

    @property
    def value(self) -> float:
        """The score of all tracks."""
        return float(self.of(self.sums.sum(axis=0, keepdims=True))[0])


def resampled(statistic: Statistic, seed: int) -> np.ndarray:
    """The scores of `RESAMPLES` draws of as many tracks as there are, with replacement; the same draws for a seed."""
    tracks = len(statistic.sums)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(tracks, np.full(tracks, 1 / tracks), RESAMPLES)
    return statistic.of(weights @ statistic.sums)


def interval(statistic: Statistic, seed: int) -> tuple[float, float]:
    """95 % bootstrap percentile interval."""
    low, high = np.nanpercentile(resampled(statistic, seed), INTERVAL)
    return float(low), float(high)


def difference(ours: Statistic, theirs: Statistic, seed: int) -> dict[str, float]:
    """`{"difference", "low", "high", "p"}` of two systems' scores on the same tracks."""
    gap = ours.value - theirs.value
    low, high = np.nanpercentile(resampled(ours, seed) - resampled(theirs, seed), INTERVAL)
    middle, half = (ours.sums + theirs.sums).sum(axis=0) / 2, (ours.sums - theirs.sums) / 2
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(PERMUTATIONS, len(half)))
    swapped = ours.of(middle + signs @ half) - ours.of(middle - signs @ half)
    as_far = int(np.sum(np.abs(swapped) >= abs(gap) - 1e-12))
    return {
        "difference": gap,
        "low": float(low),
        "high": float(high),
        "p": (as_far + 1) / (PERMUTATIONS + 1),
    }
