"""Commands that make views of logs for training, beside `dabstep training-set`.

    dabstep rejection-sampling LOG...    of several rollouts of each question, the right ones, as a training set
    dabstep preference-pairs LOG...      a right rollout beside a wrong one, for recipes/dpo.py
    dabstep rl-prompts LOG...            questions to be played anew, for recipes/grpo.py
    dabstep chat-rows LOG...             rows {messages, task_type, source} for other trainers' sets

All go through the same gates (`pipeline/gates`), count what they drop, and refuse held-out sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dabstep.failure import fail

if TYPE_CHECKING:
    from pipeline.view import Card

Logs = Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval).", exists=True)]
Output = Annotated[Path, typer.Option(help="Folder for the rows and their card.")]
HeldOut = Annotated[list[Path] | None, typer.Option(help="Question sets whose sources must not be in it.")]
Benchmark = Annotated[
    Path | None, typer.Option(help="DABStep's files (tasks/, context/): rows that hold anything of them are dropped.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("rejection-sampling", rejection_sampling),
        ("preference-pairs", preference_pairs),
        ("rl-prompts", rl_prompts),
        ("chat-rows", chat_rows),
    ):
        app.command(name)(command)


def rejection_sampling(
    logs: Logs,
    output: Output,
    held_out: HeldOut = None,
    benchmark: Benchmark = None,
    per_question: Annotated[int, typer.Option(help="Right rollouts kept of a question, all different.", min=1)] = 4,
    longest_characters: Annotated[int, typer.Option(help="Longer traces are dropped.", min=1)] = 200_000,
) -> None:
    """Make a training set of a model's own right rollouts, of logs with several tries a question.

    Sample with: inspect eval dabstep/generated_qa ... --epochs 8 --temperature 0.8 --top-p 0.95 (no --seed, which would
    make all tries of a question the same).
    """
    from pipeline.curation.rules import Rules
    from pipeline.training_set import build_training_set

    try:
        rules = Rules(longest_characters=longest_characters, per_question=per_question, distinct=True, rewarded=True)
        card = build_training_set(logs, output, held_out or [], rules, benchmark=benchmark)
    except ValueError as error:
        raise fail(error) from None
    _show("rows", card, output)


def preference_pairs(
    logs: Logs,
    output: Output,
    held_out: HeldOut = None,
    benchmark: Benchmark = None,
    per_question: Annotated[int, typer.Option(help="Pairs of a question, at most.", min=1)] = 4,
    per_try: Annotated[int, typer.Option(help="Pairs that a rollout may be in.", min=1)] = 2,
    least_gap: Annotated[float, typer.Option(help="Least difference of the scores.")] = 0.1,
    longest_characters: Annotated[int, typer.Option(help="Longer right rollouts are dropped.", min=1)] = 200_000,
) -> None:
    """Make preference pairs of logs with several tries a question: a right one chosen, a wrong one rejected.

    Sample with: inspect eval dabstep/generated_qa ... --epochs 8 --temperature 0.8 --top-p 0.95 (no --seed, which would
    make all tries of a question the same).
    """
    from pipeline.curation.rules import Rules
    from pipeline.preference_pairs import Pairing, build_preference_pairs

    try:
        pairing = Pairing(least_gap, per_question, per_try)
        rules = Rules(longest_characters=longest_characters)
        card = build_preference_pairs(logs, output, held_out or [], pairing, rules, benchmark)
    except ValueError as error:
        raise fail(error) from None
    _show("pairs", card, output)


def rl_prompts(
    logs: Logs,
    output: Output,
    held_out: HeldOut = None,
    benchmark: Benchmark = None,
    settled: Annotated[
        bool, typer.Option("--settled", help="Keep questions of which all tries are right, or none is.")
    ] = False,
    most_common: Annotated[float, typer.Option(help="Largest share of questions that may have one answer.")] = 0.05,
    blind_log: Annotated[
        list[Path] | None, typer.Option(help="Logs of the questions asked without files: what was right is dropped.")
    ] = None,
) -> None:
    """Make prompts for reinforcement learning: questions that are right at times, none of which pays to be guessed."""
    from pipeline.rl_prompts import Choice, build_rl_prompts

    try:
        choice = Choice(settled, most_common)
        card = build_rl_prompts(logs, output, held_out or [], choice, benchmark, blind_logs=blind_log or [])
    except ValueError as error:
        raise fail(error) from None
    _show("prompts", card, output)


def chat_rows(
    logs: Logs,
    output: Output,
    held_out: HeldOut = None,
    benchmark: Benchmark = None,
    banned: Annotated[Path | None, typer.Option(help="Terms, one a line, that no row may have.", exists=True)] = None,
    general: Annotated[
        Path | None, typer.Option(help="Chat rows (JSON lines with messages) to be mixed in.", exists=True)
    ] = None,
    general_share: Annotated[float, typer.Option(help="Rows of them for each row of the logs.", min=0)] = 2.0,
    form: Annotated[
        str, typer.Option(help="tools: calls as they were; react: Thought, Action, Observation.")
    ] = "tools",
    per_question: Annotated[int, typer.Option(help="Traces kept of a question.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the order, and of which general rows are taken.")] = 0,
) -> None:
    """Make chat rows {messages, task_type, source} with a metadata.json, checked by row, by message and as a file."""
    from pipeline.chat_export import Export, build_chat_rows
    from pipeline.curation.rules import Rules

    try:
        rules = Rules(per_question=per_question, distinct=True)
        export = Export(form, general, general_share, seed)  # type: ignore[arg-type]  # checked there
        card = build_chat_rows(logs, output, held_out or [], export, rules, benchmark, banned)
    except ValueError as error:
        raise fail(error) from None
    _show("rows", card, output)


def _show(what: str, card: Card, output: Path) -> None:
    typer.echo(f"{card.rows} {what} of {card.traces} traces in {output}")
    for reason, times in card.dropped.items():
        typer.echo(f"  dropped {times}: {reason}")
