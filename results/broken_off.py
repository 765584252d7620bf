"""What a run spent on attempts that were killed: a resumed log holds only the samples that it kept.

Inspect resumes a killed run (`inspect eval-retry LOG`, or the same `inspect eval-set` again) in a new log of the same
task id. Samples that had ended are taken over with their usage; those under way are asked again, and what they had
spent is in no log. It is in the killed attempt's sample buffer, a database that Inspect keeps beside its other data for
three days, and is read from there.

    earlier = earlier_attempts(header, Path("logs/last.eval"))
    broken_off(killed_attempts(earlier))             # None for a run in one piece

What cannot be known is counted, not guessed: calls that were under way at the very moment (a provider may bill them),
and attempts without a buffer: on another machine, swept, or run with `--no-log-realtime`, where every sample that was
not yet flushed is lost and asked again. It takes for granted that each attempt went on with the one before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, read_eval_log, read_eval_log_sample_summaries

from harness.records import BrokenOff

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """A killed attempt: when its last sign of life was, and what its unfinished samples had spent.

    `costs` has one entry for each answered call, None where its price was not known. `read` is false without a buffer.
    """

    seconds: float
    tokens: int = 0
    costs: tuple[float | None, ...] = ()
    unanswered_calls: int = 0
    read: bool = False


def killed_attempts(earlier: Sequence[tuple[EvalLog, Path]]) -> list[Attempt]:
    """Those of the earlier attempts that were killed: their logs have no end."""
    return [_attempt(header, path) for header, path in earlier if header.status == "started"]


def broken_off(attempts: Sequence[Attempt]) -> BrokenOff | None:
    """What killed attempts spent for nothing; None where there were none.

    The cost is None where a call's price is not known.
    """
    if not attempts:
        return None
    costs = [cost for attempt in attempts for cost in attempt.costs]
    known = [cost for cost in costs if cost is not None]
    return BrokenOff(
        times=len(attempts),
        tokens=sum(attempt.tokens for attempt in attempts),
        cost_usd=sum(known) if len(known) == len(costs) else None,
        unanswered_calls=sum(attempt.unanswered_calls for attempt in attempts),
        unread=sum(not attempt.read for attempt in attempts),
    )


def ended_attempts(earlier: Sequence[tuple[EvalLog, Path]]) -> list[EvalLog]:
    """Those that ended by themselves, by an error or Ctrl-C: what they spent is passed on from log to log.

    What Inspect recovered from a killed attempt is no attempt of its own.
    """
    killed = {header.eval.eval_id for header, _ in earlier if header.status == "started"}
    return [header for header, _ in earlier if header.status != "started" and header.eval.eval_id not in killed]


def earlier_attempts(header: EvalLog, log: Path) -> list[tuple[EvalLog, Path]]:
    """Logs of the same task in the same folder that were begun before this one, oldest first."""
    task_id = header.eval.task_id
    named = f"*{task_id}*" if task_id in log.name else "*"  # Inspect's own names hold the id; others are all looked at
    found = []
    for path in log.absolute().parent.glob(named):
        if path.suffix not in (".eval", ".json") or path.name == log.name:
            continue
        try:
            earlier = read_eval_log(path, header_only=True)
        except Exception as error:  # whatever else lies in that folder
            logger.warning("%s: cannot be read (%s), so what it spent is not counted.", path, type(error).__name__)
            continue
        begun_before = earlier.eval.created < header.eval.created
        if earlier.eval.task_id == task_id and earlier.eval.eval_id != header.eval.eval_id and begun_before:
            found.append((earlier, path))
    return sorted(found, key=lambda each: each[0].eval.created)


def _attempt(header: EvalLog, log: Path) -> Attempt:
    begun = datetime.fromisoformat(header.eval.created)
    signs = [begun, *_times(sample.completed_at for sample in read_eval_log_sample_summaries(log))]
    events = _buffered_events(log)
    if events is None:
        return Attempt(seconds=(max(signs) - begun).total_seconds())
    calls = [event for event in events if event.get("event") == "model"]
    usages = [usage for call in calls if (usage := (call.get("output") or {}).get("usage"))]
    signs += _times(event.get("timestamp") for event in events)
    return Attempt(
        seconds=(max(signs) - begun).total_seconds(),
        tokens=sum(usage["total_tokens"] for usage in usages),
        costs=tuple(usage.get("total_cost") for usage in usages),
        unanswered_calls=sum(bool(call.get("pending")) for call in calls),
        read=True,
    )


def _buffered_events(log: Path) -> list[dict[str, Any]] | None:
    """The events of the samples that a killed attempt had under way; None where its buffer is gone."""
    # Private to Inspect (0.3.285), and the only way to what `inspect log recover` reads.
    from inspect_ai.log._recover._buffer import read_buffer_recovery_data
    from inspect_ai.log._recover._reconstruct import collapse_event_versions

    data = read_buffer_recovery_data(str(log))
    if data is None or data.buffer is None:
        return None
    events: list[dict[str, Any]] = []
    for sample in data.in_progress:
        held = data.buffer.get_sample_data(sample.id, sample.epoch)
        events += [dict(row.event) for row in collapse_event_versions(held.events)] if held is not None else []
    return events


def _times(stamps: Iterable[str | None]) -> list[datetime]:
    return [datetime.fromisoformat(stamp) for stamp in stamps if stamp]
