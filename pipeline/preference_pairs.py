"""Out of Inspect logs, preference pairs: of several rollouts of a question, one that is right beside one that is not.

    inspect eval dabstep/generated_qa -T questions=FOLDER --model ... --epochs 8 --temperature 0.8 --top-p 0.95
    dabstep preference-pairs LOG... --output FOLDER [--per-question 4] [--least-gap 0.1]

A folder with `pairs.jsonl` and `card.json`. A row is TRL's conversational preference form: `prompt`, `chosen` and
`rejected` (messages), `tools` (JSON text), and `chosen_score`, `rejected_score`, `task_type`, `source`. Where the model
kept the ids that it sampled, `tokens` has them with masks, for `recipes/dpo.py`: a text can be spelt by other ids.

A score is the reward's (`harness/reward.py`), 1 or 0. Chosen is only what the training set's rules would keep; rejected
is only what the model itself got wrong, no sample that ended with an error. Gates look at both. Every try that is in no
pair is counted with its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from harness.records import Trace
from harness.trace import TraceError, chat_row, read_traces, token_row
from pipeline.curation.collect import SAME, Gates
from pipeline.curation.rules import SIMULATED, Rules, fault, rank, said, score_of
from pipeline.gates.licence import LICENCES
from pipeline.view import Account, Card, gates_of, stop_for_sources, write_view

TASK_TYPE = "notebook"
NOT_NEEDED = "its question has pairs enough"


@dataclass(frozen=True)
class Pairing:
    """How pairs are chosen: at least so far apart in score, at most so many of a question, a try in at most so many."""

    least_gap: float = 0.1
    per_question: int = 4
    per_try: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.least_gap <= 1:
            raise ValueError(f"least_gap: {self.least_gap}; scores lie between 0 and 1, so it must lie above 0, to 1.")


@dataclass(frozen=True, order=True)
class _Try:
    """One rollout that may be in a pair. Sorted: the better to learn from first."""

    rank: tuple[int, int, int]
    log: str
    question: str
    prompt: str
    said: str
    score: float

    @property
    def key(self) -> tuple[str, str, int]:
        return self.log, self.question, self.rank[2]


def build_preference_pairs(
    logs: Sequence[Path],
    output: Path,
    held_out: Iterable[Path] = (),
    pairing: Pairing | None = None,
    rules: Rules | None = None,
    benchmark: Path | None = None,
    licences: Iterable[str] = LICENCES,
) -> Card:
    """Write the pairs and return their card; errors as for `build_training_set`."""
    held_out, pairing, rules = list(held_out), pairing or Pairing(), replace(rules or Rules(), rewarded=True)
    stop_for_sources(logs, held_out)
    gates = gates_of(benchmark, held_out, licences)
    account = Account(logs)
    chosen: list[tuple[_Try, _Try]] = []
    for tries in _tries(logs, rules, gates, account).values():
        chosen += _pairs(tries, pairing, account)
    needed = {each.key for pair in chosen for each in pair}
    traces = {
        key: trace
        for log in logs
        for trace in read_traces(log)
        if (key := (str(log), trace.question_id, trace.epoch)) in needed
    }
    rows = [_row(traces[good.key], traces[bad.key], good.score, bad.score) for good, bad in chosen]
    account.licences |= {trace.licence for trace in traces.values()}
    return write_view(output, "pairs.jsonl", rows, account, gates, asdict(pairing))


def _tries(logs: Sequence[Path], rules: Rules, gates: Gates, account: Account) -> dict[str, list[_Try]]:
    """By question, the tries that nothing speaks against; the others are counted."""
    found: dict[str, list[_Try]] = {}
    for log in logs:
        for trace in read_traces(log):
            account.traces += 1
            reason = _objection(trace, rules) or (gate.reason if (gate := gates.finding(trace)) else None)
            if reason is not None:
                account.dropped[reason] += 1
                continue
            prompt = hashlib.sha256(json.dumps(_prompt(trace)).encode()).hexdigest()
            each = _Try(rank(trace), str(log), trace.question_id, prompt, said(trace), score_of(trace).value)
            found.setdefault(trace.question_id, []).append(each)
    return found


def _objection(trace: Trace, rules: Rules) -> str | None:
    if trace.verdict.correct is None:
        return "unscored"
    if not any(message.role == "assistant" for message in trace.messages):
        return "no turn of a model"
    if trace.verdict.correct:
        return fault(trace, rules)
    if trace.stop_reason == "error":
        return "ended by error"
    if trace.executor == SIMULATED and not rules.simulated:
        return "simulated executor"
    return None


def _pairs(tries: list[_Try], pairing: Pairing, account: Account) -> Iterator[tuple[_Try, _Try]]:
    """The pairs of one question: every try used about equally often."""
    different = list({(each.prompt, each.said): each for each in sorted(tries, reverse=True)}.values())
    account.dropped[SAME] += len(tries) - len(different)
    ranked = sorted(different)
    possible = [
        (good, bad)
        for good, bad in product(ranked, ranked)
        if good.score - bad.score >= pairing.least_gap and good.prompt == bad.prompt
    ]
    uses = dict.fromkeys((each.key for each in ranked), 0)
    pairs: list[tuple[_Try, _Try]] = []
    while possible and len(pairs) < pairing.per_question:
        good, bad = min(possible, key=lambda pair: uses[pair[0].key] + uses[pair[1].key])
        possible.remove((good, bad))
        if max(uses[good.key], uses[bad.key]) < pairing.per_try:
            pairs.append((good, bad))
            uses[good.key] += 1
            uses[bad.key] += 1
    for each in ranked:
        if not uses[each.key]:
            account.dropped[_without_pair(each, ranked, pairing)] += 1
    return iter(pairs)


def _without_pair(each: _Try, others: Sequence[_Try], pairing: Pairing) -> str:
    apart = [other for other in others if abs(each.score - other.score) >= pairing.least_gap]
    if not apart:
        return "no wrong try of its question" if each.score else "no right try of its question"
    return NOT_NEEDED if any(other.prompt == each.prompt for other in apart) else "its question was asked otherwise"


def _prompt(trace: Trace) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = chat_row(trace)["messages"]
    return messages[: _turns_before(messages)]


def _turns_before(messages: Sequence[dict[str, Any]]) -> int:
    return next(i for i, message in enumerate(messages) if message["role"] == "assistant")


def _row(good: Trace, bad: Trace, good_score: float, bad_score: float) -> dict[str, Any]:
    chosen, rejected = chat_row(good), chat_row(bad)
    start = _turns_before(chosen["messages"])
    row = {
        "prompt": chosen["messages"][:start],
        "chosen": chosen["messages"][start:],
        "rejected": rejected["messages"][start:],
        "tools": chosen["tools"],
        "chosen_score": good_score,
        "rejected_score": bad_score,
        "task_type": TASK_TYPE,
        "source": good.source,
        "source_id": good.source_id,
        "question_id": good.question_id,
        "family": good.family,
        "chosen_model": good.model,
        "rejected_model": bad.model,
    }
    try:
        return row | {"tokens": _tokens(good, bad)}
    except TraceError:  # a model that keeps no ids
        return row


def _tokens(good: Trace, bad: Trace) -> dict[str, list[int]]:
    """The ids of prompt and completions, with masks that are 1 on what was sampled. Raises TraceError without ids."""
    found: dict[str, list[int]] = {}
    for name, trace in (("chosen", good), ("rejected", bad)):
        ids = token_row(trace)
        start = ids["assistant_masks"].index(1)
        if found.setdefault("prompt_ids", ids["input_ids"][:start]) != ids["input_ids"][:start]:
            raise TraceError("the two were shown other ids")
        found[f"{name}_ids"], found[f"{name}_mask"] = ids["input_ids"][start:], ids["assistant_masks"][start:]
    return found
