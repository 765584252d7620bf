"""How fast the recipe trains beside TRL's defaults, on two CPU cores: `make bench-train`.

The same rows of rule worlds, the same tiny models, rates and batches, by turns in one process with one thread:
- TRL: SFTTrainer with its defaults (bf16, checkpointing, plainly random order, loss head over every position);
- ours: RecipeTrainer, fp32, no checkpointing, head and last layer at supervised positions only, and no padding: a
  batch is one long row, its documents kept apart by the attention. Order and batches are TRL's own.
Each seed draws a model and an order. Speed is non-padding tokens a second of CPU time, from the first step to the last,
so that what else runs on the machine matters little. Equal is what both end at: the mean loss of 120 rows that were not
trained on, by TRL's own evaluation, and the spread of that over the seeds is beside it. Then one gain after the other,
one epoch each. Writes results/runs/bench/train.json and ends with exit status 1 where ours is not 2.2 times
as fast at the same loss. Data are made once (about a minute) under results/runs/bench/train;
broken off, it goes on with the runs that are still to come.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # who imports this keeps an environment of their own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.timed_training import HELD_BACK, Bench, Kept, Run

PLACE = Path("results/runs/bench/train")
WANTED = 2.2

console = Console()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training_set", type=Path, help="a folder with rows.jsonl; made where none is given")
    parser.add_argument("--rows", type=int, default=320, help="rows to train on")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--no-gains", action="store_true", help="leave out the table of one gain after the other")
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench/train.json"))
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    kept = Kept(arguments.output.with_suffix(".begun.jsonl"))
    rows = arguments.training_set or made_rows(arguments.rows + HELD_BACK)
    bench = Bench(rows, arguments.rows, arguments.epochs, kept)
    turns = [(who, seed) for seed in range(arguments.seeds) for who in (("TRL", "ours"), ("ours", "TRL"))[seed % 2]]
    runs = [bench.by_turns(who, seed) for who, seed in track(turns, "training by turns", console=console)]
    gains = {} if arguments.no_gains else bench.gains()
    result = summary(runs, gains)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.output.with_suffix(".partial")
    unfinished.write_text(json.dumps(result, indent=1))
    unfinished.replace(arguments.output)
    kept.file.unlink(missing_ok=True)
    show(result)
    console.print(f"written: {arguments.output}")
    sys.exit(0 if result["as fast as wanted"] and result["same loss"] else 1)


def made_rows(count: int) -> Path:
    """`count` taught traces, by the commands a user would type; made once."""
    place = PLACE / str(count)
    if not (place / "set" / "rows.jsonl").is_file():
        shutil.rmtree(place, ignore_errors=True)
        dabstep, inspect = str(Path(sys.executable).parent / "dabstep"), [sys.executable, "-P", "-m", "inspect_ai"]
        play = ["--solver", "dabstep/play_solution", "--model", "none/none", "--log-dir", str(place / "logs")]
        for command in (
            [dabstep, "worlds", str(place / "questions"), "--count", str(count), "--worlds", str(max(1, count // 20))],
            [*inspect, "eval", "dabstep/generated_qa", "-T", f"questions={place / 'questions'}"]
            + ["-T", "comments=never", *play],
        ):
            console.print("$ " + " ".join(command))
            subprocess.run(
                command, check=True, env=os.environ | {"INSPECT_DISPLAY": "plain"}, stdout=subprocess.DEVNULL
            )
        logs = [str(log) for log in (place / "logs").glob("*.eval")]
        subprocess.run([dabstep, "training-set", *logs, "--output", str(place / "set")], check=True)
    return place / "set"


def summary(runs: list[Run], gains: dict[str, float]) -> dict[str, Any]:
    """Speeds, losses and their spread over the seeds, and whether both promises hold."""
    of = {who: [run for run in runs if run.who == who] for who in ("TRL", "ours")}
    speed = {who: sum(run.tokens for run in own) / sum(run.cpu_s for run in own) for who, own in of.items()}
    losses = {who: [run.loss for run in own] for who, own in of.items()}
    spread = {who: max(own) - min(own) for who, own in losses.items()}
    apart = statistics.mean(losses["ours"]) - statistics.mean(losses["TRL"])
    ratio = speed["ours"] / speed["TRL"]
    return {
        "runs": [asdict(run) | {"tokens a CPU second": run.speed} for run in runs],
        "tokens a CPU second": speed,
        "ratio": ratio,
        "ratio by seed": [our.speed / trl.speed for our, trl in zip(of["ours"], of["TRL"], strict=True)],
        "loss": {who: statistics.mean(own) for who, own in losses.items()},
        "loss by seed": losses,
        "spread over seeds": spread,
        "ours minus TRL's": apart,
        "as fast as wanted": ratio >= WANTED,
        "same loss": abs(apart) <= spread["TRL"],
        "gains, tokens a CPU second": gains,
    }


def show(result: dict[str, Any]) -> None:
    """The result as two tables."""
    table = Table("", "tokens a CPU second", "loss of rows not trained on", "by seed", "spread")
    for who in ("TRL", "ours"):
        by_seed = ", ".join(f"{loss:.3f}" for loss in result["loss by seed"][who])
        spread = f"{result['spread over seeds'][who]:.3f}"
        table.add_row(who, f"{result['tokens a CPU second'][who]:,.0f}", f"{result['loss'][who]:.3f}", by_seed, spread)
    console.print(table)
    by_seed = ", ".join(f"{ratio:.2f}" for ratio in result["ratio by seed"])
    console.print(f"{result['ratio']:.2f} times as fast (by seed {by_seed}; wanted {WANTED})")
    verdict = "within" if result["same loss"] else "NOT within"
    apart = result["ours minus TRL's"]
    console.print(f"loss: ours minus TRL's {apart:+.3f}, {verdict} TRL's spread over seeds")
    if result["gains, tokens a CPU second"]:
        steps = Table("one gain after the other (best of two)", "tokens a CPU second", "times")
        first = next(iter(result["gains, tokens a CPU second"].values()))
        for name, speed in result["gains, tokens a CPU second"].items():
            steps.add_row(name, f"{speed:,.0f}", f"{speed / first:.2f}")
        console.print(steps)


if __name__ == "__main__":
    main()
