"""Kill -9 while models are asked: no row is lost, none comes twice, and only what was in flight is paid again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows
from tests.pipeline.asking.given import ANALYSIS, plan_of, row_of
from tests.pipeline.test_edu_score import reply
from tests.stand_ins.endpoint import StandIn

ROWS, AT_ONCE, KILLS = 150, 4, 3
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}  # the first stage is one of the tests'
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
        for kill in range(1, KILLS + 1):
            child = subprocess.Popen(
                [sys.executable, "-c", RUN, plan.to_json()], env=ENVIRONMENT, start_new_session=True
            )
            began = time.monotonic()
            while there.counts.kinds["answered"] < kill * 35 and child.poll() is None:
                assert time.monotonic() - began < 120
                time.sleep(0.01)
            assert child.poll() is None, "it ended before it was killed"
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            time.sleep(0.5)  # workers end with it
        assert subprocess.run([sys.executable, "-c", RUN, plan.to_json()], env=ENVIRONMENT).returncode == 0
        answered = there.counts.kinds["answered"]
    kept = [row.id for shard in shards(plan.folder("edu_score")) for row in read_rows(shard)]
    assert kept == [row.id for row in rows]
    assert ROWS <= answered <= ROWS + KILLS * AT_ONCE
    assert not list((tmp_path / "run").rglob("*.partial"))
