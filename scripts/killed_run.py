"""Kill a run of 450 questions at random, resume it by Inspect's own means, and compare it with an unbroken run.

    python scripts/killed_run.py                          # make bench-killed-run: 450 questions, five kills
    python scripts/killed_run.py --count 60 --kills 2 --seed 3

The run is `inspect eval` in a process of its own, with real kernels and a scripted model (`scripted_model.py`); a kill
is SIGKILL of that process alone; it is resumed by `inspect eval-retry LOG`. Written to `killed_run.json` in the output
folder: what was logged before each kill, every call of the model, the row of the ledger, and which processes and files
the kills left behind. It judges nothing: `tests/e2e/test_killed_run.py` does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
from rich.console import Console
from scripted_model import MODEL, PRICE

from pipeline.worlds.build import draw_questions, write_question_set
from results.from_log import result_from_log

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
AT_ONCE = 4
"""Questions in flight at most."""


@dataclass
class Kill:
    """One kill: ids logged by then, lines of the journal by then, and what the kill left behind."""

    lines: int
    logged: list[str]
    processes_left: list[str] = field(default_factory=list)


class Study:
    """One folder with a question set, its runs and their journals."""

    def __init__(self, folder: Path, count: int, seed: int, console: Console) -> None:
        self.folder, self.count, self.console = folder, count, console
        self.random = random.Random(seed)
        self.questions = folder / "questions"
        self.environment = environment(folder)
        os.environ["XDG_DATA_HOME"] = self.environment["XDG_DATA_HOME"]  # where Inspect's sample buffers lie
        write_question_set(self.questions, draw_questions("held-out", count, max(1, count // 15), seed))

    def start(self, name: str, resume: Path | None = None) -> subprocess.Popen[bytes]:
        """Start or resume the run `name`."""
        shared = ["--log-dir", str(self.folder / name), "--display", "none", "--max-samples", str(AT_ONCE)]
        if resume is None:
            given = ["-T", f"questions={self.questions}", "-T", "comments=never", "-M", f"questions={self.questions}"]
            given += ["-M", f"journal={self.journal(name)}", "--model", f"scripted/{MODEL}", "--temperature", "0.5"]
            command = ["eval", "dabstep/generated_qa", *given, *shared]
        else:
            command = ["eval-retry", str(resume), *shared]
        with (self.folder / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "inspect_ai", *command],
                cwd=self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
            )

    def journal(self, name: str) -> Path:
        """Where the scripted model notes the calls of all attempts at a run."""
        return self.folder / f"{name}.journal"

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What the scripted model noted, without a line that a kill tore."""
        path = self.journal(name)
        whole = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in whole]

    def whole_run(self, name: str) -> Path:
        """Run without a break; the log."""
        self._end(self.start(name), name)
        return self._logs(name)[-1]

    def killed_run(self, name: str, kills: int) -> tuple[Path, list[Kill]]:
        """Run, killed `kills` times, each time resumed; the last log and the kills."""
        calls = len(self.lines("whole")) if self.journal("whole").exists() else 4 * self.count
        done: list[Kill] = []
        process = self.start(name)
        for number in range(kills):
            # Somewhere in this kill's share of the run, late enough that something was logged; at any moment of a call.
            until = calls * (number + self.random.uniform(0.3, 1.0)) / (kills + 1)
            while len(self.lines(name)) < until and process.poll() is None:
                time.sleep(0.05)
            time.sleep(self.random.uniform(0, 0.1))
            done.append(self._kill(process, name))
            self.console.print(f"kill {number + 1} of {kills}: {len(done[-1].logged)} of {self.count} questions logged")
            process = self.start(name, self._logs(name)[-1])
        self._end(process, name)
        return self._logs(name)[-1], done

    def _kill(self, process: subprocess.Popen[bytes], name: str) -> Kill:
        if process.poll() is not None:
            raise SystemExit(f"{name} ended before it could be killed; see {self.folder / name}.out")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        log = self._logs(name)[-1]
        logged = [str(sample.id) for sample in read_eval_log_sample_summaries(log) if sample.error is None]
        return Kill(len(self.lines(name)), logged, [" ".join(each.cmdline()) for each in alive])

    def _logs(self, name: str) -> list[Path]:
        """Logs of attempts, oldest first; what Inspect recovers on the way is none."""
        logs = [path for path in (self.folder / name).glob("*.eval") if not path.stem.endswith("-recovered")]
        return sorted(logs, key=lambda log: read_eval_log(log, header_only=True).eval.created)

    def _end(self, process: subprocess.Popen[bytes], name: str) -> None:
        if process.wait() != 0:
            raise SystemExit(f"{name} failed: {(self.folder / f'{name}.out').read_text()[-3000:]}")


def environment(folder: Path) -> dict[str, str]:
    """That of the runs: Inspect finds the scripted model by an entry point and its price in a file, and keeps its own
    data in the folder."""
    plugin = folder / "plugin" / "scripted_model-1.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted_model\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text("[inspect_ai]\nscripted_model = scripted_model\n")
    (folder / "tmp").mkdir()
    (folder / "prices.json").write_text(json.dumps({MODEL: PRICE.model_dump()}))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, plugin.parent))),
        "XDG_DATA_HOME": str(folder / "data"),
        "INSPECT_EVAL_MODEL_COST_CONFIG": str(folder / "prices.json"),
        "TMPDIR": str(folder / "tmp"),
    }


def measure(folder: Path, count: int, kills: int, seed: int, console: Console) -> dict[str, Any]:
    """Run both ways and say what happened."""
    study = Study(folder, count, seed, console)
    started = time.monotonic()
    whole = study.whole_run("whole")
    between = time.monotonic()
    console.print(f"unbroken run: {between - started:.0f} s")
    killed, done = study.killed_run("killed", kills)
    return {
        "questions": count,
        "at_once": AT_ONCE,
        "seed": seed,
        "seconds": {"whole": round(between - started, 1), "killed": round(time.monotonic() - between, 1)},
        "kills": [asdict(kill) for kill in done],
        "whole": {"calls": study.lines("whole"), "row": result_from_log(whole).model_dump(mode="json")},
        "killed": {"calls": study.lines("killed"), "row": result_from_log(killed).model_dump(mode="json")},
        "files_left": sorted(str(path.relative_to(folder)) for path in (folder / "tmp").iterdir()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the figures, print the most telling ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=450, help="questions (default %(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="how many times the run is killed (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the questions and the moments (default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "results/runs/bench/killed_run", help="an empty folder")
    given = parser.parse_args(arguments)
    if given.output.exists() and any(given.output.iterdir()):
        parser.error(f"{given.output} is not empty. Remove it or give another folder.")
    given.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    result = measure(given.output.resolve(), given.count, given.kills, given.seed, console)
    partial = given.output / "killed_run.json.partial"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.rename(given.output / "killed_run.json")
    for name in ("whole", "killed"):
        row = result[name]["row"]
        console.print(
            f"{name}: {row['k']}/{row['n']}, {row['tokens']:,} tokens, ${row['cost_usd']:.4f}, {row['broken_off']}"
        )


if __name__ == "__main__":
    main()
