"""An ablation by one command: arms of a YAML are trained and scored, and compared question by question.

    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --dry-run     # arms, commands, a guess of the time
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml               # run it, or go on with it
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --show        # the table of what is scored by now
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --record      # its rows into the committed ledger
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --push-to-hub OWNER/NAME      # the best, with its card
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --watch       # on another machine or GPU: only score ...
    python recipes/ablate.py recipes/configs/epochs-tiny.yaml --train-only  # ... what this one trains

Each arm is an `accelerate launch` of its own, each scoring an `inspect eval` of its own, so a GPU's memory is freed for
certain. A checkpoint is scored as soon as it is there and a slot is free: with one slot (`slots: 1`, one GPU) when the
training has freed it. It may be killed at any moment and goes on where it was; a folder in which something was begun
with other settings, data, models or code is refused with what changed. One arm that fails does not stop the others.

It ends with `table.md`, `plot.png` and `result.json` in the run's folder, a row of the ledger for each scoring, and in
the environment of a study (`DABSTEP_STUDY`, or `wandb: true`) with W&B runs of one group.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from harness import study
from harness.children import Child, ChildFailed, Progress, shown
from harness.evaluations import INSPECT
from harness.jobs import Job, Slot, run_jobs
from recipes.ablation.best import best_of, publish_best
from recipes.ablation.forecast import forecast_of
from recipes.ablation.outcome import Outcome, comparison_text, outcome_of, table, write_outcome
from recipes.ablation.plan import Plan, filled, make_plan
from recipes.ablation.scores import row_of
from recipes.ablation.settings import Place, Settings, read_settings
from recipes.ablation.state import State, check_all
from recipes.ablation.study import log_outcome
from recipes.ablation.work import Work, step_command, steps_of, training_command
from recipes.command_line import RecipeError
from results.ledger import COMMITTED, record
from results.provenance import ProvenanceError
from results.table import duration


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    given = _parser().parse_args(arguments)
    console = Console()
    try:
        settings = read_settings(given.config, given.run)
        plan = make_plan(settings)
        state = State(Path(settings.run), given.other_code)
        if given.dry_run:
            dry_run(plan, settings, state, console)
        elif given.push_to_hub:
            best = best_of(plan, state)
            console.print(f"{best.scoring.label}: {best.folder}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"published: {publish_best(best, given.push_to_hub, plan, settings, state, given.private)}")
        elif given.record:
            rows = [row for name in plan.scorings if (row := row_of(state, name)[0]) is not None]
            console.print(f"{len(record(rows))} rows recorded in {COMMITTED}, of {len(rows)} that are scored")
        elif given.show:
            show(outcome_of(plan, state, settings), console)
        elif not run(plan, settings, state, console, train=not given.watch, score=not given.train_only):
            raise SystemExit(1)
    except (ValueError, ProvenanceError, ChildFailed) as error:  # a user's mistakes are ValueErrors here, each by name
        raise RecipeError(str(error)) from None
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on")
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="the ablation's YAML")
    parser.add_argument("--run", type=Path, help="the run's folder, in place of the YAML's")
    parser.add_argument("--other-code", action="store_true", help="go on although the code has changed meanwhile")
    parser.add_argument("--private", action="store_true", default=None, help="the Hub's repository is private")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print arms, commands and a guess of the time")
    what.add_argument("--show", action="store_true", help="print the table of what is scored by now")
    what.add_argument("--record", action="store_true", help=f"copy its rows to the committed ledger, {COMMITTED}")
    what.add_argument("--watch", action="store_true", help="train nothing; score checkpoints as they appear")
    what.add_argument(
        "--push-to-hub", metavar="OWNER/NAME", help="upload the best model, with a card of the whole table"
    )
    what.add_argument("--train-only", action="store_true", help="score nothing; somebody watches")
    return parser


def run(plan: Plan, settings: Settings, state: State, console: Console, train: bool, score: bool) -> bool:
    """Do what is not done. Returns whether all of it went well."""
    if settings.wandb:
        os.environ.setdefault(study.VARIABLE, settings.study)
    work = Work(settings, plan, state)
    begun = time.monotonic()
    with ExitStack() as locks, Progress(console) as progress:
        for name in ["training"] * train + ["scoring"] * score:
            locks.enter_context(state.alone(name))
        check_all(plan, settings, state)
        if train:
            _prepare(work, settings, progress)
        if score:
            work.catch_up()
        progress.say(forecast_of(plan, state, settings).words())
        _train_and_score(work, settings, progress, train, score)
    if score:
        outcome = outcome_of(plan, state, settings)
        write_outcome(outcome, state.folder, {"wall_s": round(time.monotonic() - begun, 1)})
        log_outcome(outcome)
        show(outcome, console)
        console.print(f"{duration(time.monotonic() - begun)}. {state.folder}/table.md, {state.folder}/plot.png")
    for name, why in work.failures.items():
        console.print(f"failed: {name}: {why}", markup=False, highlight=False, soft_wrap=True)
    return not work.failures


def _prepare(work: Work, settings: Settings, progress: Progress) -> None:
    """The steps, group by group."""
    groups = work.preparations()
    slots = _slots(settings.places(), any_work=True)
    with progress.step("preparation", sum(map(len, groups))) as advance:
        for group in groups:
            run_jobs([_counted(job, advance) for job in group], slots, lambda running: None, progress)


def _train_and_score(work: Work, settings: Settings, progress: Progress, train: bool, score: bool) -> None:
    """Trainings and scorings, the latter first wherever they can start."""
    trainings, scorings = work.trainings() if train else [], work.scorings() if score else []
    epochs = {job.name: work.plan.trainings[job.name].epochs or 1.0 for job in trainings}
    done = {"epochs": 0.0, "scorings": 0.0}
    with (
        progress.step("epochs trained", sum(epochs.values())) as trained,
        progress.step("checkpoints scored", len(scorings)) as scored,
    ):

        def ended(job: Job) -> None:
            job.ended()
            done["epochs"] += epochs.get(job.name, 0.0)
            done["scorings"] += job.kind == "scoring"
            said = "" if job.kind == "training" else f" {work.said_of(work.plan.scorings[job.name])}"
            progress.say(f"done: {job.name}{said}; {forecast_of(work.plan, work.state, settings).words()}")

        def failed(job: Job, error: ChildFailed) -> None:
            work.failures[job.name] = str(error)
            progress.say(f"failed: {error}")

        def tick(running: Sequence[Child]) -> None:
            trained(done["epochs"] + sum(child.done() for child in running if child.name in epochs))
            scored(done["scorings"])

        jobs = [Job(job.name, job.child, lambda job=job: ended(job), job.kind) for job in [*scorings, *trainings]]  # type: ignore[misc]
        run_jobs(jobs, _slots(settings.places()), tick, progress, failed)


def _counted(job: Job, advance: object) -> Job:
    def ended() -> None:
        job.ended()
        advance()  # type: ignore[operator]

    return Job(job.name, job.child, ended, job.kind)


def _slots(places: Sequence[Place], any_work: bool = False) -> list[Slot]:
    """The YAML's places as slots of the loop."""
    return [
        Slot(
            None if any_work else frozenset(place.work),
            {} if place.device is None else {"CUDA_VISIBLE_DEVICES": place.device},
        )
        for place in places
    ]


def show(outcome: Outcome, console: Console) -> None:
    """Print the table, what may be said, and what is missing."""
    scores = table(outcome) if outcome.scored else "nothing is scored yet"
    console.print(scores, markup=False, highlight=False, soft_wrap=True)
    console.print(comparison_text(outcome), markup=False, highlight=False, soft_wrap=True)
    for label, why in outcome.missing.items():
        console.print(f"not scored: {label}: {why}", markup=False, highlight=False, soft_wrap=True)


def dry_run(plan: Plan, settings: Settings, state: State, console: Console) -> None:
    """Print what would be done."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    seeds = ", ".join(map(str, settings.seeds))
    say(f"study {settings.study}: {len(settings.arms)} arms, seeds {seeds}, in {settings.run}")
    for name, arm in settings.arms.items():
        own = ", ".join(f"{key}={value}" for key, value in arm.train.items())
        say(f"  {name}: {own or 'as all'}; scored: {arm.score}")
    for _, step, seed in (step for group in settings.prepare for step in steps_of(group, settings)):
        say(f"$ {shown(step_command(filled(step.run, settings, seed)))}")
    for training in plan.trainings.values():
        if training.ours:
            done = "(done) " if state.noted(training.name, "trained") else ""
            say(f"{done}$ {shown(training_command(training, settings))}")
    for scoring in plan.scorings.values():
        place = plan.trainings[scoring.training].folder if scoring.training else scoring.base
        which = f"{place}/checkpoint-..." if scoring.training else place
        words = [*INSPECT, "eval", *scoring.words, "--model", f"checkpoint/{which}"]
        done = "(done) " if state.noted(scoring.name, "scored") else ""
        say(f"{done}$ {shown(words)}    # {scoring.label}")
    say(f"{len(plan.trainings)} trainings, {len(plan.scorings)} scorings, {len(plan.runs)} runs to compare.")
    say(forecast_of(plan, state, settings).words() + ".")


if __name__ == "__main__":
    main()
