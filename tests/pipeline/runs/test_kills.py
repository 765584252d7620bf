"""Nothing is lost and nothing is doubled, whoever is killed and whenever: 50 random SIGKILLs of main process and workers.

The quick test kills at chosen places; the slow one at random ones (its seed is printed when it fails).
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.quarantine import read_quarantine
from pipeline.runs.plan import GATHER, Plan, run_unit
from pipeline.runs.run import missing_ranks
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows

STAGES = ("numbers", "cluster", "paid", "copies", "sorted")
WORKERS = 2


def outcome(plan: Plan) -> dict[str, tuple[list, list]]:
    """By stage, all rows that were kept and all that were dropped, in order."""
    return {
        stage: (
            [row for shard in shards(plan.folder(stage)) for row in read_rows(shard)],
            list(read_quarantine(plan.config.run, stage)),
        )
        for stage in STAGES
    }


def test_a_run_goes_on_from_every_stop_to_the_same_rows(toy_plan, run_toys, tmp_path: Path) -> None:
    """Property: whatever part of the files a killed run left, the finished run is the same."""
    whole = toy_plan(run=str(tmp_path / "whole"))
    run_toys(whole)
    right = outcome(whole)

    @settings(max_examples=15)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        plan = toy_plan(run=str(tmp_path / f"stopped{time.monotonic_ns()}"))
        for stage in STAGES:
            tasks = plan.context(stage).tasks
            units = [GATHER] if stage == "cluster" else []
            for rank in units + data.draw(st.permutations(range(tasks)), label=stage):
                run_unit(plan, stage, rank)
                if data.draw(st.booleans(), label="killed before the marker"):
                    lose_marker(plan, stage, rank, data.draw(st.booleans(), label="with its rows"))
                    run_unit(plan, stage, rank)
        assert outcome(plan) == right

    check()


def lose_marker(plan: Plan, stage: str, rank: int, and_rows: bool) -> None:
    folder = plan.folder(stage)
    name = "gathered" if rank == GATHER else f"{rank:05}"
    (folder / f"{name}.json").unlink()
    if and_rows and rank != GATHER:
        (folder / f"{name}.jsonl.zst").unlink()
    (folder / f"{name}.jsonl.zst.99.partial").write_bytes(b"half")


@pytest.mark.slow
def test_fifty_random_kills_lose_nothing_and_pay_at_most_what_was_in_flight(toy_plan, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)
    provider = tmp_path / "provider"
    rows = 3000
    stages = {
        "numbers": {"rows": rows},
        "cluster": {},
        "paid": {"provider": str(provider), "ledger": str(tmp_path / "ledger.db"), "milliseconds": 8},
        "copies": {},
        "sorted": {},
    }
    raw = {"tasks": 12, "local": {"workers": WORKERS, "attempts": 60}, "stages": stages}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"run": str(tmp_path / "killed"), **raw}))
    killed = toy_plan(stages, run=str(tmp_path / "killed"), tasks=12)
    kills: Counter[str] = Counter()

    process = start(config)
    while sum(kills.values()) < 50:
        time.sleep(draw.uniform(0.2, 1.2))
        if process.poll() is not None:
            assert process.returncode == 0, "ended by itself, and not well"
            if not missing_ranks(killed, "sorted"):
                break
            process = start(config)
            continue
        workers = psutil.Process(process.pid).children()
        if workers and draw.random() < 0.6:
            kill(draw.choice(workers).pid)
            kills["worker"] += 1
        else:
            kill(process.pid)
            process.wait()
            kills["main"] += 1
            process = start(config)
    assert process.wait() == 0
    print("kills", dict(kills))

    assert sum(kills.values()) == 50, f"the run was over before: {kills}"
    undisturbed = toy_plan({**stages, "paid": {}}, run=str(tmp_path / "undisturbed"), tasks=12)
    for stage in STAGES:
        for rank in ([GATHER] if stage == "cluster" else []) + list(range(undisturbed.context(stage).tasks)):
            run_unit(undisturbed, stage, rank)
    assert outcome(killed) == outcome(undisturbed)
    asked = Counter(provider.read_text().splitlines())
    paid_again = asked.total() - len(asked)
    print("rows asked about", len(asked), "paid again", paid_again)
    assert paid_again <= sum(WORKERS if who == "main" else 1 for who in kills.elements())
    assert not list((tmp_path / "killed").rglob("*.partial"))
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


def start(config: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    log = config.with_suffix(".log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.runs.toys", str(config)], stdout=log, stderr=log, env=environment
        )


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
