"""A run of toy stages in a folder of its own, made and run by a call."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.runs.config import make_config
from pipeline.runs.funnel import Funnel
from pipeline.runs.plan import Plan
from pipeline.runs.run import run_pipeline
from pipeline.runs.stages import load_stages
from tests.pipeline.runs.toys import ORDER

ALL = {"numbers": {}, "cluster": {}, "paid": {}, "copies": {}, "sorted": {}}
PlanMaker = Callable[..., Plan]


@pytest.fixture
def toy_plan(tmp_path: Path) -> PlanMaker:
    def make(stages: dict[str, Any] | None = None, **settings: Any) -> Plan:
        raw: dict[str, Any] = {
            "run": str(tmp_path / "run"),
            "tasks": 4,
            "local": {"workers": 2, **settings.pop("local", {})},
            "stages": ALL if stages is None else stages,
            **settings,
        }
        return Plan(make_config(raw, load_stages(ORDER)), ORDER)

    return make


@pytest.fixture
def run_toys() -> Callable[..., tuple[Funnel, str]]:
    """Run a plan; the funnel and what was printed."""

    def run(plan: Plan, *only: str) -> tuple[Funnel, str]:
        said = io.StringIO()
        funnel = run_pipeline(plan, Console(width=160, file=said), only)
        return funnel, said.getvalue()

    return run
