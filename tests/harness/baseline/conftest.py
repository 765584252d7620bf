"""One evaluation of the official baseline's scaffold by a scripted model, for the tests of its work and of its ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolChoice, ToolInfo

import dabstep._registry  # noqa: F401  (the kernel sandbox, by its name)
from harness.records import Question, Trace
from harness.trace import read_traces
from tasks.notebook_task import NotebookSettings, notebook_task

Reply = str | ModelOutput | Callable[[list[ChatMessage]], str]


def block(code: str, thought: str = "I go on.") -> str:
    """A turn in the baseline's format."""
    return f"Thought: {thought}\n<code>\n{code}\n</code>"


def question(id: str = "q", answer: str = "6") -> Question:
    return Question(
        id=id,
        question=f"{id}: what is the sum of x?",
        guidelines="A whole number.",
        level="primer",
        answer=answer,
        source="numbers",
        source_id=id,
        licence="CC0-1.0",
        checked="by hand",
    )


class Run:
    """One evaluation of a scripted model: its samples, and what the model was shown last at each call."""

    def __init__(self, folder: Path, script: Callable[[list[ChatMessage], int], Reply]) -> None:
        self.folder, self.script = folder, script
        self.shown: list[str] = []
        self.log = ""

    def __call__(self, *questions: Question, **options: Any) -> list[EvalSample]:
        (self.folder / "a.csv").write_text("x\n1\n2\n3\n", encoding="utf-8")
        task = notebook_task(
            questions,
            {question.id: {"a.csv": self.folder / "a.csv"} for question in questions},
            {},
            NotebookSettings(split="test", data_hash="test", scaffold="baseline"),
        )
        model = get_model("mockllm/model", custom_outputs=self._reply, memoize=False)
        [done] = eval(task, model=model, log_dir=str(self.folder / "logs"), display="none", **options)
        self.log = done.location
        return done.samples or []

    @property
    def traces(self) -> list[Trace]:
        return list(read_traces(self.log))

    def _reply(
        self, messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        self.shown.append(messages[-1].text)
        reply = self.script(messages, sum(message.role == "assistant" for message in messages))
        reply = reply(messages) if callable(reply) else reply
        output = reply if isinstance(reply, ModelOutput) else ModelOutput.from_content("mockllm", reply)
        output.usage = ModelUsage(input_tokens=10, output_tokens=2, total_tokens=12)
        return output


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., tuple[EvalSample, Run]]:
    """Plays a model's turns, the last one again and again, for one question; the sample, and the run."""

    def run(*turns: Reply, **options: Any) -> tuple[EvalSample, Run]:
        said = Run(tmp_path, lambda _, turn: turns[min(turn, len(turns) - 1)])
        [sample] = said(question(), **options)
        return sample, said

    return run


def score(sample: EvalSample) -> object:
    return (sample.scores or {})["grade"].value


def cells(sample: EvalSample) -> Sequence[dict[str, Any]]:
    return sample.store.get("NotebookState:cells", [])  # type: ignore[no-any-return]


def answer(sample: EvalSample) -> str | None:
    return sample.store.get("NotebookState:answer")


def model_calls(sample: EvalSample) -> list[ModelEvent]:
    return [event for event in sample.events if isinstance(event, ModelEvent)]
