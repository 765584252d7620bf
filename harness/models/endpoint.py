"""Inspect's OpenAI-compatible client, for a vLLM server on this machine. Import it where it is needed.

It differs from `openai-api/` in what vLLM wants: a full context ends the turn instead of failing it, and requests to
this machine pass by the proxies that the environment names. For an endpoint elsewhere use `openai-api/` itself.
"""

from __future__ import annotations

from inspect_ai._util.http_defaults_httpx2 import default_client_kwargs
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from openai import APIStatusError, DefaultAsyncHttpxClient

CONTEXT_FULL = ("maximum context length", "max_tokens must be at least 1", "longer than the maximum model length")
"""What vLLM says when a prompt leaves no room."""


class LocalEndpoint(OpenAICompatibleAPI):
    """An OpenAI-compatible endpoint at `url`, asked for `model` with `key`."""

    def __init__(self, model: str, url: str, key: str, config: GenerateConfig, strict_tools: bool) -> None:
        super().__init__(model, url, key, config, service="vLLM", strict_tools=strict_tools)

    def _create_http_client(self) -> DefaultAsyncHttpxClient:
        return DefaultAsyncHttpxClient(**default_client_kwargs(trust_env=False))

    def service_model_name(self) -> str:
        """The name as the server knows it, slashes and all."""
        return self.model_name

    def handle_bad_request(self, ex: APIStatusError) -> ModelOutput | Exception:
        """A full context as a turn that ends with "model_length"; any other refusal as Inspect takes it."""
        if any(words in str(ex) for words in CONTEXT_FULL):
            return ModelOutput.from_content(self.model_name, content="", stop_reason="model_length")
        return super().handle_bad_request(ex)
