"""The `dabstep` command: what has no better home in `inspect` or `accelerate`.

    dabstep demo                     the whole circle on two CPU cores
    dabstep worlds FOLDER            a question set from a rule world, every answer proved in a kernel
    dabstep pipeline run CONFIG      notebooks to questions and traces, stage by stage
    dabstep training-set LOG...      chat rows out of evaluation logs
    dabstep show-batch FLAGS         what a training with these flags sees, what bears the loss in colour
    dabstep rejection-sampling LOG...  of a model's own rollouts, the right ones, as a training set
    dabstep preference-pairs LOG...  a right rollout beside a wrong one, for recipes/dpo.py
    dabstep rl-prompts LOG...        questions to be played anew, for recipes/grpo.py
    dabstep chat-rows LOG...         rows {messages, task_type, source} for other trainers
    dabstep notebooks LOG FOLDER     a log's samples as .ipynb
    dabstep table LOG...             the results table of some logs
    dabstep submit LOG LOG           a leaderboard submission, with what a reader must know beside it
    dabstep card LOG...              a model card's section of results, and the Hub's .eval_results
    dabstep report LOG...            one HTML page of some logs: table, comparison, cost, notebooks
    dabstep register-entry FOLDER    entries for the register of Inspect Evals
    dabstep compare LOG LOG...       can a difference be seen, question by question
    dabstep failures LOG...          why questions were not answered right, by reason and family
    dabstep replay LOG               play a log again over fresh kernels: do the cells display the same?
    dabstep record                   rows for the committed ledger
    dabstep docker-image             the image that dabstep-docker's kernels run in
    dabstep doctor                   what this machine can and cannot do

`dabstep COMMAND --help` says more. A user's mistake ends in one line and exit status 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import dabstep.batches
import dabstep.comparing
import dabstep.pipeline
import dabstep.replaying
import dabstep.reporting
import dabstep.submit
import dabstep.training_views
from dabstep.failure import fail as _fail
from harness import study

app = typer.Typer(
    help="Evaluate, teach and measure notebook agents.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder of the run; gone on with when it was broken off.")] = Path(
        "results/runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the training worlds and of the model.")] = 0,
    questions_seed: Annotated[int, typer.Option(help="Seed of the held-out questions.")] = 2,
    traces: Annotated[int, typer.Option(help="How many taught traces to learn from.")] = 2400,
    worlds: Annotated[int, typer.Option(help="How many worlds they come from.")] = 120,
    held_out: Annotated[int, typer.Option(help="How many held-out questions, in each of the two wordings.")] = 288,
    held_out_worlds: Annotated[int, typer.Option(help="How many worlds those come from.")] = 48,
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 7,
    last_only: Annotated[
        bool, typer.Option("--last-only", help="Score only the untrained model and the last epoch.")
    ] = False,
) -> None:
    """Worlds, questions, taught traces, a tiny model, every epoch scored: a table, a curve, a report."""
    from rich.console import Console

    from dabstep.demo import run_demo
    from dabstep.demo_parts import DemoError, DemoSettings
    from harness.kernel.protocol import KernelUnavailable

    settings = DemoSettings(
        seed,
        questions_seed,
        traces,
        worlds,
        held_out,
        held_out_worlds,
        epochs=epochs,
        score="last" if last_only else "each",
    )
    try:
        run_demo(output, settings, Console())
    except (DemoError, KernelUnavailable, ValueError) as error:
        raise _fail(error) from None


@app.command()
def worlds(
    output: Annotated[Path, typer.Argument(help="Folder for the question set.")],
    split: Annotated[
        str, typer.Option(help="training, development or held-out: their worlds never meet.")
    ] = "training",
    count: Annotated[int, typer.Option(help="How many questions.")] = 240,
    number: Annotated[int, typer.Option("--worlds", help="How many worlds they are about.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed makes other worlds.")] = 0,
    rephrased: Annotated[bool, typer.Option(help="Use wordings that no training question has.")] = False,
) -> None:
    """Make a question set from the parcel-tariffs world.

    Prove it: inspect eval dabstep/generated_qa -T questions=FOLDER --solver dabstep/play_solution --model none/none
    """
    from pipeline.worlds.build import draw_questions, write_question_set

    try:
        if split not in ("training", "development", "held-out"):
            raise ValueError(f"--split {split}: there are training, development and held-out.")
        if (output / "questions.jsonl").exists():
            raise ValueError(f"{output} holds a question set already. Remove it or give another folder.")
        drawn = draw_questions(split, count, number, seed, rephrased)  # type: ignore[arg-type]
        write_question_set(output, drawn)
    except ValueError as error:
        raise _fail(error) from None
    typer.echo(f"{len(drawn.questions)} questions about {len(drawn.worlds)} worlds in {output}")
    for reason, times in drawn.thrown_away.most_common():
        typer.echo(f"  drawn again: {times}, {reason}")
    if study.asked_for():
        from dabstep.study_data import log_question_set

        figures = {"split": split, "questions": count, "worlds": number, "seed": seed, "rephrased": rephrased}
        log_question_set(output, figures, drawn.thrown_away)


@app.command("training-set")
def training_set(
    logs: Annotated[list[Path], typer.Argument(help="Evaluation logs (.eval).", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder for rows.jsonl and card.json.")],
    held_out: Annotated[list[Path] | None, typer.Option(help="Question sets whose sources must not be in it.")] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(help="DABStep's files (tasks/, context/): rows that hold anything of them are dropped."),
    ] = None,
    per_question: Annotated[int, typer.Option(help="Traces kept of a question: the best by rule.", min=1)] = 1,
    longest_characters: Annotated[int, typer.Option(help="Longer traces are dropped.", min=1)] = 200_000,
    blind_log: Annotated[
        list[Path] | None, typer.Option(help="Logs of the questions asked without files: what was right is dropped.")
    ] = None,
) -> None:
    """Make a training set out of the traces that were graded right; what is dropped is counted with its reason."""
    from pipeline.curation.rules import Rules
    from pipeline.training_set import build_training_set

    try:
        rules = Rules(longest_characters=longest_characters, per_question=per_question)
        card = build_training_set(logs, output, held_out or [], rules, benchmark=benchmark, blind_logs=blind_log or [])
    except ValueError as error:
        raise _fail(error) from None
    typer.echo(f"{card.rows} rows of {card.traces} traces in {output}")
    for reason, times in card.dropped.items():
        typer.echo(f"  dropped {times}: {reason}")
    if study.asked_for():
        from dabstep.study_data import log_training_set

        log_training_set(output, logs, card)


@app.command()
def notebooks(
    log: Annotated[Path, typer.Argument(help="An evaluation log (.eval).", exists=True)],
    output: Annotated[Path, typer.Argument(help="Folder for the notebooks.")],
    limit: Annotated[int, typer.Option(help="How many samples, at most.")] = 20,
) -> None:
    """Write a log's samples as Jupyter notebooks, with outputs and verdicts."""
    from itertools import islice

    from harness.notebook import write_notebook
    from harness.trace import read_traces

    output.mkdir(parents=True, exist_ok=True)
    for trace in islice(read_traces(log), limit):
        path = output / f"{trace.question_id.replace('/', '_')}-{trace.epoch}.ipynb"
        write_notebook(trace, path)
        typer.echo(str(path))


@app.command("register-entry")
def register_entry(
    output: Annotated[Path, typer.Argument(help="Folder for TASK/eval.yaml, such as register/ of a fork.")],
    repository: Annotated[str, typer.Option(help="This code's address: https://github.com/OWNER/NAME.")],
    contributor: Annotated[list[str], typer.Option(help="GitHub name of who made it; may be repeated.")],
    commit: Annotated[str | None, typer.Option(help="All 40 digits; else this checkout's commit.")] = None,
) -> None:
    """Write the entries by which DABStep's tasks are listed in the register of Inspect Evals. Nothing is sent."""
    from tasks.register_entry import register_entries, write_register_entries

    try:
        for path in write_register_entries(output, register_entries(repository, contributor, commit)):
            typer.echo(str(path))
    except ValueError as error:
        raise _fail(error) from None


@app.command("docker-image")
def docker_image() -> None:
    """Build the image of dabstep-docker, with the versions of packages that this environment has. Needs the network."""
    from harness.kernel.docker_engine import build_image, program
    from harness.kernel.protocol import KernelUnavailable

    try:
        tag = build_image(program())
    except KernelUnavailable as error:
        raise _fail(error) from None
    typer.echo(
        f"{tag} is built. Try it: inspect eval dabstep/sandbox_check --model none/none -T sandbox=dabstep-docker"
    )


@app.command()
def doctor() -> None:
    """Say what this machine can do: the isolated kernels, the model libraries, a GPU."""
    from dabstep.doctor import findings

    broken = False
    for finding in findings():
        typer.echo(f"{'ok ' if finding.ok else 'no '} {finding.what}: {finding.detail}")
        broken |= finding.needed and not finding.ok
    if broken:
        raise typer.Exit(1)


for part in (
    dabstep.batches,
    dabstep.pipeline,
    dabstep.comparing,
    dabstep.reporting,
    dabstep.replaying,
    dabstep.submit,
    dabstep.training_views,
):
    part.register(app)
