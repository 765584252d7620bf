"""`dabstep submit` and `dabstep card`: from logs to the leaderboard and to a model's page on the Hub.

    dabstep submit EASY.eval HARD.eval --output FOLDER --agent NAME --organisation NAME --model-family NAME \\
        --trials 1 --tuning none
    dabstep submit --check FILE                            every fault of any submission file
    dabstep submit --read-back SCORES --output FOLDER      the board's scores of it -> ledger rows
    dabstep card LOG... --output README.md                 a model card's section, and .eval_results

Nothing is uploaded: the board takes a submission by its own form.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from harness.records import ExposureClass
    from results.disclosure import Declaration
    from results.hub import Measured

LEDGER = Path("results/runs/ledger.jsonl")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(submit)
    app.command()(card)


def submit(
    logs: Annotated[list[Path] | None, typer.Argument(help="Logs of dabstep_easy and dabstep_hard.")] = None,
    output: Annotated[Path | None, typer.Option(help="The submission's folder.")] = None,
    agent: Annotated[str, typer.Option(help="The agent's name on the board.")] = "",
    organisation: Annotated[str, typer.Option(help="Whose agent it is.")] = "",
    model_family: Annotated[str, typer.Option(help="Which models the agent uses, such as Qwen3.")] = "",
    trials: Annotated[
        int, typer.Option(help="Whole runs that this one was chosen from, itself included.", show_default=False)
    ] = 0,
    tuning: Annotated[
        str, typer.Option(help="What of prompts, hints or settings was tuned, and on what; or none.")
    ] = "",
    size: Annotated[str | None, typer.Option(help="The model's size, such as 4B, where no weights are here.")] = None,
    exposure: Annotated[str | None, typer.Option(help="A heavier class than the logs state.")] = None,
    repository: Annotated[str, typer.Option(help="https:// address of the agent's code.")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Let through and disclose: incomplete-data, errors, revision, missing-questions."),
    ] = None,
    attempt: Annotated[int, typer.Option(help="Which epoch to submit, of several.")] = 1,
    reasoning: Annotated[bool, typer.Option(help="Give each row its reasoning trace.")] = True,
    check: Annotated[Path | None, typer.Option(help="Only name the faults of this submission file.")] = None,
    scores: Annotated[
        Path | None, typer.Option("--read-back", help="The board's task_scores of the submission in --output.")
    ] = None,
    ledger: Annotated[Path, typer.Option(help="Where --read-back appends its rows.")] = LEDGER,
    data_dir: Annotated[
        str | None, typer.Option(help="The benchmark's folder; else DABSTEP_DIR, the logs' own, or the Hub.")
    ] = None,
) -> None:
    """Make a leaderboard submission out of logs, check one, or read its scores back into the ledger."""
    from results.disclosure import Declaration
    from results.provenance import ProvenanceError
    from tasks.arguments import ArgumentError

    try:
        if check is not None:
            _check(check, data_dir)
            return
        if output is None:
            raise ValueError("--output FOLDER is missing: where the submission is written, or was.")
        if scores is not None:
            _read_back(scores, output, ledger, data_dir)
            return
        declared = Declaration(
            agent=agent,
            organisation=organisation,
            model_family=model_family,
            trials=trials,
            tuning=tuning,
            size=size,
            repository=repository,
            exposure=_exposure(exposure),
        )
        _make(logs or [], output, declared, allow or [], attempt, reasoning, data_dir)
    except (ValueError, ProvenanceError, ArgumentError) as error:
        raise fail(error) from None


def card(
    logs: Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval).")],
    output: Annotated[Path | None, typer.Option(help="A model card (README.md) whose section is written.")] = None,
    eval_results: Annotated[Path | None, typer.Option(help="The model repository, for .eval_results/.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Where the rows of logs without a key are (read back).")] = None,
    source: Annotated[str | None, typer.Option(help="https:// address of the logs, for .eval_results.")] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(help="OWNER/NAME: upload --output's folder, a model with this card, to the Hub.")
    ] = None,
) -> None:
    """Write a model card's section of results (or print it), and the Hub's .eval_results YAML."""
    from results import hub
    from results.ledger import read
    from results.provenance import ProvenanceError

    try:
        rows = read(ledger) if ledger is not None else []
        measured = [hub.measured(log, rows) for log in logs]
        section = hub.card_section(measured)
        if push_to_hub is not None and output is None:
            raise ValueError("--push-to-hub needs --output FOLDER/README.md: the card in the model's folder.")
        if eval_results is not None:
            typer.echo(str(hub.write_eval_results(eval_results, measured, source)))
        if output is None:
            typer.echo(section, nl=False)
        elif push_to_hub is None:
            hub.write_card(output, section)
            typer.echo(f"{output}: the section on results")
        else:
            _push(output, push_to_hub, measured)
    except (ValueError, ProvenanceError) as error:
        raise fail(error) from None


def _push(output: Path, repository: str, shown: list[Measured]) -> None:
    from results.model_card import CARD, write_model_card
    from results.publishing import publish

    if output.name != CARD:
        raise ValueError(f"--output {output}: the Hub reads a card of the name {CARD} only.")
    typer.echo(f"{write_model_card(output.parent, repository, None, shown)}: the section on results, the metadata")
    typer.echo(f"published: {publish(output.parent, repository)}")


def _make(
    logs: list[Path],
    output: Path,
    declared: Declaration,
    allow: list[str],
    attempt: int,
    reasoning: bool,
    data_dir: str | None,
) -> None:
    from results.answers import Board
    from results.disclosure import MEANING
    from results.submission import SUBMISSION, make_submission
    from tasks.benchmark_files import REVISION, official_data_hash, official_levels

    if unknown := set(allow) - set(MEANING):
        raise ValueError(f"--allow {', '.join(sorted(unknown))}: there are {', '.join(MEANING)}.")
    board = Board(official_levels(_folder(data_dir) or _folder_of(logs)), REVISION, official_data_hash())
    waivers = [name for name in MEANING if name in allow]
    said = make_submission(logs, board, declared, output, let_through=waivers, attempt=attempt, reasoning=reasoning)
    typer.echo(f"{output / SUBMISSION}: {len(board.levels)} answers, no fault")
    for run in said.runs:
        for reason, count in run.unanswered.items():
            typer.echo(
                f"  {run.level}: {count} without an answer ({reason}), written as {said.unanswered_is_written!r}"
            )
    for level, questions in said.not_run.items():
        typer.echo(f"  {level}: not run, {questions} written as {said.unanswered_is_written!r}")
    for name, what in said.let_through.items():
        typer.echo(f"  let through and disclosed ({name}): {what}")
    typer.echo(f"{output / 'DISCLOSURE.md'}: what a reader must know")


def _check(file: Path, data_dir: str | None) -> None:
    from results.submission_rules import validate_submission
    from tasks.benchmark_files import official_levels

    levels = official_levels(_folder(data_dir))
    faults = validate_submission(file, levels)
    for fault in faults:
        typer.echo(fault)
    if faults:
        typer.echo(f"{file}: {len(faults)} faults")
        raise typer.Exit(1)
    typer.echo(f"{file}: {len(levels)} answers, no fault")


def _read_back(scores: Path, folder: Path, ledger: Path, data_dir: str | None) -> None:
    from rich.console import Console

    from results.disclosure import read_disclosure
    from results.ledger import record
    from results.read_back import read_back
    from results.submission import SUBMISSION
    from results.table import to_rich
    from tasks.benchmark_files import official_levels

    rows = read_back(scores, read_disclosure(folder), official_levels(_folder(data_dir)), folder / SUBMISSION)
    new = record(rows, ledger)
    Console().print(to_rich(rows, title="As the leaderboard scored it"))
    typer.echo(f"{ledger}: {len(new)} new rows")


def _exposure(text: str | None) -> ExposureClass | None:
    from results.disclosure import EXPOSURE

    if text is None:
        return None
    for known in EXPOSURE:
        if known == text:
            return known
    raise ValueError(f"--exposure {text}: there are {', '.join(EXPOSURE)}.")


def _folder_of(logs: list[Path]) -> Path | None:
    """The benchmark's folder that a log was made with, where it still is."""
    from results.from_log import read_log

    for log in logs:
        given = read_log(log)[0].eval.task_args.get("data_dir")
        if given and Path(given).expanduser().is_dir():
            return Path(given).expanduser()
    return None


def _folder(data_dir: str | None) -> Path | None:
    text = data_dir or os.environ.get("DABSTEP_DIR")
    return Path(text).expanduser() if text else None
