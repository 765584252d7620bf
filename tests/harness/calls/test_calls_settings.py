"""Endpoints, limits, prices and what errors of the wire mean: wrong values are refused by name, with the mend."""

from __future__ import annotations

from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from harness.calls.endpoint import Budget, Endpoint, EndpointError, Limits
from harness.calls.faults import fault_of, retry_after
from harness.calls.prices import FREE, Price, PriceError, Prices


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": "localhost:8000"}, "is no http"),
        ({"base_url": "https://me:secret@llm.example/v1"}, "holds a user or password"),
        ({"model": ""}, "no model is named"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"reply_form": "xml"}, "none of json_schema, json_object, prompt"),
        ({"sampling": {"n": 4}}, "several samples are asked for one by one"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EndpointError, match=message) as refused:
        Endpoint(**{"name": "judge", "base_url": "http://localhost:8000/v1", "model": "m"} | fields)
    assert "judge" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "fields", [{"at_once": 0}, {"tries": 0}, {"repairs": -1}, {"try_s": 0}, {"try_s": 9e9}], ids=str
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match=f"limits: {next(iter(fields))}"):
        Limits(**fields)
    with pytest.raises(EndpointError, match="budget"):
        Budget(dollars=-1)


def test_prices_come_from_a_file_and_local_endpoints_are_free(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("org/big: {input: 1, output: 4, cached: 0.5}\norg/small: free\n")
    prices = Prices.read(path)
    far, near = "https://llm.example/v1", "http://127.0.0.1:8000/v1"
    assert prices.of(Endpoint("e", far, "org/big")) == Price(1, 4, 0.5)
    assert prices.of(Endpoint("e", far, "org/small")) == FREE
    assert prices.of(Endpoint("e", far, "org/other")) is None
    assert prices.of(Endpoint("e", near, "org/other")) == FREE
    assert prices.of(Endpoint("e", near, "org/big")) == Price(1, 4, 0.5)  # who prices local calls gets them priced
    assert Price(1, 4, 0.5).dollars(1_000_000, 500_000, cached_tokens=400_000) == pytest.approx(0.6 + 0.2 + 2.0)
    assert Price(1, 4).dollars(1_000_000, 0, cached_tokens=400_000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "not a mapping"),
        ("m: 3\n", "m: a price is `free`, or input and output"),
        ("m: {input: 1}\n", "m: a price is"),
        ("m: {input: 1, output: 2, out: 3}\n", "m: a price is"),
        ("m: {input: 1, output: -2}\n", "m: output is -2"),
        ("m: {input: .nan, output: 2}\n", "m: input is nan"),
        ("m: {input: yes, output: 2}\n", "m: input is True"),
        ("m: [\n", "cannot be read"),
    ],
)
def test_a_price_list_with_a_fault_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PriceError, match=message):
        Prices.read(path)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ],
    ids=str,
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    from datetime import UTC, datetime, timedelta

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    assert retry_after({"retry-after": soon}) == pytest.approx(30, abs=2)


def test_an_error_that_is_no_fault_of_a_call_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        fault_of(ZeroDivisionError("a bug"))
