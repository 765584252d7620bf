"""What is asked of a parcel-tariffs world: for each family a question's slots, its oracle's answer and its solution.

The oracle is plain Python over the world's rows, the solution is cells of pandas; neither calls the other, and
`check.py` compares them in a real kernel. The words around the slots are in `parcel_questions.py`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import median

from pipeline.worlds.parcel_tariffs import CATEGORIES, NUMBERS, VALUES
from pipeline.worlds.world import Ambiguous, Draw, World

READ = "import pandas as pd\ndf = pd.read_csv('input/parcels.csv')\n"
RULES = "import json\nrules = json.load(open('input/tariffs.json'))\nprint(len(rules))"


def _exact(values: list[float]) -> list[Decimal]:
    return [Decimal(str(value)) for value in values]


def _rounded(value: Decimal, decimals: int) -> str:
    """Round half to even; a value so near a tie that float arithmetic may fall on the other side is Ambiguous."""
    step = Decimal(1).scaleb(-decimals)
    down = (value / step).to_integral_value(rounding="ROUND_FLOOR") * step
    if abs(value - down - step / 2) < step / 1000:
        raise Ambiguous("within a thousandth of a step of a rounding tie")
    return str(value.quantize(step, rounding=ROUND_HALF_EVEN))


def _category(world: World, rng: random.Random, *, but: str = "") -> str:
    return rng.choice([concept for concept in CATEGORIES if concept != but])


def _where(world: World, rng: random.Random) -> tuple[str, str, list[dict[str, object]]]:
    """A category column, one of its values, and the parcels that have it (at least two)."""
    concept = _category(world, rng)
    column, value = world.columns[concept], rng.choice(world.values[concept])
    rows = [dict(row) for row in world.tables["parcels"] if row[column] == value]
    if len(rows) < 2:
        raise Ambiguous("fewer than two parcels")
    return column, value, rows


def _number_column(world: World, rng: random.Random) -> str:
    return world.columns[rng.choice(list(NUMBERS))]


def _column(rows: object, name: str) -> list[Decimal]:
    return _exact([row[name] for row in rows])  # type: ignore[attr-defined]


def _totals(world: World, category: str, number: str) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for row in world.tables["parcels"]:
        totals[row[category]] += Decimal(str(row[number]))
    if len(set(totals.values())) < len(totals):
        raise Ambiguous("a tie of totals")
    return totals


def count_where(world: World, rng: random.Random) -> Draw:
    """How many parcels have a value."""
    column, value, rows = _where(world, rng)
    return Draw({"c": column, "v": value}, str(len(rows)), (READ + f"print((df['{column}'] == '{value}').sum())",))


def sum_where(world: World, rng: random.Random) -> Draw:
    """Total of a number over the parcels that have a value."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    answer = _rounded(sum(_column(rows, number), Decimal()), 2)
    code = f"print(round(df[df['{column}'] == '{value}']['{number}'].sum(), 2))"
    return Draw({"c": column, "v": value, "n": number}, answer, (READ + code,))


def mean_where(world: World, rng: random.Random) -> Draw:
    """Average over the parcels that have a value; a value that no parcel has is Not Applicable."""
    number = _number_column(world, rng)
    if rng.random() < 0.15:
        concept = rng.choice(("zone", "depot"))
        column = world.columns[concept]
        present = {row[column] for row in world.tables["parcels"]}
        value = rng.choice([name for name in VALUES[concept] if name not in present])
        answer = "Not Applicable"
    else:
        column, value, rows = _where(world, rng)
        values = _column(rows, number)
        answer = _rounded(sum(values, Decimal()) / len(values), 2)
    code = f"x = df[df['{column}'] == '{value}']['{number}']\nprint(round(x.mean(), 2) if len(x) else 'Not Applicable')"
    return Draw({"c": column, "v": value, "n": number}, answer, (READ + code,))


def median_where(world: World, rng: random.Random) -> Draw:
    """Median over the parcels that have a value."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    answer = _rounded(Decimal(median(_column(rows, number))), 2)
    code = f"print(round(df[df['{column}'] == '{value}']['{number}'].median(), 2))"
    return Draw({"c": column, "v": value, "n": number}, answer, (READ + code,))


def largest_where(world: World, rng: random.Random) -> Draw:
    """Largest number among the parcels that have a value."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    code = f"print(df[df['{column}'] == '{value}']['{number}'].max())"
    return Draw({"c": column, "v": value, "n": number}, str(max(_column(rows, number))), (READ + code,))


def spread(world: World, rng: random.Random) -> Draw:
    """Largest less smallest."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    values = _column(rows, number)
    code = f"x = df[df['{column}'] == '{value}']['{number}']\nprint(round(x.max() - x.min(), 2))"
    return Draw({"c": column, "v": value, "n": number}, _rounded(max(values) - min(values), 2), (READ + code,))


def share_where(world: World, rng: random.Random) -> Draw:
    """Percentage of parcels that have a value."""
    column, value, rows = _where(world, rng)
    answer = _rounded(Decimal(100 * len(rows)) / len(world.tables["parcels"]), 1)
    code = f"print(round(100 * (df['{column}'] == '{value}').mean(), 1))"
    return Draw({"c": column, "v": value}, answer, (READ + code,))


def count_either(world: World, rng: random.Random) -> Draw:
    """How many parcels have one value or another of two columns."""
    first = _category(world, rng)
    second = _category(world, rng, but=first)
    a, b = world.columns[first], world.columns[second]
    v, w = rng.choice(world.values[first]), rng.choice(world.values[second])
    count = sum(row[a] == v or row[b] == w for row in world.tables["parcels"])
    code = f"print(((df['{a}'] == '{v}') | (df['{b}'] == '{w}')).sum())"
    return Draw({"c": a, "v": v, "d": b, "w": w}, str(count), (READ + code,))


def count_above(world: World, rng: random.Random) -> Draw:
    """How many parcels of a value lie above a bound."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    bound = int(median(_column(rows, number)))
    count = sum(x > bound for x in _column(rows, number))
    code = f"print(((df['{column}'] == '{value}') & (df['{number}'] > {bound})).sum())"
    return Draw({"c": column, "v": value, "n": number, "b": str(bound)}, str(count), (READ + code,))


def distinct_where(world: World, rng: random.Random) -> Draw:
    """How many different values of one column among the parcels that have a value in another."""
    column, value, rows = _where(world, rng)
    number = _number_column(world, rng)
    code = f"print(df[df['{column}'] == '{value}']['{number}'].nunique())"
    return Draw({"c": column, "v": value, "n": number}, str(len({row[number] for row in rows})), (READ + code,))


def top_by_total(world: World, rng: random.Random) -> Draw:
    """The value with the highest total."""
    category, number = world.columns[_category(world, rng)], _number_column(world, rng)
    totals = _totals(world, category, number)
    code = f"print(df.groupby('{category}')['{number}'].sum().idxmax())"
    return Draw({"c": category, "n": number}, max(totals, key=lambda v: totals[v]), (READ + code,))


def top_three(world: World, rng: random.Random) -> Draw:
    """The three values with the highest totals."""
    category, number = world.columns[_category(world, rng)], _number_column(world, rng)
    totals = _totals(world, category, number)
    best = sorted(totals, key=lambda v: totals[v], reverse=True)[:3]
    code = f"print(', '.join(df.groupby('{category}')['{number}'].sum().nlargest(3).index))"
    return Draw({"c": category, "n": number}, ", ".join(best), (READ + code,))


def rarest(world: World, rng: random.Random) -> Draw:
    """The least frequent value."""
    category = world.columns[_category(world, rng)]
    counts: dict[str, int] = defaultdict(int)
    for row in world.tables["parcels"]:
        counts[row[category]] += 1
    low = min(counts.values())
    names = [value for value, count in counts.items() if count == low]
    if len(names) > 1:
        raise Ambiguous("a tie of counts")
    return Draw({"c": category}, names[0], (READ + f"print(df['{category}'].value_counts().idxmin())",))


def parcel_of_largest(world: World, rng: random.Random) -> Draw:
    """The id of the parcel of a value with the largest number."""
    column, value, rows = _where(world, rng)
    number, name = _number_column(world, rng), world.columns["id"]
    high = max(_column(rows, number))
    holders = [str(row[name]) for row in rows if Decimal(str(row[number])) == high]
    if len(holders) > 1:
        raise Ambiguous("a tie for the largest")
    code = f"x = df[df['{column}'] == '{value}']\nprint(x.loc[x['{number}'].idxmax(), '{name}'])"
    return Draw({"c": column, "v": value, "n": number, "i": name}, holders[0], (READ + code,))


def higher_mean(world: World, rng: random.Random) -> Draw:
    """Which of two values has the higher average."""
    concept = _category(world, rng)
    column, number = world.columns[concept], _number_column(world, rng)
    v, w = rng.sample(world.values[concept], 2)
    means = []
    for value in (v, w):
        numbers = _column([row for row in world.tables["parcels"] if row[column] == value], number)
        if not numbers:
            raise Ambiguous("no parcels")
        means.append(sum(numbers, Decimal()) / len(numbers))
    if means[0] == means[1]:
        raise Ambiguous("equal averages")
    code = f"m = df.groupby('{column}')['{number}'].mean()\nprint(m[['{v}', '{w}']].idxmax())"
    return Draw({"c": column, "n": number, "v": v, "w": w}, v if means[0] > means[1] else w, (READ + code,))


def rules_that_apply(world: World, rng: random.Random) -> Draw:
    """How many tariff rules apply to a value; null means any."""
    concept = rng.choice(("zone", "service", "packaging"))
    key, value = world.columns[concept], rng.choice(world.values[concept])
    count = sum(rule[key] is None or rule[key] == value for rule in world.tables["tariffs"])
    code = f"print(sum(r['{key}'] in (None, '{value}') for r in rules))"
    return Draw({"c": key, "v": value}, str(count), (RULES, code))


def surcharge_total(world: World, rng: random.Random) -> Draw:
    """What the rules that apply to a value add up to; null means any."""
    concept = rng.choice(("zone", "service", "packaging"))
    key, value = world.columns[concept], rng.choice(world.values[concept])
    charge = world.columns["surcharge"]
    total = Decimal()
    for rule in world.tables["tariffs"]:
        if rule[key] is None or rule[key] == value:
            total += Decimal(str(rule[charge]))
    code = f"print(round(sum(r['{charge}'] for r in rules if r['{key}'] in (None, '{value}')), 2))"
    return Draw({"c": key, "v": value, "n": charge}, _rounded(total, 2), (RULES, code))


def sum_in_region(world: World, rng: random.Random) -> Draw:
    """Total of a number over the parcels whose depot lies in a region: a join with depots.csv."""
    depot, region = world.columns["depot"], world.columns["region"]
    number, value = _number_column(world, rng), rng.choice(world.values["region"])
    there = {row[depot] for row in world.tables["depots"] if row[region] == value}
    rows = [row for row in world.tables["parcels"] if row[depot] in there]
    if not rows:
        raise Ambiguous("no parcels in the region")
    join = f"df = df.merge(pd.read_csv('input/depots.csv'), on='{depot}')\nprint(len(df))"
    code = f"print(round(df[df['{region}'] == '{value}']['{number}'].sum(), 2))"
    slots = {"d": depot, "c": region, "v": value, "n": number}
    return Draw(slots, _rounded(sum(_column(rows, number), Decimal()), 2), (READ + join, code))
