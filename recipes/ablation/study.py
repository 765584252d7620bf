"""The ablation's own run of its W&B group: table and verdicts, beside the runs of its trainings and scorings."""

from __future__ import annotations

from harness import study
from recipes.ablation.outcome import Outcome
from results.verdict import verdict


def log_outcome(outcome: Outcome) -> None:
    """Log the outcome where the environment names a study; a failure to do so costs a warning."""
    if not outcome.scored or not study.asked_for():
        return
    run = study.start_run("ablation", outcome.study, {}, run_id=study.id_of("ablation", outcome.study))
    if run is None:
        return
    with study.harmless("log the ablation's table"):
        rows = []
        for each in outcome.scored:
            bounds = each.share.interval
            figures = (each.together.k, each.together.n, each.share.value, bounds.low, bounds.high)
            rows.append((each.run.label, *figures, each.together.errors, len(each.seeds)))
        run.table("runs", ("run", "k", "n", "share", "low", "high", "errors", "seeds"), rows)
        if outcome.compared:
            said = [(pair.first.label, pair.second.label, verdict(pair)) for pair in outcome.compared.comparisons]
            run.table("verdicts", ("first", "second", "verdict"), said)
    run.finish()
