"""What runs inside the kernel: tables into DuckDB, and one query at a time over them. Sent there as a cell.

    print(opened({"parcels": "input/parcels.csv"}, memory_mb=512))
    print(answer("SELECT count(*) FROM parcels", rows=1000))

Both print JSON. Two databases in memory hold the tables: all their rows, and about half of them, in the same order, so
that a query that states a result and does not compute it gives itself away. Neither can reach a file or the network
once the tables are in, and a query is one SELECT, which can change nothing. It is no module of the host: nothing there
imports it.
"""

from __future__ import annotations

import json
from typing import Any

import duckdb

WHOLE, HALF = "whole", "half"
_databases: dict[str, Any] = {}


def opened(tables: dict[str, str], memory_mb: int) -> str:
    """Read `tables` (name -> file under the working directory) into both databases."""
    sizes: dict[str, int] = {}
    for name in (WHOLE, HALF):
        database = duckdb.connect(":memory:")
        database.execute(f"SET threads=1; SET memory_limit='{memory_mb}MB'; SET preserve_insertion_order=true")
        for table, path in tables.items():
            quoted = '"' + table.replace('"', '""') + '"'
            read = "read_json_auto" if path.endswith(".json") else "read_csv_auto"
            where = "WHERE hash(row_number) % 2 = 0" if name == HALF else ""
            database.execute(
                f"CREATE TABLE {quoted} AS SELECT * EXCLUDE (row_number) FROM "
                f"(SELECT *, row_number() OVER () AS row_number FROM {read}(?)) {where}",
                [path],
            )
            [(size,)] = database.execute(f"SELECT count(*) FROM {quoted}").fetchall()
            sizes[f"{table} {name}"] = size
        database.execute("SET enable_external_access=false; SET lock_configuration=true")
        _databases[name] = database
    return json.dumps(sizes)


def answer(sql: str, rows: int) -> str:
    """The result of a query on both databases, and what its ORDER BY names, as JSON."""
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            kinds = ", ".join(str(each.type).rpartition(".")[2] for each in statements) or "nothing"
            return json.dumps({"status": "refused", "message": f"one SELECT is allowed, this is {kinds}"})
        found = {name: _rows(_databases[name], sql, rows) for name in (WHOLE, HALF)}
        return json.dumps({"status": "ok", "order": _order(sql), **found})
    except _TooManyRows:
        return json.dumps({"status": "too many rows", "message": f"more than {rows}"})
    except duckdb.Error as error:
        return json.dumps({"status": "error", "message": str(error)[:2000]})


class _TooManyRows(Exception):
    pass


def _rows(database: Any, sql: str, most: int) -> dict[str, Any]:
    cursor = database.cursor()
    try:
        cursor.execute("BEGIN TRANSACTION READ ONLY")  # a SELECT may hold a DELETE in its WITH
        result = cursor.execute(sql)
        columns = [column[0] for column in result.description]
        rows = result.fetchmany(most + 1)
        if len(rows) > most:
            raise _TooManyRows
        return {"columns": columns, "rows": [[_plain(value) for value in row] for row in rows]}
    finally:
        cursor.close()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)  # float, Decimal
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return number if number == number and abs(number) != float("inf") else str(number)


def _order(sql: str) -> list[Any] | None:
    """What the outermost ORDER BY names: a column's name, a position, or None for an expression. None without one."""
    [(text,)] = _databases[WHOLE].cursor().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    read = json.loads(text)
    if read.get("error"):
        return None
    modifiers = read["statements"][0]["node"].get("modifiers", [])
    orders = [order for each in modifiers if each["type"] == "ORDER_MODIFIER" for order in each["orders"]]
    return [_named(order["expression"]) for order in orders] or None


def _named(expression: dict[str, Any]) -> Any:
    if expression["class"] == "COLUMN_REF":
        return expression["column_names"][-1]
    literal = expression.get("literal") or {}
    return int(literal["text"]) if literal.get("kind") == "INTEGER" else None
