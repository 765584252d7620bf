"""A log played as a model: every call gets what was said there and then, or an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatMessage,
    ChatMessageTool,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolChoice, ToolInfo

import dabstep._registry  # noqa: F401  (the sandbox and the provider, by their names)
from harness.records import Question, Trace
from harness.trace import read_traces
from tasks.notebook_task import NotebookSettings, notebook_task

CHARACTERS = ("right", "wrong", "silent", "endless", "broken", "malformed")


def question(id: str, text: str = "how many rows?") -> Question:
    return Question(
        id=id,
        question=f"{id}: {text}",
        level="primer",
        answer="3",
        source="numbers",
        source_id=id,
        licence="CC0-1.0",
        checked="by hand",
    )


def reply(
    messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> ModelOutput:
    """A model of many characters, told apart by the question."""
    character = messages[1].text.partition(":")[0]
    shown = [message for message in messages if isinstance(message, ChatMessageTool)]
    if character == "broken" and shown:
        raise RuntimeError("the model fell over")
    if character == "silent":
        output = ModelOutput.from_content("mockllm", "I would rather not say.")
    elif character == "malformed" and not shown:
        output = ModelOutput.for_tool_call("mockllm", "python", {}, content="")
        (output.message.tool_calls or [])[0].parse_error = "no JSON"
    elif character == "endless" or not shown:
        output = ModelOutput.for_tool_call("mockllm", "python", {"code": f"print({len(shown)})"}, content="I look.")
    else:
        said = "4" if character == "wrong" else "3"
        output = ModelOutput.for_tool_call("mockllm", "final_answer", {"answer": said}, content="")
    output.message.metadata = {"raw": "as sampled", "environment_ids": [2]}
    output.usage = ModelUsage(input_tokens=10, output_tokens=2, total_tokens=12)
    return output


def task(*questions: Question, **options: Any) -> Task:
    return notebook_task(
        questions, {question.id: {} for question in questions}, {}, NotebookSettings("test", "test", **options)
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    """Every character twice; `endless` runs into a limit, `broken` into an error."""
    model = get_model("mockllm/model", custom_outputs=reply, memoize=False)
    folder = str(tmp_path_factory.mktemp("recorded"))
    questions = [question(character) for character in CHARACTERS]
    [log] = eval(task(*questions), model=model, turn_limit=8, epochs=2, log_dir=folder, display="none")
    return log


@pytest.fixture
def play(recorded: EvalLog, tmp_path: Path) -> Callable[..., EvalLog]:
    """Plays the recording over a task; its questions, unless others are given."""

    def run(*questions: Question, log: str = "", options: dict[str, Any] | None = None, **changes: Any) -> EvalLog:
        made = task(*(questions or [question(character) for character in CHARACTERS]), **(options or {}))
        model = f"replay/{log or recorded.location}"
        [done] = eval(made, model=model, log_dir=str(tmp_path / "played"), display="none", **changes)
        return done

    return run


def by_sample(log: EvalLog) -> dict[tuple[str, int], Trace]:
    return {(trace.question_id, trace.epoch): trace for trace in read_traces(log.location)}


def error_of(log: EvalLog) -> str:
    [sample] = log.samples or []
    assert sample.error is not None
    return sample.error.message


def test_samples_at_once_say_and_come_to_what_was_recorded(recorded: EvalLog, play: Callable[..., EvalLog]) -> None:
    then, now = by_sample(recorded), by_sample(play(epochs=2, max_samples=8))
    assert now.keys() == then.keys()
    assert len(now) == 12
    for key, trace in now.items():
        assert (trace.verdict, trace.stop_reason) == (then[key].verdict, then[key].stop_reason)
        said, recalled = ([(m.role, m.content, m.tool_calls) for m in each.messages] for each in (then[key], trace))
        assert recalled == said
    stops = {id: trace.stop_reason for (id, _), trace in now.items()}
    assert (stops["endless"], stops["broken"], stops["silent"]) == ("turn", "error", "no answer")


def test_tokens_are_the_recorded_and_cost_nothing(play: Callable[..., EvalLog]) -> None:
    [usage] = play(question("right"), question("wrong")).stats.model_usage.values()
    assert (usage.input_tokens, usage.output_tokens, usage.total_cost) == (40, 8, 0.0)


def test_token_ids_of_the_recording_are_left_out(play: Callable[..., EvalLog]) -> None:
    trace = by_sample(play(question("right")))["right", 1]
    assert all((message.environment_ids, message.completion_ids) == ((), ()) for message in trace.messages)


def test_a_limit_that_is_wider_than_the_recorded_changes_nothing(play: Callable[..., EvalLog]) -> None:
    [sample] = play(question("endless"), turn_limit=20).samples or []
    assert sample.limit is not None
    assert (sample.limit.type, sample.limit.limit) == ("turn", 8)
    assert "In the recording" in (sample.limit.reason or "")


def test_a_json_log_is_a_cassette_too(recorded: EvalLog, play: Callable[..., EvalLog], tmp_path: Path) -> None:
    write_eval_log(read_eval_log(recorded.location), str(tmp_path / "one.json"), format="json")
    played = by_sample(play(question("right"), question("wrong"), log=str(tmp_path / "one.json")))
    assert [trace.verdict.correct for trace in played.values()] == [True, False]


def test_a_question_that_was_not_recorded_is_named(play: Callable[..., EvalLog]) -> None:
    assert "sample other, epoch 1 was asked for, but there is no such sample" in error_of(play(question("other")))


def test_an_epoch_that_was_not_recorded_is_named(play: Callable[..., EvalLog]) -> None:
    third = [sample for sample in play(question("right"), epochs=3).samples or [] if sample.epoch == 3]
    assert "there is only its epochs 1, 2 in this log" in (third[0].error.message if third[0].error else "")


def test_another_prompt_is_refused_by_sample_and_turn_and_played_only_on_demand(play: Callable[..., EvalLog]) -> None:
    other = question("right", "how many columns?")
    said = error_of(play(other))
    assert "sample right, epoch 1: turn 1 was asked with another prompt" in said
    assert "-M prompts=any" in said
    played = by_sample(play(other, model_args={"prompts": "any"}))
    assert played["right", 1].verdict.correct is True


def test_a_turn_beyond_the_recording_is_named(recorded: EvalLog, play: Callable[..., EvalLog], tmp_path: Path) -> None:
    """The answer is cut from the recording: the loop asks for a turn that it does not hold."""
    cut = recorded.model_copy(deep=True)
    cut.samples = [sample for sample in cut.samples or [] if sample.id == "right" and sample.epoch == 1]
    calls = [event for event in cut.samples[0].events if event.event == "model"]
    cut.samples[0].events = [event for event in cut.samples[0].events if event is not calls[-1]]
    write_eval_log(cut, str(tmp_path / "cut.eval"))
    said = error_of(play(question("right"), log=str(tmp_path / "cut.eval")))
    assert "sample right, epoch 1: turn 2 was asked for, but the recording ends after 1" in said


@pytest.mark.parametrize("arguments", [{"prompts": "mine"}, {"speed": 2}])
def test_an_unknown_option_is_named(recorded: EvalLog, arguments: dict[str, Any]) -> None:
    with pytest.raises(PrerequisiteError, match=next(iter(arguments))):
        get_model(f"replay/{recorded.location}", **arguments)


def test_a_missing_and_a_damaged_log_are_named(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="there is no such log"):
        get_model(f"replay/{tmp_path}/none.eval")
    (tmp_path / "torn.eval").write_bytes(b"PK no zip")
    with pytest.raises(PrerequisiteError, match="cannot be read as an Inspect log"):
        get_model(f"replay/{tmp_path}/torn.eval")


BASELINE_TURNS = ("No code here.", "", "<code>\nkept = 3\n1 / 0\n</code>", "<code>\nfinal_answer(kept)\n</code>")


def test_a_baselines_turns_are_told_apart_also_where_one_was_empty_or_no_code(tmp_path: Path) -> None:
    pytest.importorskip("smolagents", reason="the extra `baseline` is not installed")
    turns = iter(BASELINE_TURNS)

    def next_turn(*_: object) -> ModelOutput:
        output = ModelOutput.from_content("mockllm", next(turns))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    model = get_model("mockllm/model", custom_outputs=next_turn, memoize=False)
    logs = [str(tmp_path / name) for name in ("then", "now")]
    [then] = eval(task(question("q"), scaffold="baseline"), model=model, log_dir=logs[0], display="none")
    replayed = f"replay/{then.location}"
    [now] = eval(task(question("q"), scaffold="baseline"), model=replayed, log_dir=logs[1], display="none")
    [one], [other] = read_traces(then.location), read_traces(now.location)
    assert (other.verdict.correct, other.stop_reason) == (True, "answered")
    assert [cell.status for cell in other.cells] == [cell.status for cell in one.cells] == ["ok", "error", "ok"]
    assert [message.content for message in other.messages] == [message.content for message in one.messages]
