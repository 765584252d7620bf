"""Docker's engine, by its own program: whether it answers, the kernels' image, what was left behind.

    docker = await engine()                 # KernelUnavailable says what is missing and how it is mended
    tag = image_tag()                       # changes with the modules that run inside and the versions they run with
    build_image(docker)                     # what `dabstep docker-image` does; needs the package registry, once

A container ends with the process that started it, since its stdin closes then. One that outlived it all the same (its
engine was not told) carries that process in a label and is removed when the next kernel is wanted on this host.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from harness.kernel.protocol import KernelUnavailable

ANSWER_S = 30.0
LABEL = "dabstep.kernel"
IMAGE = "dabstep-kernel"
PACKAGE = "harness.kernel"
ELSE = "or use dabstep-bwrap, which needs no engine"


async def engine() -> str:
    """The path of the program `docker`, whose engine answers and has the image. Raises KernelUnavailable."""
    return await asyncio.to_thread(_engine)


def _engine() -> str:
    docker = program()
    version = _ask(docker, "version", "--format", "{{.Server.Version}}")
    if version.returncode != 0 or not version.stdout.strip():
        raise KernelUnavailable(
            f"Docker's engine does not answer: {_last(version.stderr)}. Start it (systemctl start docker), let this "
            f"user reach it (group docker, or DOCKER_HOST), {ELSE}."
        )
    tag = image_tag()
    if _ask(docker, "image", "inspect", "--format", "{{.Id}}", tag).returncode != 0:
        raise KernelUnavailable(f"Docker has no image {tag}. Build it, once: dabstep docker-image")
    return docker


def program() -> str:
    """The path of the program `docker`. Raises KernelUnavailable."""
    if (docker := shutil.which("docker")) is None:
        raise KernelUnavailable(f"The program docker is not installed. Install Docker's engine, {ELSE}.")
    return docker


def _ask(docker: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [docker, *arguments], capture_output=True, text=True, timeout=ANSWER_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise KernelUnavailable(f"Docker's engine did not answer within {ANSWER_S:g} s. Is it overloaded?") from None


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1].rstrip(".?")


def requirements() -> str:
    """The packages of the image, in the versions that are installed here."""
    names = (resources.files(PACKAGE) / "image" / "packages.txt").read_text(encoding="utf-8").split()
    return "".join(f"{name}=={metadata.version(name)}\n" for name in names)


def _parts() -> Iterator[tuple[str, bytes]]:
    """What the image is made of: name in the build's context, bytes."""
    yield "Dockerfile", (resources.files(PACKAGE) / "image" / "Dockerfile").read_bytes()
    yield "requirements.txt", requirements().encode()
    guest = resources.files(f"{PACKAGE}.guest")
    for file in sorted(guest.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            yield f"guest/{file.name}", file.read_bytes()


def python_version() -> str:
    """The image's Python: this one's major and minor number."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@cache
def image_tag() -> str:
    """The image's name; another as soon as anything in it would be another."""
    digest = hashlib.sha256(python_version().encode())
    for name, data in _parts():
        digest.update(f"\0{name}\0{len(data)}\0".encode() + data)
    return f"{IMAGE}:{digest.hexdigest()[:12]}"


@contextmanager
def build_context() -> Iterator[Path]:
    """A folder that the image is built from."""
    with tempfile.TemporaryDirectory(prefix="dabstep-image-") as folder:
        for name, data in _parts():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        yield Path(folder)


def build_image(docker: str) -> str:
    """Build the image, showing what Docker says; its name. Raises KernelUnavailable where that fails."""
    tag = image_tag()
    with build_context() as context:
        command = [
            docker,
            "build",
            "--tag",
            tag,
            "--build-arg",
            f"PYTHON={python_version()}",
            "--label",
            f"{LABEL}=image",
        ]
        status = subprocess.run([*command, str(context)], stdin=subprocess.DEVNULL).returncode
    if status != 0:
        raise KernelUnavailable(
            f"docker build ended with {status}. It needs the engine and, for python:{python_version()}-slim and the "
            "packages, the network."
        )
    return tag


def owner() -> str:
    """This process, as a label tells it: host, boot, process id, when it started."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}/{_started(os.getpid())}"


async def remove_leftovers(docker: str) -> int:
    """Remove the containers of processes of this host that are no more; how many there were."""
    return await asyncio.to_thread(_remove_leftovers, docker)


def _remove_leftovers(docker: str) -> int:
    form = '{{.ID}} {{.Label "dabstep.owner"}}'
    listed = _ask(docker, "ps", "--all", "--no-trunc", "--filter", f"label={LABEL}=container", "--format", form)
    left = [line.split(" ", 1) for line in listed.stdout.splitlines() if " " in line]
    orphans = [container for container, owner in left if _is_gone(owner)]
    if orphans:
        _ask(docker, "rm", "--force", *orphans)
    return len(orphans)


def _is_gone(owner: str) -> bool:
    host, boot, pid, started = (owner.split("/") + [""] * 3)[:4]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return boot != _boot() or started != _started(int(pid))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""
