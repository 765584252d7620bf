"""smolagents' CodeAgent between Inspect's agent bridge and our kernel. The one module that imports smolagents.

    agent = make_code_agent(BridgedModel(model, client), imports=("pandas",), max_steps=10)
    agent.run(task)     # in a worker thread of anyio; inside `agent_bridge`

Generated code is run by `KernelExecutor` in the sample's kernel and nowhere else; on the host it is only parsed.
What it finds there, `final_answer` and the imports that are allowed, is prepared by `code_session.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import anyio.from_thread
import smolagents
from inspect_ai.model import GenerateInput, Model, ModelOutput
from inspect_ai.util import sandbox
from openai import AsyncOpenAI
from smolagents.local_python_executor import CodeOutput, InterpreterError, PythonExecutor
from smolagents.models import remove_content_after_stop_sequences, supports_stop_parameter
from smolagents.monitoring import LogLevel, TokenUsage

from harness.code_session import FINAL_ANSWER, session_code
from harness.kernel.protocol import CellResult
from harness.kernel.sandbox import KernelSandbox
from harness.models.checkpoint import CheckpointAPI
from harness.tools import NotebookState

Value = TypeVar("Value")

_LINE = re.compile(r"Cell In\[\d+\], line (\d+)")


class Ended(BaseException):
    """What ended the run from the event loop (a limit, a cancellation, a failed provider), carried through smolagents.

    smolagents catches every Exception, tells it to the model and goes on; so this is none.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


class ContextFull(RuntimeError):
    """The model's context holds no further turn."""


def in_loop(function: Callable[..., Coroutine[Any, Any, Value]], *arguments: Any) -> Value:
    """Await `function(*arguments)` in the event loop from the agent's thread. Raises Ended with whatever it raised."""
    try:
        return anyio.from_thread.run(function, *arguments)
    except BaseException as error:
        raise Ended(error) from None


def make_code_agent(model: BridgedModel, imports: Sequence[str], max_steps: int) -> smolagents.CodeAgent:
    """A CodeAgent without tools that logs nothing of its own and runs its code in the sample's kernel."""
    executor = KernelExecutor()
    agent = smolagents.CodeAgent(
        tools=[],
        model=model,
        additional_authorized_imports=list(imports),
        executor=executor,
        max_steps=max_steps,
        verbosity_level=LogLevel.OFF,
    )
    executor.imports = tuple(agent.authorized_imports)
    return agent


class BridgedModel(smolagents.Model):  # type: ignore[misc]  # smolagents has no types
    """smolagents' face of an Inspect model: asks for chat completions of "inspect", which the agent bridge answers."""

    def __init__(self, model: Model, client: AsyncOpenAI) -> None:
        super().__init__(flatten_messages_as_text=True, model_id="inspect")
        self.client = client
        self.takes_stops = not isinstance(model.api, CheckpointAPI) and supports_stop_parameter(model.name)
        self.context_full = False

    @property
    def supports_stop_parameter(self) -> bool:
        """Whether the provider takes stop sequences; where it does not, the reply is cut at them all the same."""
        return self.takes_stops

    def generate(
        self,
        messages: list[smolagents.ChatMessage],
        stop_sequences: list[str] | None = None,
        **options: Any,
    ) -> smolagents.ChatMessage:
        """One reply, cut at the first stop sequence. Raises Ended; ContextFull in it where there was no room."""
        request = self._prepare_completion_kwargs(messages=messages, stop_sequences=stop_sequences, **options)
        text, usage = in_loop(self._complete, request)
        if self.context_full and not text:
            raise Ended(ContextFull())
        text = remove_content_after_stop_sequences(text, stop_sequences)
        return smolagents.ChatMessage(role=smolagents.MessageRole.ASSISTANT, content=text, token_usage=usage)

    async def text_alone(self, model: Model, output: ModelOutput, request: GenerateInput) -> ModelOutput | None:
        """The bridge's response filter: a reply is its text, without its reasoning, as the baseline reads it.

        What looks like a tool call is text too, since no tool was offered. (The log's model event keeps the whole.)
        """
        self.context_full = output.stop_reason == "model_length"
        if output.empty:
            return None
        message = output.choices[0].message
        sampled = (message.metadata or {}).get("raw") if message.tool_calls else None
        message.content, message.tool_calls = sampled or message.text, None
        return output

    async def _complete(self, request: dict[str, Any]) -> tuple[str, TokenUsage]:
        completion = await self.client.chat.completions.create(model=self.model_id, **request)
        spent = completion.usage
        usage = TokenUsage(spent.prompt_tokens, spent.completion_tokens) if spent else TokenUsage(0, 0)
        return completion.choices[0].message.content or "", usage


class KernelExecutor(PythonExecutor):  # type: ignore[misc]  # smolagents has no types
    """smolagents' Python executor over the sample's kernel. Cells and the answer are kept in `NotebookState`."""

    def __init__(self) -> None:
        self.imports: tuple[str, ...] = ()
        self.state: dict[str, str] = {}
        """`_print_outputs`: what the last cell printed; smolagents shows it to the model when the cell failed."""
        self._prepared = False

    def send_tools(self, tools: dict[str, Any]) -> None:
        """Take the tools; `final_answer`, the only one there is, lives in the kernel. Raises ValueError for others."""
        if others := sorted(tools.keys() - {"final_answer"}):
            raise ValueError(f"the baseline has no tools, but was given {', '.join(others)}")

    def send_variables(self, variables: dict[str, Any]) -> None:
        """Take the variables of a task, of which the baseline has none. Raises ValueError for any."""
        if variables:
            raise ValueError(f"the baseline hands over no variables, but was given {', '.join(variables)}")

    def __call__(self, code_action: str) -> CodeOutput:
        """Run one code block as a cell. Raises InterpreterError with what the model is to be told, and Ended."""
        self.state = {"_print_outputs": ""}
        tree = _parsed(code_action)
        _keep_final_answer(code_action, tree)
        cell, answer = in_loop(self._run, code_action)
        self.state["_print_outputs"] = cell.stdout
        if cell.status != "ok":
            raise InterpreterError(_complaint(code_action, tree, cell))
        output = cell.result if answer is None else answer
        return CodeOutput(output=output, logs=cell.stdout, is_final_answer=answer is not None)

    async def _run(self, code: str) -> tuple[CellResult, str | None]:
        """The cell, and the final answer if it gave one (which ends a cell by an exception, but is no error)."""
        kernel = sandbox().as_type(KernelSandbox).kernel  # type: ignore[type-abstract]  # any backend will do
        if not self._prepared:
            prepared = await kernel.run(session_code(self.imports))
            if prepared.status != "ok":
                raise RuntimeError(f"the kernel could not be prepared for smolagents:\n{prepared.text()}")
            self._prepared = True
        cell = await kernel.run(code)
        self._prepared = cell.status != "died"
        answer = None
        if cell.error is not None and cell.error.name == FINAL_ANSWER:
            answer = cell.error.message
            cell = cell.model_copy(update={"status": "ok", "error": None})
            NotebookState().answer = answer
        NotebookState.record(cell)
        return cell, answer


def _parsed(code: str) -> ast.Module:
    """The syntax tree of a code block; magics and shell escapes have none. Raises InterpreterError."""
    try:
        return ast.parse(code)
    except SyntaxError as error:
        mark = f"\n{error.text or ''}{' ' * (error.offset or 0)}^"
        raise InterpreterError(
            f"Code parsing failed on line {error.lineno} due to: {type(error).__name__}: {error}{mark}"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, too deep
        raise InterpreterError(f"Code parsing failed due to: {type(error).__name__}: {error}") from None


def _keep_final_answer(code: str, tree: ast.Module) -> None:
    """Raise InterpreterError where a block assigns to `final_answer`, which would be gone for all blocks to come."""
    for statement in tree.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id == "final_answer" and isinstance(node.ctx, ast.Store):
                said = "Cannot assign to name 'final_answer': doing this would erase the existing tool!"
                raise InterpreterError(_failed(code, statement, "InterpreterError", said))


def _complaint(code: str, tree: ast.Module, cell: CellResult) -> str:
    """What went wrong in a cell, in the baseline's form: the statement that failed, the error's class and message."""
    if cell.error is None or cell.status != "error":
        return f"Code execution failed: {cell.note or cell.status}"
    shown = cell.error.traceback.rpartition("Traceback (most recent call last):")[2]
    place = _LINE.search(shown)
    line = int(place[1]) if place else 0
    failed = next((node for node in tree.body if node.lineno <= line <= (node.end_lineno or 0)), None)
    return _failed(code, failed, cell.error.name, cell.error.message)


def _failed(code: str, statement: ast.stmt | None, error: str, message: str) -> str:
    source = ast.get_source_segment(code, statement) if statement is not None else None
    where = f" at line '{source}'" if source else ""
    return f"Code execution failed{where} due to: {error}: {message}"
