"""Inspect's own conformance suite for sandbox providers, run on the E2B kernel: real SDK, stand-in service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from inspect_ai.util import SandboxEnvironment
from inspect_ai.util._sandbox import self_check
from inspect_ai.util._sandbox.self_check import *  # noqa: F403 - its checks are plain test functions

from harness.kernel.e2b_sandbox import E2BSandbox
from tests.stand_ins.e2b import E2B

pytestmark = pytest.mark.anyio

# A check that a sandbox without a root user cannot pass, by Inspect's own definition of the error it raises.
UNSUPPORTED = {"test_exec_as_user": "kernels have one unprivileged user"}

# They sleep for seconds to see that nothing was left, or send 50 MB.
for slow in (
    "test_exec_timeout_kills_process",
    "test_exec_timeout_kills_child_processes",
    "test_read_and_write_large_file_binary",
    "test_exec_input_large",
):
    globals()[slow] = pytest.mark.slow(getattr(self_check, slow))


@pytest.fixture(scope="module")
def service() -> Iterator[E2B]:
    with E2B() as service:
        yield service


@pytest.fixture
async def sandbox_env(
    request: pytest.FixtureRequest, service: E2B, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SandboxEnvironment]:
    for variable, value in service.environment.items():
        monkeypatch.setenv(variable, value)
    name = request.node.originalname
    if name in UNSUPPORTED:
        request.node.add_marker(pytest.mark.xfail(reason=UNSUPPORTED[name], strict=True))
    environments = await E2BSandbox.sample_init("conformance", None, {})
    yield environments["default"]
    await E2BSandbox.sample_cleanup("conformance", None, environments, interrupted=False)
    assert service.alive == []
