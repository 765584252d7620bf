"""Questions that were asked several times: pass@k, and intervals that do not take attempts for questions.

    pass_at_k(k=2, right=1, attempts=4)              # 0.5: one of two attempts drawn from the four is right
    pass_at([[True, False], [True, True]], k=2)      # the mean over the questions, with its interval
    interval_over_questions([0.5, 1.0, 0.25])        # of the mean of one figure a question

Attempts at one question are not independent, so the unit of every interval here is the question. The method is named
in the interval: *wilson over questions* where each question's figure is 0 or 1 (or all are the same, where there is no
spread to draw from), else *bootstrap over questions*. A failed attempt is a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb
from statistics import fmean

import numpy as np

from harness.records import Interval, PassAt
from results.intervals import interval
from results.paired import bootstrap_interval

WILSON = "wilson over questions"
BOOTSTRAP = "bootstrap over questions"


def pass_at_k(k: int, right: int, attempts: int) -> float:
    """The chance that one of k attempts, drawn without replacement from those made, is right.

    The unbiased estimator of M. Chen et al., "Evaluating large language models trained on code", 2021, equation 1.
    Raises ValueError unless 1 <= k <= attempts and 0 <= right <= attempts: from fewer attempts it cannot be told.
    """
    if not 1 <= k <= attempts or not 0 <= right <= attempts:
        raise ValueError(f"pass@{k} cannot be told from {right} right of {attempts} attempts. Ask more often.")
    return 1 - comb(attempts - right, k) / comb(attempts, k)


def pass_at(verdicts: Iterable[Sequence[bool]], k: int) -> PassAt:
    """pass@k of a run: the mean over its questions (their attempts, one sequence each), with a 95% interval.

    Raises ValueError where there is no question, or one with fewer than k attempts.
    """
    values = [pass_at_k(k, sum(attempts), len(attempts)) for attempts in verdicts]
    bounds = interval_over_questions(values)
    return PassAt(k=k, value=fmean(values), interval=bounds)


def told_of(attempts: int) -> tuple[int, ...]:
    """The k for which a row tells pass@k: 2, 4, 8 and so on up to the number of attempts, and that number itself."""
    return tuple(sorted({2**power for power in range(1, attempts.bit_length()) if 2**power <= attempts} | {attempts}))


def interval_over_questions(values: Sequence[float]) -> Interval:
    """A 95% interval for the mean of one figure a question, each between 0 and 1.

    Where no question's figure differs from the others' the bootstrap would be a point, which no sample justifies;
    Wilson's interval among so many questions is then the honest one, and is never too narrow.

    Raises ValueError when there are no values.
    """
    questions = len(values)
    drawn = None
    if not set(values) <= {0.0, 1.0} and len(set(values)) > 1:
        # Sorted: the order in which questions were asked must not move the draws.
        drawn = bootstrap_interval(np.asarray(sorted(values), dtype=float), range(questions))
    if drawn is None:
        # Summed shares can miss a whole number by an ulp.
        bounds = interval(min(sum(values), float(questions)), questions)
        return bounds.model_copy(update={"method": WILSON})
    return Interval(low=max(0.0, drawn.low), high=min(1.0, drawn.high), method=BOOTSTRAP)
