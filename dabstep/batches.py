"""`dabstep show-batch`: the batches that a training would see, with what bears the loss in colour.

    dabstep show-batch --config recipes/configs/tiny.yaml --training_set data/training \\
        --model_name_or_path data/untrained

Takes what `recipes/sft.py` takes, so put this command in its place to look before you train.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from recipes.batch_view import Batches, BatchRow

STYLES = {"trained": "black on green", "given": "", "padding": "dim"}
MARKS = {"trained": ("⟦", "⟧"), "given": ("", ""), "padding": ("", "")}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("show-batch", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(show_batch)


def show_batch(
    context: typer.Context,
    batches: Annotated[int, typer.Option(help="How many batches.", min=1)] = 1,
    rows: Annotated[int, typer.Option(help="How many rows of each, at most.", min=1)] = 4,
    tokens: Annotated[bool, typer.Option("--tokens", help="A line a token, with its id.")] = False,
) -> None:
    """Print what the trainer is really given: tokens that bear the loss are green (⟦so⟧ where there is no colour).

    All other options are those of recipes/sft.py: --config, --training_set, --model_name_or_path (a tokenizer's folder
    will do) and every flag. Rows, template, order and collator are the trainer's own; only its model is a stand-in.
    """
    from rich.console import Console

    from recipes.batch_view import first_batches

    found = first_batches(context.args, batches)
    console = Console(soft_wrap=True, highlight=False)
    for number, batch in enumerate(found.batches, 1):
        for place, row in enumerate(batch[:rows], 1):
            console.print(f"batch {number}, row {place} of {len(batch)}: {described(row)}", style="bold", markup=False)
            console.print(_listed(row, found) if tokens else shown(row, found, console.is_terminal))
        if len(batch) > rows:
            console.print(f"batch {number}: {len(batch) - rows} more rows (--rows)", style="bold")


def described(row: BatchRow) -> str:
    """What a row is, in figures."""
    there = len(row.ids) - row.count("padding")
    packed = f", {len(row.starts)} conversations" if len(row.starts) > 1 else ""
    padding = f", {row.count('padding')} padding" if row.count("padding") else ""
    trained = row.count("trained")
    return f"{there} tokens, {trained} trained ({trained / max(1, there):.0%}){padding}{packed}"


def shown(row: BatchRow, found: Batches, colour: bool) -> Text:
    """The row's text, trained stretches in colour or between ⟦ and ⟧; padding only as a number."""
    from rich.text import Text

    text = Text()
    for state, number, words in row.pieces(found.decode):
        before, after = ("", "") if colour else MARKS[state]
        said = f"[{number} x padding]" if state == "padding" else words
        text.append(before + said + after, style=STYLES[state] if colour else "")
    return text


def _listed(row: BatchRow, found: Batches) -> Text:
    from rich.text import Text

    text = Text()
    for place, (token, state) in enumerate(zip(row.ids, row.states, strict=True)):
        begins = "  <- a conversation begins" if place in row.starts and place else ""
        text.append(f"{place:6} {token:7} {state:8} {found.decode([token])!r}{begins}\n", style=STYLES[state])
    return text
