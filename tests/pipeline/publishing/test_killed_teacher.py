"""The stages trace, curate and publish, killed again and again: no question lost, none answered twice but in flight."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from tests.killing import MAIN, Process, main_process, run_killed, start, wait_until
from tests.pipeline.publishing.school import PUPILS, config_of, teach, write_school
from tests.stand_ins.endpoint import StandIn

KILLS = 5
AT_ONCE = 2
TURNS = 2

pytestmark = pytest.mark.slow


def test_random_kills_lose_nothing_and_pay_again_only_for_samples_in_flight(tmp_path: Path) -> None:
    write_school(tmp_path)
    draw = random.Random(7)
    with StandIn(rule=teach, latency_s=0.5) as there:
        trace = {
            "tries": 1,
            "simulate": None,
            "args": [
                "--max-samples",
                str(AT_ONCE),
            ],
        }
        config = config_of(tmp_path, there.base_url, trace=trace)
        (tmp_path / "config.json").write_text(json.dumps({"config": config, "base_url": there.base_url}))

        def moment(process: Process) -> None:
            until = there.counts.requests + draw.randint(1, 3)
            wait_until(process, lambda: there.counts.requests >= until, 240)
            time.sleep(draw.random() * 0.5)

        command = ["-m", "tests.pipeline.publishing.school", str(tmp_path / "config.json")]
        done, status = run_killed(lambda: start(command, tmp_path / "log"), moment, KILLS, main_process)
        assert status == 0, (tmp_path / "log").read_text()[-2000:]
        again = sum(count - 1 for count in there.counts.asked.values())
    from datasets import load_dataset

    assert done == [MAIN] * KILLS, "it ended before the last kill"
    print(f"{KILLS} kills, {again} calls paid again")
    rows = load_dataset(str(tmp_path / "run" / "dataset"), split="non_thinking", cache_dir=str(tmp_path / "cache"))
    assert sorted(rows["question"]) == sorted(PUPILS[name].question for name in ("sum", "mean"))
    assert again <= KILLS * AT_ONCE * TURNS
    assert not list(tmp_path.glob("run/**/*.partial"))
