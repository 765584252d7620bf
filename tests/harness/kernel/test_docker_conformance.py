"""Inspect's own conformance suite for sandbox providers, run on the Docker kernel with a stand-in for the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from inspect_ai.util import SandboxEnvironment
from inspect_ai.util._sandbox.self_check import *  # noqa: F403 - its checks are plain test functions

from harness.kernel.docker import ContainerNamespace
from harness.kernel.docker_engine import build_image
from harness.kernel.docker_sandbox import DockerSandbox
from tests.stand_ins import docker as stand_in

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # a second each: a container begins with importing pandas

# A check that a sandbox without a root user cannot pass, by Inspect's own definition of the error it raises.
UNSUPPORTED = {"test_exec_as_user": "kernels have one unprivileged user"}


@pytest.fixture(scope="module", autouse=True)
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in.install(tmp_path_factory.mktemp("docker")).items():
            patch.setenv(name, value)
        patch.setattr(ContainerNamespace, "_ready", None)
        build_image("docker")
        yield


@pytest.fixture
async def sandbox_env(request: pytest.FixtureRequest) -> AsyncIterator[SandboxEnvironment]:
    name = request.node.originalname
    if name in UNSUPPORTED:
        request.node.add_marker(pytest.mark.xfail(reason=UNSUPPORTED[name], strict=True))
    environments = await DockerSandbox.sample_init("conformance", None, {})
    yield environments["default"]
    await DockerSandbox.sample_cleanup("conformance", None, environments, interrupted=False)
