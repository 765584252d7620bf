"""The reward of a query: whether its result is that of the right query, order and duplicates included.

    reward = await reward_of_query(tables, "SELECT ...", gold="SELECT ... ORDER BY total DESC")
    reward.value, reward.reason           # 1.0 "right", or 0.0 and why

Rows are compared as often as they come; their order counts where the question asks for one, which the right query's
ORDER BY says (rows that it leaves tied may stand either way, where what it orders by is in the result). Columns are
compared by position, not by name. Both queries run twice, on the tables and on about half of their rows: what states
a number and does not compute it agrees with one at most.

1 or 0 by default. `partial` gives so much of the share of rows in common for a wrong result that runs; that **can be
gamed** (a query that returns everything shares many rows), so no recipe sets it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from harness.reward import RIGHT, Reward
from harness.sql.execution import Rows, SqlResult, SqlTables, Value

RELATIVE, ABSOLUTE = 1e-6, 1e-9
Row = tuple[Value, ...]


class GoldQueryError(ValueError):
    """The right query itself does not run; the message has DuckDB's."""


async def reward_of_query(
    tables: SqlTables, sql: str, gold: str, ordered: bool | None = None, partial: float = 0.0
) -> Reward:
    """The reward of `sql`. `ordered` None: as the right query's ORDER BY says. Raises GoldQueryError."""
    right = await tables.run(gold)
    if right.whole is None or right.half is None:
        raise GoldQueryError(f"the right query is no measure: {right.status} ({right.message}): {gold}")
    given = await tables.run(sql)
    if given.whole is None or given.half is None:
        return Reward(0.0, given.status)
    reason = _difference(given.whole, right.whole, right, ordered)
    if reason is None and _difference(given.half, right.half, right, ordered) is not None:
        reason = "right on these rows only"
    if reason is None:
        return Reward(1.0, RIGHT)
    return Reward(partial * shared(given.whole.rows, right.whole.rows), reason)


def shared(ours: Sequence[Row], theirs: Sequence[Row]) -> float:
    """The share of rows in common, each as often as it comes (Jaccard over multisets); 1 for two empty results."""
    a, b = Counter(map(_key, ours)), Counter(map(_key, theirs))
    either = (a | b).total()
    return (a & b).total() / either if either else 1.0


def _difference(ours: Rows, theirs: Rows, gold: SqlResult, ordered: bool | None) -> str | None:
    if len(ours.columns) != len(theirs.columns):
        return "another number of columns"
    if len(ours.rows) != len(theirs.rows):
        distinct = {_key(row) for row in ours.rows} == {_key(row) for row in theirs.rows}
        return "rows another number of times" if distinct else "another number of rows"
    if not _same(sorted(ours.rows, key=_key), sorted(theirs.rows, key=_key)):
        return "other rows"
    if ordered is False or (ordered is None and gold.order is None):
        return None
    return None if _same_order(ours, theirs, gold) else "rows in another order"


def _same_order(ours: Rows, theirs: Rows, gold: SqlResult) -> bool:
    places = [_place(name, theirs.columns) for name in gold.order or (None,)]
    if any(place is None for place in places):
        return _same(ours.rows, theirs.rows)
    keep = [place for place in places if place is not None]
    return _same(
        [tuple(row[place] for place in keep) for row in ours.rows],
        [tuple(row[place] for place in keep) for row in theirs.rows],
    )


def _place(name: str | int | None, columns: Sequence[str]) -> int | None:
    if isinstance(name, int):
        return name - 1 if 1 <= name <= len(columns) else None
    found = [place for place, column in enumerate(columns) if name is not None and column.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def _same(ours: Sequence[Row], theirs: Sequence[Row]) -> bool:
    return all(all(map(_equal, a, b)) for a, b in zip(ours, theirs, strict=True))


def _equal(a: Value, b: Value) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return a == b


def _key(row: Row) -> tuple[tuple[str, float, str], ...]:
    """A row for sorting and counting: numbers to seven digits, None apart from everything."""
    return tuple(
        ("number", float(f"{value:.7g}"), "")
        if isinstance(value, int | float)
        else ("none" if value is None else "text", 0.0, str(value))
        for value in row
    )
