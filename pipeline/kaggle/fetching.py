"""Fetches data sets of Kaggle into kagglehub's cache: one at a time a data set, tried again, watched, within a budget.

    fetcher = Fetcher(FetchRules(cache=Path("data/kaggle")), Downloads(path, budget), rank=0)
    fetched = fetcher.fetch(Handle.parse("zillow/zecon/versions/3"), foretold=12_000_000)
    fetched.folder, fetched.reason                     # one of the two is None

kagglehub (its own client, cache and resumption) works in a child process, since it has no time limit and unpacks what
it gets: the child is ended when nothing comes for `stall_s`, when more comes than may, or when the budget is spent.
What is the data set's own fault is a reason; what is not (credentials, network, rate limit, disk) raises KaggleError,
so that the rank fails and a later run goes on, and no row is lost to a bad day.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.kaggle.attempt import OVER_BUDGET, TICK_S, Attempt, Fault, FetchRules, KaggleError, archive_size, cached
from pipeline.kaggle.downloads import FETCHED, Downloads
from pipeline.kaggle.handles import Handle

LONGEST_WAIT_S = 900.0
LONGEST_BACKOFF_S = 60.0
FAILURES_IN_A_ROW = 5

SERVER_ERROR = "server error, tried again in vain"
CONNECTION_LOST = "connection lost, tried again in vain"
TRANSIENT = frozenset({SERVER_ERROR, CONNECTION_LOST})
# What a data set's last fault is called once all tries have had it; None: Kaggle's fault, not the data set's.
IN_VAIN: Mapping[str, str | None] = {
    "server": SERVER_ERROR,
    "connection": CONNECTION_LOST,
    "cut off": CONNECTION_LOST,
    "checksum": "wrong checksum",
    "archive": "no archive that can be unpacked",
    "rate limit": None,
    "no word": None,
}


@dataclass(frozen=True)
class Fetched:
    """The data set's folder, or the reason why there is none."""

    folder: Path | None
    reason: str | None = None
    detail: str = ""


class Fetcher:
    """For one rank. `tick` is called some times a second while something is fetched."""

    def __init__(
        self, rules: FetchRules, downloads: Downloads, rank: int, tick: Callable[[], None] = lambda: None
    ) -> None:
        self._rules = rules
        self._downloads = downloads
        self._rank = rank
        self._tick = tick

    def fetch(self, handle: Handle, foretold: int) -> Fetched:
        """Fetch a data set, or find it in the cache. Raises KaggleError."""
        with _locked(self._rules.cache / ".locks" / f"{handle.owner}.{handle.slug}.{handle.version}") as lock:
            folder = cached(self._rules.cache, handle)
            if folder is None and (other := self._ended_by_another(handle)):
                return other
            begun = archive_size(self._rules.cache, handle)
            if not self._downloads.begin(str(handle), 0 if folder else foretold, self._rank, begun):
                return self._give_up(handle, OVER_BUDGET, f"{foretold:,} bytes foretold")
            if folder is None:
                result = self._try_some_times(handle, lock)
                if isinstance(result, Fetched):
                    return result
                folder = result
            self._downloads.end(str(handle), FETCHED)
            return Fetched(folder)

    def _ended_by_another(self, handle: Handle) -> Fetched | None:
        """The reason that another rank found for this data set; a passing fault is tried anew."""
        line = self._downloads.get(str(handle))
        if line is None or line.outcome in (None, FETCHED, OVER_BUDGET) or line.outcome in TRANSIENT:
            return None
        return Fetched(None, line.outcome, line.detail)

    def _give_up(self, handle: Handle, reason: str, detail: str) -> Fetched:
        self._downloads.end(str(handle), reason, detail)
        if reason in TRANSIENT:
            last = self._downloads.last_outcomes(FAILURES_IN_A_ROW)
            if len(last) == FAILURES_IN_A_ROW and TRANSIENT.issuperset(last):
                raise KaggleError(
                    f"{handle}: {reason} ({detail}), as for the {FAILURES_IN_A_ROW - 1} data sets before it. Kaggle or "
                    "the network is down: run the same command again later."
                )
        return Fetched(None, reason, detail)

    def _try_some_times(self, handle: Handle, lock: int) -> Path | Fetched:
        came, fault = 0, Fault("no word")
        for number in range(1, self._rules.tries + 1):
            self._wait_for_pace()
            self._downloads.attempt(str(handle))
            attempt = Attempt(self._rules, self._downloads, handle, lock, self._tick)
            outcome = attempt.run()
            came += attempt.came
            if isinstance(outcome, Path):
                return outcome
            fault = outcome
            if fault.final:
                return self._give_up(handle, fault.kind, fault.detail)
            if number < self._rules.tries:
                self._wait(fault, number)
        reason = IN_VAIN[fault.kind]
        if reason is None or (fault.kind == "connection" and not came):
            raise KaggleError(
                f"{handle}: {fault.kind}, {self._rules.tries} times ({fault.detail}). Kaggle cannot be used now: run "
                "the same command again later; what was fetched is kept."
            )
        return self._give_up(handle, reason, fault.detail)

    def _wait(self, fault: Fault, number: int) -> None:
        """Wait as Kaggle asked, or twice as long each time, with some chance in it."""
        backoff = min(self._rules.backoff_s * 2 ** (number - 1), LONGEST_BACKOFF_S) * random.uniform(0.75, 1.25)
        seconds = backoff if fault.wait_s is None else fault.wait_s
        if seconds > LONGEST_WAIT_S:
            raise KaggleError(
                f"Kaggle asks to wait {seconds:,.0f} s ({fault.detail}). Run the same command again after that time."
            )
        if fault.kind == "rate limit":
            self._downloads.pause(seconds)
        else:
            self._sleep(seconds)

    def _wait_for_pace(self) -> None:
        while (seconds := self._downloads.seconds_to_wait()) > 0:
            self._sleep(min(seconds, 5.0))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TICK_S))
            self._tick()


def default_cache() -> Path:
    """kagglehub's own folder."""
    return Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold a data set's lock, alone among all processes; the file's descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
