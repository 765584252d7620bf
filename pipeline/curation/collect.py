"""From logs to the traces that a training set is made of: rules, gates, the choice among tries; all else is counted.

    collected = Collected()
    for trace in collect(logs, Rules(), Gates(contamination, LICENCES, blind), collected):
        ...
    collected.dropped       # Counter of reasons, a trace each

A question's tries may lie in several logs; they are compared wherever they lie. Two passes: the first keeps a few
figures of each trace, the second reads the chosen ones, so memory does not grow with the length of traces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records import Trace
from harness.trace import read_traces
from pipeline.curation.rules import Rules, fault, rank, said
from pipeline.gates.contamination import Contamination, Finding
from pipeline.gates.licence import LICENCES, refusal

NOT_BEST = "another try of the same question was kept"
SAME = "another try says the same"


@dataclass(frozen=True)
class Gates:
    """What blocks: see `pipeline/gates`. `blind`: ids of questions that are answered without their files."""

    contamination: Contamination = field(default_factory=Contamination)
    licences: Collection[str] = LICENCES
    blind: frozenset[str] = frozenset()

    def finding(self, trace: Trace, text: str | None = None) -> Finding | None:
        """What speaks against a trace, whoever made it; `text` where not all of it would be trained on."""
        if trace.question_id in self.blind:
            return Finding("answered without the files", trace.question)
        if (licence := refusal(trace.licence, self.licences)) is not None:
            return Finding(licence, trace.source_id)
        text = trace_text(trace) if text is None else text
        return self.contamination.finding(trace.question, trace.verdict.target, text, trace.source_id)

    def described(self) -> tuple[str, ...]:
        """What the gates compared with, in words; also that it had nothing to compare with."""
        whose = Counter(known.whose for known in self.contamination.known)
        told = [f"contamination: {count:,} questions of {name}" for name, count in whose.items()]
        if self.contamination.names:
            names = self.contamination.names | self.contamination.spelled
            told.append(f"contamination: {len(names)} names of the benchmark")
        if not whose["the benchmark"]:
            told.append("contamination: the benchmark's questions were NOT compared with (no folder was given)")
        if self.contamination.banned:
            told.append(f"contamination: {len(self.contamination.banned)} banned terms")
        if self.contamination.sources:
            told.append(f"contamination: {len(self.contamination.sources):,} held-out sources")
        told.append(f"licence: {len(self.licences)} allowed")
        told.append(f"shortcut audit: {len(self.blind)} questions answered without files were barred")
        return tuple(told)


@dataclass
class Collected:
    """What came in and what was left out, filled in while `collect` runs."""

    traces: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


def judge(trace: Trace, rules: Rules, gates: Gates) -> Finding | None:
    """Why a trace is left out, by rule or by gate, or None."""
    if (reason := fault(trace, rules)) is not None:
        return Finding(reason, trace.question_id)
    return gates.finding(trace)


def collect(logs: Sequence[Path], rules: Rules, gates: Gates, into: Collected) -> Iterator[Trace]:
    """The chosen traces, in the order of logs. Raises TraceError for a file that is no log of a notebook task."""
    tries: dict[str, list[tuple[tuple[int, int, int], str, str]]] = {}
    for log in logs:
        for trace in read_traces(log):
            into.traces += 1
            if (finding := judge(trace, rules, gates)) is not None:
                into.dropped[finding.reason] += 1
                into.findings.append(finding)
            else:
                tries.setdefault(trace.question_id, []).append((rank(trace), str(log), said(trace)))
    chosen = set()
    for question, ranked in tries.items():
        ranked.sort()
        different = list({each[2]: each for each in reversed(ranked)}.values()) if rules.distinct else ranked
        into.dropped[SAME] += len(ranked) - len(different)
        best = sorted(different)[: rules.per_question]
        into.dropped[NOT_BEST] += len(different) - len(best)
        chosen |= {(log, question, epoch) for (_, _, epoch), log, _ in best}
    into.dropped = +into.dropped
    for log in logs:
        for trace in read_traces(log) if any(place == str(log) for place, _, _ in chosen) else ():
            if (str(log), trace.question_id, trace.epoch) in chosen:
                yield trace


def trace_text(trace: Trace) -> str:
    """All of a trace that would be trained on, but for the system prompt, which is ours."""
    parts = [trace.question]
    for message in trace.messages:
        if message.role != "system":
            parts += [message.content, message.reasoning or "", *(call.arguments for call in message.tool_calls)]
    return "\n".join(parts)
