"""How long an ablation takes: measured on what is done of it, before that guessed from its YAML's `seconds`.

    forecast = forecast_of(plan, state, settings)
    forecast.left()                 # seconds of wall time for what is not done, None where nothing is known

The slots are taken to be busy all the time and equally fast; that is a guess, not a promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.trainings import checkpoints
from recipes.ablation.plan import Plan
from recipes.ablation.scores import row_of
from recipes.ablation.settings import Settings
from recipes.ablation.state import State
from results.table import duration


@dataclass(frozen=True)
class Forecast:
    """What is left, in epochs and scorings, what each takes in seconds (None: not known), and how many slots."""

    epochs: float
    scorings: int
    an_epoch: float | None
    a_scoring: float | None
    slots: int
    measured: bool

    def left(self) -> float | None:
        """Seconds of wall time."""
        if (self.epochs and self.an_epoch is None) or (self.scorings and self.a_scoring is None):
            return None
        return (self.epochs * (self.an_epoch or 0.0) + self.scorings * (self.a_scoring or 0.0)) / self.slots

    def words(self) -> str:
        """In words."""
        if not self.epochs and not self.scorings:
            return "all is trained and scored"
        scorings = f"{self.scorings} scoring{'s' * (self.scorings != 1)}"
        what = f"left: {self.epochs:g} epoch{'s' * (self.epochs != 1)} of training, {scorings}"
        left = self.left()
        if left is None:
            return f"{what}; how long they take is not known before one is done (or `seconds` in the YAML says)"
        basis = "by what was measured so far" if self.measured else "by the YAML's `seconds`"
        return f"{what}; about {duration(left)} {basis}, preparation not counted"


def forecast_of(plan: Plan, state: State, settings: Settings) -> Forecast:
    """A forecast of what is not done."""
    epochs = done = seconds = 0.0
    for training in plan.trainings.values():
        noted = state.noted(training.name, "trained")
        if noted is not None:
            done += float(noted["epochs"] or 0.0) - float(noted["from_epoch"])
            seconds += float(noted["seconds"])
        elif training.ours:
            saved = [each for each in checkpoints(training.folder) if each.resumable]
            epochs += max(0.0, (training.epochs or 1.0) - (saved[-1].epoch if saved else 0.0))
    rows = [row_of(state, name)[0] for name in plan.scorings]
    walls = [row.wall_s for row in rows if row is not None and row.wall_s is not None]
    left = sum(state.noted(name, "scored") is None for name in plan.scorings)
    expected = settings.seconds
    return Forecast(
        epochs=epochs,
        scorings=left,
        an_epoch=seconds / done if done else expected.an_epoch if expected else None,
        a_scoring=sum(walls) / len(walls) if walls else expected.a_scoring if expected else None,
        slots=len(settings.places()),
        measured=bool(done and walls),
    )
