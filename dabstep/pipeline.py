"""`dabstep pipeline`: from notebooks to questions and traces, stage by stage.

    dabstep pipeline run CONFIG.yaml                 run it, or go on with it; the funnel at the end
    dabstep pipeline run CONFIG.yaml --limit 100     a first try on few rows (in a run folder of its own)
    dabstep pipeline run CONFIG.yaml --dry-run       what would be done, and what it would cost
    dabstep pipeline show RUN                        the funnel, and what was dropped, with samples

Exit status 0 when the run is complete, 1 when rows are missing, 2 on a mistake in the configuration.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.runs.plan import Plan

app = typer.Typer(help="From notebooks to questions and traces.", no_args_is_help=True, rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands to `dabstep`."""
    parent.add_typer(app, name="pipeline")


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The run's YAML file.")],
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be given several times.")] = None,
    executor: Annotated[str | None, typer.Option(help="local, ray or slurm.", show_default="from the YAML")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many rows from the first stage.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--run", help="The run's folder.", show_default="from the YAML")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over the YAML, such as stages.ask.questions=3.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and what it costs.")] = False,
) -> None:
    """Run the stages that CONFIG names, or go on with a run that was broken off; ends with the funnel."""
    from rich.console import Console

    from pipeline.runs.account import AccountError
    from pipeline.runs.config import read_config
    from pipeline.runs.funnel import StageCheckError
    from pipeline.runs.plan import Plan
    from pipeline.runs.run import RunError, run_pipeline
    from pipeline.runs.stages import ORDER, load_stages

    console = Console()
    try:
        flags: dict[str, Any] = {"executor": executor, "limit": limit, "run": str(folder) if folder else None}
        given = {key: value for key, value in flags.items() if value is not None}
        plan = Plan(read_config(config, load_stages(ORDER), {**_settings(setting or []), **given}), ORDER)
        _print_resolved(plan, console)
        if dry_run:
            _foretell(plan, console, stage or [])
            return
        funnel = run_pipeline(plan, console, stage or [])
    except (RunError, StageCheckError, AccountError, ValueError, OSError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        typer.echo("broken off; the same command goes on with it", err=True)
        raise typer.Exit(130) from None
    done = stage or [line.name for line in funnel.stages]
    if not all(line.complete for line in funnel.stages if line.name in done):
        raise typer.Exit(1)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    stage: Annotated[str | None, typer.Option(help="Only what this stage dropped.")] = None,
    samples: Annotated[int, typer.Option(help="How many dropped rows to show for each reason.", min=0)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="The funnel as JSON, and nothing else.")] = False,
) -> None:
    """Print a run's funnel, also while it runs, and what was dropped by stage and reason, with samples."""
    from rich.console import Console

    from pipeline.quarantine import summary
    from pipeline.runs import funnel
    from pipeline.runs.run import read_plan

    try:
        plan = read_plan(folder)
        now = funnel.read_funnel(plan)
        if as_json:
            typer.echo(json.dumps(funnel.as_json(now), indent=1, ensure_ascii=False))
            return
        console = Console()
        console.print(funnel.to_rich(now))
        for line in now.stages:
            for rank, why in line.failed.items():
                console.print(f"{line.name}, rank {rank} failed: {why}", style="red", markup=False, highlight=False)
        for reason in summary(folder, stage, samples):
            console.print(f"{reason.stage}: {reason.count:,} {reason.reason}", markup=False, highlight=False)
            for dropped in reason.samples:
                console.print(f"    {dropped.id}  {dropped.sample}", style="dim", markup=False, highlight=False)
    except (ValueError, OSError) as error:
        raise fail(error) from None


def _settings(pairs: list[str]) -> dict[str, Any]:
    """What --set gave; values are read as YAML."""
    import yaml

    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ValueError(f"--set {pair}: must be KEY=VALUE, such as stages.render.output_characters=500.")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {pair}: the value is not YAML. Put it in quotes.") from None
    return settings


def _print_resolved(plan: Plan, console: Console) -> None:
    """Every value of the run, once."""
    import yaml

    from pipeline.runs.config import resolved

    text = yaml.safe_dump(resolved(plan.config), sort_keys=False, allow_unicode=True)
    console.print(text.rstrip(), style="dim", markup=False, highlight=False)


def _foretell(plan: Plan, console: Console, only: list[str]) -> None:
    """What a run would do now. Nothing is changed."""
    from pipeline.runs import fingerprint
    from pipeline.runs.run import fingerprint_parts, missing_ranks

    for stage in plan.stages:
        if only and stage.name not in only:
            continue
        context = plan.context(stage.name)
        fingerprint.check(context, fingerprint_parts(plan, stage.name))
        missing = len(missing_ranks(plan, stage.name))
        state = "complete" if not missing else f"{missing} of {context.tasks} ranks to run"
        console.print(f"{stage.name:<12}  {state}", markup=False, highlight=False)
        for line in stage.foretell(context) if stage.foretell and missing else ():
            console.print(f"    {line}", markup=False, highlight=False)
