"""An ablation's best model: which it is, and its way to the Hub with a card that holds the whole table.

    best = best_of(plan, state)
    publish_best(best, "my-lab/agent-tiny", plan, settings, state)

Best is the scoring with the most right answers, of equals the earlier epoch. It was chosen by looking, which the card
says; a fresh question set tells how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.trainings import checkpoint_of
from recipes.ablation.outcome import LOOKED, comparison_text, outcome_of, table
from recipes.ablation.plan import Plan, Scoring
from recipes.ablation.scores import row_of
from recipes.ablation.settings import AblationError, Settings
from recipes.ablation.state import State
from recipes.ablation.work import LAUNCH, training_command
from recipes.publishing import launch_command, training_data
from results.hub import measured
from results.model_card import Trained, write_model_card
from results.provenance import code_commit
from results.publishing import publish


@dataclass(frozen=True)
class Best:
    """The scoring and the folder of its checkpoint."""

    scoring: Scoring
    folder: Path


def best_of(plan: Plan, state: State) -> Best:
    """The best model that was trained here. Raises AblationError where none is scored, or its checkpoint is gone."""
    found: tuple[float, float, Scoring] | None = None
    for scoring in plan.scorings.values():
        row, _ = row_of(state, scoring.name)
        if row is None or not scoring.training or row.k is None or not row.n:
            continue
        rank = (row.k / row.n, -(scoring.epoch or 0.0), scoring)
        if found is None or rank[:2] > found[:2]:
            found = rank
    if found is None:
        raise AblationError("no trained model is scored yet, so there is no best one.")
    scoring = found[2]
    training = plan.trainings[scoring.training]
    folder = checkpoint_of(training.folder, scoring.epoch) if scoring.epoch is not None else None
    if folder is None and scoring.epoch in (None, training.epochs):
        folder = training.folder
    if folder is None or not folder.is_dir():
        raise AblationError(f"{scoring.label}: its checkpoint is not in {training.folder} any more.")
    return Best(scoring, folder)


def publish_best(
    best: Best, repository: str, plan: Plan, settings: Settings, state: State, private: bool | None
) -> str:
    """Write the card into the best checkpoint's folder and upload it; its address. Raises HubError."""
    training = plan.trainings[best.scoring.training]
    outcome = outcome_of(plan, state, settings)
    log = state.folder / str((state.noted(best.scoring.name, "scored") or {})["log"])
    trained = Trained(
        base_model=training.base,
        method=Path(settings.recipe).stem,
        commands=(launch_command(training_command(training, settings)[len(LAUNCH) :]),),
        data=tuple(training_data(training.flags.get("training_set"))),
        commit=code_commit(),
        settings=tuple((key, str(value)) for key, value in training.flags.items()),
    )
    more = (
        f"### The ablation it is from: {outcome.study}\n\nThis model is *{best.scoring.label}*. {LOOKED}\n\n"
        f"{table(outcome)}\n{comparison_text(outcome)}"
    )
    write_model_card(best.folder, repository, trained, [measured(log)], more)
    return publish(best.folder, repository, private=private)
