"""`dabstep replay LOG`: play a log's model again over fresh kernels, and say where their outputs differ.

    dabstep replay logs/one.eval --limit 20
    dabstep replay logs/one.eval -T questions=elsewhere/data --log-dir logs/replayed

The task is made anew from the log's own task and arguments (`-T` changes some), with the recorded limits; the data must
be those of the log. The replay is an Inspect log like any other. Only logs of this project's tasks can be played, and
only those whose turns came from their scaffold's own loop (which `dabstep/play_solution` is, too).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog
    from rich.console import Console

    from harness.replay import Replayed

LIMITS = ("turn_limit", "message_limit", "token_limit", "time_limit", "working_limit")
TASKS = ("dabstep_dev", "dabstep_easy", "dabstep_hard", "generated_qa")
SOLVERS = ("notebook", "baseline", "play_solution")
POLL_S = 0.3


class ReplayRefused(ValueError):
    """A log that cannot be played; the message names it, the reason and the mend."""


@dataclass(frozen=True)
class ReplaySettings:
    """What `dabstep replay` was asked for; `arguments` change those of the recorded task, `samples` empty means all."""

    log: Path
    log_dir: Path
    limit: int | None = None
    samples: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    at_once: int = 2 * (os.cpu_count() or 1)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(replay)


def replay(
    log: Annotated[Path, typer.Argument(help="The log to play (.eval or .json).")],
    limit: Annotated[int | None, typer.Option(help="Play only the first so many samples.", min=1)] = None,
    samples: Annotated[str | None, typer.Option(help="Play only these samples: ID,ID,...")] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("-T", help="Change an argument of the recorded task: NAME=VALUE.")
    ] = None,
    log_dir: Annotated[Path, typer.Option(help="Folder for the replay's own log.")] = Path("results/runs/replays"),
    at_once: Annotated[int, typer.Option(help="How many samples run at the same time.", min=1)] = 2
    * (os.cpu_count() or 1),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write counts and differences here.")] = None,
) -> None:
    """Play a log's model again, every cell in a fresh kernel, and say where outputs differ (exit status 1).

    No model is called. Times, memory addresses, temporary names and the like are set aside and counted; scores that
    change are listed.
    """
    from inspect_ai._util.error import PrerequisiteError
    from rich.console import Console

    from dabstep.replay_shown import show, write_json
    from harness.kernel.protocol import KernelUnavailable
    from harness.trace import TraceError

    try:
        chosen = tuple(name.strip() for name in (samples or "").split(",") if name.strip())
        settings = ReplaySettings(log, log_dir, limit, chosen, tuple(map(_argument, arguments or [])), at_once)
        console = Console()
        compared, made = run_replay(settings, console)
        show(compared, console)
        console.print(f"the replay: {made}", highlight=False, markup=False, soft_wrap=True)
        if json_file is not None:
            write_json(json_file, compared, log, made)
    except (ReplayRefused, TraceError, PrerequisiteError, KernelUnavailable, OSError) as error:
        raise fail(error) from None
    if compared.differs:
        raise typer.Exit(1)


def run_replay(settings: ReplaySettings, console: Console) -> tuple[Replayed, Path]:
    """Play and compare; the comparison, and the replay's log. Raises ReplayRefused, and what the task raises."""
    from inspect_ai import eval
    from inspect_ai.log import read_eval_log_sample_summaries

    from harness.children import Progress
    from harness.replay import compare_logs

    header = _header(settings.log)
    task = recorded_task(header, settings)
    there = [(summary.id, summary.epoch) for summary in read_eval_log_sample_summaries(str(settings.log))]
    ids = _chosen(list(dict.fromkeys(id for id, _ in there)), settings)
    total = sum(id in set(ids) for id, _ in there)
    console.print(
        f"playing {total} of {len(there)} samples of {settings.log} ({header.eval.model}) in fresh kernels",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    recorded: dict[str, Any] = {name: getattr(header.eval.config, name) for name in LIMITS}
    with Progress(console) as progress, progress.step("replay", total) as advance, _watched(advance):
        [done] = eval(
            task,
            model=f"replay/{settings.log}",
            model_args={"prompts": "any"},
            sample_id=list(ids),
            epochs=header.eval.config.epochs or 1,
            max_samples=settings.at_once,
            log_dir=str(settings.log_dir),
            display="none",
            **{name: value for name, value in recorded.items() if value is not None},
        )
    made = Path(done.location.removeprefix("file://"))
    if done.status == "cancelled":
        raise ReplayRefused(f"{made}: was broken off. Go on with it: `inspect eval-retry {made}`.")
    return compare_logs(settings.log, made, map(str, ids)), made


def recorded_task(header: EvalLog, settings: ReplaySettings) -> Task:
    """The log's task, made anew over the same data.

    Raises ReplayRefused for a log of another task or solver, and for other data; ArgumentError (Inspect's
    PrerequisiteError) for arguments that no longer hold.
    """
    import dabstep._registry as registry

    name = header.eval.task.rpartition("/")[2]
    if name not in TASKS:
        raise ReplayRefused(
            f"{settings.log}: is a log of {header.eval.task}, which is no task of this project. "
            f"There are {', '.join(TASKS)}."
        )
    solver = (header.eval.solver or SOLVERS[0]).rpartition("/")[2]
    if solver not in SOLVERS:
        raise ReplayRefused(
            f"{settings.log}: was made by the solver {header.eval.solver}, not by a scaffold's own loop, so its turns "
            f"would mean something else here. Those of {', '.join(SOLVERS)} can be played."
        )
    given = {key: value for key, value in header.eval.task_args_passed.items() if key != "solutions"}
    task: Task = getattr(registry, name)(**given | dict(settings.arguments))
    then, now = ((about or {}).get("data_hash") for about in (header.eval.metadata, task.metadata))
    if then != now:
        raise ReplayRefused(
            f"{settings.log}: was made on other data than are there now ({str(then)[:19]}, now {str(now)[:19]}). "
            "Restore them, or say where they are (for instance -T questions=FOLDER)."
        )
    return task


def _argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ReplayRefused(f"-T {text}: is no NAME=VALUE.")
    return name, value


def _header(log: Path) -> EvalLog:
    from results.from_log import LogError, read_log

    try:
        return read_log(log)[0]
    except LogError as error:
        raise ReplayRefused(str(error)) from None


def _chosen(there: Sequence[int | str], settings: ReplaySettings) -> list[int | str]:
    """The ids to play, in the log's order. Raises ReplayRefused for one that the log does not have."""
    names = {str(id) for id in there}
    if unknown := [name for name in settings.samples if name not in names]:
        raise ReplayRefused(f"{settings.log}: has no sample {', '.join(unknown)}. `inspect view` shows what there is.")
    chosen = [id for id in there if not settings.samples or str(id) in settings.samples]
    if not chosen:
        raise ReplayRefused(f"{settings.log}: has no samples, so there is nothing to play.")
    return chosen[: settings.limit]


@contextmanager
def _watched(advance: Any) -> Iterator[None]:
    """Move the bar by every sample that this process finishes."""
    from harness.progress import VARIABLE, finished

    before = os.environ.get(VARIABLE)
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        ticks = Path(folder) / "progress"

        def watch() -> None:
            while not over.wait(POLL_S):
                advance(finished(ticks))

        watcher = threading.Thread(target=watch, daemon=True)
        os.environ[VARIABLE] = str(ticks)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
