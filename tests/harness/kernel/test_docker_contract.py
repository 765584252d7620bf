"""The Docker kernel keeps the contract of all kernels: in a stand-in's containers, and in real ones where they are.

The stand-in for the program `docker` starts the image's own entry point in a bubblewrap sandbox, so that everything
between `docker run` and a cell is what runs in a container; the container itself is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.kernel.docker import ContainerNamespace, DockerKernel
from harness.kernel.docker_engine import build_image
from harness.kernel.protocol import Kernel
from tests.harness.kernel.contract import *  # noqa: F403
from tests.stand_ins import docker as stand_in

pytestmark = pytest.mark.anyio


def has_engine() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, timeout=60).returncode == 0


@pytest.fixture(scope="module", params=["stand-in", "engine"])
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The stand-in's folder, or None for the real program."""
    if request.param == "engine":
        if not has_engine():
            pytest.skip("no engine answers `docker info` here")
        build_image("docker")
        yield None
        return
    folder = tmp_path_factory.mktemp("docker")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in.install(folder).items():
            patch.setenv(name, value)
        patch.setattr(ContainerNamespace, "_ready", None)
        build_image("docker")
        yield folder


@pytest.fixture
def new_kernel(docker: Path | None) -> Iterator[Callable[[], Kernel]]:
    yield DockerKernel
    if docker is not None:
        assert stand_in.containers(docker) == {}
        assert os.listdir(docker / "containers") == []
