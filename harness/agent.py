"""The notebook agent: one loop, two tools, readable alone.

The model is shown the question, calls `python` to run cells and `final_answer` to finish. A turn without a tool call is
answered by a reminder, at most `max_reminders` times. Everything that was done stays in the log and in `NotebookState`,
so a sample that runs into a limit is still scored. Limits (turns, tokens, time, cost) are Inspect's own; a malformed
tool call goes back to the model as a tool message.

    inspect eval tasks/generated_qa.py -T questions=FOLDER --model ...

`play_solution` runs the very same loop with a solution's cells in the model's place: taught traces, tests and
hand-written solutions go through the same tools into the same log.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspect_ai.agent import Agent, AgentState, agent
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    execute_tools,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.baseline import baseline_player, run_baseline
from harness.prompts import prompt
from harness.records import Solution
from harness.tools import Comments, NotebookState, notebook_tools

MAX_REMINDERS = 5


async def run_notebook(
    messages: list[ChatMessage], model: Model, comments: Comments, max_reminders: int
) -> tuple[list[ChatMessage], ModelOutput]:
    """The loop. `messages` ends with the question; it is extended in place, so that a limit loses nothing."""
    tools = notebook_tools(comments)
    reminders = 0
    while True:
        output = await model.generate(messages, tools)
        messages.append(output.message)
        if output.message.tool_calls:
            executed = await execute_tools(messages, tools, max_output=0)
            messages.extend(executed.messages)
            if NotebookState.is_answered():
                return messages, output
        elif output.stop_reason == "model_length" or reminders == max_reminders:
            return messages, output
        else:
            reminders += 1
            messages.append(ChatMessageUser(content=prompt("reminder")))


@agent
def notebook(comments: Comments = "optional", max_reminders: int = MAX_REMINDERS) -> Agent:
    """The two-tool notebook agent.

    Args:
        comments: Whether `python` asks for a comment: "required" for models that do not think aloud.
        max_reminders: How many turns without a tool call are answered by a reminder before the sample ends.
    """

    async def execute(state: AgentState) -> AgentState:
        state.messages.insert(0, ChatMessageSystem(content=prompt("notebook")))
        _, state.output = await run_notebook(state.messages, get_model(), comments, max_reminders)
        return state

    return execute


@solver
def play_solution(comments: Comments = "never") -> Solver:
    """Play each sample's solution (`metadata["solution"]`) through its scaffold's own loop, kernel and log."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        recorded = state.metadata.get("solution")
        if recorded is None:
            raise ValueError(f"sample {state.sample_id} has no solution to play. Give one with -T solutions=FILE.")
        solution = Solution.model_validate(recorded)
        if state.metadata.get("scaffold") == "baseline":
            played = AgentState(messages=state.messages)
            try:
                await run_baseline(played, baseline_player(solution))
            finally:  # a limit loses nothing
                state.messages, state.output = played.messages, played.output
            return state
        player = solution_player(solution)
        state.messages.insert(0, ChatMessageSystem(content=prompt("notebook")))
        _, state.output = await run_notebook(state.messages, player, comments, max_reminders=0)
        return state

    return solve


def solution_player(solution: Solution) -> Model:
    """A model that plays `solution`: one cell a turn, then the answer (its own, or what the last cell displayed)."""

    def usage() -> ModelUsage:
        return ModelUsage(input_tokens=0, output_tokens=0, total_tokens=0)

    def call(name: str, arguments: dict[str, str]) -> ModelOutput:
        output = ModelOutput.for_tool_call("solution", name, arguments, content="")
        output.usage = usage()
        return output

    turns: Iterator[str] = iter(solution.cells)

    def next_turn(
        messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        for cell in turns:
            return call("python", {"code": cell})
        return call("final_answer", {"answer": solution.answer if solution.answer is not None else shown(messages)})

    def shown(messages: list[ChatMessage]) -> str:
        last = next((m for m in reversed(messages) if isinstance(m, ChatMessageTool)), None)
        return last.text if last is not None else ""

    return get_model("mockllm/solution", custom_outputs=next_turn, memoize=False)
