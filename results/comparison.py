"""Comparing runs on the same questions, so that no more is claimed than can be seen.

    runs = labelled([outcomes_from_log("logs/a.eval"), outcomes_from_log("logs/b.eval")])
    for comparison in compare(runs).comparisons:
        print(verdict(comparison))                  # results/verdict.py

Runs are paired question by question: the test is the mid-p McNemar test, the interval of the difference a bootstrap
that draws whole question families, never narrower than Tango's score interval, and p-values are corrected by Holm's
method where several pairs are compared. A difference is claimed only where test and interval agree. Runs over other
questions, data or answer keys are refused. Of figures whose single outcomes are not known, only the totals can be
compared, as if the questions were different ones. It does not say which difference matters, nor look at several seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import lcm

import numpy as np

from results.outcomes import Outcomes
from results.paired import (
    Bounds,
    Floats,
    bootstrap_interval,
    holm,
    mean_interval,
    mid_p,
    questions_needed,
    unpaired_interval,
    unpaired_needed,
    unpaired_p,
)

ALPHA = 0.05
POWER = 0.8
RESAMPLES = 10_000
FEW_FAMILIES = 10
"""With fewer clusters than this an interval by drawing clusters is not to be trusted."""


class ComparisonError(ValueError):
    """Runs that cannot be compared; the message names them, the reason and the mend."""


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other; every difference is the second minus the first.

    Attributes:
        paired: Whether single outcomes were compared, question by question.
        difference: Of the shares, between -1 and 1.
        bounds: Its 95% interval.
        p: Two-sided, of this pair alone.
        corrected_p: The same after Holm's correction over all `pairs` compared together.
        pairs: How many pairs those are.
        gained: Questions on which the second did better; None where single outcomes are not known.
        lost: Questions on which the first did better.
        families: How many clusters of questions the interval rests on; None where single outcomes are not known.
        needed: How many questions (each, if not paired) would show this difference with 80% power at this level over
            all pairs, were it just what was seen; None where it is 0.
        notes: What a reader must know besides.
    """

    first: Outcomes
    second: Outcomes
    paired: bool
    difference: float
    bounds: Bounds
    p: float
    corrected_p: float
    pairs: int
    gained: int | None
    lost: int | None
    families: int | None
    needed: int | None
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether a difference is claimed: by the corrected test and by the interval."""
        return self.corrected_p < ALPHA and not self.bounds.covers_0


@dataclass(frozen=True)
class Comparisons:
    """Runs, and the pairs of them that were compared together.

    `left_out` says which questions were not compared, where some were not, and must be shown first; `notes` hold for
    all pairs.
    """

    runs: tuple[Outcomes, ...]
    comparisons: tuple[Comparison, ...]
    left_out: str = ""
    notes: tuple[str, ...] = ()


def compare(
    runs: Sequence[Outcomes],
    *,
    every_pair: bool = False,
    only_shared: bool = False,
    pairs: Sequence[tuple[str, str]] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparisons:
    """Compare each run with the first, every pair of them, or the pairs that were chosen beforehand.

    Args:
        runs: Two or more, under different labels.
        every_pair: Not only with the first. Right where the pair worth a look is chosen after looking.
        only_shared: Leave out the questions that not all runs were asked, and say so; else such runs are refused.
        pairs: Labels of the pairs to compare, in place of the above. Right only where they were chosen before looking.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Raises ComparisonError for fewer than two runs, equal labels, or runs over other questions, data or answers.
    """
    if len(runs) < 2 or len({run.label for run in runs}) < len(runs):
        labels = ", ".join(run.label for run in runs) or "none"
        raise ComparisonError(f"runs given: {labels}. A comparison needs two or more, under different labels.")
    left_out = ""
    if only_shared:
        runs, left_out = _shared(runs)
    chosen = _chosen(runs, every_pair, pairs)
    alpha = ALPHA / len(chosen)
    made = [
        _paired(first, second, alpha, seed, resamples)
        if first.verdicts and second.verdicts
        else _unpaired(first, second, alpha)
        for first, second in chosen
    ]
    corrected = holm([comparison.p for comparison in made])
    made = [replace(one, corrected_p=p, pairs=len(chosen)) for one, p in zip(made, corrected, strict=True)]
    return Comparisons(tuple(runs), tuple(made), left_out, tuple(_counted_as_wrong(runs) + _unknown_data(runs)))


def _chosen(
    runs: Sequence[Outcomes], every_pair: bool, pairs: Sequence[tuple[str, str]] | None
) -> list[tuple[Outcomes, Outcomes]]:
    if pairs is None:
        return list(combinations(runs, 2)) if every_pair else [(runs[0], other) for other in runs[1:]]
    by_label = {run.label: run for run in runs}
    if not pairs or (unknown := [label for pair in pairs for label in pair if label not in by_label]):
        named = f"there is no run {unknown[0]!r}" if pairs else "no pair is named"
        raise ComparisonError(f"pairs: {named}; the runs are {', '.join(by_label)}.")
    return [(by_label[first], by_label[second]) for first, second in pairs]


def differences_of(first: Outcomes, second: Outcomes) -> Floats:
    """Per question, in the order of their ids: how often the second was right minus how often the first was."""
    return np.array([_mean(second.verdicts[id]) - _mean(first.verdicts[id]) for id in sorted(first.verdicts)])


def _mean(attempts: Sequence[bool]) -> float:
    return sum(attempts) / len(attempts)


def _paired(first: Outcomes, second: Outcomes, alpha: float, seed: int, resamples: int) -> Comparison:
    _refuse_unless_same(first, second)
    differences = differences_of(first, second)
    families = {**second.families, **first.families}
    # A question without a family stands for itself; the pair keeps it apart from a family of that name.
    clusters = [("family", families[id]) if id in families else ("question", id) for id in sorted(first.verdicts)]
    bounds = mean_interval(differences)
    if (drawn := bootstrap_interval(differences, clusters, resamples=resamples, seed=seed)) is not None:
        bounds = bounds.widened_by(drawn)
    attempts = lcm(*{len(each) for run in (first, second) for each in run.verdicts.values()})
    number = len(set(clusters))
    return Comparison(
        first=first,
        second=second,
        paired=True,
        difference=float(differences.mean()),
        bounds=bounds,
        p=mid_p(differences, attempts),
        corrected_p=1.0,
        pairs=1,
        gained=int((differences > 1e-9).sum()),
        lost=int((differences < -1e-9).sum()),
        families=number,
        needed=questions_needed(differences, alpha, POWER),
        notes=tuple(_cautions(len(clusters), number)),
    )


def _unpaired(first: Outcomes, second: Outcomes, alpha: float) -> Comparison:
    one, other = (first.k, first.n), (second.k, second.n)
    return Comparison(
        first=first,
        second=second,
        paired=False,
        difference=second.k / second.n - first.k / first.n,
        bounds=unpaired_interval(one, other),
        p=unpaired_p(one, other),
        corrected_p=1.0,
        pairs=1,
        gained=None,
        lost=None,
        families=None,
        needed=unpaired_needed(one, other, alpha, POWER),
        notes=(
            "Only the totals are known, so they are compared as if of different questions. A paired comparison, which "
            "sees smaller differences, would need the outcome of every question.",
        ),
    )


def _shared(runs: Sequence[Outcomes]) -> tuple[list[Outcomes], str]:
    """The runs cut down to the questions that all were asked, and what was left out."""
    known = [run for run in runs if run.verdicts]
    shared = set.intersection(*(set(run.verdicts) for run in known)) if known else set()
    if known and not shared:
        raise ComparisonError(f"{', '.join(run.label for run in known)}: have no question in common.")
    left_out = {run.label: len(run.verdicts) - len(shared) for run in known if len(run.verdicts) > len(shared)}
    if not left_out:
        return list(runs), ""
    said = ", ".join(f"{count} of {label}" for label, count in left_out.items())
    note = f"ONLY the {len(shared)} questions that all were asked are compared; left out: {said}. "
    note += "The shares are of those questions alone, and may differ from the runs' own."
    return [run.only(shared) if run.verdicts else run for run in runs], note


def _refuse_unless_same(first: Outcomes, second: Outcomes) -> None:
    """Raise ComparisonError unless both were asked the same questions, of the same data, by the same key."""
    names = f"{first.label} and {second.label}"
    missing = [
        f"{len(gone)} of {one.label}'s are missing in {other.label} ({_some(gone)})"
        for one, other in ((first, second), (second, first))
        if (gone := sorted(set(one.verdicts) - set(other.verdicts)))
    ]
    if missing:
        raise ComparisonError(
            f"{names} were not asked the same questions: {', and '.join(missing)}. Run both on one question set, or "
            "compare the shared questions alone with --only-shared."
        )
    if first.data_hash and second.data_hash and first.data_hash != second.data_hash:
        raise ComparisonError(
            f"{names} were measured on different data ({first.data_hash[:20]} and {second.data_hash[:20]}), so their "
            "verdicts are not about the same answers. Run one of them again on the data of the other."
        )
    other = sorted(id for id in first.targets.keys() & second.targets.keys() if first.targets[id] != second.targets[id])
    if other:
        raise ComparisonError(
            f"{names} were graded by different keys: the right answers of {len(other)} questions differ "
            f"({_some(other)}). Score both with one key: `inspect score LOG`."
        )


def _some(ids: Sequence[str], most: int = 3) -> str:
    return ", ".join(ids[:most]) + (", ..." if len(ids) > most else "")


def _cautions(questions: int, families: int) -> list[str]:
    if 1 < families < min(FEW_FAMILIES, questions):
        return [f"The questions are of {families} families only: the interval, drawn from so few, is rough."]
    if families == 1 < questions:
        return ["All questions are of one family: nothing here tells how other families would do."]
    return []


def _unknown_data(runs: Sequence[Outcomes]) -> list[str]:
    unknown = ", ".join(run.label for run in runs if run.verdicts and not run.data_hash)
    if not unknown:
        return []
    return [f"No hash of the data is known for {unknown}, so that they were the same was not checked."]


def _counted_as_wrong(runs: Sequence[Outcomes]) -> list[str]:
    said = [
        f"{run.errors} of the {run.n} attempts of {run.label} failed and count as wrong." for run in runs if run.errors
    ]
    return said + [
        f"{run.unscored} of the {run.n} attempts of {run.label} have no answer key and count as wrong."
        for run in runs
        if run.unscored
    ]
