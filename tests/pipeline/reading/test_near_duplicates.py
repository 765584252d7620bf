"""Which notebooks are the same: by bytes, by code, nearly; the best is kept, and nothing else is dropped."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reading.code_lines import code_lines, telling_lines
from pipeline.reading.near_duplicates import (
    KEPT,
    NEAR,
    SAME_BYTES,
    SAME_CODE,
    Fates,
    SignatureTable,
    judge,
    sign,
)
from pipeline.reading.notebook import Cell, Notebook
from pipeline.reading.popularity import quality
from pipeline.row import Popularity
from scripts.notebook_corpus import HEADER


def lines(seed: int, count: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [f"value_{rng.randrange(10**6)} = frame['{rng.randrange(10**6)}'].mean()" for _ in range(count)]


def judged(*notebooks: list[str], data: list[bytes] | None = None, best: list[int] | None = None) -> Fates:
    given_data = data or [f"{number}".encode() for number in range(len(notebooks))]
    table = SignatureTable.of(sign(*pair) for pair in zip(given_data, notebooks, strict=True))
    return judge(table, np.array(best or [0] * len(notebooks), np.int64))


def test_the_same_bytes_the_same_code_and_nearly_the_same_code() -> None:
    one, edited = lines(1), lines(1)
    edited[::5] = lines(2, 8)
    fates = judged(one, one, one, edited, lines(3), data=[b"a", b"a", b"b", b"c", b"d"])
    assert fates.fate.tolist() == [KEPT, SAME_BYTES, SAME_CODE, NEAR, KEPT]
    assert fates.stands_for.tolist() == [0, 0, 0, 0, 4]
    assert fates.family.tolist() == [0, 0, 0, 0, 4]
    assert fates.likeness[3] == pytest.approx(32 / 48)


def test_the_best_is_kept() -> None:
    fates = judged(lines(1), lines(1), lines(1), best=[1, 3, 2])
    assert fates.fate.tolist() == [SAME_CODE, KEPT, SAME_CODE]
    gold, silver = Popularity(votes=3, medal=1), Popularity(votes=900, medal=2)
    ordered = [quality(gold, 10), quality(silver, 10), quality(Popularity(votes=5), 9), quality(None, 10**6)]
    assert ordered == sorted(ordered, reverse=True)
    assert quality(None, 10) > quality(None, 9)


def test_half_of_the_lines_is_not_enough() -> None:
    assert judged(lines(1), lines(1)[:20] + lines(2, 20)).fate.tolist() == [KEPT, KEPT]


def test_a_chain_of_likeness_is_one_family_but_drops_only_what_is_like_a_kept_one() -> None:
    all_lines = lines(1, 60)
    first, second, third = all_lines[:40], all_lines[8:48], all_lines[16:56]
    fates = judged(first, second, third)
    assert fates.fate.tolist() == [KEPT, NEAR, KEPT]
    assert fates.family.tolist() == [0, 0, 0]


def test_tiny_notebooks_are_never_nearly_the_same() -> None:
    fates = judged(["import os", "a = 1"], ["import os", "a = 1"], ["import os", "a = 2"], [], [])
    assert fates.fate.tolist() == [KEPT] * 5


def test_kaggle_s_header_imports_comments_and_blanks_are_nobody_s_own() -> None:
    source = HEADER + '\nimport seaborn as sns\nx = "a"  # comment\n\nif x :\n    y=f( x )\n'
    read = code_lines(Notebook(cells=[Cell(cell_type="code", source=source), Cell(cell_type="markdown", source="z")]))
    assert read == ["importseabornassns", "x='a'", "ifx:", "y=f(x)"]
    assert telling_lines(read) == {"y=f(x)"}
    own = [HEADER + "\n" + "\n".join(lines(seed, 6)) for seed in range(20)]
    notebooks = [code_lines(Notebook(cells=[Cell(cell_type="code", source=text)])) for text in own]
    assert judged(*notebooks).fate.tolist() == [KEPT] * 20


@given(st.lists(st.lists(st.integers(0, 30), max_size=25), max_size=12), st.randoms(use_true_random=False))
def test_whatever_is_dropped_is_like_a_kept_one_and_the_order_does_not_change_who_is_alike(
    drawn: list[list[int]], rng: random.Random
) -> None:
    notebooks = [[f"distinct_line_{number}()" for number in numbers] for numbers in drawn]
    fates = judged(*notebooks)
    for row, fate in enumerate(fates.fate):
        other = int(fates.stands_for[row])
        assert fates.fate[other] == KEPT
        if fate == SAME_CODE:
            assert notebooks[row] == notebooks[other]
        if fate == NEAR:
            a, b = set(notebooks[row]), set(notebooks[other])
            assert len(a & b) / len(a | b) >= 0.6
    shuffled = list(range(len(notebooks)))
    rng.shuffle(shuffled)
    again = judged(*[notebooks[row] for row in shuffled])
    assert sorted(fates.family_size) == sorted(again.family_size)


def test_tables_of_ranks_are_one_table_and_survive_the_disk() -> None:
    signatures = [sign(bytes([n]), lines(n)) for n in range(4)]
    tables = []
    for part in (signatures[:1], [], signatures[1:]):
        file = io.BytesIO()
        SignatureTable.of(part).save(file)
        file.seek(0)
        tables.append(SignatureTable.load(file))
    whole, joined = SignatureTable.of(signatures), SignatureTable.concatenated(tables)
    for name in ("data", "code", "bands", "starts", "lines"):
        assert np.array_equal(getattr(whole, name), getattr(joined, name))
