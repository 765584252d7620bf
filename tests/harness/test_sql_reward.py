"""A query's result is compared as the question asks, on two versions of the tables, and can do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.reward import Reward
from harness.sql.execution import SqlLimits, SqlTables, SqlTablesError
from harness.sql.reward import GoldQueryError, reward_of_query
from pipeline.worlds.parcel_tariffs import parcel_world

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
WORLD = parcel_world("training", 3, seed=1)
C = WORLD.columns


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def tables(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlTables]:
    """The tables of a rule world in a real kernel."""
    folder = tmp_path_factory.mktemp("world")
    for name, text in WORLD.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {
        name: folder / f"{name}.{kind}" for name, kind in (("parcels", "csv"), ("tariffs", "json"), ("depots", "csv"))
    }
    opened = runner.run(SqlTables.open(files, SqlLimits(seconds=3.0, rows=2000)))
    yield opened
    runner.run(opened.close())


@pytest.fixture
def judge(runner: asyncio.Runner, tables: SqlTables) -> Callable[..., Reward]:
    return lambda sql, gold, **how: runner.run(reward_of_query(tables, sql, gold, **how))


ZONE, DEPOT, PRICE, WEIGHT = C["zone"], C["depot"], C["price"], C["weight"]
TOTALS = f"SELECT {ZONE}, sum({PRICE}) AS total FROM parcels GROUP BY {ZONE}"


def test_a_worlds_tables_are_there_with_all_their_rows(runner: asyncio.Runner, tables: SqlTables) -> None:
    counted = "SELECT (SELECT count(*) FROM parcels), (SELECT count(*) FROM tariffs), (SELECT count(*) FROM depots)"
    result = runner.run(tables.run(counted))
    assert result.whole is not None
    assert result.half is not None
    assert result.whole.rows == (tuple(len(WORLD.tables[name]) for name in ("parcels", "tariffs", "depots")),)
    assert 0.3 < result.half.rows[0][0] / result.whole.rows[0][0] < 0.7  # type: ignore[operator]


@pytest.mark.parametrize(
    ("sql", "gold"),
    [
        ("SELECT count(*) AS n FROM parcels", "SELECT count(*) FROM parcels"),
        (f"SELECT {ZONE} AS z, sum({PRICE}) FROM parcels GROUP BY 1", TOTALS),
        (f"{TOTALS} ORDER BY total DESC", TOTALS),
        (f"SELECT {ZONE}, total FROM ({TOTALS}) ORDER BY 2 DESC", f"{TOTALS} ORDER BY total DESC"),
        (f"SELECT avg({PRICE}) FROM parcels", f"SELECT sum({PRICE}) / count(*) FROM parcels"),
        (f"SELECT DISTINCT {ZONE} FROM parcels", f"SELECT {ZONE} FROM parcels GROUP BY {ZONE}"),
    ],
)
def test_a_query_with_the_same_result_is_right_however_it_is_written(
    judge: Callable[..., Reward], sql: str, gold: str
) -> None:
    assert judge(sql, gold) == Reward(1.0, "right")


@pytest.mark.parametrize(
    ("sql", "gold", "reason"),
    [
        (f"{TOTALS} ORDER BY total", f"{TOTALS} ORDER BY total DESC", "rows in another order"),
        (f"{TOTALS} ORDER BY {ZONE}", f"{TOTALS} ORDER BY sum({PRICE}) + 0 DESC", "rows in another order"),
        (f"SELECT {ZONE} FROM parcels", f"SELECT DISTINCT {ZONE} FROM parcels", "rows another number of times"),
        (f"SELECT DISTINCT {ZONE} FROM parcels", f"SELECT {ZONE} FROM parcels", "rows another number of times"),
        (f"SELECT {ZONE} FROM parcels LIMIT 1", f"SELECT DISTINCT {ZONE} FROM parcels", "another number of rows"),
        (f"SELECT sum({WEIGHT}) FROM parcels", f"SELECT sum({PRICE}) FROM parcels", "other rows"),
        ("SELECT NULL", f"SELECT sum({PRICE}) FROM parcels", "other rows"),
        ("SELECT 1, 2", "SELECT count(*) FROM parcels", "another number of columns"),
        ("SELECT nothing FROM parcels", "SELECT count(*) FROM parcels", "error"),
        ("", "SELECT count(*) FROM parcels", "refused"),
        ("I would count the parcels.", "SELECT count(*) FROM parcels", "error"),
        ("SELECT 1; SELECT 2", "SELECT count(*) FROM parcels", "refused"),
        ("SELECT * FROM range(100000)", "SELECT count(*) FROM parcels", "too many rows"),
    ],
)
def test_order_duplicates_and_values_count_and_the_reason_is_said(
    judge: Callable[..., Reward], sql: str, gold: str, reason: str
) -> None:
    assert judge(sql, gold) == Reward(0.0, reason)


def test_rows_that_the_right_order_leaves_tied_may_stand_either_way(judge: Callable[..., Reward]) -> None:
    gold = f"SELECT {ZONE}, {C['id']} FROM parcels ORDER BY {ZONE}"
    assert judge(f"SELECT {ZONE}, {C['id']} FROM parcels ORDER BY {ZONE}, {C['id']} DESC", gold).value == 1.0
    assert judge(f"SELECT {ZONE}, {C['id']} FROM parcels ORDER BY {C['id']}", gold).reason == "rows in another order"
    assert judge(f"SELECT {ZONE}, {C['id']} FROM parcels ORDER BY {C['id']}", gold, ordered=False).value == 1.0


def test_a_number_that_is_stated_and_not_computed_is_found_out(judge: Callable[..., Reward]) -> None:
    count = len(WORLD.tables["parcels"])
    assert judge(f"SELECT {count}", "SELECT count(*) FROM parcels") == Reward(0.0, "right on these rows only")
    assert judge(f"SELECT max({count}) FROM parcels", "SELECT count(*) FROM parcels").value == 0.0


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM parcels",
        "WITH gone AS (DELETE FROM parcels RETURNING *) SELECT * FROM gone",
        "CREATE TABLE x AS SELECT 1",
        "COPY parcels TO 'out.csv'",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('input/0.csv')",
        "SELECT * FROM glob('/**')",
    ],
)
def test_a_query_changes_nothing_and_reaches_no_file(
    judge: Callable[..., Reward], runner: asyncio.Runner, tables: SqlTables, sql: str
) -> None:
    assert judge(sql, "SELECT count(*) FROM parcels").value == 0.0
    still = runner.run(tables.run("SELECT count(*) FROM parcels"))
    assert still.whole is not None
    assert still.whole.rows == ((len(WORLD.tables["parcels"]),),)


def test_a_query_that_does_not_end_is_ended_and_the_tables_are_there_afterwards(
    judge: Callable[..., Reward], runner: asyncio.Runner, tables: SqlTables
) -> None:
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    assert judge(endless, "SELECT count(*) FROM parcels").reason in ("timeout", "error")
    assert judge("SELECT count(*) FROM parcels", "SELECT count(*) FROM parcels").value == 1.0


def test_a_part_can_be_rewarded_but_then_a_query_for_everything_earns_some(judge: Callable[..., Reward]) -> None:
    gold = f"SELECT {C['id']} FROM parcels WHERE {PRICE} > 30"
    everything = f"SELECT {C['id']} FROM parcels"
    assert judge(everything, gold).value == 0.0
    assert 0.2 < judge(everything, gold, partial=0.5).value < 0.5


def test_a_right_query_that_does_not_run_is_an_error_of_the_data(judge: Callable[..., Reward]) -> None:
    with pytest.raises(GoldQueryError, match="the right query is no measure"):
        judge("SELECT 1", "SELECT nothing FROM parcels")


def test_a_file_that_is_no_table_is_named(runner: asyncio.Runner, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SqlTablesError, match=r"must be a \.csv or .json file"):
        runner.run(SqlTables.open({"a": tmp_path / "a.txt"}))
