"""What a half-taught tiny model learns from its own rollouts: `make bench-rollouts` (two cores; SEEDS="0 1" for more).

    the demo's training -> its checkpoint of epoch 2 -> 8 rollouts of 400 questions -> right ones, pairs, prompts
    -> dpo.py and grpo.py, a run a seed -> 1,000 fresh held-out questions, the same for all -> `dabstep compare`

Every step is the command that a user would type, printed as it starts; one whose product is whole is not run again: a
killed bench goes on by the same command. It records nothing and decides nothing: the tables are for results/LOG.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dabstep.demo_parts import ENVIRONMENT, finished_log
from recipes.checkpoints import RUN, claim

BIN = Path(sys.executable).parent
PYTHON = str(BIN / "python")
DABSTEP = str(BIN / "dabstep")
NUMBERS = ("ask", "held_out", "held_out_seed", "tries", "traces")
SAMPLING = ["--max-tokens", "64", "--turn-limit", "4", "--max-connections", "64", "--max-samples", "64"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "--output_dir", type=Path, default=Path("results/runs/rollouts"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ask", type=int, default=400, help="questions that are rolled out")
    parser.add_argument("--held-out", type=int, default=1000, help="fresh questions that score")
    parser.add_argument("--held-out-seed", type=int, default=31, help="another seed makes others")
    parser.add_argument("--tries", type=int, default=8, help="rollouts of a question")
    parser.add_argument("--traces", type=int, default=2400, help="taught traces of the start")
    parser.add_argument("--variant", action="append", metavar="NAME=METHOD:FLAGS", help="default: dpo=dpo: grpo=grpo:")
    Bench(parser.parse_args()).run()


class Bench:
    """The steps, in their order."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given = arguments
        self.root: Path = arguments.output
        claim(self.root, {name: getattr(arguments, name) for name in NUMBERS})

    def run(self) -> None:
        """All of them, then the comparisons."""
        demo = ["demo", "--output", str(self.root / "start"), "--epochs", "3", "--last-only"]
        start = self.root / "start" / "model" / "trained"
        self.step("start", lambda: (start / "config.json").exists(), DABSTEP, *demo, "--traces", str(self.given.traces))
        checkpoints = sorted(start.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
        base = checkpoints[1]  # of epoch 2
        self.questions("ask", "training", self.given.ask, 7)
        self.questions("fresh", "held-out", self.given.held_out, self.given.held_out_seed)
        tries = ["--epochs", str(self.given.tries), "--temperature", "0.8", "--top-p", "0.95"]
        self.evaluate("rollouts", "ask", base, tries)
        self.evaluate("before", "fresh", base, ["--temperature", "0"])
        log = str(finished_log(self.root / "logs" / "rollouts"))
        for view, file in (("rejection-sampling", "rows"), ("preference-pairs", "pairs"), ("rl-prompts", "prompts")):
            folder = self.root / view
            there = folder / f"{file}.jsonl"
            held_out = ["--held-out", str(self.root / "fresh"), "--output", str(folder)]
            self.step(view, there.exists, DABSTEP, view, log, *held_out)
        variants = self.given.variant or ["dpo=dpo:", "grpo=grpo:"]
        names = [self.tuned(variant, base, seed) for seed in self.given.seeds for variant in variants]
        logs = [str(finished_log(self.root / "logs" / name)) for name in ("before", *names)]
        self.step("compare", lambda: False, DABSTEP, "compare", *logs, "--labels", ",".join(["before", *names]))

    def questions(self, name: str, split: str, count: int, seed: int) -> None:
        """A question set of its own worlds, ten questions a world."""
        folder = self.root / name
        how = ["--split", split, "--count", str(count), "--worlds", str(max(count // 10, 1)), "--seed", str(seed)]
        self.step(name, (folder / "questions.jsonl").exists, DABSTEP, "worlds", str(folder), *how)

    def evaluate(self, name: str, questions: str, model: Path, how: list[str]) -> None:
        """A log of a question set; what a killed try left is removed."""
        folder = self.root / "logs" / name
        if finished_log(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
        command = ["eval", "dabstep/generated_qa", "-T", f"questions={self.root / questions}", "-T", "comments=never"]
        command += ["--model", f"checkpoint/{model}", "--log-dir", str(folder), *SAMPLING, *how]
        self.step(name, lambda: finished_log(folder) is not None, str(BIN / "inspect"), *command)

    def tuned(self, variant: str, base: Path, seed: int) -> str:
        """Tune the base by a recipe with a variant's flags (`slow=dpo:--learning_rate 0.0001`), score it.

        Returns the log's name. A killed training goes on by itself.
        """
        called, _, how = variant.partition("=")
        method, _, flags = how.partition(":")
        view = {"dpo": "preference-pairs", "grpo": "rl-prompts"}[method]
        name = f"{called}-{seed}"
        output = self.root / name
        command = [PYTHON, f"recipes/{method}.py", "--config", f"recipes/configs/tiny-{method}.yaml"]
        command += ["--training_set", str(self.root / view), "--model_name_or_path", str(base)]
        command += ["--output_dir", str(output), "--seed", str(seed), "--disable_tqdm", "true"]
        command += shlex.split(flags)
        self.step(name, lambda: (output / RUN).exists() and (output / "config.json").exists(), *command)
        self.evaluate(f"{name}-after", "fresh", output, ["--temperature", "0"])
        return f"{name}-after"

    def step(self, name: str, done: Callable[[], bool], *command: str) -> None:
        """Run a command whose product is not there yet; its output is shown as it comes."""
        if done():
            print(f"{name}: is there", flush=True)
            return
        print(f"$ {shlex.join(command)}", flush=True)
        begun = time.monotonic()
        subprocess.run(command, check=True, env={**os.environ, **ENVIRONMENT, "TRL_EXPERIMENTAL_SILENCE": "1"})
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
