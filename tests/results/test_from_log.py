"""From a real Inspect log to a ledger row: every sample counts, and what cannot be trusted is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalRevision, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.scoring import ANSWER_KNOWN, grade, unscored
from harness.tools import NotebookState
from results.intervals import interval
from results.ledger import LogError, append, read, result_from_log
from results.outcomes import outcomes_from_log
from results.provenance import ROOT, git

METADATA = {"data_hash": "sha256:" + "a" * 64, "split": "held-out", "scaffold": "notebook", "exposure": "in-domain"}
RunTask = Callable[..., Path]


def answer(
    messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> ModelOutput:
    """A model that says the question back, at five tokens a call."""
    output = ModelOutput.from_content("mockllm/model", messages[-1].text)
    output.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
    return output


@solver
def say_it_back() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.input_text == "crash":
            raise RuntimeError("the sandbox is gone")
        state = await generate(state)
        state.store_as(NotebookState).answer = state.output.completion
        return state

    return solve


@scorer(metrics=[accuracy()])
def sometimes_nan() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=float("nan") if state.input_text == "nan" else float(state.input_text == target.text))

    return score


@pytest.fixture
def run_task(tmp_path: Path) -> RunTask:
    """Runs questions (text, target) with a mock model and gives the log's path."""

    def run(
        questions: list[tuple[str, str]], scorer: Any = None, metadata: dict[str, Any] = METADATA, **options: Any
    ) -> Path:
        known = options.pop("answer_known", True)
        samples = [
            Sample(id=f"q{number}", input=text, target=target, metadata={ANSWER_KNOWN: known})
            for number, (text, target) in enumerate(questions)
        ]
        task = Task(
            dataset=samples, solver=say_it_back(), scorer=scorer or grade(), metadata=metadata, name="parcels/held_out"
        )
        model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
        (log,) = eval(task, model=model, log_dir=str(tmp_path), display="none", fail_on_error=False, **options)
        return Path(log.location)

    return run


def test_a_row_holds_what_the_log_says(run_task: RunTask, tmp_path: Path) -> None:
    log = run_task([("7", "7"), ("8", "9"), ("10", "10")])
    row = result_from_log(log, checkpoint="epoch 3", seeds=[5], note="second try")
    assert (row.k, row.n, row.errors) == (2, 3, 0)
    assert row.interval == interval(2, 3)
    assert (row.task, row.split, row.scaffold, row.exposure) == ("held_out", "held-out", "notebook", "in-domain")
    assert (row.model, row.checkpoint, row.seeds, row.note) == ("mockllm/model", "epoch 3", (5,), "second try")
    assert row.tokens == 15
    assert row.wall_s is not None
    assert 0 <= row.wall_s < 60, "Inspect's times are whole seconds"
    assert row.model_hash == f"mockllm/model@{read_eval_log(log, header_only=True).eval.created[:10]}"
    assert row.log == str(log)
    append([row], tmp_path / "ledger.jsonl")
    assert read(tmp_path / "ledger.jsonl") == [row]


def test_failed_samples_count_against_n_though_inspect_leaves_them_out(run_task: RunTask) -> None:
    log = run_task([("7", "7"), ("8", "9"), ("crash", "1")])
    results = read_eval_log(log).results
    assert results is not None
    assert results.scores[0].metrics["accuracy"].value == pytest.approx(1 / 2), "Inspect's own denominator"
    row = result_from_log(log)
    assert (row.k, row.n, row.errors) == (1, 3, 1)


def test_samples_scored_nan_count_against_n_too(run_task: RunTask) -> None:
    log = run_task([("7", "7"), ("nan", "1"), ("crash", "1")], scorer=sometimes_nan())
    row = result_from_log(log)
    assert (row.k, row.n, row.errors) == (1, 3, 2)


def test_a_run_in_which_every_sample_failed_is_0_of_n(run_task: RunTask) -> None:
    row = result_from_log(run_task([("crash", "1"), ("crash", "2")]))
    assert (row.k, row.n, row.errors) == (0, 2, 2)


def test_repeats_count_as_attempts_and_never_as_questions(run_task: RunTask, tmp_path: Path) -> None:
    row = result_from_log(run_task([("7", "7"), ("8", "9"), ("10", "10")], epochs=3))
    assert (row.k, row.n, row.epochs, row.questions) == (6, 9, 3, 3)
    assert row.interval == interval(2, 3).model_copy(update={"method": "wilson over questions"})
    assert [(told.k, told.value) for told in row.pass_at] == [(2, pytest.approx(2 / 3)), (3, pytest.approx(2 / 3))]
    append([row], tmp_path / "ledger.jsonl")
    assert read(tmp_path / "ledger.jsonl") == [row]
    assert outcomes_from_log(row.log or "").interval == row.interval, "a comparison says the same"


def test_settings_are_in_the_row(run_task: RunTask) -> None:
    row = result_from_log(run_task([("7", "7")], temperature=0.7, top_p=0.9, seed=11, token_limit=500))
    assert row.settings == {"temperature": 0.7, "top_p": 0.9, "seed": 11, "token_limit": 500}
    assert row.seeds == (11,)


def test_a_model_of_ones_own_has_no_price_and_the_row_says_so(run_task: RunTask) -> None:
    row = result_from_log(run_task([("7", "7")]))
    assert (row.cost_usd, row.cost_basis) == (None, "local")


def test_incomplete_data_goes_into_the_row(run_task: RunTask) -> None:
    log = run_task([("7", "7")], metadata=METADATA | {"incomplete_data": ["payments.csv"]})
    assert result_from_log(log).incomplete_data == ("payments.csv",)


def test_a_log_in_json_gives_the_same_row(run_task: RunTask) -> None:
    questions = [("7", "7"), ("8", "9"), ("crash", "1")]
    rows = [result_from_log(run_task(questions, log_format=kind)) for kind in ("eval", "json")]
    assert [(row.k, row.n, row.errors, row.tokens) for row in rows] == [(1, 3, 1, 10)] * 2


@pytest.mark.parametrize("scoring", [{"score": False}, {"scorer": unscored()}, {"answer_known": False}])
def test_an_unscored_log_is_refused_and_not_taken_for_0(scoring: dict[str, Any], run_task: RunTask) -> None:
    log = run_task([("7", ""), ("8", "")], **scoring)
    with pytest.raises(LogError, match=r"unscored, since 2 of 2 .*not a score of 0"):
        result_from_log(log)


def test_a_log_that_lacks_samples_is_refused(run_task: RunTask) -> None:
    log = run_task([("7", "7"), ("8", "9")])
    broken = read_eval_log(log)
    broken.samples = (broken.samples or [])[:1]
    write_eval_log(broken, log)
    with pytest.raises(LogError, match=r"holds 1 of 2 samples .*inspect eval-retry"):
        result_from_log(log)


def test_a_task_that_does_not_say_what_it_is_gets_no_row(run_task: RunTask) -> None:
    with pytest.raises(LogError, match="lacks data_hash, exposure"):
        result_from_log(run_task([("7", "7")], metadata={"split": "held-out", "scaffold": "notebook"}))
    with pytest.raises(LogError, match=r"exposure: .*general"):
        result_from_log(run_task([("7", "7")], metadata=METADATA | {"exposure": "none at all"}))


def test_with_several_scores_one_must_be_named(run_task: RunTask) -> None:
    log = run_task([("7", "7"), ("nan", "nan")], scorer=[grade(), sometimes_nan()])
    with pytest.raises(LogError, match=r"several scores \(grade, sometimes_nan\)"):
        result_from_log(log)
    with pytest.raises(LogError, match="no score named 'other'"):
        result_from_log(log, scorer="other")
    assert result_from_log(log, scorer="grade").k == 2
    assert result_from_log(log, scorer="sometimes_nan").errors == 1


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such log"):
        result_from_log(tmp_path / "gone.eval")
    (tmp_path / "spoiled.eval").write_text("not a zip")
    with pytest.raises(LogError, match="cannot be read as an Inspect log"):
        result_from_log(tmp_path / "spoiled.eval")


def test_the_commit_is_that_of_the_evaluation_where_the_log_names_it(run_task: RunTask) -> None:
    log = run_task([("7", "7")])
    try:
        commit = git(ROOT, "rev-parse", "HEAD").strip()
    except Exception:
        pytest.skip("this checkout has no commit to name")
    written = read_eval_log(log)
    written.eval.revision = EvalRevision(type="git", origin="", commit=commit[:9], dirty=True)
    write_eval_log(written, log)
    assert result_from_log(log).commit == f"{commit}-dirty"
