"""The stages trace, curate and publish, killed again and again: no question lost, none answered twice but in flight."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.publishing.school import PUPILS, config_of, teach, write_school
from tests.stand_ins.endpoint import StandIn

ROOT = Path(__file__).parents[3]
KILLS = 5
AT_ONCE = 2
TURNS = 2

pytestmark = pytest.mark.slow


def test_random_kills_lose_nothing_and_pay_again_only_for_samples_in_flight(tmp_path: Path) -> None:
    write_school(tmp_path)
    rng, kills = random.Random(7), 0
    with StandIn(rule=teach, latency_s=0.5) as there:
        trace = {"tries": 1, "simulate": None, "args": ["--max-samples", str(AT_ONCE), "--log-buffer", "1"]}
        config = config_of(tmp_path, there.base_url, trace=trace)
        (tmp_path / "config.json").write_text(json.dumps({"config": config, "base_url": there.base_url}))
        command = [sys.executable, "-m", "tests.pipeline.publishing.school", str(tmp_path / "config.json")]
        while True:
            asked = there.counts.requests
            child = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, text=True)
            if kills < KILLS:
                until = asked + rng.randint(1, 3)
                while child.poll() is None and there.counts.requests < until:
                    time.sleep(0.05)
                time.sleep(rng.random() * 0.5)
            if child.poll() is None and kills < KILLS:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                kills += 1
                continue
            said, _ = child.communicate(timeout=300)
            break
        assert child.returncode == 0, said
        again = sum(count - 1 for count in there.counts.asked.values())
    from datasets import load_dataset

    assert kills == KILLS, "it ended before the last kill"
    print(f"{kills} kills, {again} calls paid again")
    rows = load_dataset(str(tmp_path / "run" / "dataset"), split="non_thinking", cache_dir=str(tmp_path / "cache"))
    assert sorted(rows["question"]) == sorted(PUPILS[name].question for name in ("sum", "mean"))
    assert again <= kills * AT_ONCE * TURNS
    assert not list(tmp_path.glob("run/**/*.partial"))
