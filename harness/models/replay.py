"""A log as a model: `--model replay/LOG` says again what the recorded model said, and needs no key, network or GPU.

    inspect eval dabstep/generated_qa -T questions=FOLDER --model replay/logs/one.eval
    dabstep replay logs/one.eval          # the same, and says where the cells' outputs differ

An Inspect log is its own cassette. A recording is found by its sample's id and epoch, a turn in it by the number of the
model's turns before it: so samples that run at once, are tried again or repeat a call all get what was said there and
then. What the tools answered may differ from the recording (to find that out is the purpose); the prompt may not, but
by `-M prompts=any`. A recording that a limit or an error ended ends in the same way when it is played.
Tokens are counted as recorded, but those of a call in which a limit struck; the cost is 0. Recorded token ids belong to
another prompt and are left out.
It imitates no model: a question, an epoch or a turn that was never recorded is an error that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from anyio import to_thread
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_sample_summaries
from inspect_ai.log._file import read_eval_log_sample_async
from inspect_ai.log._samples import sample_active
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import LimitExceededError

from harness.models.chat import shown_text

Prompts = Literal["recorded", "any"]

OF_ITS_PROMPT = ("environment_ids", "completion_ids", "rendering")
CONNECTIONS = 16


class ReplayError(RuntimeError):
    """A call that the recording cannot answer; the message names log, sample, epoch and turn, and the mend."""


class RecordedFailure(RuntimeError):
    """The error that ended the recording, raised again at the same place."""


@dataclass(frozen=True)
class Recording:
    """What the model said in one sample.

    Attributes:
        name: How errors call it.
        prompt: The text that stood before the model's first turn, as `prompt_of` gives it.
        turns: By the number of turns before it, an output, or the error that the provider ended in.
        limit: Kind and value of the limit that ended the sample, if one did.
        error: The error that ended it, if one did.
    """

    name: str
    prompt: str | None
    turns: dict[int, ModelOutput | str] = field(default_factory=dict)
    limit: tuple[str, float] | None = None
    error: str | None = None

    def output(self, turn: int) -> ModelOutput:
        """A copy of what was said after so many turns.

        Raises LimitExceededError or RecordedFailure where the recording ended so, ReplayError where it holds no such
        turn.
        """
        said = self.turns.get(turn)
        if isinstance(said, ModelOutput):
            return _played(said)
        if said is not None:
            raise RecordedFailure(f"{self.name}: in the recording the model failed at turn {turn + 1}: {said}")
        if self.limit is not None:
            kind, value = self.limit
            message = f"In the recording the {kind} limit ({value:g}) ended this sample here."
            raise LimitExceededError(kind, value=value, limit=value, message=message)  # type: ignore[arg-type]
        if self.error is not None:
            raise RecordedFailure(f"{self.name}: an error ended the recording here: {self.error}")
        raise ReplayError(
            f"{self.name}: turn {turn + 1} was asked for, but the recording ends after {len(self.turns)}. "
            "Something came out otherwise than it did then; `dabstep replay` says what."
        )


def recording_of(sample: EvalSample, log: str) -> Recording:
    """A sample of the log `log` (with its attachments resolved) as a Recording."""
    calls = [event for event in sample.events if isinstance(event, ModelEvent) and not event.pending]
    turns = {turns_in(call.input): call.error or call.output for call in calls}
    if sample.limit is not None:  # it may have struck in a call, whose output then came to nothing
        turns = {turn: said for turn, said in turns.items() if turn < turns_in(sample.messages)}
    return Recording(
        name=f"replay/{log}: sample {sample.id}, epoch {sample.epoch}",
        prompt=prompt_of(calls[0].input) if calls else None,
        turns=turns,
        limit=(sample.limit.type, sample.limit.limit) if sample.limit is not None else None,
        error=sample.error.message if sample.error is not None else None,
    )


def turns_in(messages: Sequence[ChatMessage]) -> int:
    """How many turns the model has had in this conversation."""
    return sum(message.role == "assistant" for message in messages)


def prompt_of(messages: Sequence[ChatMessage]) -> str:
    """The words before the model's first turn; how providers divide them into messages makes no difference."""
    words = []
    for message in messages:
        if message.role == "assistant":
            break
        words += shown_text(message).split()
    return " ".join(words)


def _played(said: ModelOutput) -> ModelOutput:
    output = said.model_copy(deep=True)
    output.usage = (output.usage or ModelUsage()).model_copy(update={"total_cost": 0.0})
    output.time = None
    for choice in output.choices:
        metadata = choice.message.metadata
        if metadata is not None:
            choice.message.metadata = {key: value for key, value in metadata.items() if key not in OF_ITS_PROMPT}
    return output


class ReplayAPI(ModelAPI):
    """Plays one log. Each sample is read when it first asks."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature that Inspect calls)
        prompts: Prompts = "recorded",
        **options: Any,
    ) -> None:
        """Raises PrerequisiteError for a missing or unreadable log and an unknown option."""
        super().__init__(model_name, base_url, api_key, [], config)
        if options or prompts not in get_args(Prompts):
            given = ", ".join(options) or f"prompts={prompts}"
            raise PrerequisiteError(
                f"replay/: -M {given}: not known. There is prompts=recorded, which refuses a prompt that is not the "
                "recorded one, and prompts=any."
            )
        self.log = Path(model_name).expanduser()
        self.prompts = prompts
        # In a thread: from within a running loop Inspect would patch asyncio (nest_asyncio) for the whole process.
        with ThreadPoolExecutor(1) as thread:
            self._recorded = thread.submit(_samples_in, self.log).result()
        self._recordings: dict[tuple[str, int], Recording] = {}

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The recorded turn. Raises what `Recording.output` raises, and ReplayError for another prompt."""
        active = sample_active()
        if active is None or active.sample.id is None:
            raise ReplayError("replay/ answers only inside an evaluation: a call is told by the sample it belongs to.")
        recording = await self._recording(str(active.sample.id), active.epoch)
        turn = turns_in(input)
        if self.prompts == "recorded" and recording.prompt not in (None, prompt_of(input)):
            raise ReplayError(
                f"{recording.name}: turn {turn + 1} was asked with another prompt than the recorded one (another "
                "scaffold, other questions, or prompts that were changed since). Use what the log was made with, or "
                "play it all the same with -M prompts=any."
            )
        return recording.output(turn)

    async def _recording(self, id: str, epoch: int) -> Recording:
        if (id, epoch) not in self._recordings:
            if (id, epoch) not in self._recorded:
                epochs = sorted(number for name, number in self._recorded if name == id)
                there = f"only its epochs {', '.join(map(str, epochs))}" if epochs else "no such sample"
                raise ReplayError(
                    f"replay/{self.log}: sample {id}, epoch {epoch} was asked for, but there is {there} in this log. "
                    "Ask only what was recorded (--sample-id, --epochs)."
                )
            await self._read(id, epoch)
        return self._recordings[id, epoch]

    async def _read(self, id: str, epoch: int) -> None:
        """Read one sample of an `.eval`; all of a `.json`, which can only be read as a whole."""
        log = str(self.log)
        if self.log.suffix == ".json":
            whole = await to_thread.run_sync(partial(read_eval_log, log, resolve_attachments="core"))
            samples = whole.samples or []
        else:
            samples = [
                await read_eval_log_sample_async(log, self._recorded[id, epoch], epoch, resolve_attachments="core")
            ]
        for sample in samples:
            self._recordings[str(sample.id), sample.epoch] = recording_of(sample, log)

    def max_connections(self) -> int:
        """Nobody waits for a recording; it is the kernels that are kept from crowding."""
        return CONNECTIONS

    def connection_key(self) -> str:
        """Each log has its own pool."""
        return str(self.log.resolve())

    def should_retry(self, ex: BaseException) -> bool:
        """Never: a recording says the same again."""
        return False


@modelapi(name="replay")
def replay() -> type[ModelAPI]:
    """Logs as Inspect models."""
    return ReplayAPI


def _samples_in(log: Path) -> dict[tuple[str, int], int | str]:
    """The samples of a log: (id as text, epoch) -> id. Raises PrerequisiteError naming the mend."""
    if not log.is_file():
        raise PrerequisiteError(
            f"replay/{log}: there is no such log (looked from {Path.cwd()}). `inspect list logs` shows what there is."
        )
    try:
        read_eval_log(str(log), header_only=True)
        there = read_eval_log_sample_summaries(str(log))
    except Exception as error:  # a damaged zip or JSON surfaces as one of many types
        raise PrerequisiteError(
            f"replay/{log}: cannot be read as an Inspect log ({type(error).__name__}: {error})."
        ) from None
    return {(str(summary.id), summary.epoch): summary.id for summary in there}
