"""What a sample of three cells and an answer costs beyond Inspect itself: `make bench-sample`.

A model that answers at once plays the same three cells in every sample, 32 samples side by side, through the agent's
own loop: in turn with tools that do nothing and no sandbox, and with real kernels. What is told of each is wall
milliseconds a sample (the event loop is one thread, so samples side by side still queue for it), CPU milliseconds of
this process, and of everything else on the machine, kernels mostly, so other work must rest meanwhile. A sampling
profile of both then says where this process's time goes. Writes results/runs/bench/sample.json.

    PYTHONPATH=. python scripts/bench_sample.py --samples 320 --rounds 5

It does not measure a model, a cell's own work, or reading a question's files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.tool import Tool, tool
from inspect_ai.util import SandboxEnvironmentSpec
from rich.console import Console
from rich.table import Table

import harness.agent
import harness.kernel.bwrap_sandbox  # registers the sandbox
from harness.agent import play_solution
from harness.kernel.sandbox import KernelConfig
from harness.records import Solution
from harness.tools import Comments, NotebookState

SIDE_BY_SIDE = 32
CELLS = ("x = 6", "print(x * 7)", "x * 7")
ANSWER = "42"
WANTED_MS = 10.0
PROFILE_S = 0.001
SANDBOX = "dabstep-bwrap"


@tool(name="python", parallel=False)
def idle_python() -> Tool:
    """As the agent's, and does nothing."""

    async def execute(code: str) -> str:
        """Run one cell in the live Jupyter kernel and read what it shows. Variables persist between cells.

        Args:
            code: Python code of the cell.
        """
        return ANSWER

    return execute


@tool(name="final_answer", parallel=False)
def idle_answer() -> Tool:
    """As the agent's."""

    async def execute(answer: str) -> str:
        """Give the final answer and end the work.

        Args:
            answer: The answer alone, in the form that the guidelines ask for.
        """
        NotebookState().answer = answer
        return "Answer received."

    return execute


@contextmanager
def idle_tools() -> Iterator[None]:
    """The agent's loop with tools that do nothing."""
    real = harness.agent.notebook_tools

    def tools(comments: Comments = "optional") -> list[Tool]:
        return [idle_python(), idle_answer()]

    harness.agent.notebook_tools = tools
    try:
        yield
    finally:
        harness.agent.notebook_tools = real


def task(samples: int, sandboxed: bool) -> Task:
    """Samples that all play the same cells."""
    solution = Solution(cells=CELLS, answer=ANSWER).model_dump(mode="json")
    sandbox = SandboxEnvironmentSpec(SANDBOX, KernelConfig()) if sandboxed else None
    dataset = [
        Sample(id=number, input="What is six times seven?", metadata={"solution": solution}, sandbox=sandbox)
        for number in range(samples)
    ]
    return Task(dataset=MemoryDataset(dataset, name="bench"), solver=play_solution())


class Clock:
    """Seconds of a run: wall, CPU of this process, its waiting for a CPU, and CPU of the whole machine without it."""

    def __init__(self) -> None:
        self._begun = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
        busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        waited = int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
        return time.perf_counter(), time.process_time(), waited, busy

    def each(self, samples: int) -> dict[str, float]:
        """Milliseconds a sample since this clock was made."""
        wall, own, waited, busy = (now - begun for now, begun in zip(self._read(), self._begun, strict=True))
        figures = {"wall_ms": wall, "own_cpu_ms": own, "own_wait_ms": waited, "other_cpu_ms": max(0.0, busy - own)}
        return {name: 1000 * value / samples for name, value in figures.items()}


def one_run(samples: int, sandboxed: bool, logs: str) -> dict[str, float]:
    """One evaluation; raises RuntimeError where it did not end well."""
    clock = Clock()
    with idle_tools() if not sandboxed else _as_they_are():
        [log] = inspect_eval(
            task(samples, sandboxed), model="none/none", max_samples=SIDE_BY_SIDE, log_dir=logs, display="none"
        )
    figures = clock.each(samples)
    if log.status != "success" or log.samples is None or len(log.samples) != samples:
        raise RuntimeError(f"the evaluation ended with status {log.status}: {log.error}")
    for sample in log.samples:
        if sample.store["NotebookState:answer"] != ANSWER or sample.error is not None:
            raise RuntimeError(f"sample {sample.id} ended without the answer: {sample.error}")
        cells = sample.store.get("NotebookState:cells", [])
        if sandboxed and [cell["status"] for cell in cells] != ["ok"] * len(CELLS):
            raise RuntimeError(f"sample {sample.id} ran other cells: {cells}")
    return figures


@contextmanager
def _as_they_are() -> Iterator[None]:
    yield


class Sampler:
    """Where this process's CPU time goes: a look at the stack every millisecond of it.

    A look counts for the innermost frame that is in Inspect or in our packages, by module; for the innermost of all
    where there is none.
    """

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()

    def _look(self, _: int, frame: FrameType | None) -> None:
        innermost = frame
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            if name.startswith(("inspect_ai.", "harness.")):
                self.looks[name] += 1
                return
            frame = frame.f_back
        if innermost is not None:
            self.looks[innermost.f_globals.get("__name__", "?")] += 1

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, PROFILE_S, PROFILE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)


def profiled(samples: int, sandboxed: bool, logs: str) -> dict[str, float]:
    """Module -> share of this process's CPU milliseconds a sample, the largest first."""
    sampler = Sampler()
    with sampler.looking():
        figures = one_run(samples, sandboxed, logs)
    total = sampler.looks.total()
    return {name: looks / total * figures["own_cpu_ms"] for name, looks in sampler.looks.most_common()}


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure its median over the runs."""
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def measure(samples: int, rounds: int, console: Console) -> dict[str, Any]:
    """Both kinds in turn, then both profiles."""
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as logs:
        for sandboxed in runs:  # warm: imports, the zygote, Inspect's own first times
            one_run(SIDE_BY_SIDE, sandboxed, logs)
        for number in range(rounds):
            for sandboxed in sorted(runs, reverse=number % 2 == 1):
                runs[sandboxed].append(one_run(samples, sandboxed, logs))
                console.print(f"round {number + 1} of {rounds}: {_named(sandboxed)} {_line(runs[sandboxed][-1])}")
        profiles = {_named(sandboxed): profiled(samples, sandboxed, logs) for sandboxed in runs}
    above = [real["wall_ms"] - idle["wall_ms"] for idle, real in zip(runs[False], runs[True], strict=True)]
    return {
        "samples": samples,
        "side_by_side": SIDE_BY_SIDE,
        "rounds": rounds,
        "idle": median(runs[False]),
        "kernels": median(runs[True]),
        "above_ms": {
            "p50": round(statistics.median(above), 2),
            "least": round(min(above), 2),
            "most": round(max(above), 2),
        },
        "wanted_ms": WANTED_MS,
        "runs": {_named(sandboxed): of for sandboxed, of in runs.items()},
        "profile_ms": profiles,
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def _named(sandboxed: bool) -> str:
    return "kernels" if sandboxed else "idle"


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in figures.items())


def report(found: dict[str, Any], console: Console) -> None:
    """Both tables."""
    columns = ("wall", "CPU of this process", "its wait for a CPU", "CPU of all others")
    table = Table("ms a sample", *columns, title=f"{found['side_by_side']} at once")
    for name, title in (("idle", "tools that do nothing, no sandbox"), ("kernels", "bwrap kernels, 3 cells")):
        table.add_row(title, *(f"{value:.1f}" for value in found[name].values()))
    console.print(table)
    above = found["above_ms"]
    console.print(
        f"A sample costs {above['p50']} ms ({above['least']} to {above['most']}) more with kernels; "
        f"wanted: at most {WANTED_MS:g}."
    )
    profiles = found["profile_ms"]
    rows = Table("CPU of this process by module, ms a sample", "idle", "kernels")
    modules = sorted(
        set(profiles["idle"]) | set(profiles["kernels"]), key=lambda name: -profiles["kernels"].get(name, 0)
    )
    for name in modules[:30]:
        rows.add_row(name, *(f"{profiles[kind].get(name, 0.0):.2f}" for kind in ("idle", "kernels")))
    console.print(rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=320, help="samples of each run (default 320)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind, in turn (default 5)")
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench/sample.json"))
    given = parser.parse_args()
    console = Console()
    found = measure(given.samples, given.rounds, console)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    partial = given.output.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(given.output)
    report(found, console)
    console.print(f"written to {given.output}")
    return int(found["above_ms"]["p50"] > WANTED_MS)


if __name__ == "__main__":
    raise SystemExit(main())
