"""Gates block: without the benchmark's files there is no curation, unless the YAML says so in a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.gates.contamination import GateError
from pipeline.runs.config import ConfigError, make_config
from pipeline.runs.stages import load_stages
from pipeline.stages.curate import CurateSettings, gates_of
from tests.pipeline.publishing.school import write_benchmark


def curate_settings(tmp_path: Path, given: dict[str, Any]) -> CurateSettings:
    stages = {"load": {"inputs": ["a.zip"]}, "trace": {"model": "none"}, "curate": given}
    settings = make_config({"run": str(tmp_path / "run"), "stages": stages}, load_stages()).stages["curate"]
    assert isinstance(settings, CurateSettings)
    return settings


@pytest.mark.parametrize("given", [{}, {"benchmark": ""}, {"held_out": ["data/held-out"]}])
def test_a_run_that_names_no_benchmark_is_refused_with_both_ways_out(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"stages.curate: .*benchmark: no folder .*`benchmark: not-compared`"):
        curate_settings(tmp_path, given)


def test_the_word_lets_it_run_and_the_card_will_say_so(tmp_path: Path) -> None:
    settings = curate_settings(tmp_path, {"benchmark": "not-compared"})
    assert any("NOT compared" in line for line in gates_of(settings).described())


def test_a_benchmark_is_compared_with_or_refused(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "benchmark")
    told = gates_of(curate_settings(tmp_path, {"benchmark": str(folder)})).described()
    assert "contamination: 2 questions of the benchmark" in told
    with pytest.raises(GateError, match="holds no tasks/ and context/"):
        gates_of(curate_settings(tmp_path, {"benchmark": str(tmp_path / "not-there")}))
