"""The kernel in a Docker container: the same process 1 and worker as everywhere, isolated by the engine.

    kernel = await DockerKernel.create({"payments.csv": Path("data/payments.csv")})
    result = await kernel.run("1 + 1")
    await kernel.close()

It needs Docker's engine and an image (`dabstep docker-image`, once), and refuses with KernelUnavailable where either is
missing. Only where namespaces cannot be had without an engine is it the better choice: every kernel imports pandas
anew, so it starts in seconds. It works on asyncio alone.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.container import Container
from harness.kernel.docker_engine import engine, image_tag, remove_leftovers
from harness.kernel.namespace import Namespace, Source
from harness.kernel.protocol import Limits


class ContainerNamespace(Namespace):
    """A kernel's container, seen from the host."""

    _ready: ClassVar[str | None] = None
    _container: Container | None = None

    @classmethod
    async def ready(cls) -> str:
        """The path of `docker`; the first time it is asked, and what others left behind is removed.

        Raises KernelUnavailable.
        """
        if ContainerNamespace._ready is None:
            docker = await engine()
            await remove_leftovers(docker)
            ContainerNamespace._ready = docker
        return ContainerNamespace._ready

    @classmethod
    async def _source(cls, limits: Limits) -> Source:
        return Container(await cls.ready(), image_tag(), limits)

    async def close(self) -> None:
        """End the container and wait until it is gone; safe to call twice."""
        self.kill()
        if isinstance(self._zygote, Container):
            await asyncio.to_thread(self._zygote.wait)


class DockerKernel(BwrapKernel):
    """A stateful IPython kernel in a container; implements `Machine`. Only what isolates it differs from bwrap's."""

    async def _open(self) -> Namespace:
        return await ContainerNamespace.open(self._files, self._limits)
