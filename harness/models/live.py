"""A model that is in memory already, as an Inspect model: what a training samples from while it trains.

    api = LiveAPI(model, ChatTemplate(tokenizer), batch_size=64)
    voice = Model(api, GenerateConfig(temperature=1.0, max_tokens=64, seed=7))
    await voice.generate(messages, tools)        # with the weights that `model` has now
    api.close()

It is the in-process `checkpoint/` provider over a given `transformers` model: the same decoder, template and ids. The
caller sees to it that nobody changes the weights while it decodes, and that the model is in eval mode. A seed is that
of a whole conversation: each of its turns draws from a stream of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from inspect_ai._util.registry import RegistryInfo, set_registry_info
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from harness.models.checkpoint import CheckpointAPI
from harness.models.decoding import Decoder
from harness.models.server import CheckpointServer
from harness.models.source import Checkpoint
from harness.models.tokens import ChatTemplate

NAME = "live"


class LiveServer(CheckpointServer):
    """A server whose model is given."""

    def __init__(self, model: Any, template: ChatTemplate, batch_size: int) -> None:
        super().__init__(Path(NAME), batch_size)
        self.model, self.template = model, template

    def load(self) -> tuple[Decoder, ChatTemplate, int]:
        """The decoder over the given model. Runs in the server's thread."""
        import torch

        if self.model.device.type == "cpu":
            torch.set_num_threads(1)
        return self.serve(self.model, self.template)


class LiveAPI(CheckpointAPI):
    """The provider of one given model; raises TemplateError for a template that is not prefix-preserving."""

    def __init__(self, model: Any, template: ChatTemplate, batch_size: int = 64) -> None:
        folder = Path(NAME)
        found = Checkpoint(NAME, folder, None, folder, str(template.tokenizer.chat_template), None, "")
        super().__init__(NAME, found=found, batch_size=batch_size)
        set_registry_info(self, RegistryInfo(type="modelapi", name=NAME))  # as Inspect's decorator would
        self._live = (model, template)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One turn, by a seed that the conversation's seed and its length make."""
        if config.seed is not None:
            digest = hashlib.blake2b(f"{config.seed} {len(input)}".encode(), digest_size=8).digest()
            config = config.model_copy(update={"seed": int.from_bytes(digest, "big") >> 1})
        return await super().generate(input, tools, tool_choice, config)

    def make_server(self) -> CheckpointServer:
        """The server over the given model."""
        return LiveServer(*self._live, self.options.batch_size)
