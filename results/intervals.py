"""Shares with their uncertainty: k of n, the Wilson score interval, the median of several runs.

    >>> str(Share(54, 72))
    '54/72 = 75.0% (63.9 to 83.6)'

A share is never passed about without its k and n. What this does not do: compare two models on the same questions.
Intervals that overlap do not mean "no difference", and intervals that do not are no paired test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, median_low

from harness.records import Interval


def interval(k: float, n: int, level: float = 0.95) -> Interval:
    """The Wilson score interval for k successes in n independent trials, without continuity correction.

    k may be a sum of shares, where each of the n questions was asked several times.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927);
    recommended for n of this size by Brown, Cai and DasGupta, Statistical Science 16 (2001).

    Raises ValueError when n is not positive, k is not between 0 and n, or level is not between 0 and 1.
    """
    if n <= 0:
        raise ValueError(f"{k} of {n}: a share of no questions has no interval. Score at least one question.")
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n}: k must lie between 0 and n.")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, such as 0.95.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = k / n
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    # At k = 0 and k = n the bound is exactly 0 or 1; floating point would miss it by an ulp.
    return Interval(
        low=0.0 if k == 0 else centre - half, high=1.0 if k == n else centre + half, level=level, method="wilson"
    )


@dataclass(frozen=True)
class Share:
    """k right of n asked. Raises ValueError unless 0 <= k <= n and n > 0.

    `bounds` is given where the n trials do not stand alone, as with several attempts at a question.
    """

    k: int
    n: int
    bounds: Interval | None = None

    def __post_init__(self) -> None:
        interval(self.k, self.n)

    @property
    def value(self) -> float:
        """The share itself, between 0 and 1."""
        return self.k / self.n

    @property
    def interval(self) -> Interval:
        """The 95% interval: the one given, else Wilson's."""
        return self.bounds or interval(self.k, self.n)

    def __str__(self) -> str:
        bounds = self.interval
        return f"{self.k}/{self.n} = {self.value:.1%} ({100 * bounds.low:.1f} to {100 * bounds.high:.1f})"


def median_share(shares: Iterable[Share]) -> Share:
    """The median run of several (say one a seed), by share; of an even number of runs the lower middle one.

    It is one of the runs given, so that its k, n and interval are those of a run that took place.
    Raises ValueError when there are none.
    """
    by_value = sorted(shares, key=lambda share: share.value)
    if not by_value:
        raise ValueError("there is no median of no runs.")
    return by_value[median_low(range(len(by_value)))]
