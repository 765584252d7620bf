"""`dabstep pipeline`: exit status, what is printed, and what a mistake in the YAML looks like."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dabstep.cli import app
from tests.pipeline.runs.toys import ORDER


@pytest.fixture
def dabstep(monkeypatch: pytest.MonkeyPatch):
    """Call `dabstep pipeline` with the toy stages."""
    monkeypatch.setattr("pipeline.runs.stages.ORDER", ORDER)
    return lambda *words: CliRunner().invoke(app, ["pipeline", *map(str, words)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    stages = {"numbers": {}, "paid": {}}
    path.write_text(
        yaml.safe_dump({"run": str(tmp_path / "run"), "tasks": 2, "local": {"workers": 2}, "stages": stages})
    )
    return path


def test_run_ends_with_the_funnel_and_show_says_it_again(dabstep, config: Path, tmp_path: Path) -> None:
    done = dabstep("run", config)
    assert done.exit_code == 0, done.output
    assert "attempts: 3" in done.output  # resolved values, defaults included
    assert "6 not JSON" in done.output

    shown = dabstep("show", tmp_path / "run", "--samples", 1)
    assert "6 not JSON" in shown.output
    assert "numbers: 6 not JSON" in shown.output
    told = json.loads(dabstep("show", tmp_path / "run", "--json").output)
    assert told["complete"]
    assert told["stages"][0]["kept"] == 34


def test_a_dry_run_tells_the_cost_and_changes_nothing(dabstep, config: Path, tmp_path: Path) -> None:
    done = dabstep("run", config, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "2 of 2 ranks to run" in done.output
    assert "about $0.40" in done.output
    assert not (tmp_path / "run").exists()


def test_one_stage_at_a_time_and_values_over_the_yaml(dabstep, config: Path, tmp_path: Path) -> None:
    done = dabstep("run", config, "--stage", "numbers", "--limit", 8, "--set", "tasks=1", "--run", tmp_path / "other")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "other" / "funnel.json").read_text())
    assert [(line["tasks"], line["read"]) for line in told["stages"]] == [(1, 8), (1, 0)]


def test_what_flags_say_can_be_set_too_and_a_flag_goes_first(dabstep, config: Path, tmp_path: Path) -> None:
    set_all = ["--set", f"run={tmp_path / 'set'}", "--set", "limit=8"]
    assert dabstep("run", config, "--stage", "numbers", *set_all).exit_code == 0
    assert json.loads((tmp_path / "set" / "funnel.json").read_text())["stages"][0]["read"] == 8
    assert dabstep("run", config, "--stage", "numbers", *set_all, "--run", tmp_path / "flag").exit_code == 0
    assert (tmp_path / "flag").exists()


def test_missing_rows_are_exit_status_1(dabstep, config: Path) -> None:
    done = dabstep("run", config, "--set", "stages.paid.raise_for=n4.ipynb")
    assert done.exit_code == 1
    assert "cannot digest n4.ipynb" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "stages.paid.wrod=x"], "did you mean 'word'?"),
        (["--set", "word"], "must be KEY=VALUE"),
        (["--stage", "ask"], "not a stage of this run"),
        (["--executor", "cloud"], "should be 'local', 'ray' or 'slurm'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(words: list[str], said: str, dabstep, config: Path) -> None:
    done = dabstep("run", config, *words)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_run_begun_otherwise_is_refused(dabstep, config: Path) -> None:
    dabstep("run", config)
    done = dabstep("run", config, "--set", "stages.paid.word=bought")
    assert done.exit_code == 2
    assert 'settings.word: "paid" -> "bought"' in done.output


def test_a_folder_that_is_no_run_is_named(dabstep, tmp_path: Path) -> None:
    done = dabstep("show", tmp_path)
    assert done.exit_code == 2
    assert "not the folder of a run" in done.output
