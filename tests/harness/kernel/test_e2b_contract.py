"""The E2B kernel keeps the contract of all kernels: the real SDK, over HTTP, against a stand-in with real kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.kernel.e2b import E2BKernel
from harness.kernel.protocol import Kernel
from tests.harness.kernel.contract import *  # noqa: F403
from tests.stand_ins.e2b import E2B

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def service() -> Iterator[E2B]:
    with E2B() as service:
        yield service


@pytest.fixture
def new_kernel(service: E2B, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Kernel]]:
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    yield E2BKernel
    assert service.alive == []
