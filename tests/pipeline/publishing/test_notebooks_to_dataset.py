"""From questions to a data set: the teacher answers, the best is kept, gates block, load_dataset and TRL read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.trace import chat_row, read_traces
from pipeline.publishing.columns import traces_schema
from pipeline.quarantine import read_quarantine
from pipeline.row import NotebookRow
from pipeline.runs.funnel import Funnel
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows
from recipes.rows import read_rows as training_rows
from recipes.tiny import make_tiny_model
from tests.pipeline.publishing.school import PUPILS, SALES, config_of, run_school, teach, write_school
from tests.stand_ins.e2b import E2B
from tests.stand_ins.endpoint import StandIn
from tests.stand_ins.kaggle import Kaggle

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class School:
    """A finished run."""

    folder: Path
    funnel: Funnel
    said: str
    there: StandIn

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def dataset(self) -> Path:
        return self.run / "dataset"

    def dropped(self, stage: str) -> dict[str, str]:
        """The reason by the notebook's name."""
        return {Path(row.id.partition("#")[0]).stem: row.reason for row in read_quarantine(self.run, stage)}

    def rows(self, number: str) -> dict[str, NotebookRow]:
        folder = next((self.run / "stages").glob(f"*-{number}"))
        rows = [row for shard in shards(folder) for row in read_rows(shard)]
        return {Path(row.id.partition("#")[0]).stem: row for row in rows}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("school")
    write_school(folder)
    with pytest.MonkeyPatch.context() as patch, StandIn(rule=teach) as there:
        patch.setenv("SCHOOL_BASE_URL", there.base_url)
        patch.setenv("SCHOOL_API_KEY", "none")
        funnel, said = run_school(config_of(folder, there.base_url), there.base_url)
        yield School(folder, funnel, said, there)


def load(school: School, config: str, split: str, cache: Path) -> Any:
    from datasets import load_dataset

    return load_dataset(str(school.dataset), config, split=split, cache_dir=str(cache))


def test_every_question_is_published_or_dropped_with_its_reason(school: School) -> None:
    assert school.funnel.complete, school.said
    assert school.dropped("curate") == {
        "wrong": "graded wrong",
        "trivial": "trivial: no cell computes",
        "barred": "a name of the benchmark",
        "unchecked": "not verified",
        "twice": "repeats a question of another notebook",
        "absent": "simulated executor",
    }
    assert set(school.rows("publish")) == {"sum", "mean"}
    [repeat] = [row for row in read_quarantine(school.run, "curate") if row.reason.startswith("repeats")]
    assert repeat.sample.startswith("sum.ipynb#1: ")


def test_each_question_was_tried_as_often_as_asked_and_the_row_says_where(school: School) -> None:
    rows = school.rows("trace")
    assert set(rows) == set(PUPILS)
    for name, row in rows.items():
        assert row.traced is not None
        assert (row.traced.tries, row.traced.right) == (2, 0 if name == "wrong" else 2)
        assert row.traced.executor == ("simulated" if name == "absent" else "dabstep-bwrap")
        assert (school.run / row.traced.log).is_file()


def test_load_dataset_reads_both_variants_with_the_published_columns(school: School, tmp_path: Path) -> None:
    thinking = load(school, "default", "thinking", tmp_path)
    plain = load(school, "default", "non_thinking", tmp_path)
    assert thinking.column_names == plain.column_names == traces_schema().names
    [row] = [row for row in plain if "Ulm" in row["question"]]
    assert (row["answer"], row["generated_answer"]) == ("55.00", "55"), "both the notebook's and the trace's own"
    assert (row["edu_score"], row["files_used"], row["packages_used"]) == (4, ["../input/shop/sales.csv"], ["pandas"])
    assert (row["kaggle_dataset_name"], row["executor_type"]) == ("ann/sum/versions/3", "dabstep-bwrap")
    assert {tool["function"]["name"] for tool in json.loads(row["tools"])} == {"python", "final_answer"}
    thoughts = [message["reasoning_content"] for row in thinking for message in row["messages"]]
    assert any(thought and thought.startswith("I think of") for thought in thoughts)
    assert not any(message["reasoning_content"] for row in plain for message in row["messages"])


def test_arguments_are_json_text_and_hold_no_nulls(school: School, tmp_path: Path) -> None:
    rows = load(school, "default", "thinking", tmp_path)
    calls = [call["function"] for row in rows for message in row["messages"] for call in message["tool_calls"]]
    assert {call["name"]: set(json.loads(call["arguments"])) for call in calls} == {
        "python": {"code"},
        "final_answer": {"answer"},
    }


def test_a_published_row_trains_as_the_log_has_it(school: School) -> None:
    """What sft.py reads out of Parquet is the chat row of the log, key for key."""
    published = training_rows(school.dataset, "thinking")
    rows = school.rows("publish").values()
    chosen = {(row.id, row.curated.epoch) for row in rows if row.curated}
    logs = {row.traced.log for row in rows if row.traced}
    traces = [trace for log in logs for trace in read_traces(school.run / log)]
    logged = [chat_row(trace) for trace in traces if (trace.question_id, trace.epoch) in chosen]
    assert sorted(json.dumps(row, sort_keys=True) for row in published) == sorted(
        json.dumps(row, sort_keys=True) for row in logged
    )


def test_a_template_renders_what_load_dataset_gives_as_it_renders_the_log(school: School, tmp_path: Path) -> None:
    """Nulls and empty lists of the columns are to a template what is not there."""
    from transformers import AutoTokenizer

    rows = training_rows(school.dataset, "thinking")
    make_tiny_model(rows * 20, tmp_path / "model", vocab_size=400, seed=0)
    render = AutoTokenizer.from_pretrained(tmp_path / "model").apply_chat_template
    for own, loaded in zip(rows, load(school, "default", "thinking", tmp_path / "cache"), strict=True):
        assert render(loaded["messages"], tokenize=False) == render(own["messages"], tokenize=False)


def test_the_notebooks_lie_in_a_configuration_of_their_own(school: School, tmp_path: Path) -> None:
    notebooks = load(school, "notebooks", "notebooks", tmp_path)
    rows = load(school, "default", "non_thinking", tmp_path)
    assert {row["notebook_id"] for row in notebooks} == {row["notebook_id"] for row in rows}
    for row in notebooks:
        assert json.loads(row["original_notebook"])["nbformat"] == 4


def test_the_card_tells_this_runs_figures_and_the_hubs_checks_take_it(school: School) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(school.dataset / "README.md")
    assert card.data.license == "cc0-1.0"
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["default", "notebooks"]
    assert "| default | non_thinking | 2 |" in card.text
    assert "2 questions from 2 notebooks" in card.text
    assert "| curate | 8 | 2 |" in card.text
    assert "1 trivial: no cell computes" in card.text
    assert "contamination: 2 questions of the benchmark" in card.text


def test_a_row_runs_as_its_card_says_by_the_clients_that_the_card_names(school: School, tmp_path: Path) -> None:
    """kagglehub, datasets and e2b_code_interpreter are the real ones; Kaggle and E2B are played over HTTP."""
    *_, snippet = re.findall(r"```python\n(.*?)```", (school.dataset / "README.md").read_text(), flags=re.S)
    (tmp_path / "snippet.py").write_text(snippet.replace("PATH_OR_NAME", str(school.dataset)))
    with Kaggle() as kaggle, E2B() as e2b:
        for name in PUPILS:
            kaggle.add(f"ann/{name}/versions/3", {"tables/sales.csv": SALES.encode(), "notes.txt": b"none"})
        environment = {
            **os.environ,
            **e2b.environment,
            **kaggle.environment,
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }
        environment |= {"KAGGLEHUB_CACHE": str(tmp_path / "kaggle"), "HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run(
            [sys.executable, "snippet.py"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert kaggle.asked.total() == 1
        assert (len(e2b.made), e2b.alive) == (1, []), "made, and ended by the snippet itself"
        assert e2b.made[0].asked["timeout"] == 240
    shown, answer = done.stdout.strip().splitlines()[-2:]
    assert (shown, answer) in {("np.int64(55)", "answer: 55.00"), ("np.float64(5.5)", "answer: 5.5")}


@pytest.mark.slow
def test_the_recipe_trains_two_steps_on_it(school: School, tmp_path: Path) -> None:
    rows = training_rows(school.dataset)
    make_tiny_model(rows * 20, tmp_path / "model", vocab_size=400, seed=0)
    command = [sys.executable, "recipes/sft.py", "--config", "recipes/configs/tiny.yaml", "--max_steps", "2"]
    command += ["--training_set", str(school.dataset), "--model_name_or_path", str(tmp_path / "model")]
    command += ["--output_dir", str(tmp_path / "out"), "--max_length", "4096", "--per_device_train_batch_size", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rows: 2 used, 0 dropped" in done.stdout
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_trl_trains_two_steps_on_what_load_dataset_gives(school: School, tmp_path: Path) -> None:
    """Without a line of ours between: a user's own script."""
    from trl import SFTConfig, SFTTrainer

    make_tiny_model(training_rows(school.dataset) * 20, tmp_path / "model", vocab_size=400, seed=0)
    rows = load(school, "default", "non_thinking", tmp_path).select_columns(["messages", "tools"])
    settings = SFTConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=1, max_length=4096, bf16=False,
        gradient_checkpointing=False, report_to="none", use_cpu=True, assistant_only_loss=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = SFTTrainer(model=str(tmp_path / "model"), args=settings, train_dataset=rows)
    assert trainer.train().global_step == 2


def test_a_variant_that_is_not_there_is_named_with_those_that_are(
    school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        training_rows(school.dataset, "thinkin")
    assert "variant 'thinkin': there are thinking and non_thinking." in capsys.readouterr().err


def test_a_rank_that_died_at_its_end_asks_nothing_again(school: School) -> None:
    """Its log is whole, its rows are not: they are made again out of the log, and the same data set follows."""
    trace = next((school.run / "stages").glob("*-trace"))
    rows, asked = school.rows("trace"), school.there.counts.requests
    (trace / "00000.json").unlink()
    (trace / "00000.jsonl.zst").unlink()
    funnel, said = run_school(config_of(school.folder, school.there.base_url), school.there.base_url)
    assert funnel.complete, said
    assert school.rows("trace") == rows
    assert school.there.counts.requests == asked > 0


def test_what_gets_past_curation_is_not_published(school: School, tmp_path: Path) -> None:
    """The gate looks at every row once more: here its folder has come to hold a question that was let through."""
    shutil.copytree(school.run, tmp_path / "run")
    publish = next((tmp_path / "run" / "stages").glob("*-publish"))
    shutil.rmtree(publish)
    shutil.rmtree(tmp_path / "run" / "dataset")
    tasks = school.folder / "benchmark" / "tasks" / "dev.jsonl"
    before, state = tasks.read_text(), tasks.stat()
    tasks.write_text(json.dumps({"task_id": "9", "question": PUPILS["sum"].question}).ljust(len(before))[: len(before)])
    try:
        os.utime(tasks, ns=(state.st_atime_ns, state.st_mtime_ns))
        config = config_of(school.folder, school.there.base_url) | {"run": str(tmp_path / "run")}
        funnel, said = run_school(config, school.there.base_url)
    finally:
        tasks.write_text(before)
        os.utime(tasks, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not funnel.complete
    assert "a question of the benchmark" in said
    assert not (tmp_path / "run" / "dataset").exists()
