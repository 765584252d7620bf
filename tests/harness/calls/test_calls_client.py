"""The Caller over real HTTP: what is paid, what is tried again, what fails, what stops everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.calls.client import Caller
from harness.calls.endpoint import Budget, Endpoint, EndpointError, Limits
from harness.calls.feed import replies
from harness.calls.ledger import Ledger
from harness.calls.outcome import (
    BudgetStop,
    CallFailed,
    EndpointDown,
    EndpointRefused,
    Failure,
    Reply,
)
from harness.calls.prices import Price, PriceError, Prices
from harness.calls.request import Request
from tests.harness.calls.conftest import QUICK, Score, first_json, score_request, with_limits
from tests.stand_ins.endpoint import Faults, Refuse, StandIn

CallerOf = Callable[..., Caller]


def run(caller: Caller, *requests: Request) -> list[Reply | Failure]:
    async def ask() -> list[Reply | Failure]:
        async with caller:
            return await asyncio.gather(*(caller.answer(request) for request in requests))

    return asyncio.run(ask())


def outcome_of(caller: Caller, request: Request) -> Reply | Failure:
    return run(caller, request)[0]


def test_a_reply_is_parsed_priced_and_never_paid_again(caller_of: CallerOf, ledger: Ledger) -> None:
    prices = Prices({"stand-in": Price(input=1.0, output=10.0)})
    with StandIn() as there:
        first, again = (outcome_of(caller_of(there.base_url, prices=prices), score_request(4)) for _ in range(2))
    assert isinstance(first, Reply)
    assert isinstance(again, Reply)
    assert first.parsed(Score) == again.parsed(Score) == Score(score=4, why="because")
    assert (first.paid_before, again.paid_before, there.counts.requests) == (False, True, 1)
    assert first.bill.dollars == pytest.approx((first.bill.input_tokens + 10 * first.bill.output_tokens) / 1e6)
    totals = ledger.totals("score")
    assert (totals.answered, totals.tokens) == (1, first.bill.input_tokens + first.bill.output_tokens)
    assert totals.dollars == pytest.approx(first.bill.dollars)
    assert ledger.in_flight() == 0


@pytest.mark.parametrize(
    "other",
    [
        {"sample": 1},
        {"prompt_version": "b"},
        {"max_tokens": 7},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
    ids=str,
)
def test_another_sample_prompt_length_or_tool_is_another_question(caller_of: CallerOf, other: dict[str, Any]) -> None:
    with StandIn() as there:
        run(caller_of(there.base_url), score_request(4), score_request(4, **other))
    assert there.counts.requests == 2


def test_another_model_or_sampling_is_another_question_and_another_port_is_not(ledger: Ledger) -> None:
    ways: list[dict[str, Any]] = [{}, {"sampling": {"temperature": 0.5}}, {"model": "other"}]
    asked = 0
    for _ in range(2):  # the second round is on another port
        with StandIn() as there:
            for way in ways:
                fields = {"model": "stand-in", "served_as": "a local server"} | way
                outcome_of(Caller(Endpoint("e", there.base_url, **fields), ledger, "s"), score_request(1))
        asked += there.counts.requests
    assert asked == len(ways)


def test_the_same_question_asked_at_once_is_paid_once(caller_of: CallerOf) -> None:
    with StandIn(latency_s=0.05) as there:
        outcomes = run(caller_of(there.base_url), *[score_request(4)] * 5)
    assert there.counts.requests == 1
    assert [outcome.paid_before for outcome in outcomes] == [False, True, True, True, True]


def test_a_seed_is_raised_by_the_sample(caller_of: CallerOf) -> None:
    with StandIn(rule=lambda payload: str(payload["seed"])) as there:
        caller = caller_of(there.base_url, sampling={"seed": 7})
        outcomes = run(caller, *(Request([{"role": "user", "content": "?"}], sample=sample) for sample in (0, 1)))
    assert [outcome.text for outcome in outcomes] == ["7", "8"]


@pytest.mark.parametrize(
    "kind", ["429", "429 bare", "500", "502", "hang", "drop", "cut body", "cut JSON", "wrong schema"]
)
def test_a_try_that_fails_is_made_again_and_counted(caller_of: CallerOf, ledger: Ledger, kind: str) -> None:
    faults = Faults({kind: 0.5}, seed=1)
    with StandIn(rule=first_json, faults=faults, retry_after_s=0.01) as there:
        outcomes = run(caller_of(there.base_url, limits=_patient(kind)), *(score_request(row) for row in range(12)))
    assert [outcome.parsed(Score).score for outcome in outcomes if isinstance(outcome, Reply)] == list(range(12))
    reason = {
        "429 bare": "429",
        "hang": "timed out",
        "drop": "connection dropped",
        "cut body": "unreadable reply",
        "cut JSON": "cut off",
    }.get(kind, kind)
    totals = ledger.totals("score")
    assert totals.failed.keys() == {reason}
    assert sum(totals.tries.values()) == there.counts.requests
    assert sum(sum(outcome.bill.tries.values()) for outcome in outcomes) == there.counts.requests
    assert (totals.unseen_tokens > 0) == (kind in ("hang", "drop", "cut body"))  # may have been paid, and no reply came


def _patient(kind: str) -> Limits:
    return with_limits(repairs=20, tries=20, **{"try_s": 0.5} if kind == "hang" else {})


def test_a_slow_body_is_read_to_its_end(caller_of: CallerOf, ledger: Ledger) -> None:
    with StandIn(faults=Faults({"slow": 1.0})) as there:
        assert isinstance(outcome_of(caller_of(there.base_url), score_request(4)), Reply)
    assert ledger.totals().failed == {}


def test_a_wrong_reply_is_shown_to_the_model_with_what_is_wrong(caller_of: CallerOf) -> None:
    seen: list[list[dict[str, str]]] = []

    def rule(payload: dict[str, Any]) -> str:
        seen.append(payload["messages"])
        return '{"score": "high", "why": "so"}' if len(seen) == 1 else '{"score": 5, "why": "so"}'

    with StandIn(rule=rule) as there:
        reply = outcome_of(caller_of(there.base_url), score_request(4))
    assert isinstance(reply, Reply)
    assert reply.parsed(Score).score == 5
    assert reply.bill.tries == {"wrong schema": 1, "answered": 1}
    assert [message["role"] for message in seen[1]] == ["user", "assistant", "user"]
    assert "score: Input should be a valid integer" in seen[1][-1]["content"]


def test_replies_that_stay_wrong_fail_with_a_reason_and_are_not_paid_again(caller_of: CallerOf, ledger: Ledger) -> None:
    with StandIn(rule=lambda _: "I would rather not.") as there:
        first, again = (outcome_of(caller_of(there.base_url), score_request(4)) for _ in range(2))
        assert there.counts.requests == 1 + QUICK.repairs
        assert isinstance(first, Failure)
        assert (first.reason, first.text, first.bill.tries) == ("no JSON", "I would rather not.", {"no JSON": 3})
        assert isinstance(again, Failure)
        assert (again.reason, again.paid_before) == ("no JSON", True)
        assert ledger.forget_failures("score") == 1
        outcome_of(caller_of(there.base_url), score_request(4))
        assert there.counts.requests == 2 * (1 + QUICK.repairs)


def test_an_endpoint_that_stays_ill_fails_the_row_and_a_rerun_asks_again(caller_of: CallerOf) -> None:
    with StandIn(faults=Faults({"500": 1.0})) as there:
        for _ in range(2):
            failure = outcome_of(caller_of(there.base_url), score_request(4))
            assert isinstance(failure, Failure)
            assert (failure.reason, failure.bill.tries, failure.paid_before) == ("500", {"500": QUICK.tries}, False)
    assert there.counts.requests == 2 * QUICK.tries


def test_a_reply_has_a_total_time_limit(caller_of: CallerOf) -> None:
    limits = with_limits(try_s=0.1, total_s=0.35, tries=100)
    with StandIn(faults=Faults({"hang": 1.0})) as there:
        failure = outcome_of(caller_of(there.base_url, limits=limits), score_request(4))
    assert isinstance(failure, Failure)
    assert failure.reason == "timed out"
    assert 2 <= there.counts.requests <= 5


def test_a_wait_longer_than_what_is_left_is_not_waited_for(caller_of: CallerOf) -> None:
    with StandIn(faults=Faults({"429": 1.0}), retry_after_s=3600) as there:
        failure = outcome_of(caller_of(there.base_url), score_request(4))
    assert isinstance(failure, Failure)
    assert (failure.reason, there.counts.requests) == ("429", 1)


@pytest.mark.parametrize(
    ("status", "message", "code", "reason"),
    [
        (400, "bad messages", None, "400"),
        (400, "This model's maximum context length is 4096 tokens", None, "too long"),
        (400, "no", "context_length_exceeded", "too long"),
        (403, "flagged by moderation", None, "403"),
        (422, "odd", None, "422"),
    ],
)
def test_what_the_endpoint_blames_on_a_row_is_not_tried_again(
    caller_of: CallerOf, status: int, message: str, code: str | None, reason: str
) -> None:
    with StandIn(rule=_refusing(status, message, code)) as there:
        failure, _ = (outcome_of(caller_of(there.base_url), score_request(4)) for _ in range(2))
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert message in failure.detail
    assert there.counts.requests == 1


@pytest.mark.parametrize(
    ("status", "code"), [(401, None), (402, None), (403, None), (404, None), (429, "insufficient_quota")]
)
def test_what_the_endpoint_blames_on_the_caller_stops_everything(
    caller_of: CallerOf, status: int, code: str | None
) -> None:
    with StandIn(rule=_refusing(status, "no", code), latency_s=0.02) as there:
        caller = caller_of(there.base_url)
        with pytest.raises(EndpointRefused, match=f"HTTP {status}: no"):
            list(replies(caller, range(1000), score_request))
    assert there.counts.requests <= QUICK.at_once


def _refusing(status: int, message: str, code: str | None = None) -> Callable[[dict[str, Any]], str]:
    def rule(_: dict[str, Any]) -> str:
        raise Refuse(status, message, code)

    return rule


def test_an_endpoint_that_is_gone_stops_everything_before_all_rows_are_dropped(caller_of: CallerOf) -> None:
    with StandIn() as there:
        pass
    limits = with_limits(tries=2, give_up_after=5)
    with pytest.raises(EndpointDown, match="5 rows of score failed one after another, the last with cannot connect"):
        list(replies(caller_of(there.base_url, limits=limits), range(1000), score_request))


@pytest.mark.parametrize("taken", ["json_object", "prompt"])
def test_an_endpoint_without_strict_schemas_is_asked_in_another_form(caller_of: CallerOf, taken: str) -> None:
    def rule(payload: dict[str, Any]) -> str:
        form = payload.get("response_format", {"type": "prompt"})["type"]
        if form not in (taken, "prompt"):
            raise Refuse(400, f"response_format {form} is not supported")
        assert '"score"' in payload["messages"][0]["content"]  # the schema is in the prompt
        return "Here you are:\n```json\n" + payload["messages"][-1]["content"] + "\n```"

    with StandIn(rule=rule) as there:
        caller = caller_of(there.base_url)
        outcomes = run(caller, *(score_request(row) for row in range(5)))
    assert [outcome.parsed(Score).score for outcome in outcomes if isinstance(outcome, Reply)] == list(range(5))
    assert caller.form == taken


def test_a_budget_stops_before_the_call_that_might_exceed_it(caller_of: CallerOf, ledger: Ledger) -> None:
    prices, budget = Prices({"stand-in": Price(input=1.0, output=10.0)}), Budget(dollars=0.01)
    rows: list[int] = []
    with StandIn(latency_s=0.005) as there:
        caller = caller_of(there.base_url, prices=prices, budget=budget, max_tokens=100)
        with pytest.raises(BudgetStop, match=r"budget of \$0.01 has no room .* Raise the budget"):
            rows.extend(row for row, _ in replies(caller, range(1000), score_request))
        spent = ledger.totals()
        assert spent.dollars <= 0.01
        assert spent.dollars > 0.0085  # and not long before: the most a call can cost is $0.0014
        assert rows == list(range(len(rows)))
        more = caller_of(there.base_url, prices=prices, budget=Budget(dollars=1.0), max_tokens=100)
        assert [row for row, _ in replies(more, range(100), score_request)] == list(range(100))
        assert there.counts.requests == 100
        assert max(there.counts.asked.values()) == 1


def test_a_budget_may_be_in_tokens(caller_of: CallerOf, ledger: Ledger) -> None:
    with StandIn() as there:
        caller = caller_of(there.base_url, budget=Budget(tokens=3000), max_tokens=50)
        with pytest.raises(BudgetStop, match="3,000 tokens"):
            list(replies(caller, range(1000), score_request))
    assert 0 < ledger.totals().tokens <= 3000


def test_a_budget_in_dollars_needs_a_price_unless_the_endpoint_is_local(ledger: Ledger) -> None:
    far, near = Endpoint("far", "https://llm.example/v1", "m"), Endpoint("near", "http://localhost:8000/v1", "m")
    with pytest.raises(PriceError, match="needs the price of m"):
        Caller(far, ledger, "s", budget=Budget(dollars=1))
    Caller(near, ledger, "s", budget=Budget(dollars=1))


def test_a_key_is_sent_and_stands_nowhere(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret-1")
    caplog.set_level("DEBUG")
    with StandIn(key="sk-secret-1") as there:
        endpoint = Endpoint("judge", there.base_url, "m", key_env="JUDGE_KEY")
        assert isinstance(outcome_of(Caller(endpoint, ledger, "s"), score_request(1)), Reply)
        monkeypatch.setenv("JUDGE_KEY", "sk-secret-2")  # the stand-in tells the wrong key back, as some do
        with pytest.raises(EndpointRefused, match=r"Incorrect API key provided: Bearer \[key\]") as refused:
            outcome_of(Caller(endpoint, ledger, "s"), score_request(2))
    ledger.close()
    kept = b"".join(path.read_bytes() for path in ledger.path.parent.iterdir())
    assert b"sk-secret" not in kept
    assert "sk-secret" not in caplog.text + str(refused.value) + repr(endpoint)


def test_a_missing_key_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(EndpointError, match="environment variable JUDGE_KEY holds no key"):
        Caller(Endpoint("judge", "https://llm.example/v1", "m", key_env="JUDGE_KEY"), ledger, "s")


def test_tool_calls_and_reasoning_come_back_as_they_are(caller_of: CallerOf) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with StandIn(rule=lambda _: {"tool_calls": [call], "reasoning_content": "hm"}) as there:
        for _ in range(2):
            reply = outcome_of(caller_of(there.base_url), Request([{"role": "user", "content": "?"}]))
            assert isinstance(reply, Reply)
            assert (reply.tool_calls, reply.reasoning, reply.finish_reason) == ((call,), "hm", "tool_calls")


def test_text_that_utf8_does_not_hold_is_sent_and_kept(caller_of: CallerOf) -> None:
    with StandIn(rule=lambda _: {"content": "a\ud83db"}) as there:
        for _ in range(2):
            reply = outcome_of(caller_of(there.base_url), Request([{"role": "user", "content": "x\udcff"}]))
            assert isinstance(reply, Reply)
            assert reply.text == "a\ud83db"


def test_ask_raises_what_answer_returns(caller_of: CallerOf) -> None:
    async def ask() -> None:
        async with caller_of(there.base_url) as caller:
            await caller.ask([{"role": "user", "content": "?"}], schema=Score)

    with StandIn() as there, pytest.raises(CallFailed, match=r"no JSON: .* \[tries: no JSON 3\]"):
        asyncio.run(ask())


def test_five_percent_of_every_fault_loses_no_row_and_gives_none_twice(caller_of: CallerOf, ledger: Ledger) -> None:
    shares = {"429": 0.05, "500": 0.05, "hang": 0.05, "cut JSON": 0.05, "wrong schema": 0.05, "drop": 0.05}
    with StandIn(rule=first_json, latency_s=0.002, faults=Faults(shares, seed=5), retry_after_s=0.01) as there:
        seen = list(replies(caller_of(there.base_url, limits=with_limits(try_s=1.5)), range(200), score_request))
    assert [row for row, _ in seen] == list(range(200))
    failures = [outcome for _, outcome in seen if isinstance(outcome, Failure)]
    assert all(outcome.parsed(Score).score == row for row, outcome in seen if isinstance(outcome, Reply))
    assert all(failure.reason in ("cut off", "wrong schema") for failure in failures)
    assert len(failures) < 10
    assert max(there.counts.answered.values()) == 1  # a good reply is never asked for again
    assert sum(ledger.totals().tries.values()) == there.counts.requests
