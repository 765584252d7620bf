"""The demo's YAML on a local Ray of two workers: the same rows, drops and data set as by the local executor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.killed_pipeline import SMALL, Study, outcome_of, provider

RAY = {"workers": 2, "memory_gb": 0.5, "stall_minutes": 5}

pytestmark = pytest.mark.slow


def test_the_demos_yaml_gives_the_same_rows_by_ray(tmp_path: Path) -> None:
    study = Study(tmp_path, 0, SMALL)
    here = study.undisturbed
    by_ray = Study(tmp_path, 0, SMALL | {"executor": "ray", "ray": json.dumps(RAY)})
    with provider(study.made, {}) as there:
        status, said = by_ray.run("by-ray", there)
    assert status == 0, said
    ran = outcome_of(tmp_path / "by-ray")
    assert (ran.rows, ran.dropped, ran.published) == (here.rows, here.dropped, here.published)
    assert len(here.rows) == 13
    assert here.published, "nothing was published that could be compared"
    assert ran.holds == here.holds == there.paid, "asked as often, and nothing twice"
    assert list((tmp_path / "by-ray" / "logs").glob("*/ray-*")), "it ran on Ray"
