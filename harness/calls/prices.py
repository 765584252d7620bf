"""What a model's tokens cost: a YAML file of the user's, dollars per million tokens.

    Qwen/Qwen3-32B: {input: 0.10, output: 0.30, cached: 0.05}
    local/model: free

Nothing is built in: prices change, and a wrong one would be believed. An endpoint on this machine needs no entry and
costs nothing. A model without a price is counted in tokens only, and said to be unpriced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.calls.endpoint import Endpoint


class PriceError(ValueError):
    """A price list that cannot be used; the message names the model, the reason and the mend."""


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens; `cached` None: input that the endpoint had cached costs what input costs."""

    input: float
    output: float
    cached: float | None = None

    def dollars(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """The price of that many tokens, of which `cached_tokens` are part of the input."""
        cached = min(cached_tokens, input_tokens)
        rate = self.input if self.cached is None else self.cached
        return ((input_tokens - cached) * self.input + cached * rate + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


@dataclass(frozen=True)
class Prices:
    """Prices by model name."""

    by_model: Mapping[str, Price]

    def of(self, endpoint: Endpoint) -> Price | None:
        """The price at `endpoint`; None where nobody gave one."""
        return self.by_model.get(endpoint.model, FREE if endpoint.is_local else None)

    @classmethod
    def read(cls, path: Path) -> Prices:
        """Read a price list. Raises PriceError."""
        import yaml

        try:
            listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise PriceError(f"{path}: cannot be read as a price list ({error}).") from None
        return cls.parse(listed, str(path))

    @classmethod
    def parse(cls, listed: Any, where: str = "prices") -> Prices:
        """Prices from a mapping as a YAML file gives it. Raises PriceError."""
        if not isinstance(listed, Mapping):
            raise PriceError(f"{where}: not a mapping from model names to prices.")
        return cls({str(model): _price(entry, f"{where}: {model}") for model, entry in listed.items()})


def _price(entry: Any, where: str) -> Price:
    if entry == "free":
        return FREE
    names = {field.name for field in fields(Price)}
    if not isinstance(entry, Mapping) or not {"input", "output"} <= entry.keys() <= names:
        raise PriceError(
            f"{where}: a price is `free`, or input and output (and cached) in dollars per million tokens, such as "
            "{input: 0.10, output: 0.30}."
        )
    for name, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise PriceError(f"{where}: {name} is {value!r}; it must be dollars per million tokens, 0 or more.")
    return Price(**entry)
