"""Killed at any moment: nothing is lost, nothing comes twice, and only what was in flight is paid again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.calls.ledger import Ledger
from tests.harness.calls.test_calls_client import first_json
from tests.stand_ins.endpoint import Faults, StandIn

ROWS, AT_ONCE = 300, 16  # rows a kill
FAULTS = {"429": 0.05, "500": 0.05, "cut JSON": 0.05, "drop": 0.05, "hang": 0.01}

STAGE = """
import json, pathlib, sys
from harness.calls.client import Caller
from harness.calls.endpoint import Endpoint
from harness.calls.feed import replies
from harness.calls.ledger import Ledger
from tests.harness.calls.conftest import score_request, with_limits
ledger, out = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
caller = Caller(Endpoint("judge", sys.argv[1], "m"), Ledger(ledger), "score", limits=with_limits(try_s=2.0, repairs=9))
rows = []
for row, outcome in replies(caller, range(int(sys.argv[4])), score_request):
    if not rows:
        print("ready", flush=True)
    rows.append((row, outcome.value.score))
partial = out.with_suffix(".partial")
partial.write_text(json.dumps(rows))
partial.rename(out)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "shares", [{}, {"429": 0.05, "500": 0.05, "cut JSON": 0.05, "drop": 0.05, "hang": 0.01}], ids=str
)
def test_a_stage_that_is_killed_pays_again_only_what_was_in_flight(
    tmp_path: Path, kills: int, shares: dict[str, float]
) -> None:
    chance, ledger, out = random.Random(kills), tmp_path / "calls.sqlite", tmp_path / "scores.json"
    killed = 0
    with StandIn(rule=first_json, latency_s=0.05, faults=Faults(shares), retry_after_s=0.01) as there:
        command = [sys.executable, "-c", STAGE, there.base_url, str(ledger), str(out), str(ROWS * kills)]
        while not out.exists():
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            if killed < kills:
                time.sleep(chance.uniform(0.0, 1.0))
                killed += 1
                child.kill()
            child.communicate()
            assert killed <= kills
        requests, unique = there.counts.requests, len(there.counts.asked)
        paid_again = sum(times - 1 for times in there.counts.answered.values())
    assert json.loads(out.read_text()) == [[row, row] for row in range(ROWS * kills)]
    with Ledger(ledger) as kept:
        tries = kept.totals().tries
    lost = tries.get("lost in flight", 0)
    print(f"{killed} kills, {ROWS * kills:,} rows, {requests:,} requests, {paid_again} paid again, {lost} in flight")
    assert paid_again <= lost <= killed * AT_ONCE
    assert tries["answered"] == ROWS * kills
    assert sum(tries.values()) - lost <= requests <= sum(tries.values())
    if not shares:
        assert requests - unique <= lost
