"""All stages of the demo's YAML, small: killed at random, and by Ray, they give what an undisturbed run gives.

`make bench-pipeline-kills` is the same with all notebooks, two solvers and 50 kills.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from scripts.killed_pipeline import FAULTS, SMALL, Study, provider
from scripts.pipeline_outcome import outcome_of

KILLS = 4
RAY = {"workers": 2, "memory_gb": 0.5, "stall_minutes": 5}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    study = Study(tmp_path_factory.mktemp("study"), seed, SMALL)
    whole = study.undisturbed
    assert len(whole.rows) == 13
    assert sum(map(len, whole.published.values())) > 4, "little was published that could be compared"
    return study


def test_killed_over_an_endpoint_that_misbehaves_nothing_is_lost_and_only_what_was_in_flight_is_paid_again(
    study: Study,
) -> None:
    report = study.killed("killed", KILLS, FAULTS, Console())
    assert report.faults == []
    assert report.kills.total() == KILLS
    assert report.provider["answered"] < report.provider.total(), "the endpoint misbehaved"


def test_ray_with_two_workers_gives_the_same_rows_drops_and_data_set(study: Study) -> None:
    pytest.importorskip("ray")
    by_ray = replace(study, settings={**study.settings, "executor": "ray", "ray": json.dumps(RAY)})
    with provider(study.made, {}) as there:
        status, said = by_ray.run("by-ray", there)
    assert status == 0, said
    ran: Path = study.folder / "by-ray"
    got, wanted = outcome_of(ran), study.undisturbed
    assert (got.rows, got.dropped, got.published) == (wanted.rows, wanted.dropped, wanted.published)
    assert got.holds == wanted.holds == there.paid, "asked as often, and nothing twice"
    assert {log.parent.name for log in ran.glob("logs/*/ray-*")} == set(wanted.rows), "every stage ran on Ray"
