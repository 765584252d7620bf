"""`dabstep replay` and `dabstep failures`, as a user types them, over the committed cassette and logs made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate
from typer.testing import CliRunner, Result

from dabstep._registry import generated_qa
from dabstep.cli import app
from harness.agent import play_solution
from harness.trace import read_traces
from pipeline.worlds.build import draw_questions, write_question_set
from results.failures import Failure, failure_of

ROOT = Path(__file__).parents[2]
CASSETTE = ROOT / "tests" / "cassettes" / "parcels.eval"
QUESTIONS = ROOT / "tests" / "cassettes" / "parcels"


def run(*arguments: str | Path) -> Result:
    # Wide, so that no sentence is wrapped.
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """Replays a log into the test's own folder; what was printed, and the JSON file (empty where there is none)."""

    def play(log: str | Path, *options: str | Path) -> tuple[Result, dict[str, Any]]:
        file = tmp_path / "replay.json"
        done = run("replay", log, "--log-dir", tmp_path / "replays", "--json", file, *options)
        return done, json.loads(file.read_text()) if file.exists() else {}

    return play


def altered(tmp_path: Path, change: Callable[[EvalLog], None], log: Path = CASSETTE) -> Path:
    """A copy of a log with something changed."""
    changed = read_eval_log(str(log), resolve_attachments="full")
    change(changed)
    write_eval_log(changed, str(tmp_path / "altered.eval"))
    return tmp_path / "altered.eval"


def test_the_cassette_comes_out_as_it_was_recorded(replay: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    done, told = replay(CASSETTE, "-T", f"questions={QUESTIONS}")
    assert done.exit_code == 0, done.output
    assert (told["samples"], told["differences"], told["ends"], told["not_played"]) == (12, [], [], {})
    assert told["cells"] == told["same"] + sum(told["set_aside"].values())
    assert set(told["set_aside"]) == {"memory addresses, measured durations"}
    assert "0  verdicts changed" in done.output
    then, now = ([(t.question_id, t.verdict) for t in read_traces(log)] for log in (CASSETTE, told["replay"]))
    assert now == then
    assert read_eval_log(told["replay"], header_only=True).eval.model == f"replay/{CASSETTE}"


def test_what_differs_is_shown_and_the_exit_status_says_so(
    replay: Callable[..., tuple[Result, dict[str, Any]]], tmp_path: Path
) -> None:
    def change(log: EvalLog) -> None:
        [sample, *_] = log.samples or []
        sample.store["NotebookState:cells"][-1]["stdout"] = "12345\n"

    log = altered(tmp_path, change)
    done, told = replay(log, "-T", f"questions={QUESTIONS}", "--limit", "2")
    assert (done.exit_code, told["samples"], len(told["differences"])) == (1, 2, 1), done.output
    assert told["differences"][0]["recorded"]["text"] == "12345"
    assert "-12345" in done.output


def test_chosen_samples_alone_are_played(replay: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    ids = [trace.question_id for trace in read_traces(CASSETTE)]
    done, told = replay(CASSETTE, "-T", f"questions={QUESTIONS}", "--samples", f"{ids[4]},{ids[2]}")
    assert done.exit_code == 0, done.output
    assert {trace.question_id for trace in read_traces(told["replay"])} == {ids[2], ids[4]}


def test_a_baselines_log_is_played_through_the_baselines_own_loop(
    replay: Callable[..., tuple[Result, dict[str, Any]]], tmp_path: Path
) -> None:
    pytest.importorskip("smolagents", reason="the extra `baseline` is not installed")
    world = write_question_set(tmp_path / "world", draw_questions("development", 4, 1, 3, False))
    task = generated_qa(questions=str(world), scaffold="baseline")
    [log] = eval(task, solver=play_solution(), model="none/none", log_dir=str(tmp_path), display="none")
    done, told = replay(log.location)
    assert done.exit_code == 0, done.output
    assert (told["samples"], told["same"]) == (4, told["cells"])
    traces = list(read_traces(told["replay"]))
    assert {(trace.scaffold, trace.verdict.correct) for trace in traces} == {("baseline", True)}


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"task": "theirs/arithmetic"}, (), "is a log of theirs/arithmetic, which is no task of this project"),
        ({"solver": "their_solver"}, (), "was made by the solver their_solver"),
        ({"metadata": {"data_hash": "sha256:other"}}, (), "was made on other data than are there now"),
        ({}, ("--samples", "none-such"), "has no sample none-such"),
        ({}, ("-T", "levels"), "-T levels: is no NAME=VALUE"),
        ({}, ("-T", "levels=none"), "no such questions here"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(
    replay: Callable[..., tuple[Result, dict[str, Any]]],
    tmp_path: Path,
    change: dict[str, Any],
    options: tuple[str, ...],
    said: str,
) -> None:
    def apply(log: EvalLog) -> None:
        for name, value in change.items():
            setattr(log.eval, name, value)

    done, told = replay(altered(tmp_path, apply), "-T", f"questions={QUESTIONS}", *options)
    assert (done.exit_code, told) == (2, {}), done.output
    assert said in done.output


def test_a_missing_log_and_one_of_another_task_are_named(tmp_path: Path) -> None:
    assert "none.eval: no such log" in run("replay", tmp_path / "none.eval").output
    task = Task(dataset=[Sample(input="Hello", id="hello")], solver=generate(), name="hello")
    output = ModelOutput.from_content("mockllm", "Hello.")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=[output], memoize=False)
    [log] = eval(task, model=model, log_dir=str(tmp_path), display="none")
    assert "is a log of hello, which is no task of this project" in run("replay", log.location).output
    assert "no log of a notebook task" in run("failures", log.location).output


def test_failures_are_counted_by_reason_and_family() -> None:
    done = run("failures", CASSETTE, "--markdown")
    assert done.exit_code == 0, done.output
    reasons = [failure_of(trace) for trace in read_traces(CASSETTE)]
    failed = [reason for reason in reasons if reason is not None]
    assert f"{len(failed)} of 12 attempts failed" in done.output
    assert len(set(failed)) >= 5, "the cassette shows many of them"
    for reason in set(failed):
        assert f"| {reason} | {failed.count(reason)}/12 |" in done.output
    assert run("failures", CASSETTE).exit_code == 0


def test_the_questions_that_failed_for_a_reason_are_listed_with_their_answers() -> None:
    [shown] = [trace for trace in read_traces(CASSETTE) if failure_of(trace) is Failure.GAVE_UP]
    done = run("failures", CASSETTE, "--reason", "gave up")
    assert done.exit_code == 0, done.output
    assert shown.question_id in done.output
    assert "cannot be determined" in done.output
    unknown = run("failures", CASSETTE, "--reason", "bad luck")
    assert (unknown.exit_code, "there is no such reason" in unknown.output) == (2, True)


def test_the_cassette_tells_nothing_of_the_machine_that_recorded_it() -> None:
    content = read_eval_log(str(CASSETTE), resolve_attachments="full").model_dump_json().replace("/home/user", "")
    told = ('"/home/', '"/root', '"/work', '"/tmp', "https://", "git@")
    assert not [word for word in told if word in content]
    size = CASSETTE.stat().st_size + sum(file.stat().st_size for file in QUESTIONS.rglob("*") if file.is_file())
    assert size < 400_000
