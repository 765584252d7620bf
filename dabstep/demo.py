"""`dabstep demo`: the whole circle, small and real, on two CPU cores without network, keys or GPU.

    worlds -> questions -> taught traces -> training set -> a tiny model -> every epoch scored -> table, curve, report

Each step is the command that a user would type (printed as it starts), run as a child process; this module only starts
them, watches, and resumes: a step whose product is whole is not run again. Nothing is special-cased for the demo: the
same task, agent, kernel, grader, recipe and ledger serve a 4B model.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from dabstep.demo_parts import (
    ENVIRONMENT,
    DemoError,
    DemoSettings,
    Places,
    require_log,
    scoring,
    script,
)
from dabstep.demo_scoring import train_and_score
from harness.children import Child, ChildFailed, Progress
from harness.evaluations import finished_log
from harness.jobs import run_all


def run_demo(root: Path, settings: DemoSettings, console: Console) -> Path:
    """Run what is not done yet and return the report's path. Raises DemoError."""
    from dabstep.demo_results import show_results

    begun = time.monotonic()
    places = Places(root)
    _claim(places, settings)
    console.print("settings: " + ", ".join(f"{name}={value}" for name, value in asdict(settings).items()))
    try:
        with Progress(console) as progress:
            make_questions(places, settings, progress)
            teach(places, settings, progress)
            make_training_set(places, progress)
            make_model(places, settings, progress)
            scored = train_and_score(places, settings, progress)
    except ChildFailed as error:
        raise DemoError(str(error)) from None
    return show_results(places, settings, scored, time.monotonic() - begun, console)


def _claim(places: Places, settings: DemoSettings) -> None:
    """Refuse to mix runs: a folder made with other settings is not gone on with."""
    file = places.root / "settings.json"
    if file.exists():
        before = json.loads(file.read_text())
        now = {name: value for name, value in asdict(settings).items() if name != "score"}
        changed = [f"{name}: {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
        if changed:
            raise DemoError(
                f"{places.root} holds a run with other settings ({'; '.join(changed)}). "
                "Remove that folder or give another one with --output."
            )
    places.root.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(settings), indent=2))


def make_questions(places: Places, settings: DemoSettings, progress: Progress) -> None:
    """Three question sets: to learn from, held out, and held out in other words."""
    from pipeline.worlds.build import draw_questions, write_question_set

    wanted = {
        "training": ("training", settings.traces, settings.worlds, settings.seed, False),
        "held-out": ("held-out", settings.held_out, settings.held_out_worlds, settings.questions_seed, False),
        "rephrased": ("held-out", settings.held_out, settings.held_out_worlds, settings.questions_seed, True),
    }
    with progress.step("questions", len(wanted)) as advance:
        for name, (split, count, worlds, seed, rephrased) in wanted.items():
            if not (places.questions(name) / "questions.jsonl").exists():
                drawn = draw_questions(split, count, worlds, seed, rephrased)  # type: ignore[arg-type]
                write_question_set(places.questions(name), drawn)
            advance()
    progress.say(
        f"questions: {settings.traces} to learn from in {settings.worlds} worlds, "
        f"{settings.held_out} held out in {settings.held_out_worlds} others, and as many in other words"
    )


def teach(places: Places, settings: DemoSettings, progress: Progress) -> None:
    """Play every solution in a real kernel through the agent's own loop; each must agree with its oracle."""
    from pipeline.worlds.check import Disagreement, require_agreement

    share = -(-settings.traces // settings.teachers)
    jobs = {
        f"teach-{part + 1}": ("training", ["--limit", f"{part * share + 1}-{min((part + 1) * share, settings.traces)}"])
        for part in range(settings.teachers)
    }
    jobs |= {"check-held-out": ("held-out", []), "check-rephrased": ("rephrased", [])}
    children = [
        scoring(places, name, question_set, ["--solver", "dabstep/play_solution", "--model", "none/none", *options])
        for name, (question_set, options) in jobs.items()
        if finished_log(places.logs(name)) is None
    ]
    total = settings.traces + 2 * settings.held_out
    todo = sum(_size(places, settings, child.name) for child in children)
    with progress.step("taught traces", total) as advance:
        run_all(children, 2, lambda: advance(total - todo + sum(child.done() for child in children)), progress)
    try:
        agreed = require_agreement([require_log(places, name) for name in jobs])
    except Disagreement as error:
        raise DemoError(str(error)) from None
    progress.say(f"taught traces: {agreed} solutions played in real kernels, all agree with their oracles")


def _size(places: Places, settings: DemoSettings, job: str) -> int:
    return settings.held_out if job.startswith("check") else settings.traces // settings.teachers


def make_training_set(places: Places, progress: Progress) -> None:
    """The traces that were graded right, as chat rows."""
    from pipeline.training_set import build_training_set

    if not (places.training_set / "rows.jsonl").exists():
        logs = sorted(log for folder in places.root.glob("logs/teach-*") if (log := finished_log(folder)))
        with progress.step("training set", 1) as advance:
            held_out = [places.questions("held-out"), places.questions("rephrased")]
            card = build_training_set(logs, places.training_set, held_out)
            advance()
        progress.say(f"training set: {card.rows} rows of {card.traces} traces, dropped: {card.dropped or 'none'}")


def make_model(places: Places, settings: DemoSettings, progress: Progress) -> None:
    """The tokenizer and the untrained model."""
    folder = places.model / "epoch-0"
    if not (folder / "config.json").exists():
        child = Child(
            "untrained model",
            [sys.executable, str(script("tiny.py")), "--training_set", str(places.training_set)]
            + ["--output_dir", str(folder), "--vocab_size", str(settings.vocabulary), "--seed", str(settings.seed)],
            places.root / "logs" / "tiny.out",
            ENVIRONMENT,
        )
        with progress.step("untrained model", 1) as advance:
            run_all([child], 1, lambda: None, progress)
            advance()
