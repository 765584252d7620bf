"""How fast the recipe trains beside TRL's defaults, on two CPU cores: `make bench-train`.

The same rows of rule worlds, the same tiny models, rates and batches, by turns in one process with one thread:
- TRL: SFTTrainer with its defaults (bf16, checkpointing, plainly random order, loss head over every position);
- ours: RecipeTrainer, fp32, no checkpointing, the head over supervised positions only, and no padding: a batch is one
  long row, its documents kept apart by the attention. Order and batches are TRL's own.
Each seed draws a model and an order. Speed is non-padding tokens a second of CPU time, from the first step to the last,
so that what else runs on the machine matters little. Equal is what both end at: the mean loss of 120 rows that were not
trained on, by TRL's own evaluation, and the spread of that over the seeds is beside it. Then one gain after the other,
one epoch of 160 rows each. Writes results/runs/bench/train.json and ends with exit status 1 where ours is not 2.2 times
as fast at the same loss. Data are made once (about a minute) under results/runs/bench/train;
broken off, it goes on with the runs that are still to come.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # who imports this keeps an environment of their own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.progress import track
from rich.table import Table

PLACE = Path("results/runs/bench/train")
WANTED = 2.2
HELD_BACK, GAINS_ROWS = 120, 160

LEARNING: dict[str, Any] = {
    "learning_rate": 0.005,
    "lr_scheduler_type": "linear",
    "warmup_steps": 20,
    "adam_beta2": 0.95,
    "assistant_only_loss": True,
}
"""What is learned, the same for both: TRL's own rate of 2e-5 is for a model that knows something already."""

QUIET: dict[str, Any] = {
    **{"max_length": 512, "use_cpu": True, "report_to": "none"},
    **{"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True},
}
PLAIN: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False}
GROUPED = PLAIN | {"train_sampling_strategy": "group_by_length"}
OURS = PLAIN | {"padding_free": True, "max_length": None}
GAINS: dict[str, tuple[bool, dict[str, Any], str]] = {
    "TRL's defaults": (False, {}, ""),
    "without checkpointing": (False, {"gradient_checkpointing": False}, ""),
    "and in fp32": (False, PLAIN, ""),
    "and the head over supervised positions": (True, PLAIN, ""),
    "and no padding, attention by documents: ours": (True, OURS, "documents"),
    "padded, grouped by length instead": (True, GROUPED, ""),
    "packed instead, SDPA's mask": (True, PLAIN | {"packing": True, "max_length": 640, "batch": 1}, ""),
    "packed instead, documents": (True, PLAIN | {"packing": True, "max_length": 640, "batch": 1}, "documents"),
    "ours, Muon": (True, OURS, "muon"),
}

console = Console()


@dataclass(frozen=True)
class Run:
    """One training: non-padding tokens, CPU seconds, and the loss of rows that were not trained on."""

    who: str
    seed: int
    tokens: int
    cpu_s: float
    loss: float

    @property
    def speed(self) -> float:
        """Tokens a CPU second."""
        return self.tokens / self.cpu_s


class Kept:
    """The runs of a benchmark that was broken off: what is measured already is not measured again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.runs = {line.rpartition("\t")[0]: Run(**json.loads(line.rpartition("\t")[2])) for line in lines}

    def run(self, key: str, measure: Callable[[], Run]) -> Run:
        """The run of that key, measured now where it is not kept."""
        if key not in self.runs:
            self.runs[key] = measure()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as file:
                file.write(f"{key}\t{json.dumps(asdict(self.runs[key]))}\n")
        return self.runs[key]


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


class Bench:
    """Rows, and models made of a seed, ready to be trained in any way."""

    def __init__(self, training_set: Path, rows: int, epochs: float, kept: Kept) -> None:
        from datasets import disable_progress_bars
        from transformers.utils import logging

        from recipes.rows import read_rows

        disable_progress_bars()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        found = read_rows(training_set)
        if len(found) < rows + HELD_BACK:
            raise SystemExit(
                f"{training_set} has {len(found)} rows; {rows} + {HELD_BACK} are wanted. Give fewer --rows."
            )
        self.rows, self.held_back, self.epochs = found[:rows], found[rows : rows + HELD_BACK], epochs
        self.folder = Path(tempfile.mkdtemp(prefix="bench-train-"))
        self.kept, self.of = kept, f"{training_set.resolve()} {rows} rows {epochs} epochs"

    def model(self, seed: int) -> Path:
        """An untrained model of this seed."""
        from recipes.tiny import make_tiny_model

        folder = self.folder / f"model-{seed}"
        if not folder.exists():
            make_tiny_model(self.rows, folder, vocab_size=1024, seed=seed)
        return folder

    def by_turns(self, who: str, seed: int) -> Run:
        """One training of TRL's or ours."""
        ours = who == "ours"
        return self.kept.run(
            f"{self.of}, {who}, seed {seed}",
            lambda: self.train(who, seed, ours, OURS if ours else {}, "documents" if ours else "", self.epochs),
        )

    def gains(self) -> dict[str, float]:
        """Tokens a CPU second of every row of GAINS, the best of two epochs by turns."""
        speeds: dict[str, float] = {}
        turns = [(turn, name) for turn in range(2) for name in GAINS]
        for turn, name in track(turns, "one gain after the other", console=console):
            run = self.kept.run(f"{self.of}, {name}, turn {turn}", partial(self.gain, name))
            speeds[name] = max(speeds.get(name, 0.0), run.speed)
        return speeds

    def gain(self, name: str) -> Run:
        """One epoch of a row of GAINS."""
        quick, settings, how = GAINS[name]
        return self.train(name, 0, quick, settings, how, 1, rows=GAINS_ROWS)

    def train(
        self,
        who: str,
        seed: int,
        quick: bool,
        settings: dict[str, Any],
        how: str,
        epochs: float,
        rows: int | None = None,
    ) -> Run:
        """Train and evaluate once.

        Args:
            who: The run's name.
            seed: Of the model and of the order.
            quick: RecipeTrainer instead of SFTTrainer.
            settings: TRL's, where they differ from its defaults; `batch` is rows a step (8).
            how: "", or "documents" for that attention, or "muon" for that optimizer too.
            epochs: How often each row is seen.
            rows: How many; None: all.
        """
        from datasets import Dataset
        from transformers import AutoTokenizer
        from trl import SFTConfig, SFTTrainer

        from recipes.attention import register
        from recipes.sft import use_muon
        from recipes.trainer import RecipeTrainer

        register()
        given = dict(settings)
        batch = given.pop("batch", 8)
        args = SFTConfig(
            output_dir=str(self.folder / "out"),
            per_device_train_batch_size=batch,
            num_train_epochs=epochs,
            seed=seed,
            **QUIET | LEARNING | given,
            model_init_kwargs={"dtype": "float32", "attn_implementation": "documents" if how else None},
        )
        clock = _clock()
        trainer = (RecipeTrainer if quick else SFTTrainer)(
            model=str(self.model(seed)),
            args=args,
            train_dataset=Dataset.from_list(
                [{"messages": row["messages"], "tools": row["tools"]} for row in self.rows]
            ),
            processing_class=AutoTokenizer.from_pretrained(self.model(seed)),
            callbacks=[clock],
        )
        if how == "muon":
            use_muon(trainer, 0.02)
        tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
        trainer.train()
        return Run(who, seed, round(tokens * epochs), clock.spent_s, self.loss(trainer) if rows is None else math.nan)

    def loss(self, trainer: Any) -> float:
        """Mean loss a supervised token of the rows held back, by TRL's own evaluation in fp32."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        held_back = Dataset.from_list([{"messages": row["messages"], "tools": row["tools"]} for row in self.held_back])
        del trainer.model.forward  # as it was before any trainer
        judge = SFTTrainer(
            model=trainer.model,
            args=SFTConfig(
                output_dir=str(self.folder / "judge"),
                assistant_only_loss=True,
                per_device_eval_batch_size=HELD_BACK,
                **PLAIN,
                **QUIET,
            ),
            train_dataset=held_back,
            processing_class=trainer.processing_class,
        )
        return float(judge.evaluate(held_back)["eval_loss"])


def _clock() -> Any:
    """A callback that takes this process's CPU time from the first step to the last, in seconds."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        spent_s = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.spent_s = -time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.spent_s += time.process_time()

    return Clock()


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
