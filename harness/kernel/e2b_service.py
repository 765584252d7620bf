"""E2B's service: sandboxes made there, patiently, and ended on every way out.

    sandbox = await open_sandbox(lifetime_s=3600)
    execution = await patiently(lambda: sandbox.run_code("1 + 1"))
    await end_sandbox(sandbox)

The key is E2B_API_KEY, from the environment. A sandbox that was not ended (an exception, a cancelled task, a closed
loop) is ended when this process exits; one whose process was killed ends with its lifetime, which is told to E2B when
it is made. The SDK itself tries a refused request for a sandbox again; `patiently` does so for what happens inside.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import random
import secrets
import threading
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from harness.kernel.protocol import KernelUnavailable

if TYPE_CHECKING:
    from e2b_code_interpreter import AsyncSandbox

KEY = "E2B_API_KEY"
OWNER = secrets.token_hex(8)  # of this process's sandboxes
OWNER_LABEL = "dabstep-owner"
CREATE_RETRIES = 6
TRIES = 6
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
REQUEST_S = 60.0

Given = TypeVar("Given")
_living: set[str] = set()
_cut_off = 0
_registered = False
_lock = threading.Lock()


def missing() -> str | None:
    """What stands in the way of using E2B, as far as can be told without asking it; None where nothing does."""
    if find_spec("e2b_code_interpreter") is None:
        return "The E2B SDK is not installed. Install it: pip install 'dabstep[e2b]'"
    if not os.environ.get(KEY):
        return f"{KEY} is not set. Set it to a key of your E2B account, or use dabstep-bwrap, which needs none."
    return None


async def check() -> None:
    """Ask E2B whether the key is good. Raises KernelUnavailable."""
    _demand()
    from e2b_code_interpreter import AsyncSandbox

    try:
        await AsyncSandbox.list(limit=1, retries=CREATE_RETRIES).next_items()
    except Exception as error:
        raise _unavailable(error) from None


async def open_sandbox(lifetime_s: int) -> AsyncSandbox:
    """A new sandbox without internet, which E2B ends after `lifetime_s`. Raises KernelUnavailable."""
    global _cut_off
    _demand()
    from e2b_code_interpreter import AsyncSandbox

    _end_with_this_process()
    try:
        sandbox = await AsyncSandbox.create(
            timeout=lifetime_s,
            allow_internet_access=False,
            metadata={OWNER_LABEL: OWNER},
            idempotency_key=secrets.token_hex(16),
            retries=CREATE_RETRIES,
            request_timeout=REQUEST_S,
        )
    except BaseException as error:
        _cut_off += 1  # it may have been made all the same
        if not isinstance(error, Exception):
            raise
        raise _unavailable(error) from None
    _living.add(sandbox.sandbox_id)
    return sandbox


async def end_sandbox(sandbox: AsyncSandbox) -> None:
    """End a sandbox; where E2B cannot be asked now, it is tried again at this process's exit."""
    with contextlib.suppress(Exception):
        await sandbox.kill()
        _living.discard(sandbox.sandbox_id)


async def patiently(ask: Callable[[], Awaitable[Given]]) -> Given:
    """What `ask` gives; a rate limit is waited for, a bounded number of times. Raises KernelUnavailable after that."""
    for attempt in range(TRIES):
        try:
            return await ask()
        except Exception as error:
            if not _is_rate_limit(error):
                raise
            if attempt == TRIES - 1:
                raise _unavailable(error) from None
        wait = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S)
        await asyncio.sleep(wait * (0.5 + random.random() / 2))
    raise AssertionError("the last try either gives or raises")


def _is_rate_limit(error: Exception) -> bool:
    from e2b import RateLimitException, SandboxException

    # The code interpreter's own errors carry the status in their text alone.
    return isinstance(error, RateLimitException) or (type(error) is SandboxException and str(error).startswith("429 "))


def _demand() -> None:
    if (reason := missing()) is not None:
        raise KernelUnavailable(reason)


def _unavailable(error: Exception) -> KernelUnavailable:
    from e2b import AuthenticationException

    said = f"{type(error).__name__}: {error}"
    if isinstance(error, AuthenticationException):
        return KernelUnavailable(f"E2B refused the key in {KEY} ({said}). Make a new one in your account's settings.")
    if _is_rate_limit(error):
        return KernelUnavailable(
            f"E2B's rate limit did not let up after {TRIES} tries ({said}). Run fewer at once: --max-samples."
        )
    return KernelUnavailable(f"E2B gave no sandbox ({said}). Try again later, or use another sandbox: dabstep-bwrap.")


def _end_with_this_process() -> None:
    global _registered
    with _lock:
        if not _registered:
            _registered = True
            atexit.register(end_all)


def end_all() -> int:
    """End every sandbox of this process that is left, by blocking calls; how many there were."""
    if not _living and not _cut_off:
        return 0
    from e2b import Sandbox, SandboxQuery

    ended = 0
    with contextlib.suppress(Exception):
        if _cut_off:
            listed = Sandbox.list(query=SandboxQuery(metadata={OWNER_LABEL: OWNER}), request_timeout=10)
            while listed.has_next:
                _living.update(sandbox.sandbox_id for sandbox in listed.next_items())
    for sandbox_id in list(_living):
        with contextlib.suppress(Exception):
            ended += Sandbox.kill(sandbox_id, request_timeout=10)
            _living.discard(sandbox_id)
    return ended
