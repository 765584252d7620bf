"""Nothing is lost and nothing doubled, whoever is killed and whenever: 50 random SIGKILLs of main process and workers.

The quick test kills at chosen places; the slow one at random ones (its seed is printed when it fails).
"""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.quarantine import read_quarantine
from pipeline.runs.plan import GATHER, Plan, run_unit
from pipeline.runs.run import missing_ranks
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows
from tests.killing import MAIN, Process, by_chance, has_workers, run_killed, start, wait_until

STAGES = ("numbers", "cluster", "paid", "copies", "sorted")
WORKERS = 2
KILLS = 50


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
    """A run that is complete before it was killed fifty times is followed by another, until there were fifty kills."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)
    kills: Counter[str] = Counter()
    while kills.total() < KILLS:
        folder = tmp_path / f"run{kills.total()}"
        folder.mkdir()
        before = kills.copy()
        again = killed_run(folder, toy_plan, draw, kills)
        here = kills - before
        print("killed", dict(here), "paid again", again)
        assert again <= here[MAIN] * WORKERS + here["worker"]


def killed_run(folder: Path, toy_plan, draw: random.Random, kills: Counter[str]) -> int:
    """One run to its end, with kills on the way. Checks that its rows are right; how many calls were paid twice."""
    provider = folder / "provider"
    paid = {"provider": str(provider), "ledger": str(folder / "ledger.db"), "milliseconds": 20}
    stages = {"numbers": {"rows": 2000}, "cluster": {}, "paid": paid, "copies": {}, "sorted": {}}
    config = folder / "run.yaml"
    shape = {"tasks": 12, "local": {"workers": WORKERS, "attempts": 60}}
    config.write_text(yaml.safe_dump({"run": str(folder / "killed"), **shape, "stages": stages}))
    killed = toy_plan(stages, run=str(folder / "killed"), **shape)

    log = folder / "run.log"

    def moment(process: Process) -> None:
        wait_until(process, lambda: has_workers(process), 20)
        time.sleep(draw.uniform(0, 1.5))

    done, status = run_killed(
        lambda: start(["-m", "tests.pipeline.runs.toys", str(config)], log),
        moment,
        KILLS - kills.total(),
        by_chance(draw, {"worker": 0.6, MAIN: 0.4}),
    )
    kills.update(done)
    assert status == 0, log.read_text()[-2000:]

    assert missing_ranks(killed, "sorted") == []
    undisturbed = toy_plan({**stages, "paid": {}}, run=str(folder / "undisturbed"), **shape)
    for stage in STAGES:
        for rank in ([GATHER] if stage == "cluster" else []) + list(range(undisturbed.context(stage).tasks)):
            run_unit(undisturbed, stage, rank)
    assert outcome(killed) == outcome(undisturbed)
    assert not list((folder / "killed").rglob("*.partial"))
    asked = Counter(provider.read_text().splitlines())
    assert asked.keys() == {row.id for row in outcome(undisturbed)["cluster"][0]}
    return asked.total() - len(asked)
