"""What a run trains on: one training set or several, mixed by weight, and the account of every row that came in.

    training_set: data/agent                               # one
    training_set: data/agent,data/more                     # all rows of both
    training_set: data/agent=1,data/chat.jsonl=2           # two rows of chat for each row of agent
    training_set:                                          # the same in YAML, where a source may have its own variant
      data/agent: {weight: 1, variant: thinking}
      data/chat.jsonl: 2

The first source sets the size: all its rows, once. Of each other so many rows are drawn (`mix_by: tokens`: so many
tokens) that the weights hold; where it has too few, its rows are taken again, and that is said. The draw depends on the
seed alone. The account is printed and kept as `training-data.json` in the output folder: rows read, dropped by reason,
used, their tokens and how many of them are trained.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError
from recipes.rows import NO_ASSISTANT, chat_ids, fitting, read_rows, to_dataset, too_long

if TYPE_CHECKING:
    from datasets import Dataset

ACCOUNT = "training-data.json"
UNITS = ("rows", "tokens")


@dataclass(frozen=True)
class Source:
    """A training set, its weight (None where all of it is used once), and the variant that is read of it."""

    place: Path
    weight: float | None = None
    variant: str | None = None


@dataclass(frozen=True)
class SourceAccount:
    """What became of a source's rows: `read` = dropped + `kept`; of those `used` rows were drawn, `most_often` times
    the same one at most. `tokens` are those of the rows used, `trained` those of them that bear the loss.
    `thoughtless`: assistant turns without thoughts among rows that were read as "thinking"."""

    source: str
    weight: float | None
    variant: str | None
    read: int
    dropped: dict[str, int]
    kept: int
    used: int
    left: int
    most_often: int
    tokens: int
    trained: int
    turns: int
    thoughtless: int

    def __str__(self) -> str:
        named = f"{self.source}{f' (weight {self.weight:g})' if self.weight is not None else ''}"
        reasons = "".join(f", {count:,} dropped as {reason}" for reason, count in self.dropped.items())
        again = f", each up to {self.most_often} times" if self.most_often > 1 else ""
        left = f", {self.left:,} not drawn" if self.left else ""
        share = f" ({self.trained / self.tokens:.0%})" if self.tokens else ""
        empty = f"; {self.thoughtless:,} of {self.turns:,} turns have no thoughts" if self.thoughtless else ""
        return (
            f"{named}: {self.read:,} rows read{reasons}, {self.used:,} used{again}{left}: {self.tokens:,} tokens, "
            f"{self.trained:,} of them trained{share}{empty}"
        )


@dataclass
class Account:
    """All sources of a run."""

    sources: list[SourceAccount] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What is printed: a line a source, and one for all."""
        rows, tokens = sum(s.used for s in self.sources), sum(s.tokens for s in self.sources)
        dropped = sum(sum(s.dropped.values()) for s in self.sources)
        shares = ", ".join(f"{s.tokens / max(1, tokens):.0%} {s.source}" for s in self.sources)
        together = f"rows: {rows:,} used, {dropped:,} dropped; {tokens:,} tokens"
        return [*map(str, self.sources), together + (f": {shares}" if len(self.sources) > 1 else "")]

    def write(self, folder: Path) -> None:
        """Keep it in `folder`, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{ACCOUNT}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / ACCOUNT)


def sources_of(training_set: str | Mapping[str, Any], variant: str | None = None) -> tuple[Source, ...]:
    """The sources that `training_set` names (see above); `variant` is that of those that name none.

    Raises RecipeError where some have a weight and others none, for a weight that is no positive number, for a source
    that is named twice.
    """
    sources = tuple(
        _from_mapping(training_set, variant) if isinstance(training_set, Mapping) else _from_text(training_set, variant)
    )
    if not sources:
        raise RecipeError("no training set. Give a folder by --training_set.")
    if len({source.place for source in sources}) < len(sources):
        raise RecipeError(f"training_set={training_set}: a source is named twice. Give it one weight.")
    if len({source.weight is None for source in sources}) > 1:
        raise RecipeError(f"training_set={training_set}: give every source a weight, or none.")
    if any(source.weight is not None and not source.weight > 0 for source in sources):
        raise RecipeError(f"training_set={training_set}: weights are positive numbers. Leave a source out instead.")
    return sources


def training_rows(
    sources: Sequence[Source],
    tokenizer: Any,
    max_length: int | None,
    seed: int,
    mix_by: str = "rows",
    masked: bool = True,
    processes: int | None = None,
) -> tuple[Dataset, Account]:
    """The rows to train on as TRL's conversational rows, and their account.

    Args:
        sources: Of `sources_of`.
        tokenizer: With the template that trains.
        max_length: In tokens; longer rows are dropped.
        seed: Of the draw and of the order in which several sources are mixed; one source keeps its order.
        mix_by: What the weights count: rows or tokens.
        masked: Whether the loss is on assistant tokens alone; then a row without any is dropped.
        processes: How many measure.

    Raises RecipeError where a source has no row left.
    """
    from datasets import concatenate_datasets

    if mix_by not in UNITS:
        raise RecipeError(f"mix_by={mix_by}: there are {' and '.join(UNITS)}.")
    kept, drops, reads = [], [], []
    for source in sources:
        dropped: Counter[str] = Counter()
        rows = read_rows(source.place, source.variant, dropped)
        reads.append(len(rows) + dropped.total())
        if rows:
            kept.append(fitting(to_dataset(rows), _Measure(tokenizer, max_length, masked), dropped, processes))
        if not rows or not len(kept[-1]):
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it is empty"
            raise RecipeError(f"{source.place}: no row is left to train on: {reasons}. Raise --max_length, or mend it.")
        drops.append(dropped)
    drawn = draw([source.weight for source in sources], [rows["tokens"] for rows in kept], seed, mix_by)
    accounts = [_account(*of) for of in zip(sources, kept, drops, reads, drawn, strict=True)]
    chosen = concatenate_datasets([rows.select(order) for rows, order in zip(kept, drawn, strict=True)])
    if len(sources) > 1:
        order = list(range(len(chosen)))
        random.Random(seed).shuffle(order)
        chosen = chosen.select(order)
    return chosen.select_columns(["messages", "tools"]), Account(accounts)


def draw(weights: Sequence[float | None], tokens: Sequence[Sequence[int]], seed: int, mix_by: str) -> list[list[int]]:
    """Which rows of each source are used, by index, repeats among them; `tokens` are their lengths.

    The first source is used whole. Of the others rows are drawn without replacement until the weight is met as nearly
    as may be, and once more from all where they do not suffice.
    """
    drawn = [list(range(len(tokens[0])))]
    unit = [[1] * len(lengths) if mix_by == "rows" else list(lengths) for lengths in tokens]
    for place, (weight, costs) in enumerate(zip(weights[1:], unit[1:], strict=True), 1):
        if weight is None or weights[0] is None:
            drawn.append(list(range(len(costs))))
            continue
        wanted, total, order = sum(unit[0]) * weight / weights[0], 0, list[int]()
        chance = random.Random(f"{seed} {place}")
        pile: list[int] = []
        while total < wanted:
            if not pile:
                pile = chance.sample(range(len(costs)), len(costs))
            row = pile.pop()
            if order and total + costs[row] / 2 > wanted:
                break
            order.append(row)
            total += costs[row]
        drawn.append(sorted(order))
    return drawn


@dataclass(frozen=True)
class _Measure:
    """What is to be known of a row before it is used; picklable, for several processes."""

    tokenizer: Any
    max_length: int | None
    masked: bool

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import jinja2

        turns = [message for message in row["messages"] if message["role"] == "assistant"]
        without = sum(not turn.get("reasoning_content") and "</think>" not in turn["content"] for turn in turns)
        measured = {"reason": "", "tokens": 0, "trained": 0, "turns": len(turns), "thoughtless": without}
        try:
            ids = chat_ids(self.tokenizer, row["messages"], row["tools"], self.masked)
        except (jinja2.TemplateError, TypeError) as error:
            return {**measured, "reason": f"refused by the chat template ({str(error)[:80]})"}
        tokens = len(ids["input_ids"])
        trained = sum(ids["assistant_masks"]) if self.masked else tokens
        reason = too_long(tokens, self.max_length) or ("" if trained else NO_ASSISTANT)
        return {**measured, "reason": reason, "tokens": tokens, "trained": trained}


def _account(source: Source, kept: Dataset, dropped: Counter[str], read: int, drawn: list[int]) -> SourceAccount:
    times = Counter(drawn)
    figures = {name: kept[name] for name in ("tokens", "trained", "turns", "thoughtless")}
    sums = {name: sum(values[row] for row in drawn) for name, values in figures.items()}
    if source.variant != "thinking":
        sums["thoughtless"] = 0
    return SourceAccount(
        source=str(source.place),
        weight=source.weight,
        variant=source.variant,
        read=read,
        dropped=dict(dropped),
        kept=len(kept),
        used=len(drawn),
        left=len(kept) - len(times),
        most_often=max(times.values()),
        **sums,
    )


def _from_text(text: str, variant: str | None) -> list[Source]:
    if text and Path(text).expanduser().exists():
        return [Source(Path(text).expanduser(), None, variant)]
    sources = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        place, equals, weight = part.rpartition("=")
        given = _number(weight, text) if equals else None
        sources.append(Source(Path(place if equals else part).expanduser(), given, variant))
    return sources


def _from_mapping(given: Mapping[str, Any], variant: str | None) -> list[Source]:
    sources = []
    for place, value in given.items():
        about = dict(value) if isinstance(value, Mapping) else {"weight": value}
        if unknown := about.keys() - {"weight", "variant"}:
            raise RecipeError(f"training_set, {place}: knows weight and variant, not {', '.join(sorted(unknown))}.")
        weight = about.get("weight")
        number = None if weight is None else _number(weight, place)
        sources.append(Source(Path(place).expanduser(), number, about.get("variant", variant)))
    return sources


def _number(text: Any, where: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise RecipeError(f"training_set={where}: the weight {text!r} is no number.") from None
