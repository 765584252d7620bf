"""Runs a pipeline from its plan: stage after stage, gone on with where it was broken off, never mixed with another run.

    funnel = run_pipeline(Plan(config), Console())
    raise SystemExit(0 if funnel.complete else 1)

One process at a time runs a run (a lock in its folder). A stage begins when the one before is complete; it stops the
run when a rank has no result, and says which and why. The next run of the same command goes on with what is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipeline.runs import fingerprint as fingerprints
from pipeline.runs.config import resolved
from pipeline.runs.funnel import Funnel, check_stage, read_funnel, read_line, to_rich, write_funnel
from pipeline.runs.layout import stage_folders
from pipeline.runs.local_executor import LocalExecutor, run_gather
from pipeline.runs.plan import GATHER, Plan, error_file, finished, gathered
from pipeline.runs.store import remove_partials, whole_file
from pipeline.runs.watch import Watch

SHOWN_FAILURES = 3


class RunError(ValueError):
    """A run that cannot begin or go on; the message says why, and the mend."""


def run_pipeline(plan: Plan, console: Console, only: Sequence[str] = ()) -> Funnel:
    """Run the stages of `plan` (of those, `only` some) and return the funnel, complete or not.

    Raises RunError, ConfigError or FingerprintError before anything is changed, and StageCheckError where rows were
    lost or doubled.
    """
    names = [plan.stage(name).name for name in only] or [stage.name for stage in plan.stages]
    with _alone(plan.config.run):
        _begin_or_go_on(plan)
        for name in names:
            fingerprints.check(plan.context(name), fingerprint_parts(plan, name))
        for name in [stage.name for stage in plan.stages if stage.name in names]:
            before = plan.before(name)
            if before is not None and not read_line(plan, before.name).complete:
                raise RunError(
                    f"the stage {name} reads what {before.name} writes, which is not complete. Run it first."
                )
            if not _run_stage(plan, name, console):
                break
        funnel = read_funnel(plan)
        write_funnel(funnel)
    console.print(to_rich(funnel))
    return funnel


def read_plan(run: Path) -> Plan:
    """The plan a run was last run with. Raises RunError for a folder that is none."""
    path = run / "run.json"
    if not path.is_file():
        raise RunError(f"{run}: not the folder of a run (it has no run.json). Give the `run:` of a YAML file.")
    plan = Plan.from_json(path.read_bytes())
    return replace(plan, config=replace(plan.config, run=run))


def fingerprint_parts(plan: Plan, name: str) -> dict[str, object]:
    """What a stage's rows depend on, with all that comes before it."""
    before, stages = None, [stage.name for stage in plan.stages]
    for each in stages[: stages.index(name) + 1]:
        parts = fingerprints.fingerprint(plan.stage(each), plan.context(each), before)
        before = fingerprints.digest(parts)
    return parts


def missing_ranks(plan: Plan, name: str) -> list[int]:
    """The ranks of a stage that have no marker."""
    context = plan.context(name)
    return [rank for rank in range(context.tasks) if not finished(context.folder, rank)]


def _run_stage(plan: Plan, name: str, console: Console) -> bool:
    """Run what is missing of one stage; whether it is complete then."""
    stage, context = plan.stage(name), plan.context(name)
    fingerprints.begin(context, fingerprint_parts(plan, name))
    if not missing_ranks(plan, name):
        check_stage(plan, name)  # a run may have been killed before it could look
        console.print(f"{name:<12}  complete already", highlight=False)
        return True
    remove_partials(context.folder)
    for rank in [GATHER, *missing_ranks(plan, name)]:
        error_file(context.folder, rank).unlink(missing_ok=True)
    if stage.gather is not None and not finished(context.folder, GATHER):
        with console.status(f"{name}: gathering") if console.is_terminal else _nothing():
            run_gather(plan, name, plan.config.local, lambda: None)
        if not finished(context.folder, GATHER):
            return _report_failures(plan, name, console)
    before = plan.before(name)
    expected = read_line(plan, before.name).counts.kept if before else (gathered(context.folder) or {}).get("rows")
    with Watch(console, name, context.folder, context.tasks, expected) as watch:
        _execute(plan, name, watch)
    if missing_ranks(plan, name):
        return _report_failures(plan, name, console)
    remove_partials(context.folder)
    check_stage(plan, name)
    return True


def _execute(plan: Plan, name: str, watch: Watch) -> None:
    """Let the executor run what is missing. Each returns when it has nothing more to try."""
    config = plan.config
    if config.executor == "local":
        LocalExecutor(plan, name, config.local).run(missing_ranks(plan, name), watch)
    elif config.executor == "ray":
        from pipeline.runs.ray_executor import run_on_ray

        run_on_ray(plan, name, config.ray, lambda: missing_ranks(plan, name), watch)
    else:
        from pipeline.runs.slurm_executor import run_on_slurm

        run_on_slurm(plan, name, config.slurm, lambda: missing_ranks(plan, name), watch)


def _report_failures(plan: Plan, name: str, console: Console) -> bool:
    """Say which ranks have no result and why. Always False."""
    line = read_line(plan, name)
    console.print(f"[red]{name}: {line.tasks - line.done} of {line.tasks} ranks have no result[/]", highlight=False)
    for rank, why in list(line.failed.items())[:SHOWN_FAILURES]:
        last = why.strip().splitlines()[-1] if "Traceback" in why else why.strip()
        console.print(escape(f"  rank {rank}: {last}"), highlight=False, soft_wrap=True)
    if len(line.failed) > SHOWN_FAILURES:
        console.print(f"  and {len(line.failed) - SHOWN_FAILURES} more; all in {plan.folder(name)}", highlight=False)
    console.print("  Run the same command again to go on with them.", highlight=False)
    return False


def _begin_or_go_on(plan: Plan) -> None:
    """Fix the number of ranks when a run begins. Raises RunError for another number, or folders of another order."""
    run, path = plan.config.run, plan.config.run / "run.json"
    if path.exists():
        tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        if tasks != plan.config.tasks:
            raise RunError(
                f"{run}: was begun with tasks: {tasks}, and cannot go on with tasks: {plan.config.tasks}, for shards "
                f"would be read twice or not at all. Set tasks: {tasks}, or give another `run:` folder."
            )
    for name, folder in stage_folders(run):
        if name in plan.config.stages and folder != plan.folder(name):
            raise RunError(f"{folder}: another version's order of stages. Rename it to {plan.folder(name).name}.")
    with whole_file(path) as file:
        about = {"tasks": plan.config.tasks, "order": plan.order, "config": resolved(plan.config)}
        file.write(json.dumps(about, indent=1).encode() + b"\n")


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Hold the run's lock, which ends with this process. Raises RunError where another holds it."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise RunError(
                f"{run}: process {lock.read().strip() or '?'} is running it already. Wait for its end."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield
