"""Models by `--model checkpoint/NAME`: a folder, a Hub id or a LoRA adapter, served by vLLM where a GPU is, else here.

    inspect eval tasks/generated_qa.py -T questions=FOLDER --model checkpoint/results/runs/demo/model/epoch-5 \\
        --max-connections 64 --max-samples 64 -M batch_size=64
    inspect eval dabstep/dabstep_dev --model checkpoint/Qwen/Qwen3-4B-Instruct-2507 -M max_model_len=32768

`-M server=auto|vllm|in-process` chooses; auto takes vLLM where its program and a CUDA device are. What was chosen is
printed once. `-M max_tokens=N` bounds one turn: 512 in the process, what is left of the context with vLLM. Both are
greedy unless `--temperature` is set; `--top-p`, `--top-k`, `--seed` and `--max-tokens` are honoured. A malformed tool
call becomes a message to the model, never an exception.

In the process (a folder written by `save_pretrained`, whose tokenizer has a chat template; exactly that template is
served) calls that run at the same time are decoded together in one thread. The same seed and prompt give the same
completion, and every assistant message's metadata keeps the ids that were sampled and those that the environment added
(`tokens.py`). The folder is read once: weights that change later are not noticed.
Options by -M: batch_size (64), device (cuda where there is one, else cpu), dtype (the checkpoint's own), threads (1 on
the CPU: a small model is fastest so).

With vLLM (`served.py`): tool_call_parser and reasoning_parser (the family's, see `parsers.yaml`; none: no reasoning),
max_model_len, tensor_parallel_size, port, start_timeout (seconds), strict_tools. Every other option becomes a flag of
`vllm serve`: -M gpu_memory_utilization=0.8 is --gpu-memory-utilization 0.8.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.models.calls import OPEN
from harness.models.chat import assistant_message
from harness.models.choice import choose_server, say, say_once, serving_of, vllm_settings
from harness.models.served import ServedCheckpointAPI
from harness.models.server import CheckpointServer, Request, Turn
from harness.models.source import Checkpoint, find_checkpoint
from harness.models.tokens import TemplateError

UNSUPPORTED = (
    "stop_seqs",
    "num_choices",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "response_schema",
)
"""Generation settings that would silently change nothing here, so they are refused."""


@dataclass(frozen=True)
class CheckpointOptions:
    """What `-M` may set; see the module's text."""

    batch_size: int = 64
    device: str | None = None
    dtype: str = "auto"
    threads: int | None = None
    max_tokens: int = 512


class CheckpointAPI(ModelAPI):
    """Serves one checkpoint in this process. The model is loaded at the first call, in the thread that will run it."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature that Inspect calls)
        why: str = "as asked",
        found: Checkpoint | None = None,
        **options: Any,
    ) -> None:
        """Raises PrerequisiteError for a name that is no checkpoint, a missing chat template or an unknown option."""
        super().__init__(model_name, base_url, api_key, [], config)
        self.checkpoint = found or find_checkpoint(model_name)
        self.folder = self.checkpoint.folder
        try:
            self.options = CheckpointOptions(**options)
        except TypeError:
            known = ", ".join(CheckpointOptions.__dataclass_fields__)
            raise PrerequisiteError(
                f"checkpoint/: unknown option among -M {', '.join(options)} for a model that is served in this process "
                f"({why}). Known: {known}."
            ) from None
        if self.checkpoint.adapter and find_spec("peft") is None:
            raise PrerequisiteError(
                f"checkpoint/{model_name} is a LoRA adapter, which needs peft in this process: pip install peft"
            )
        self.server: CheckpointServer | None = None

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One turn. `stop_reason` is "model_length" where the context is full; a prompt that fills it gets no text."""
        odd = [name for name in UNSUPPORTED if getattr(config, name) not in (None, False, 0, {}, [])]
        if odd:
            raise PrerequisiteError(
                f"checkpoint/ does not support {', '.join(odd)}: leave it out, or serve with -M server=vllm."
            )
        started = time.monotonic()
        if self.server is None:
            self.server = self.make_server()
        request = Request(
            messages=tuple(input),
            tools=tuple(tools),
            max_tokens=config.max_tokens or self.options.max_tokens,
            temperature=config.temperature or 0.0,
            top_p=config.top_p if config.top_p is not None else 1.0,
            top_k=max(config.top_k or 0, 0),
            seed=config.seed,
        )
        try:
            turn = await asyncio.wrap_future(self.server.submit(request))
        except TemplateError as error:
            raise PrerequisiteError(str(error)) from error
        return self._output(turn, tools, time.monotonic() - started)

    def make_server(self) -> CheckpointServer:
        """The server of this checkpoint; it loads nothing before its first request."""
        o = self.options
        return CheckpointServer(
            self.folder,
            o.batch_size,
            o.device,
            o.dtype,
            o.threads,
            voice=self.checkpoint.voice,
            adapter=self.checkpoint.adapter,
        )

    def _output(self, turn: Turn, tools: list[ToolInfo], seconds: float) -> ModelOutput:
        message = assistant_message(turn.completion, turn.metadata, tools)
        message.model = self.model_name
        reason: StopReason = turn.stop_reason
        if reason == "stop" and message.tool_calls:
            reason = "tool_calls"
        usage = ModelUsage(
            input_tokens=turn.input_tokens,
            output_tokens=turn.output_tokens,
            total_tokens=turn.input_tokens + turn.output_tokens,
        )
        choice = ChatCompletionChoice(message=message, stop_reason=reason)
        return ModelOutput(model=self.model_name, choices=[choice], usage=usage, time=seconds)

    def close(self) -> None:
        """Stop the thread and free the model; a later call loads it again."""
        if self.server is not None:
            self.server.close()
            self.server = None

    def max_tokens(self) -> int:
        """Of one turn, where nobody said."""
        return self.options.max_tokens

    def max_connections(self) -> int:
        """As many calls at once as are decoded together."""
        return self.options.batch_size

    def connection_key(self) -> str:
        """Each checkpoint has its own pool."""
        return str((self.checkpoint.adapter or self.folder).resolve())


@modelapi(name="checkpoint")
def checkpoint() -> type[ModelAPI]:
    """Checkpoints as Inspect models."""
    return cast(type[ModelAPI], serve)


def serve(
    model_name: str,
    base_url: str | None = None,
    api_key: str | None = None,
    config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature that Inspect calls)
    server: str = "auto",
    **options: Any,
) -> ModelAPI:
    """The model of one checkpoint, as this machine can serve it; see the module's text. Raises PrerequisiteError."""
    if base_url is not None:
        raise PrerequisiteError(
            "checkpoint/ serves a model itself and takes no base URL. For an endpoint that is there already use "
            "--model openai-api/NAME/MODEL with NAME_BASE_URL and NAME_API_KEY in the environment."
        )
    chosen, why = choose_server(server)
    settings = vllm_settings(options) if chosen == "vllm" else None
    found = find_checkpoint(model_name)
    if settings is None:
        local = CheckpointAPI(model_name, base_url, api_key, config, why=why, found=found, **options)
        deaf = "" if OPEN in found.template else f" Its template knows no {OPEN}: only Qwen's formats are read here."
        say_once(f"checkpoint/{model_name}: served in this process ({why}).{deaf}")
        return local
    serving, how = serving_of(found, settings)
    say_once(f"checkpoint/{model_name}: {how}; {why}.")
    return ServedCheckpointAPI(
        model_name,
        serving,
        say,
        config,
        port=settings.port,
        start_timeout=settings.start_timeout,
        max_tokens=settings.max_tokens,
        strict_tools=settings.strict_tools,
    )
