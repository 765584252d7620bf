"""One run a seed, and what they say together: pooled outcomes for a paired comparison, and how far seeds differ.

    runs = [outcomes_from_log(log) for log in logs_of_the_seeds]
    together = pooled("3 epochs", runs)               # each question answered once a seed
    spread = seed_spread(runs_before, runs_after)     # the difference, seed by seed
    print(seed_words(spread))

A comparison of pooled outcomes (`results/comparison.py`) draws questions, not seeds: what it claims holds for these
very models. Whether other seeds would say the same is another question; the interval over seeds, Student's t over the
differences of the seeds, is a rough answer to it, for there are few of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from results.comparison import ComparisonError
from results.outcomes import Outcomes
from results.paired import Bounds


@dataclass(frozen=True)
class SeedSpread:
    """Differences of shares, one a seed (second minus first), their mean and its 95% interval over seeds.

    `bounds` is None for a single seed, which tells nothing of others.
    """

    differences: tuple[float, ...]
    mean: float
    bounds: Bounds | None


def pooled(label: str, runs: Sequence[Outcomes]) -> Outcomes:
    """The runs of several seeds as one, each question asked as often as there are runs.

    Raises ComparisonError where they were not asked the same questions of the same data, or there is none.
    """
    if not runs:
        raise ComparisonError(f"{label}: there is no run to pool.")
    verdicts: defaultdict[str, tuple[bool, ...]] = defaultdict(tuple)
    failed, unkeyed = Counter[str](), Counter[str]()
    for run in runs:
        if run.verdicts.keys() != runs[0].verdicts.keys() or run.data_hash != runs[0].data_hash:
            raise ComparisonError(
                f"{label}: its seeds were not asked the same questions of the same data ({runs[0].source}, "
                f"{run.source}). Score them on one question set."
            )
        for id, attempts in run.verdicts.items():
            verdicts[id] += attempts
        failed.update(run.failed)
        unkeyed.update(run.unkeyed)
    first = runs[0]
    return Outcomes(
        label=label,
        k=sum(run.k for run in runs),
        n=sum(run.n for run in runs),
        verdicts=dict(verdicts),
        families=first.families,
        targets=first.targets,
        failed=failed,
        unkeyed=unkeyed,
        data_hash=first.data_hash,
        names=(label,),
        source=", ".join(run.source for run in runs),
    )


def seed_spread(first: Sequence[Outcomes], second: Sequence[Outcomes]) -> SeedSpread | None:
    """The differences, seed by seed; a run that no seed changes (a base model) is held against each of the other's.

    None where the two have unlike numbers of seeds.
    """
    most = max(len(first), len(second))
    first, second = ([*runs] * most if len(runs) == 1 else [*runs] for runs in (first, second))
    if len(first) != len(second) or not first:
        return None
    differences = tuple(b.share - a.share for a, b in zip(first, second, strict=True))
    mean = fmean(differences)
    return SeedSpread(differences, mean, _over_seeds(differences))


def _over_seeds(values: Sequence[float]) -> Bounds | None:
    """Student's 95% interval of the mean of a few values."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Bounds(max(-1.0, fmean(values) - half), min(1.0, fmean(values) + half))


def seed_words(spread: SeedSpread) -> str:
    """What the seeds say of a difference, in a sentence or two."""
    each = ", ".join(f"{100 * difference:+.1f}" for difference in spread.differences)
    if spread.bounds is None:
        return "One seed: nothing here tells what another would say."
    said = f"Seed by seed {each} points"
    if not any(spread.differences):
        return f"{said}."
    agree = len({(difference > 0) - (difference < 0) for difference in spread.differences}) == 1
    said += ", all one way" if agree else ", not all one way"
    low, high = 100 * spread.bounds.low, 100 * spread.bounds.high
    said += f"; over seeds {100 * spread.mean:+.1f} (95% interval {low:+.1f} to {high:+.1f})"
    if spread.bounds.covers_0:
        return said + ": other seeds may say otherwise."
    return said + "."
