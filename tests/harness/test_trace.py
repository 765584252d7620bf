"""A log's samples become traces, whatever became of them, and traces become rows that lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatMessage,
    ChatMessageTool,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.solver import generate
from inspect_ai.tool import ToolChoice, ToolInfo

import harness.kernel.bwrap_sandbox  # noqa: F401  (registers the sandbox)
from harness.records import Message, Question, Trace, Verdict
from harness.trace import TraceError, chat_row, read_traces, token_row
from tasks.notebook_task import SANDBOX, NotebookSettings, notebook_task

ANSWERS = {"right": "3", "wrong": "3", "silent": "3", "endless": "3", "broken": "3", "unknown": None}


def question(id: str, answer: str | None) -> Question:
    return Question(
        id=id,
        question=f"{id}: how many rows?",
        guidelines="A whole number.",
        level="primer",
        answer=answer,
        family="rows",
        source="parcels",
        source_id=f"parcels-{id}",
        licence="CC0-1.0",
        checked="by hand",
    )


def reply(
    messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> ModelOutput:
    """A model of many characters, told apart by the question's id."""
    character = messages[1].text.partition(":")[0]
    shown = [message for message in messages if isinstance(message, ChatMessageTool)]
    if character == "broken":
        raise RuntimeError("the model fell over")
    if character == "silent":
        output = ModelOutput.from_content("mockllm", "I would rather not say.")
    elif character == "endless" or not shown:
        code = "import pandas as pd\nlen(pd.read_csv('/home/user/input/a.csv'))"
        output = ModelOutput.for_tool_call("mockllm", "python", {"code": code, "comment": "Zählen."}, content="")
    elif len(shown) == 1 and character == "right":
        output = ModelOutput.for_tool_call("mockllm", "python", {}, content="")
        (output.message.tool_calls or [])[0].parse_error = "no JSON"
    else:
        answer = "4" if character == "wrong" else "3"
        output = ModelOutput.for_tool_call("mockllm", "final_answer", {"answer": answer}, content="Done.")
    output.usage = ModelUsage(input_tokens=10, output_tokens=2, total_tokens=12)
    return output


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real evaluation in real kernels; `ANSWERS` says what each sample is about."""
    folder = tmp_path_factory.mktemp("trace")
    (folder / "a.csv").write_text("x\n1\n2\n3\n", encoding="utf-8")
    task = notebook_task(
        [question(id, answer) for id, answer in ANSWERS.items()],
        {id: {"a.csv": folder / "a.csv"} for id in ANSWERS},
        {},
        NotebookSettings(split="test", data_hash="test"),
    )
    model: Model = get_model("mockllm/model", custom_outputs=reply, memoize=False)
    [done] = eval(task, model=model, turn_limit=10, log_dir=str(folder / "logs"), display="none")
    return Path(done.location)


@pytest.fixture(scope="module")
def traces(log: Path) -> dict[str, Trace]:
    return {trace.question_id: trace for trace in read_traces(log)}


def test_every_sample_is_there_once_in_the_order_of_the_data_set(traces: dict[str, Trace]) -> None:
    assert list(traces) == list(ANSWERS)


@pytest.mark.parametrize(
    ("id", "verdict", "stop_reason"),
    [
        ("right", Verdict(correct=True, answer="3", target="3"), "answered"),
        ("wrong", Verdict(correct=False, answer="4", target="3"), "answered"),
        ("unknown", Verdict(correct=None, answer="3", target=None), "answered"),
        ("silent", Verdict(correct=False, answer=None, target="3"), "no answer"),
        ("endless", Verdict(correct=False, answer=None, target="3"), "turn"),
        ("broken", Verdict(correct=None, answer=None, target="3"), "error"),
    ],
)
def test_the_verdict_and_why_it_stopped(traces: dict[str, Trace], id: str, verdict: Verdict, stop_reason: str) -> None:
    assert (traces[id].verdict, traces[id].stop_reason) == (verdict, stop_reason)


def test_a_trace_says_what_was_asked_of_whom_and_where_it_ran(traces: dict[str, Trace], log: Path) -> None:
    trace = traces["right"]
    assert (trace.question, trace.guidelines, trace.level, trace.family) == (
        "right: how many rows?",
        "A whole number.",
        "primer",
        "rows",
    )
    assert (trace.source, trace.source_id, trace.licence) == ("parcels", "parcels-right", "CC0-1.0")
    assert (trace.model, trace.scaffold, trace.executor, trace.log) == (
        "mockllm/model",
        "notebook",
        "dabstep-bwrap",
        str(log),
    )
    assert (trace.input_tokens, trace.output_tokens) == (30, 6)
    assert [(cell.result, cell.status) for cell in trace.cells] == [("3", "ok")]


def test_a_sample_that_inspect_recovered_after_a_kill_is_the_same_trace(
    traces: dict[str, Trace], log: Path, tmp_path: Path
) -> None:
    """Inspect makes it of the events, and leaves out the store (cells, answer) and the sandbox."""
    whole = read_eval_log(str(log))
    whole.eval.task_args = {"sandbox": SANDBOX}  # as the tasks of tasks/ have it
    lost = [sample.model_copy(update={"store": {}, "sandbox": None}) for sample in whole.samples or []]
    write_eval_log(whole.model_copy(update={"samples": lost}), str(tmp_path / "recovered.eval"))
    recovered = {trace.question_id: trace for trace in read_traces(tmp_path / "recovered.eval")}
    assert recovered.keys() == traces.keys()
    assert any(trace.cells for trace in traces.values())
    for name, trace in traces.items():
        ran = trace.executor if trace.cells else recovered[name].executor
        assert recovered[name] == trace.model_copy(update={"log": recovered[name].log, "executor": ran})


def test_the_tools_are_the_schemas_that_were_sent(traces: dict[str, Trace]) -> None:
    python, final_answer = (json.loads(schema)["function"] for schema in traces["right"].tools)
    assert list(python["parameters"]["properties"]) == ["code", "comment"]
    assert final_answer["name"] == "final_answer"


def test_a_chat_row_holds_what_the_model_saw_and_wrote_up_to_its_last_turn(traces: dict[str, Trace]) -> None:
    row = chat_row(traces["right"])
    assert [message["role"] for message in row["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    [call] = row["messages"][2]["tool_calls"]
    arguments = {"code": "import pandas as pd\nlen(pd.read_csv('/home/user/input/a.csv'))", "comment": "Zählen."}
    assert call["function"] == {"name": "python", "arguments": json.dumps(arguments, ensure_ascii=False)}
    assert row["messages"][3] == {"role": "tool", "content": "3"}
    assert row["messages"][5] == {"role": "tool", "content": "Error: no JSON"}
    assert json.loads(row["tools"]) == [json.loads(schema) for schema in traces["right"].tools]


def test_a_chat_row_survives_arrow_and_json(traces: dict[str, Trace], tmp_path: Path) -> None:
    from datasets import Dataset

    from harness.models.tokens import ChatTemplate
    from recipes.tiny import train_tokenizer

    rows = [chat_row(trace) for trace in traces.values() if trace.stop_reason == "answered"]
    template = ChatTemplate(train_tokenizer(["assistant\n", "user\n", "tool\n", "rows"], 400))
    again = [json.loads(json.dumps(row)) for row in Dataset.from_list(rows)]
    assert [template.render(row["messages"]) for row in again] == [template.render(row["messages"]) for row in rows]
    assert [row["tools"] for row in again] == [row["tools"] for row in rows]


def test_what_could_not_be_parsed_is_trained_on_as_it_was_written() -> None:
    written = Message(role="assistant", content="", raw="<tool_call>\n{oops\n</tool_call>")
    assert chat_row(traced(written))["messages"][-1] == {"role": "assistant", "content": written.raw}


def test_reasoning_goes_where_templates_look_for_it() -> None:
    row = chat_row(traced(Message(role="assistant", content="Three.", reasoning="One, two, three.")))
    assert row["messages"][-1] == {"role": "assistant", "content": "Three.", "reasoning_content": "One, two, three."}


def test_a_token_row_is_the_rollout_in_the_ids_of_its_checkpoint() -> None:
    made = traced(
        Message(role="assistant", content="a", environment_ids=(1, 2), completion_ids=(3, 4)),
        Message(role="tool", content="b"),
        Message(role="assistant", content="c", environment_ids=(5,), completion_ids=(6,)),
        Message(role="tool", content="d"),
    )
    assert token_row(made) == {"input_ids": [1, 2, 3, 4, 5, 6], "assistant_masks": [0, 0, 1, 1, 0, 1]}


def test_a_token_row_of_a_model_that_keeps_no_ids_is_refused(traces: dict[str, Trace]) -> None:
    with pytest.raises(TraceError, match=r"question right was answered by mockllm/model, which keeps no token ids"):
        token_row(traces["right"])


def test_a_missing_log_and_a_log_of_another_task_are_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such log"):
        list(read_traces(tmp_path / "none.eval"))
    task = Task(dataset=[Sample(input="Hello", id="hello")], solver=generate())
    output = ModelOutput.from_content("mockllm", "Hello.")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=[output], memoize=False)
    [log] = eval(task, model=model, log_dir=str(tmp_path), display="none")
    with pytest.raises(TraceError, match=r"sample hello does not say its question, level.*notebook task"):
        list(read_traces(log.location))


def traced(*turns: Message) -> Trace:
    fields: dict[str, Any] = {
        "question_id": "q",
        "question": "?",
        "level": "primer",
        "source": "s",
        "source_id": "s-1",
        "licence": "CC0-1.0",
        "model": "checkpoint/x",
        "scaffold": "notebook",
        "verdict": Verdict(correct=True, answer="3", target="3"),
        "stop_reason": "answered",
        "executor": "dabstep-bwrap",
        "log": "one.eval",
        "messages": (Message(role="user", content="?"), *turns),
    }
    return Trace(**fields)
