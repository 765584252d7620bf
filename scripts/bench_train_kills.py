"""Kill a training at random steps, go on by the same command, and compare it with one that was never killed.

    python scripts/bench_train_kills.py                   # make bench-train-kills: ten kills (about four minutes)
    python scripts/bench_train_kills.py --kills 2 --rows 64 --seed 3

Both are `recipes/sft.py` in processes of their own, with Muon, a schedule, rows grouped by length, NEFTune, attention
dropout and a checkpoint every few steps. A kill is SIGKILL as soon as the bar shows a step that was drawn, one of three
of them as soon as a checkpoint is being written. In the end weights must be the same byte by byte, and so must every
line of the curve. Writes kills.json into the output folder; exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parents[1]
EVERY = 5
"""Steps between checkpoints."""
SETTINGS = (
    *("--config", "recipes/configs/tiny.yaml", "--per_device_train_batch_size", "4", "--num_train_epochs", "3"),
    *("--save_strategy", "steps", "--save_steps", str(EVERY), "--save_only_model", "false", "--logging_steps", "3"),
    *("--neftune_noise_alpha", "5", "--train_sampling_strategy", "group_by_length", "--max_length", "512"),
)
CURVE = ("step", "epoch", "loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy", "num_tokens")

console = Console()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rows", type=int, default=80, help="rows to train on; 3 epochs at batch 4")
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which is killed")
    parser.add_argument("--output", type=Path, help="a new folder; a temporary one where none is given")
    arguments = parser.parse_args()
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="train-kills-"))
    result = compare(folder, arguments.rows, arguments.kills, arguments.seed)
    (folder / "kills.json").write_text(json.dumps(result, indent=1))
    shown = {name: value for name, value in result.items() if name != "curve"}
    console.print_json(json.dumps(shown))
    sys.exit(0 if result["same weights"] and result["same curve"] else 1)


def compare(folder: Path, rows: int, kills: int, seed: int) -> dict[str, Any]:
    """Run both trainings in `folder`, and say where they differ."""
    make_study(folder, rows)
    begun = time.monotonic()
    straight = Training(folder, "straight")
    straight.run()
    took_s = time.monotonic() - begun
    draw, steps = random.Random(seed), straight.steps()
    killed = Training(folder, "killed", steps)
    done: list[dict[str, Any]] = []
    for number in track(range(kills), "kills", console=console):
        while_writing = number % 3 == 2
        # Later and later, so that the run goes on; a step behind the last checkpoint, or it would have ended.
        low = killed.newest() + 1
        high = max(low, min(steps - 1, round(steps * (number + 1.5) / (kills + 1))))
        at = draw.randint(low, high)
        done.append({"asked": at, "while writing": while_writing} | killed.run(kill_at=at, while_writing=while_writing))
    killed.run()
    curves = [training.curve() for training in (straight, killed)]
    return {
        "kills": done,
        "same weights": straight.weights() == killed.weights(),
        "weights": straight.weights(),
        "same curve": curves[0] == curves[1],
        "first difference": next((pair for pair in zip(*curves, strict=False) if pair[0] != pair[1]), None),
        "lines of the curve": len(curves[0]),
        "steps": steps,
        "straight, s": round(took_s, 1),
        "curve": curves[0],
    }


def make_study(folder: Path, rows: int) -> None:
    """Rows and an untrained model with dropout."""
    sys.path.insert(0, str(ROOT))
    from tests.stand_ins import tiny_training

    shutil.rmtree(folder / "study", ignore_errors=True)
    tiny_training.with_dropout(tiny_training.make_study(folder / "study", rows), 0.1)


class Training:
    """One training's command, its output folder, and what it left there."""

    def __init__(self, folder: Path, name: str, all_steps: int = 0) -> None:
        self.output, self.log = folder / name, folder / f"{name}.log"
        self.bar = re.compile(rf"(\d+)/{all_steps} \[")
        study = folder / "study"
        self.command = [sys.executable, "recipes/sft.py", *SETTINGS]
        self.command += ["--training_set", str(study / "set"), "--model_name_or_path", str(study / "model")]
        self.command += ["--output_dir", str(self.output)]
        shutil.rmtree(self.output, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def run(self, kill_at: int | None = None, while_writing: bool = False) -> dict[str, Any]:
        """Run the command, to its end or until it is killed.

        Args:
            kill_at: The step behind which to kill, None to let it end.
            while_writing: Kill at the first checkpoint that is being written behind that step.

        Returns the step it was killed at, the checkpoints then there, and what lay half written.
        """
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            log.write(b"--- begins\n")
            process = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        if kill_at is None:
            if process.wait() != 0:
                raise SystemExit(f"the training failed; see {self.log}\n{self.log.read_text()[-2000:]}")
            return {}
        partial = self.output / "partial"
        reached = 0
        while process.poll() is None:
            reached = self.step()
            if reached >= kill_at and (not while_writing or any(partial.glob("checkpoint-*/*"))):
                break
            time.sleep(0.002)
        process.kill()
        ended = process.wait() != -9
        half_written = [path.name for path in partial.glob("checkpoint-*")]
        return {"at step": reached, "newest": self.newest(), "half written": half_written, "had ended": ended}

    def step(self) -> int:
        """The last step that the progress bar of the current try has shown."""
        text = self.log.read_text(errors="replace").rpartition("--- begins\n")[2]
        found = self.bar.findall(text)
        return int(found[-1]) if found else 0

    def newest(self) -> int:
        """The newest checkpoint's step; 0: none."""
        return max((int(path.name.rpartition("-")[2]) for path in self.output.glob("checkpoint-*")), default=0)

    def steps(self) -> int:
        """All steps of the run."""
        return int(self.state()["max_steps"])

    def state(self) -> dict[str, Any]:
        """The newest checkpoint's trainer_state.json."""
        state: dict[str, Any] = json.loads((self.output / f"checkpoint-{self.newest()}/trainer_state.json").read_text())
        return state

    def curve(self) -> list[dict[str, float]]:
        """Every line that was logged."""
        lines = self.state()["log_history"]
        return [{name: line[name] for name in CURVE} for line in lines if "loss" in line]

    def weights(self) -> str:
        """The hash of the trained model's file."""
        return hashlib.sha256((self.output / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
