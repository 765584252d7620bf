"""Kill -9 while models are asked: no row is lost, none comes twice, and only what was in flight is paid again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows
from tests.killing import MAIN, Process, main_process, run_killed, start, wait_until
from tests.pipeline.asking.given import ANALYSIS, plan_of, row_of
from tests.pipeline.test_edu_score import reply
from tests.stand_ins.endpoint import StandIn

ROWS, AT_ONCE, KILLS = 150, 4, 3
RUN = (
    "import sys; from rich.console import Console; from pipeline.runs.plan import Plan; "
    "from pipeline.runs.run import run_pipeline; "
    "raise SystemExit(0 if run_pipeline(Plan.from_json(sys.argv[1]), Console()).complete else 1)"
)


@pytest.mark.slow
def test_a_killed_stage_goes_on_from_its_ledger(tmp_path: Path) -> None:
    rows = [row_of([*ANALYSIS, ("text", f"Number {number}")], f"{number}.ipynb") for number in range(ROWS)]
    with StandIn(lambda _: reply(), latency_s=0.1) as there:
        limits = {"at_once": AT_ONCE, "start": AT_ONCE}
        plan = plan_of(tmp_path, "edu_score", rows, there.base_url, limits=limits)
        shares = iter(range(35, 35 * (KILLS + 1), 35))

        def moment(process: Process) -> None:
            answered = next(shares)
            assert wait_until(process, lambda: there.counts.kinds["answered"] >= answered, 240), "too early or too slow"

        command = ["-c", RUN, plan.to_json()]
        done, status = run_killed(lambda: start(command, tmp_path / "log"), moment, KILLS, main_process)
        assert (done, status) == ([MAIN] * KILLS, 0), (tmp_path / "log").read_text()[-2000:]
        answered = there.counts.kinds["answered"]
    kept = [row.id for shard in shards(plan.folder("edu_score")) for row in read_rows(shard)]
    assert kept == [row.id for row in rows]
    assert ROWS <= answered <= ROWS + KILLS * AT_ONCE
    assert not list((tmp_path / "run").rglob("*.partial"))
