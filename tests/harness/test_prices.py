"""Prices reach every run of a process that has Inspect's own variable, and a broken file is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai.hooks import RunStart
from inspect_ai.model import get_model_info
from inspect_ai.model._model_info import clear_model_info_cache

from harness.prices import VARIABLE, Prices, PricesError, set_prices

LINE = "{input: 0.25, output: 2.0, input_cache_write: 0.0, input_cache_read: 0.025}"


@pytest.fixture(autouse=True)
def only_the_known_models() -> Iterator[None]:
    yield
    clear_model_info_cache()


def test_a_run_that_begins_has_the_prices_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(f"openai/gpt-4o: {LINE}\n")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not Prices().enabled()
    monkeypatch.setenv(VARIABLE, str(prices))
    assert Prices().enabled()
    asyncio.run(Prices().on_run_start(RunStart(eval_set_id=None, run_id="r", task_names=["t"])))
    known = get_model_info("openai/gpt-4o")
    assert known is not None
    assert known.cost is not None
    assert known.cost.output == 2.0


@pytest.mark.parametrize("text", ["- 1\n", "openai/gpt-4o: {input: 1}\n", "openai/gpt-4o: cheap\n", "a: [", ""])
def test_a_file_that_holds_no_prices_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(PricesError, match=r"prices\.yaml: no prices can be read from it .*dollars per million tokens"):
        set_prices(tmp_path / "prices.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match=r"gone\.yaml"):
        set_prices(tmp_path / "gone.yaml")
