"""The stand-in itself: it misbehaves as ordered, the same way each time, and counts what came."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pytest

from tests.stand_ins.endpoint import KINDS, Faults, StandIn, stand_in_process


def post(base_url: str, text: str = "hello", timeout: float = 5) -> dict[str, Any]:
    payload = {"model": "m", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(payload).encode())
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        whole: dict[str, Any] = json.load(reply)
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_what_it_says(kind: str) -> None:
    with StandIn(faults=Faults({kind: 1.0}), retry_after_s=7) as there:
        if kind in ("429", "429 bare", "500", "502"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(there.base_url)
            with refused.value as error:
                assert (error.code, error.headers.get("Retry-After")) == (int(kind[:3]), "7" if kind == "429" else None)
        elif kind == "hang":
            with pytest.raises(TimeoutError):
                post(there.base_url, timeout=0.2)
        elif kind == "drop":
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                post(there.base_url)
        elif kind == "cut body":
            with pytest.raises(json.JSONDecodeError):
                post(there.base_url)
        else:
            choice = post(there.base_url)["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == {
                "cut JSON": ("he", "length"),
                "wrong schema": ('{"unheard_of": [1, 2, 3]}', "stop"),
                "slow": ("hello", "stop"),
            }[kind]
    assert (there.counts.requests, there.counts.answered.total()) == (1, 0)


def test_faults_follow_the_seed_and_not_the_order() -> None:
    faults = Faults({"429": 0.1, "hang": 0.2}, seed=3)
    drawn = {str(number): faults.of(str(number), 1) for number in range(2000)}
    assert drawn == {digest: faults.of(digest, 1) for digest in reversed(drawn)}
    counts = Counter(drawn.values())
    assert 150 < counts["429"] < 250
    assert 330 < counts["hang"] < 470
    assert drawn != {digest: Faults(faults.shares, seed=4).of(digest, 1) for digest in drawn}
    with pytest.raises(ValueError, match="no such faults"):
        Faults({"418": 1.0})


def test_it_runs_in_a_process_of_its_own_and_tells_what_it_counted() -> None:
    with stand_in_process(latency_s=0.01, faults={}) as there:
        assert post(there.base_url)["choices"][0]["message"]["content"] == "hello"
        post(there.base_url)
        counts = there.counts()
    assert (counts.requests, len(counts.asked), list(counts.answered.values())) == (2, 1, [2])
