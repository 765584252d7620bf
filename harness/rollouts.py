"""Rollouts without a log: many questions at once through the agent's own loop, each in a kernel of its own.

    runner = RolloutRunner(RolloutSettings(turns=4))
    rollouts = runner.run(api, GenerateConfig(temperature=1.0, max_tokens=64), [asked, asked, ...], seed=7)
    runner.close()

Reinforcement learning needs them: its rollouts are used once and thrown away. Everything else is an evaluation with a
log (`inspect eval`). Loop, tools, prompts and kernel are those of an evaluation (`harness/agent.py`), and the ids are
what the model was given and sampled, never tokenised again: `Rollout.mask` is 1 on what it sampled.

At most `at_once` kernels live at a time; each is started while the model writes its first turn, belongs to one rollout
and ends with it. It needs a model that keeps ids (`checkpoint/`, in the process), and bwrap kernels.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from inspect_ai.log import Transcript
from inspect_ai.log._transcript import init_transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
)
from inspect_ai.util import LimitExceededError, Store, token_limit, turn_limit
from inspect_ai.util._sandbox.context import (
    sandbox_default_context_var,
    sandbox_environments_context_var,
    sandbox_with_environments_context_var,
)
from inspect_ai.util._store import init_subtask_store

from harness.agent import MAX_REMINDERS, run_notebook
from harness.kernel.bwrap import BwrapKernel
from harness.kernel.bwrap_sandbox import BwrapSandbox
from harness.kernel.protocol import CellResult, Limits
from harness.tools import ANSWER_TOOL, Comments, NotebookState


@dataclass(frozen=True)
class Asked:
    """A question as a model is shown it. `files`: name under /home/user/input -> path on the host."""

    id: str
    system: str
    user: str
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutSettings:
    """Bounds of a rollout; `tokens` are all that is read and written, every turn counted anew, as Inspect counts them.

    `cell_s` bounds a cell, in seconds.
    """

    turns: int = 25
    tokens: int | None = None
    cell_s: float = 20.0
    at_once: int = 32
    comments: Comments = "never"
    max_reminders: int = MAX_REMINDERS


@dataclass(frozen=True)
class Rollout:
    """What came of it: `prompt_ids`, then `completion_ids` with a `mask` that is 1 on every id that was sampled.

    `stop_reason` is "answered", the kind of the limit that ended it, "model_length" or "no answer". `answer_calls`
    counts the calls of `final_answer`, readable or not; `answer` is that of the last one that was.
    """

    id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    mask: tuple[int, ...]
    answer: str | None
    answer_calls: int
    cells: tuple[CellResult, ...]
    turns: int
    stop_reason: str


class RolloutRunner:
    """Runs rollouts on an event loop of its own; use it from one thread."""

    def __init__(self, settings: RolloutSettings) -> None:
        self.settings = settings
        self._loop: asyncio.Runner | None = None

    def run(self, api: ModelAPI, config: GenerateConfig, asked: Sequence[Asked], seed: int | None) -> list[Rollout]:
        """One rollout of each of `asked`, in their order, sampled by `config`; the same seed gives the same rollouts.

        Raises KernelUnavailable where kernels cannot be isolated, FileNotFoundError for a file that is not there, and
        what the model's provider raises (a template that is not prefix-preserving, say).
        """
        for path in {path for each in asked for path in each.files.values()}:
            if not path.is_file():  # a tool would tell the model, not the user
                raise FileNotFoundError(f"{path}: a question's file is not there. Make the question set again.")
        self._loop = self._loop or asyncio.Runner()
        try:
            return self._loop.run(self._run(_voices(api, config, len(asked), seed), asked))
        except ExceptionGroup as several:
            first: BaseException = several
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from several

    def close(self) -> None:
        """End the loop, which a later run makes anew; kernels have ended with their rollouts."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    async def _run(self, voices: Sequence[Model], asked: Sequence[Asked]) -> list[Rollout]:
        room = asyncio.Semaphore(self.settings.at_once)
        async with asyncio.TaskGroup() as group:  # the first error ends the others
            tasks = [group.create_task(self._one(*each, room)) for each in zip(voices, asked, strict=True)]
        return [task.result() for task in tasks]

    async def _one(self, voice: Model, asked: Asked, room: asyncio.Semaphore) -> Rollout:
        async with room:
            kernel = _StartingKernel(asked.files, Limits(cell_s=self.settings.cell_s))
            try:
                _enter_sample(kernel)
                return await self._play(voice, asked)
            finally:
                await kernel.close()

    async def _play(self, voice: Model, asked: Asked) -> Rollout:
        messages: list[ChatMessage] = [ChatMessageSystem(content=asked.system), ChatMessageUser(content=asked.user)]
        settings, reason = self.settings, ""
        try:
            with turn_limit(settings.turns), token_limit(settings.tokens):
                _, output = await run_notebook(messages, voice, settings.comments, settings.max_reminders)
                reason = output.stop_reason if output.stop_reason == "model_length" else ""
        except LimitExceededError as limit:
            reason = limit.type
        state = NotebookState()
        if state.answer is not None:
            reason = "answered"
        return _rollout(asked.id, messages, state, reason or "no answer")


def _voices(api: ModelAPI, config: GenerateConfig, count: int, seed: int | None) -> list[Model]:
    """The same model `count` times, each with a seed of its own."""
    seeds = [None if seed is None else random.Random(f"{seed} {number}").getrandbits(62) for number in range(count)]
    return [Model(api, config.model_copy(update={"seed": own})) for own in seeds]


class _StartingKernel:
    """A kernel that is started in the background; its first cell waits for it."""

    def __init__(self, files: Mapping[str, Path], limits: Limits) -> None:
        self._start = asyncio.create_task(BwrapKernel.create(files, limits))

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        """Run one cell, once the kernel is there."""
        return await (await self._start).run(code, timeout)

    async def close(self) -> None:
        """End the kernel, whether it was used or not, and however far its start is."""
        with contextlib.suppress(Exception):  # what its start raised was raised to its cell, or nobody needed it
            await (await self._start).close()


def _enter_sample(kernel: _StartingKernel) -> None:
    """What Inspect sets up for a sample of an evaluation, for this asyncio task alone: store, transcript, sandbox."""
    init_subtask_store(Store())
    init_transcript(Transcript())
    sandbox_environments_context_var.set({"default": BwrapSandbox(cast(BwrapKernel, kernel))})
    sandbox_with_environments_context_var.set({})
    sandbox_default_context_var.set("default")


def _rollout(id: str, messages: Sequence[ChatMessage], state: NotebookState, reason: str) -> Rollout:
    turns = [message.metadata or {} for message in messages if isinstance(message, ChatMessageAssistant)]
    prompt = tuple(turns[0]["environment_ids"]) if turns else ()
    ids: list[int] = []
    mask: list[int] = []
    for number, turn in enumerate(turns):
        added = turn["environment_ids"] if number else []
        ids += [*added, *turn["completion_ids"]]
        mask += [0] * len(added) + [1] * len(turn["completion_ids"])
    return Rollout(
        id=id,
        prompt_ids=prompt,
        completion_ids=tuple(ids),
        mask=tuple(mask),
        answer=state.answer,
        answer_calls=sum(
            call.function == ANSWER_TOOL
            for message in messages
            if isinstance(message, ChatMessageAssistant)
            for call in message.tool_calls or []
        ),
        cells=tuple(CellResult.model_validate(cell) for cell in state.cells),
        turns=len(turns),
        stop_reason=reason,
    )
