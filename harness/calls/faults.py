"""What a try that failed means: try again, give this row up, ask in another form, or stop everything.

    fault = fault_of(error)     # an exception of the client -> Fault

408, 409, 425, 429, 5xx, timeouts, dropped connections and bodies that are no completion are tried again. A 4xx that
blames the row (too long, forbidden content) is the row's end. One that blames the caller (no key, no money, no such
model) stops everything: it would drop every row in turn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from harness.calls.reading import Unreadable

AGAIN = frozenset({408, 409, 425, 429})
FOR_LOAD = frozenset({429, 503, 529})
STOPS = {
    401: "it does not accept the key",
    402: "the account has no money left",
    403: "it forbids this key the call",
    404: "it knows no such address or model",
}


@dataclass(frozen=True)
class Fault:
    """A failed try.

    `reason` is short and stable, for tables. `for_load`: the endpoint has too much to do. `unseen`: the try may have
    been paid, though no reply came.
    """

    reason: str
    detail: str
    then: Literal["again", "row", "form", "run"]
    retry_after: float | None = None
    for_load: bool = False
    unseen: bool = False


def fault_of(error: Exception) -> Fault:
    """What `error`, raised by a try, means. An error that is no fault of a call is raised again."""
    import aiohttp
    import openai

    if isinstance(error, openai.APIStatusError):
        return _of_status(error.status_code, error.response.headers, _said(error), error.code)
    if isinstance(error, Unreadable):
        return Fault("unreadable reply", str(error), "again", unseen=True)
    causes = list(_causes(error))
    if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
        return Fault("cannot connect", _described(causes), "again")
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return Fault("timed out", "no whole reply in time", "again", for_load=True, unseen=True)
    if isinstance(error, openai.APIConnectionError | aiohttp.ClientError | OSError):
        return Fault("connection dropped", _described(causes), "again", unseen=True)
    raise error


def _of_status(status: int, headers: Mapping[str, str], said: str, code: str | None) -> Fault:
    reason, detail, words = str(status), f"HTTP {status}: {said}", said.lower()
    if status == 429 and code == "insufficient_quota":
        return Fault(reason, f"{detail} (the account has no money left)", "run")
    if status in AGAIN or status >= 500:
        return Fault(reason, detail, "again", retry_after=retry_after(headers), for_load=status in FOR_LOAD)
    if status < 400:
        return Fault(reason, f"{detail} (it redirects to {headers.get('location')}: use that as base_url)", "run")
    if status in STOPS and "moderation" not in words:
        return Fault(reason, f"{detail} ({STOPS[status]})", "run")
    if status in (400, 422) and any(word in words for word in ("response_format", "json_schema", "json_object")):
        return Fault(reason, detail, "form")
    if status == 413 or code == "context_length_exceeded" or "context length" in words:
        return Fault("too long", detail, "row")
    return Fault(reason, detail, "row")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks to wait: `retry-after-ms`, or `retry-after` as seconds or as a date."""
    for name, a_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) / a_second
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _said(error: Any) -> str:
    """What the endpoint says, without the client's wrapping, short enough to keep."""
    body = error.body
    said = body.get("message") if isinstance(body, Mapping) else body
    return " ".join(str(said or error.message).split())[:500]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what led to it: the aiohttp transport reports a dropped connection as a timeout, and causes tell."""
    at: BaseException | None = error
    for _ in range(8):
        if at is None:
            return
        yield at
        at = at.__cause__


def _described(causes: list[BaseException]) -> str:
    return f"{type(causes[-1]).__name__}: {causes[-1]}"[:300]
