"""450 questions, killed five times at random, resumed by Inspect: nothing logged runs again, nothing spent is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAME = ("task", "split", "model", "scaffold", "k", "n", "errors", "interval", "settings", "data_hash", "cost_basis")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study") / "killed"
    command = [sys.executable, str(ROOT / "scripts" / "killed_run.py"), "--output", str(folder), "--seed", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads((folder / "killed_run.json").read_text())
    assert (found["questions"], len(found["kills"])) == (450, 5)
    return found


def asked(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for call in calls if call["what"] == "asked"]


def test_the_row_is_that_of_an_unbroken_run(study: dict[str, Any]) -> None:
    whole, killed = study["whole"]["row"], study["killed"]["row"]
    assert {name: killed[name] for name in SAME} == {name: whole[name] for name in SAME}
    assert 0 < whole["k"] < whole["n"] == 450, "a few answers are wrong"
    assert whole["broken_off"] is None


def test_no_question_that_was_logged_is_asked_again(study: dict[str, Any]) -> None:
    for kill in study["kills"]:
        later = {call["id"] for call in study["killed"]["calls"][kill["lines"] :]}
        assert kill["logged"], "a kill before the first flush proves nothing"
        assert not later & set(kill["logged"])


def test_only_questions_in_flight_are_asked_again(study: dict[str, Any]) -> None:
    calls = study["killed"]["calls"]
    for kill in study["kills"]:
        before = {call["id"] for call in calls[: kill["lines"]]}
        again = before & {call["id"] for call in calls[kill["lines"] :]}
        assert len(again) <= study["at_once"]
    processes: defaultdict[str, set[int]] = defaultdict(set)
    for call in calls:
        processes[call["id"]].add(call["pid"])
    repeated = Counter(len(pids) - 1 for pids in processes.values())
    assert 0 < sum(times * count for times, count in repeated.items()) <= study["at_once"] * len(study["kills"])


def test_what_was_spent_for_nothing_is_in_the_row(study: dict[str, Any]) -> None:
    """To the token, but for calls that were under way when the process was killed: those are counted as not known."""
    whole, killed = study["whole"]["row"], study["killed"]["row"]
    lost = killed["broken_off"]
    assert (lost["times"], lost["unread"]) == (5, 0)
    assert lost["tokens"] > 0
    assert killed["tokens"] == whole["tokens"] + lost["tokens"]
    assert killed["cost_usd"] == pytest.approx(whole["cost_usd"] + lost["cost_usd"])
    spent = [call for call in study["killed"]["calls"] if call["what"] == "answered"]
    most = max(call["tokens"] for call in spent) * lost["unanswered_calls"]
    assert 0 <= sum(call["tokens"] for call in spent) - killed["tokens"] <= most
    unanswered = len(asked(study["killed"]["calls"])) - len(spent)
    assert unanswered <= lost["unanswered_calls"] <= study["at_once"] * 5


def test_an_unbroken_run_spends_what_its_journal_says(study: dict[str, Any]) -> None:
    calls = [call for call in study["whole"]["calls"] if call["what"] == "answered"]
    assert study["whole"]["row"]["tokens"] == sum(call["tokens"] for call in calls)
    assert study["whole"]["row"]["cost_usd"] == pytest.approx(sum(call["cost"] for call in calls))


def test_a_kill_leaves_no_process_behind(study: dict[str, Any]) -> None:
    assert [kill["processes_left"] for kill in study["kills"]] == [[]] * 5
