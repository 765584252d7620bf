"""A model by script, as a provider of Inspect's: it plays each question's solution and keeps a journal of its calls.

    inspect eval dabstep/generated_qa --model scripted/openai/gpt-4o -M questions=FOLDER -M journal=FILE -M wrong=10

Of every `wrong` questions one, chosen by its id, gets a wrong answer, the same every time. Each call appends a line to
the journal when it is asked and one when it is answered, so that calls that a kill swallowed can be told. The name
after `scripted/` is that of a model that Inspect knows, so that it can have a price. Inspect finds the provider by an
entry point that `killed_run.py` writes: for tests and measurements only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from inspect_ai.log._samples import sample_active
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    GenerateConfig,
    ModelAPI,
    ModelCost,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.records import Question, read_questions

MODEL = "openai/gpt-4o"
PRICE = ModelCost(input=2.0, output=8.0, input_cache_write=0.0, input_cache_read=0.0)


@modelapi(name="scripted")
class Scripted(ModelAPI):
    """One cell a turn, then the answer: what the last cell displayed."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        questions: str,
        journal: str,
        wrong: int = 10,
        delay: float = 0.01,
        **_: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.questions: dict[str, Question] = {question.id: question for question in read_questions(Path(questions))}
        self.journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.wrong, self.delay = wrong, delay

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The next turn of the sample that asks."""
        sample = sample_active()
        assert sample is not None
        id = str(sample.sample.id)
        turn = sum(isinstance(message, ChatMessageAssistant) for message in input)
        usage = ModelUsage(input_tokens=100 * (turn + 1), output_tokens=20, total_tokens=100 * (turn + 1) + 20)
        self._note("asked", id, usage)
        await asyncio.sleep(self.delay)
        output = self._turn(self.questions[id], turn, input)
        output.usage = usage
        self._note("answered", id, usage)
        return output

    def _turn(self, question: Question, turn: int, messages: list[ChatMessage]) -> ModelOutput:
        assert question.solution is not None
        if turn < len(question.solution.cells):
            return ModelOutput.for_tool_call(
                self.model_name, "python", {"code": question.solution.cells[turn]}, content=""
            )
        shown = next((m.text for m in reversed(messages) if isinstance(m, ChatMessageTool)), "")
        fails = int(hashlib.sha256(question.id.encode()).hexdigest(), 16) % self.wrong == 0
        answer = "no such answer" if fails else question.solution.answer or shown
        return ModelOutput.for_tool_call(self.model_name, "final_answer", {"answer": answer}, content="")

    def _note(self, what: str, id: str, usage: ModelUsage) -> None:
        """One small write in append mode: whole, or not there."""
        line = {"what": what, "id": id, "pid": os.getpid(), "tokens": usage.total_tokens, "cost": self._price(usage)}
        os.write(self.journal, json.dumps(line).encode() + b"\n")

    def _price(self, usage: ModelUsage) -> float:
        return (usage.input_tokens * PRICE.input + usage.output_tokens * PRICE.output) / 1_000_000
