"""What calls cost: the records that the ledger counts with, and what its sums read like on a progress line."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.calls.reading import Usage

NOTHING = Usage()


@dataclass(frozen=True)
class Cost:
    """Tokens and dollars of one try; dollars None: the model has no price.

    `unseen_*`: the most that a try may have cost whose reply, with its count of tokens, never came.
    """

    usage: Usage = NOTHING
    dollars: float | None = 0.0
    unseen_tokens: int = 0
    unseen_dollars: float = 0.0


@dataclass(frozen=True)
class Totals:
    """What was spent. `tries` counts by outcome: "answered", and the reason of each failed try; `unpriced` are those
    of a model without a price, and `seconds` is the time of all tries together, which ran side by side."""

    tries: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0
    unseen_tokens: int = 0
    unseen_dollars: float = 0.0
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """Tries that brought a reply which could be used."""
        return self.tries.get("answered", 0)

    @property
    def failed(self) -> dict[str, int]:
        """Failed tries by reason, the most frequent first."""
        rest = ((count, reason) for reason, count in self.tries.items() if reason != "answered")
        return {reason: count for count, reason in sorted(rest, key=lambda pair: (-pair[0], pair[1]))}

    @property
    def tokens(self) -> int:
        """All tokens that were counted, in and out."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        money = f"${self.dollars:,.2f}"
        if self.unseen_dollars >= 0.005:
            money += f" (and at most ${self.unseen_dollars:,.2f} for replies that never came)"
        if self.unpriced:
            money += f", {self.unpriced:,} calls without a price"
        failed = ", ".join(f"{reason} {count:,}" for reason, count in self.failed.items())
        return f"{self.answered:,} answered, {self.tokens:,} tokens, {money}" + f"; failed: {failed}" * bool(failed)


@dataclass(frozen=True)
class Recent:
    """How many usable replies came within the last `seconds`."""

    answered: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Usable replies a second."""
        return self.answered / self.seconds

    def seconds_left(self, rows: int) -> float | None:
        """Time for `rows` more; None while nothing is known."""
        return rows / self.per_second if self.answered else None
