"""A checkpoint behind a vLLM server of our own, as an Inspect model: what `--model checkpoint/NAME` is where a GPU is.

The server is started at the first call and shared by all models of this process that are served alike. Requests go
through Inspect's own OpenAI-compatible client, so limits, retries, logs and settings such as `--top-p` work as ever.
Three things are made as they are in the process (`checkpoint.py`):

- Greedy unless `--temperature` is set, whatever the checkpoint's generation_config.json proposes.
- Calls are not constrained to the schema while they are sampled (`-M strict_tools=true` asks for that), so malformed
  ones occur. Where vLLM's parser leaves them in the content, ours reads them, and the model is told what was wrong.
- A call that vLLM left inside the thinking is not executed. It is counted in the message's metadata as
  `calls_in_reasoning`, since some versions of vLLM lose meant calls there (its issue 39056): filter the log by it.

Earlier turns are rendered anew by vLLM, so rollouts are not token-exact: no ids are kept.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.models.calls import OPEN
from harness.models.chat import assistant_message, completion_of, parse_completion
from harness.models.vllm_server import START_TIMEOUT_S, Say, ServerFailed, Serving, VllmServer, release, server_of

LOGS = Path("logs") / "vllm"
MAX_CONNECTIONS = 64


class ServedCheckpointAPI(ModelAPI):
    """One model of a vLLM server."""

    def __init__(
        self,
        model_name: str,
        serving: Serving,
        say: Say,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (as in Inspect's providers)
        port: int | None = None,
        start_timeout: float = START_TIMEOUT_S,
        max_tokens: int | None = None,
        strict_tools: bool = False,
    ) -> None:
        """Nothing is started yet. `max_tokens` None: a turn may fill the rest of the context."""
        super().__init__(model_name, None, None, [], config)
        self.serving, self.say, self.defaults = serving, say, config
        self.port, self.start_timeout = port, start_timeout
        self.turn_tokens, self.strict_tools = max_tokens, strict_tools
        self.server: VllmServer | None = None
        self._client: ModelAPI | None = None
        self._started: Future[None] | None = None

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        """One turn. Raises ServerFailed with the end of the server's log where it did not start or has ended."""
        server, client = await self._ready()
        config = _told(config)
        try:
            result = await client.generate(input, tools, tool_choice, config)
        except Exception:
            server.check()
            raise
        output = result[0] if isinstance(result, tuple) else result
        if isinstance(output, ModelOutput):
            output.choices = [mended(choice, tools) for choice in output.choices]
            output.model = self.model_name
        return result

    async def _ready(self) -> tuple[VllmServer, ModelAPI]:
        if self.server is None:
            self.server = server_of(self.serving, LOGS, self.port, self.start_timeout, self.say)
        server = self.server
        if self._started is None:
            self._started = _in_thread(server)
        await asyncio.shield(asyncio.wrap_future(self._started))
        server.check()
        if self._client is None:
            self._client = self._connect(server)
        return server, self._client

    def _connect(self, server: VllmServer) -> ModelAPI:
        from harness.models.endpoint import LocalEndpoint

        return LocalEndpoint(self.serving.name, server.url, server.key, self.defaults, self.strict_tools)

    def should_retry(self, ex: Exception) -> bool:
        """As Inspect's OpenAI-compatible providers decide; a server that has ended is not asked again."""
        return self._client is not None and not isinstance(ex, ServerFailed) and bool(self._client.should_retry(ex))

    def close(self) -> None:
        """Stop the server, unless another model uses it; a later call starts it again."""
        server, self.server, self._client, self._started = self.server, None, None, None
        if server is not None:
            release(server)

    async def aclose(self) -> None:
        """The same, and the connections to it."""
        if self._client is not None:
            await self._client.aclose()
        self.close()

    def collapse_user_messages(self) -> bool:
        """Templates want turns to alternate."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """Templates want turns to alternate."""
        return True

    def max_tokens(self) -> int | None:
        """Of one turn, where nobody said."""
        return self.turn_tokens

    def max_connections(self) -> int:
        """vLLM decodes what comes together in one batch."""
        return MAX_CONNECTIONS

    def connection_key(self) -> str:
        """Each server has its own pool."""
        return f"vllm:{self.serving.model}:{self.serving.name}"


def mended(choice: ChatCompletionChoice, tools: list[ToolInfo]) -> ChatCompletionChoice:
    """`choice` with the calls that vLLM's parser left in its content, and a count of those it left in the thinking."""
    message = choice.message
    if not message.tool_calls and OPEN in message.text:
        left = parse_completion(message.text)
        thought = completion_of(message).reasoning
        read = assistant_message(replace(left, reasoning=left.reasoning or thought), message.metadata, tools)
        message = message.model_copy(
            update={"content": read.content, "tool_calls": read.tool_calls, "metadata": read.metadata}
        )
    if lost := _calls_in_reasoning(message):
        message = message.model_copy(update={"metadata": {**(message.metadata or {}), "calls_in_reasoning": lost}})
    return choice.model_copy(update={"message": message})


def _told(config: GenerateConfig) -> GenerateConfig:
    """`config` with what Inspect would not tell: greedy where nothing was said, and top_k, which OpenAI lacks."""
    extra = {"top_k": config.top_k, **(config.extra_body or {})} if config.top_k is not None else config.extra_body
    temperature = 0.0 if config.temperature is None else config.temperature
    return config.model_copy(update={"temperature": temperature, "extra_body": extra})


def _calls_in_reasoning(message: ChatMessageAssistant) -> int:
    if message.tool_calls or not isinstance(message.content, list):
        return 0
    return sum(part.reasoning.count(OPEN) for part in message.content if isinstance(part, ContentReasoning))


def _in_thread(server: VllmServer) -> Future[None]:
    """Start a server in a thread that does not hold up the end of this process."""
    started: Future[None] = Future()

    def start() -> None:
        try:
            server.start()
        except Exception as error:
            started.set_exception(error)
        else:
            started.set_result(None)

    threading.Thread(target=start, name="vllm-start", daemon=True).start()
    return started
