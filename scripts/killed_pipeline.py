"""Kill the whole pipeline at random and compare it with an undisturbed run: `make bench-pipeline-kills`.

    python -m scripts.killed_pipeline                       50 kills over a sound endpoint, 50 over one that misbehaves
    python -m scripts.killed_pipeline --kills 3 --small     few notebooks: whether it works

All stages of `pipeline/configs/demo.yaml` on the corpus of the tests, by the command, with real kernels. The stand-ins
for models and Kaggle live in this process, which is not killed: what was paid is counted where it is paid. A kill is
SIGKILL to the run's main process, one of its workers, or an evaluation or a download that a worker started; a run that
is whole before all kills were made is followed by another. The misbehaving endpoint gives 5% each of 429, 500, hangs,
JSON cut off and replies of another schema; Kaggle then refuses and drops connections, too.

Rows and drops of every stage must be those of the undisturbed run, so must what is published (over the misbehaving
endpoint but for messages and which try was the best: a broken turn is part of a trace), and paid again at most what was
in flight: the calls of the killed ranks, and where `inspect eval` asks, the turns of their samples in flight.
Writes results/runs/bench/pipeline-kills.json, and ends with an error where something is not so.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.runs.layout import stage_folders
from scripts.pipeline_demo import run_command, run_environment
from scripts.pipeline_outcome import Outcome, Paid, outcome_of, without_messages, without_the_best_try
from tests.killing import MAIN, Process, by_chance, run_killed, start, wait_until
from tests.pipeline.corpus.make import ROOT, corpus, put_on
from tests.stand_ins.endpoint import Faults, StandIn
from tests.stand_ins.kaggle import Kaggle
from tests.stand_ins.teacher_rules import teacher

FAULTS = {"429": 0.05, "500": 0.05, "hang": 0.05, "cut JSON": 0.05, "wrong schema": 0.05}
WAYS: dict[str, dict[str, float]] = {"sound": {}, "faults": FAULTS}
KAGGLE_FAULTS = ("429:1", "drop:2000")
SHARES = {MAIN: 0.4, "worker": 0.4, "evaluation": 0.15, "download": 0.05}
ASKING = frozenset({"edu_score", "extract", "ask", "verify"})
EVALUATING = frozenset({"verify", "trace"})
WORKERS, AT_ONCE, SAMPLES = 2, 4, 2
LATENCY_S, TRY_S = 0.2, 30


@dataclass
class Report:
    """What happened: `again` was paid again, `in_flight` is the most that it may be."""

    way: str
    seed: int
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    paid: Paid = field(default_factory=Paid)
    again: Paid = field(default_factory=Paid)
    in_flight: Paid = field(default_factory=Paid)
    provider: Counter[str] = field(default_factory=Counter)
    downloads: Counter[str] = field(default_factory=Counter)
    most_turns: int = 0
    other_messages: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        plain = {name: vars(value) if isinstance(value, Paid) else value for name, value in vars(self).items()}
        return plain | {"kills_in_all": self.kills.total(), "seconds": round(self.seconds, 1)}


@dataclass(frozen=True)
class Study:
    """Runs of one seed in one folder; `settings` lie over the demo's YAML."""

    folder: Path
    seed: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def made(self) -> Path:
        """The corpus, made on first use."""
        return corpus()

    @cached_property
    def undisturbed(self) -> Outcome:
        """The run that nobody disturbs; one that is there already is taken.

        Raises RuntimeError where it fails, or the provider's count is not the run's.
        """
        if (self.folder / "undisturbed" / "dataset").exists():
            return outcome_of(self.folder / "undisturbed")
        with provider(self.made, {}) as there:
            status, said = self.run("undisturbed", there)
            if status != 0:
                raise RuntimeError(said)
            outcome = outcome_of(self.folder / "undisturbed")
            if there.paid != outcome.holds:
                raise RuntimeError(f"the provider counts {there.paid}, the run holds {outcome.holds}")
            return outcome

    def run(self, name: str, there: Provider) -> tuple[int, str]:
        """One run to its end: its exit status, and the end of what it said."""
        log = self.folder / f"{name}.log"
        return start(self._command(name, there), log, self._env(there)).wait(), _end_of(log)

    def killed(self, way: str, kills: int, faults: Mapping[str, float], console: Console) -> Report:
        """Runs until all kills were made, each compared with the undisturbed one."""
        report, draw = Report(way, self.seed), random.Random(f"{self.seed} {way}")
        wanted = self.undisturbed
        while report.kills.total() < kills and not report.faults:
            report.runs += 1
            name = f"{way}-{report.runs}"
            with provider(self.made, faults, self.seed + report.runs) as there:
                self._one(name, there, kills - report.kills.total(), draw, report)
                if not report.faults:
                    self._compare(outcome_of(self.folder / name), wanted, there, bool(faults), report)
            console.print(f"{name}: {dict(report.kills)}, paid again {report.again} of at most {report.in_flight}")
        return report

    def _one(self, name: str, there: Provider, kills: int, draw: random.Random, report: Report) -> None:
        run, log, began = self.folder / name, self.folder / f"{name}.log", time.monotonic()
        chosen = by_chance(draw, SHARES)

        def moment(process: Process) -> None:
            """At some time, after some replies of the provider, or some time after the next stage was begun."""
            kind = draw.choices(("time", "replies", "stage"), (0.25, 0.5, 0.25))[0]
            if kind == "replies":
                until = there.paid.replies + there.paid.turns + draw.randint(1, 6)
                wait_until(process, lambda: there.paid.replies + there.paid.turns >= until, 90)
            elif kind == "stage":
                now = _stage(run)
                wait_until(process, lambda: _stage(run) != now, 90)
            wait_until(process, lambda: False, draw.uniform(0, 0.4 if kind == "replies" else 6))

        def choose(process: Process) -> tuple[str, int]:
            who, pid = chosen(process)
            return f"{who} in {_stage(run)}", pid

        def begin() -> Process:
            return start(self._command(name, there), log, self._env(there))

        # A rank whose evaluation was killed three times has failed: the command is given again, as a user would.
        left, status = kills, 1
        while status != 0:
            done, status = run_killed(begin, moment, left, choose)
            report.kills.update(done)
            left -= len(done)
            if status != 0 and not done:
                report.faults.append(f"{name} fails without a kill: {_end_of(log)}")
                return
        report.seconds += time.monotonic() - began

    def _compare(self, got: Outcome, wanted: Outcome, there: Provider, disturbed: bool, report: Report) -> None:
        for what, ours, theirs in (
            ("rows", *map(without_the_best_try if disturbed else dict, (got.rows, wanted.rows))),
            ("drops", got.dropped, wanted.dropped),
            ("published", *map(without_messages, (got.published, wanted.published))),
        ):
            names = sorted(ours.keys() | theirs.keys())
            report.faults += [f"{what} of {name} differ" for name in names if ours.get(name) != theirs.get(name)]
        report.other_messages += sum(
            one["messages"] != other["messages"]
            for name, rows in got.published.items()
            for one, other in zip(rows, wanted.published.get(name, ()), strict=False)
            if "messages" in one
        )
        if report.other_messages and not disturbed:
            report.faults.append("traces differ, though the endpoint was sound")
        report.faults += [f"left behind: {name}" for name in got.partial]
        report.paid += there.paid
        report.again += there.paid - got.holds
        report.most_turns = max(report.most_turns, got.most_turns)
        report.in_flight = in_flight(report.kills, report.most_turns)
        report.provider.update(there.models.counts.kinds)
        report.downloads.update(there.kaggle.asked)
        if report.again.replies > report.in_flight.replies or report.again.turns > report.in_flight.turns:
            report.faults.append(f"paid again {report.again}, and in flight were at most {report.in_flight}")
        if report.again.replies < 0 or report.again.turns < 0:
            report.faults.append(f"the run holds more than was paid: {report.again}")

    def _command(self, name: str, there: Provider) -> list[str]:
        solvers = [
            {"model": f"openai-api/standin/{model}", "args": ["--max-samples", str(SAMPLES)], "try_s": TRY_S}
            for model in ("careful", "careless")
        ]
        limits = {"at_once": AT_ONCE, "start": AT_ONCE, "repairs": 6, "try_s": TRY_S, "first_wait_s": 0.1}
        settings = {
            "run": str(self.folder / name),
            "local": json.dumps({"workers": WORKERS, "attempts": 99}),
            "stages.fetch.cache": str(self.folder / f"{name}-kaggle"),
            "stages.verify.solvers": json.dumps(solvers),
            "stages.trace.args": json.dumps(["--max-samples", str(SAMPLES)]),
            "stages.trace.try_s": str(TRY_S),
            **{f"endpoints.{name}.limits": json.dumps(limits) for name in ("judge", "writer", "checker")},
            **self.settings,
        }
        return run_command(self.made, there.models.base_url, settings)

    def _env(self, there: Provider) -> dict[str, str]:
        """Inspect keeps what a killed evaluation leaves in the folder, not in the user's home."""
        environment = run_environment(there.models.base_url, there.kaggle.environment, self.folder)
        return environment | {"XDG_DATA_HOME": str(self.folder / "data")}


@dataclass
class Provider:
    """Both stand-ins, and what was paid."""

    models: StandIn
    kaggle: Kaggle
    paid: Paid


@contextmanager
def provider(made: Path, faults: Mapping[str, float], seed: int = 0) -> Iterator[Provider]:
    """Stand-ins for models and Kaggle, counting from nothing; with `faults`, Kaggle misbehaves too."""
    paid = Paid()

    def counted(payload: dict[str, Any]) -> str | dict[str, Any]:
        if payload.get("tools"):
            paid.turns += 1
        else:
            paid.replies += 1
        return teacher(payload)

    with StandIn(counted, latency_s=LATENCY_S, faults=Faults(faults, seed)) as models, Kaggle() as kaggle:
        put_on(kaggle, made)
        for handle in kaggle.archives if faults else ():
            kaggle.faults[handle] = list(KAGGLE_FAULTS)
        yield Provider(models, kaggle, paid)


def in_flight(kills: Mapping[str, int], most_turns: int) -> Paid:
    """The most that can have been in flight at these kills ("worker in trace" -> how many)."""
    most = Paid()
    for kill, count in kills.items():
        who, _, stage = kill.partition(" in ")
        ranks = count * (WORKERS if who == MAIN else 1)
        most += Paid(ranks * AT_ONCE * (stage in ASKING), ranks * SAMPLES * most_turns * (stage in EVALUATING))
    return most


def _stage(run: Path) -> str:
    """The stage that was begun last."""
    return next((name for name, _ in reversed(list(stage_folders(run)))), "no stage")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


SMALL = {"limit": "14", "stages.verify.solvers": "[]", "stages.trace.tries": "1"}
"""Settings of a run that takes a minute or so."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="each way (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of the moments and the faults (default: drawn, and printed)")
    parser.add_argument("--way", choices=WAYS, help="only this way (default: both)")
    parser.add_argument("--small", action="store_true", help="few notebooks, no solvers")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are kept; an undisturbed one is taken")
    parser.add_argument("--output", type=Path, default=ROOT / "results/runs/bench/pipeline-kills.json")
    given = parser.parse_args()
    seed = random.randrange(1 << 30) if given.seed is None else given.seed
    console = Console()
    console.print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="killed-pipeline-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(folder.resolve(), seed, SMALL if given.small else {})
        began = time.monotonic()
        found: dict[str, Any] = {
            "published": {name: len(rows) for name, rows in study.undisturbed.published.items()},
            "undisturbed_s": round(time.monotonic() - began, 1),
            "undisturbed_paid": vars(study.undisturbed.holds),
            "ways": [],
        }
        console.print(f"undisturbed: {found}")
        for way, faults in WAYS.items() if given.way is None else [(given.way, WAYS[given.way])]:
            report = study.killed(way, given.kills, faults, console)
            found["ways"].append(report.as_json())
            _write(given.output, found)
    console.print_json(data=found)
    if any(way["faults"] for way in found["ways"]):
        sys.exit("not as in an undisturbed run")


def _write(path: Path, found: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
