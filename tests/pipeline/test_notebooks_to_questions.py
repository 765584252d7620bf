"""From the small corpus's archives to checked questions, by the command, with every oddity's fate as it should be."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dabstep.cli import app
from harness.grader import is_correct
from pipeline.quarantine import read_quarantine
from pipeline.row import NotebookRow, parent_id
from pipeline.runs.config import make_config
from pipeline.runs.layout import stage_folders
from pipeline.runs.stages import load_stages, shards
from pipeline.runs.store import read_rows
from tests.pipeline.corpus.make import corpus, put_on
from tests.stand_ins.endpoint import Faults, StandIn
from tests.stand_ins.kaggle import Kaggle
from tests.stand_ins.teacher_rules import teacher

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "pipeline" / "configs" / "demo.yaml"
FATES = {
    "edited": ("dedup", "near duplicate"),
    "same code": ("dedup", "same code"),
    "same bytes": ("sign", "same bytes"),
    "german": ("edu_score", "disqualified: not English"),
    "failing": ("edu_score", "disqualified: broken"),
    "trivial": ("edu_score", "score below 4"),
    "bare": ("edu_score", "disqualified: only code"),
    "wordy": ("render", "no code cells"),
    "invented data": ("edu_score", "score below 4"),
    "language model": ("extract", "about something else: language models"),
    "r": ("sign", "other language"),
    "torn": ("sign", "broken JSON"),
}


def configured(folder: Path, made: Path, base_url: str) -> Path:
    """The demo's YAML up to the checked questions, its blanks filled in, without solvers, in a folder of its own."""
    raw = yaml.safe_load(CONFIG.read_text())
    raw |= {"run": str(folder / "run")}
    raw["stages"]["load"] = {"inputs": [f"{made}/archives/*.zip"], "meta_kaggle": f"{made}/meta-kaggle"}
    raw["stages"]["link"] = {"meta_kaggle": f"{made}/meta-kaggle"}
    raw["stages"]["fetch"] |= {"cache": str(folder / "kaggle")}
    raw["stages"]["verify"].pop("solvers")
    for after_questions in ("trace", "curate", "publish"):
        raw["stages"].pop(after_questions)
    for endpoint in raw["endpoints"].values():
        endpoint |= {"base_url": base_url, "limits": {"try_s": 5.0, "total_s": 60.0, "first_wait_s": 0.05}}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def rows_of(run: Path, stage: str) -> list[NotebookRow]:
    return [row for shard in shards(dict(stage_folders(run))[stage]) for row in read_rows(shard)]


@pytest.mark.slow
def test_every_notebook_meets_its_fate_also_over_an_endpoint_that_misbehaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = corpus()
    kinds = {line["id"]: line["kind"] for line in map(json.loads, (made / "truth.jsonl").read_text().splitlines())}
    faults = Faults({"429": 0.05, "500": 0.05, "drop": 0.03, "cut body": 0.03, "cut JSON": 0.03, "wrong schema": 0.05})
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    with StandIn(teacher, faults=faults) as there, Kaggle() as kaggle:
        put_on(kaggle, made)
        # The stand-in for Kaggle is a proxy for the name localhost; that for the models is asked by its number.
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "KAGGLE_CONFIG_DIR": str(tmp_path)}
        for name, value in (kaggle.environment | direct).items():
            monkeypatch.setenv(name, value)
        path = configured(tmp_path, made, there.base_url)
        done = CliRunner().invoke(app, ["pipeline", "run", str(path)])
        assert done.exit_code == 0, done.output
        misbehaved = sum(count for kind, count in there.counts.kinds.items() if kind != "answered")
    assert misbehaved > 5
    run = tmp_path / "run"
    dropped = list(read_quarantine(run))
    before_questions = [one for one in dropped if one.stage not in ("ask", "verify")]
    assert {kinds[one.id]: (one.stage, one.reason) for one in before_questions} == FATES
    kept = rows_of(run, "verify")
    assert {kinds[parent_id(row.id)] for row in kept} >= {"chains", "functions", "plots", "modelling", "overlong"}
    for row in kept:
        assert row.question is not None
        assert row.verification is not None
        assert row.verification.verified
        assert row.files is not None
        assert row.files.complete
        assert is_correct(row.verification.verdicts[0].answer or "", row.question.answer)
        assert "accuracy" not in row.question.question
    assert len({row.id for row in kept}) == len(kept) > 20
    reasons = Counter(one.reason for one in dropped)
    expected = {
        "asks for a model's metric",
        "trivial look-up",
        "repeats another question",
        "checker answers otherwise",
        "ambiguous",
    }
    assert reasons.keys() >= expected


@pytest.mark.slow
def test_a_notebook_that_gives_orders_is_treated_as_any_other(tmp_path: Path) -> None:
    made = corpus()
    kinds = {line["id"]: line["kind"] for line in map(json.loads, (made / "truth.jsonl").read_text().splitlines())}
    with StandIn(teacher) as there:
        path = configured(tmp_path, made, there.base_url)
        only = [part for stage in ("load", "sign", "dedup", "render", "edu_score") for part in ("--stage", stage)]
        assert CliRunner().invoke(app, ["pipeline", "run", str(path), *only]).exit_code == 0
    scored = {kinds[row.id]: row.edu_score for row in rows_of(tmp_path / "run", "edu_score")}
    hostile, model = scored["injecting"], scored["chains"]
    assert hostile is not None
    assert model is not None
    assert hostile.total == model.total == 4
    assert scored["overlong"] is not None
    assert scored["overlong"].characters_cut > 10_000


def test_the_readmes_configuration_is_one() -> None:
    section = (
        (ROOT / "docs/pipeline.md").read_text(encoding="utf-8").split("## Run the pipeline\n")[1].split("\n## ")[0]
    )
    (text,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.S)
    config = make_config(yaml.safe_load(text), load_stages())
    assert config.stages["verify"].solvers[1].model == "vllm/Qwen/Qwen3-32B"
