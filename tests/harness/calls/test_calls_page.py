"""The docs' example of a call, run as it stands there against the stand-in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stand_ins.endpoint import StandIn

PAGE = Path(__file__).parents[3] / "docs/pipeline.md"


def test_the_readmes_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Call a model from your own code\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.S)
    monkeypatch.chdir(tmp_path)
    with StandIn(rule=lambda _: '{"score": 4, "why": "so"}') as there:
        exec(code.replace("http://localhost:8000/v1", there.base_url), {"__name__": "readme"})
    assert "value=Score(score=4, why='so')" in capsys.readouterr().out
    assert there.counts.requests == 2
