"""Where calls go, and within what bounds: Endpoint, Limits, Budget. Frozen; a wrong value is refused when it is made.

    Endpoint("judge", base_url="http://localhost:8000/v1", model="Qwen/Qwen3-32B", sampling={"temperature": 0.6})

An API key is named by its environment variable and read when the first call is made; it is in no record.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

ReplyForm = Literal["json_schema", "json_object", "prompt"]
"""How a schema is asked for: by the endpoint's own strict decoding; as "any JSON object", with the schema in the
prompt; by the prompt alone. An endpoint that refuses one is asked in the next."""
FORMS: tuple[ReplyForm, ...] = get_args(ReplyForm)

NO_KEY = "none"
"""Sent in a key's place where an endpoint needs none: the client insists on one."""


class EndpointError(ValueError):
    """An endpoint that cannot be used as it is described; the message names the field, the reason and the mend."""


@dataclass(frozen=True)
class Endpoint:
    """One model behind one OpenAI-compatible address.

    `sampling` is sent as it stands (temperature, top_p, seed, and what the server understands beyond, such as vLLM's
    `chat_template_kwargs`); a `seed` in it is raised by the sample index, so that samples differ. `served_as` stands
    for `base_url` in the ledger's keys: give it where the address changes between runs, as a local server's port does.
    """

    name: str
    base_url: str
    model: str
    key_env: str | None = None
    max_tokens: int = 4096
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    reply_form: ReplyForm = "json_schema"
    served_as: str | None = None

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise EndpointError(f"endpoint {self.name}: base_url {self.base_url!r} is no http(s) address.")
        if address.username or address.password:
            raise EndpointError(
                f"endpoint {self.name}: base_url holds a user or password. Put the key into the "
                "environment and its name into key_env."
            )
        if not self.model:
            raise EndpointError(f"endpoint {self.name}: no model is named.")
        if self.max_tokens < 1:
            raise EndpointError(f"endpoint {self.name}: max_tokens is {self.max_tokens}; it must be 1 or more.")
        if self.reply_form not in FORMS:
            raise EndpointError(f"endpoint {self.name}: reply_form {self.reply_form!r} is none of {', '.join(FORMS)}.")
        if {"model", "messages", "n", "stream", "max_tokens", "max_completion_tokens"} & self.sampling.keys():
            raise EndpointError(
                f"endpoint {self.name}: sampling may not hold model, messages, n, stream or max_tokens. Use the fields "
                "`model` and `max_tokens`; several samples are asked for one by one."
            )

    @property
    def address(self) -> str:
        """What stands for this endpoint in keys and tables."""
        return self.served_as or self.base_url.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, where a call costs no money."""
        return urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")

    def key(self) -> str:
        """The API key. Raises EndpointError where the variable that should hold it is not set."""
        if self.key_env is None:
            return NO_KEY
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise EndpointError(
                f"endpoint {self.name}: the environment variable {self.key_env} holds no key. Set it, or leave key_env "
                "out where the endpoint needs none."
            )
        return key


@dataclass(frozen=True)
class Limits:
    """Bounds of the calls of one process to one endpoint. Times in seconds."""

    at_once: int = 64
    """The most calls in flight. How many really are is found out: see `pacing.py`."""
    start: int = 8
    """Calls in flight at first."""
    tries: int = 8
    """Tries a reply may take for the endpoint's faults: refusals (429), 5xx, timeouts, dropped connections."""
    repairs: int = 2
    """Times a reply that cannot be used is asked for again."""
    try_s: float = 300.0
    """One try."""
    total_s: float = 1800.0
    """One reply, with all tries and the waits between them."""
    first_wait_s: float = 0.5
    """Wait after a first fault where the endpoint names none; doubled after each further one, with jitter."""
    longest_wait_s: float = 30.0
    """Longest such wait. A wait that the endpoint itself asks for may be longer, up to what `total_s` leaves."""
    give_up_after: int = 32
    """Rows that may fail one after another for the endpoint's faults before everything stops."""

    def __post_init__(self) -> None:
        for name in ("at_once", "start", "tries", "give_up_after"):
            if getattr(self, name) < 1:
                raise EndpointError(f"limits: {name} is {getattr(self, name)}; it must be 1 or more.")
        for name in ("repairs", "first_wait_s"):
            if getattr(self, name) < 0:
                raise EndpointError(f"limits: {name} is {getattr(self, name)}; it may not be negative.")
        if not 0 < self.try_s <= self.total_s:
            raise EndpointError(f"limits: try_s {self.try_s} must be above 0 and at most total_s {self.total_s}.")


@dataclass(frozen=True)
class Budget:
    """What a whole ledger may cost, over all its stages, processes and runs. None: no such bound."""

    dollars: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if (self.dollars is not None and self.dollars < 0) or (self.tokens is not None and self.tokens < 0):
            raise EndpointError("budget: dollars and tokens may not be negative.")

    def holds(self, dollars: float, tokens: int) -> bool:
        """Whether that much is within it."""
        return (self.dollars is None or dollars <= self.dollars + 1e-9) and (
            self.tokens is None or tokens <= self.tokens
        )

    def __str__(self) -> str:
        money = [] if self.dollars is None else [f"${self.dollars:,.2f}"]
        return " and ".join(money + ([] if self.tokens is None else [f"{self.tokens:,} tokens"])) or "no bound"
