"""The bwrap kernel keeps the contract of all kernels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.protocol import Kernel
from tests.harness.kernel.contract import *  # noqa: F403

pytestmark = pytest.mark.anyio


@pytest.fixture
def new_kernel() -> Callable[[], Kernel]:
    return BwrapKernel
