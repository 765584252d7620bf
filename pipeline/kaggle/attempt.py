"""One try to fetch a data set: kagglehub in a child process, watched, its end told as a path or a fault.

    outcome = Attempt(rules, downloads, handle, lock, tick).run()        # Path, or Fault

The child is ended when nothing comes for `stall_s`, when more comes than may, or when the budget is spent. What is no
other try's business (credentials, disk) raises KaggleError. `fetching.py` decides what a fault leads to.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from harness import lifeline
from pipeline.kaggle.downloads import Downloads
from pipeline.kaggle.filters import GB
from pipeline.kaggle.handles import Handle

TICK_S = 0.25
OVER_BUDGET = "over the budget of bytes"
TOO_LARGE = "larger than Kaggle's tables say, and too large"
# Faults that a further try may mend.
PASSING = frozenset({"server", "connection", "cut off", "checksum", "archive", "rate limit", "no word"})


class KaggleError(RuntimeError):
    """Fetching cannot go on now, for no fault of a data set; the message says why, and the mend."""


@dataclass(frozen=True)
class FetchRules:
    """`cache`: kagglehub's folder. `max_gb`: of a download, and of what it unpacks to. Times in seconds."""

    cache: Path
    max_gb: float = 10.0
    tries: int = 4
    stall_s: float = 120.0
    backoff_s: float = 1.0


@dataclass(frozen=True)
class Fault:
    """What went wrong in one try. `wait_s`: what Kaggle asked for; `final`: no further try would do better."""

    kind: str
    detail: str = ""
    wait_s: float | None = None
    final: bool = False


class Attempt:
    """One child process, from its start to its end. `came`: bytes that it brought."""

    def __init__(
        self, rules: FetchRules, downloads: Downloads, handle: Handle, lock: int, tick: Callable[[], None]
    ) -> None:
        self._rules = rules
        self._downloads = downloads
        self._handle = handle
        self._lock = lock
        self._tick = tick
        self._limit = int(rules.max_gb * GB)
        self._archive = archive_path(rules.cache, handle)
        self._folder = folder_path(rules.cache, handle)
        self._seen = 0
        self.came = 0

    def run(self) -> Path | Fault:
        """The fetched folder, or what went wrong. Raises KaggleError for what no other try would mend."""
        line = self._downloads.get(str(self._handle))
        self._seen = min(line.archive if line else 0, _size(self._archive))
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
            process = self._start(said.fileno(), complaints.fileno())
            try:
                broken_off = self._watch(process, said.fileno())
            finally:
                process.kill()
                process.wait()
            last = _last_line(said)
            answer = _answer(last)
            within = self._account(max(_size(self._archive), int(answer.get("archive_bytes", 0))))
            if broken_off:
                return broken_off
            if "path" in answer:
                return Path(answer["path"])
            if not within:
                return Fault(OVER_BUDGET, final=True)
            return self._fault(answer, _last_line(complaints) or f"exit status {process.returncode}")

    def _start(self, said: int, complaints: int) -> subprocess.Popen[bytes]:
        """Start kagglehub. It holds the data set's lock too, so that nobody begins while it is still there."""
        environment = {
            **os.environ,
            "KAGGLEHUB_CACHE": str(self._rules.cache),
            "KAGGLEHUB_VERBOSITY": "error",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            lifeline.VARIABLE: "1",
        }
        command = [sys.executable, "-P", "-m", "pipeline.kaggle.kagglehub_child", str(self._handle), str(self._limit)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complaints,
            env=environment,
            pass_fds=(self._lock,),
        )

    def _watch(self, process: subprocess.Popen[bytes], said: int) -> Fault | None:
        """Wait for its end; why it has to be ended before, if so. `said` is the file of what it says."""
        moved, before = time.monotonic(), (-1, -1)
        while True:
            try:
                process.wait(TICK_S)
                return None
            except subprocess.TimeoutExpired:
                self._tick()
            archive = _size(self._archive)
            if not self._account(archive):
                return Fault(OVER_BUDGET, f"after {archive:,} bytes", final=True)
            unpacked = _unpacked(self._folder) if archive == before[0] else before[1]
            if max(archive, unpacked) > self._limit:
                return self._too_large(max(archive, unpacked))
            if (archive, unpacked) != before or not os.fstat(said).st_size:
                moved, before = time.monotonic(), (archive, unpacked)
            elif time.monotonic() - moved > self._rules.stall_s:
                return Fault("connection", f"nothing came for {self._rules.stall_s:,.0f} s")

    def _account(self, archive: int) -> bool:
        """Put the bytes that came since the last look on the ledger; whether the budget still holds."""
        new = archive - self._seen
        if archive:  # else it has been removed, and its end is told by the child
            self._seen = archive
        if new <= 0:
            return True
        self.came += new
        return self._downloads.paid(str(self._handle), new, self._seen)

    def _too_large(self, size: int) -> Fault:
        self._archive.unlink(missing_ok=True)
        return Fault(TOO_LARGE, f"{size:,} bytes", final=True)

    def _fault(self, answer: Mapping[str, Any], complaint: str) -> Fault:
        """What the child said went wrong."""
        kind, message = str(answer.get("fault")), str(answer.get("message", complaint))
        if kind == "status":
            return _status_fault(answer.get("status"), _seconds(answer.get("retry_after")), message)
        if kind == "disk":
            if answer.get("status") == errno.EFBIG:
                return self._too_large(self._limit)
            raise KaggleError(f"{self._rules.cache}: {message}. Make room there, or name another `cache`.")
        if kind == "archive":
            # Tried again, kagglehub would take it for whole.
            self._archive.unlink(missing_ok=True)
        return Fault(kind if kind in PASSING else "no word", message)


def archive_path(cache: Path, handle: Handle) -> Path:
    """Where kagglehub keeps what has come of a data set until it is whole."""
    return cache / "datasets" / handle.owner / handle.slug / f"{handle.version}.archive"


def archive_size(cache: Path, handle: Handle) -> int:
    """How many bytes of a data set are there, unfinished."""
    return _size(archive_path(cache, handle))


def folder_path(cache: Path, handle: Handle) -> Path:
    """Where kagglehub unpacks a data set."""
    return cache / "datasets" / handle.owner / handle.slug / "versions" / str(handle.version)


def cached(cache: Path, handle: Handle) -> Path | None:
    """A data set's folder, where kagglehub has marked it as whole."""
    folder = folder_path(cache, handle)
    marker = cache / "datasets" / handle.owner / handle.slug / f"{handle.version}.complete"
    return folder if marker.exists() and folder.is_dir() else None


def has_credentials() -> bool:
    """Whether kagglehub will find credentials of Kaggle."""
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    names = ("kaggle.json", "access_token", "access_token.txt")
    variables = bool(os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"))
    return bool(os.environ.get("KAGGLE_API_TOKEN")) or variables or any((folder / name).exists() for name in names)


def _status_fault(status: int | None, wait_s: float | None, message: str) -> Fault:
    detail = " ".join(message.split())[:300]
    if status == 401 and has_credentials():
        raise KaggleError(
            "Kaggle refuses the credentials (401). Set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, anew; "
            "public data sets need none."
        )
    final = {
        401: "needs an account",
        403: "needs consent",
        404: "not on Kaggle any more",
        410: "not on Kaggle any more",
    }
    if status in final:
        return Fault(final[status], detail, final=True)
    if status == 429:
        return Fault("rate limit", detail, wait_s)
    if status is None or status in (408, 425) or status >= 500:
        return Fault("server", detail, wait_s)
    return Fault("refused by Kaggle", detail, final=True)


def _seconds(retry_after: object) -> float | None:
    """The value of a Retry-After header, seconds or a date, as seconds from now."""
    text = str(retry_after or "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unpacked(folder: Path) -> int:
    return sum(_size(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def _last_line(file: Any) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _answer(line: str) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
