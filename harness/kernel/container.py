"""The host's hold on one container: `docker run`, and the relay over its stdin and stdout.

    container = Container(docker, image, limits)
    container.request({"files": [...], ...}, descriptors)      # as of the zygote: starts it, answers on the first
    container.wait()                                           # until it is gone

A thread serves the relay (`guest/relay.py`) and lives as long as the container does. The container ends when its stdin
closes: because the kernel was closed, or because this process ended, however it did. One that does not is removed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from harness.kernel.cgroup import Group
from harness.kernel.docker_engine import LABEL, owner
from harness.kernel.guest import relay as relays
from harness.kernel.guest import wire
from harness.kernel.guest.confine import HOME, INPUT, INSIDE_UID
from harness.kernel.protocol import KernelUnavailable, Limits
from harness.kernel.zygote import ENVIRONMENT

STDERR_KEPT = 4000
END_S = 5.0
REMOVE_S = 30.0
REMOVALS = 4
PROCESSORS = 1
SHARED_MB = 8


def command(docker: str, image: str, name: str, files: Sequence[tuple[str, str]], limits: Limits) -> list[str]:
    """The command line that starts a kernel's container: no network, nothing writable but a bounded home directory."""
    shared = min(SHARED_MB, max(1, limits.disk_mb // 4))
    home = f"{HOME}:rw,exec,nosuid,nodev,mode=1777,size={limits.disk_mb - shared}m,nr_inodes=65536"
    memory = f"{limits.total_mb}m"
    options = {
        "--name": name,
        "--label": f"{LABEL}=container",
        "--pull": "never",
        "--network": "none",
        "--hostname": "kernel",
        "--user": f"{INSIDE_UID}:{INSIDE_UID}",
        "--workdir": HOME,
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
        "--memory": memory,
        "--memory-swap": memory,
        "--pids-limit": str(limits.processes),
        "--cpus": str(PROCESSORS),
        "--shm-size": f"{shared}m",
        "--tmpfs": home,
        "--ipc": "private",
        "--log-driver": "none",
    }
    line = [docker, "run", "--rm", "--interactive", "--read-only", "--sig-proxy=false"]
    line += [word for option in options.items() for word in option]
    line += ["--label", f"dabstep.owner={owner()}", "--ulimit", "core=0", "--ulimit", "nofile=1024"]
    line += [word for name, value in ENVIRONMENT.items() for word in ("--env", f"{name}={value}")]
    line += [word for name, path in files for word in ("--mount", _mount(name, path))]
    return [*line, image]


def _mount(name: str, path: str) -> str:
    """A read-only file of the host's, in the words of `--mount`, which is a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(["type=bind", f"source={path}", f"target={INPUT}/{name}", "readonly"])
    return text.getvalue()


class Container:
    """A container for one kernel, in the place of the zygote (`namespace.Source`)."""

    reader = f"user {INSIDE_UID}"

    def __init__(self, docker: str, image: str, limits: Limits) -> None:
        self._docker, self._image, self._limits = docker, image, limits
        self.name = f"{LABEL.replace('.', '-')}-{secrets.token_hex(8)}"
        self._stderr = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def request(self, request: wire.Frame, descriptors: Sequence[int]) -> None:
        """Start it. The first descriptor is the orders socket, the others are the first worker's."""
        line = command(self._docker, self._image, self.name, [(n, p) for n, p in request["files"]], self._limits)
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd="/"
        )
        orders, *first_worker = (os.dup(descriptor) for descriptor in descriptors)
        begin = {"op": "begin", "files": [name for name, _ in request["files"]]}
        begin |= {key: request[key] for key in ("memory_mb", "disk_mb")}
        side = _HostSide(process, socket.socket(fileno=orders))
        side.send(begin, first_worker)
        self._thread = threading.Thread(target=self._live, args=(process, side), name=self.name, daemon=True)
        self._thread.start()

    def _live(self, process: subprocess.Popen[bytes], side: _HostSide) -> None:
        reader = threading.Thread(target=self._hear, args=(process,), daemon=True)
        reader.start()
        try:
            side.serve()
        finally:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            self._see_it_end(process)
            reader.join(END_S)
            side.close()
            assert process.stdout is not None
            process.stdout.close()
            self._ended.set()

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the end of what docker, or the container's process 1, has to say."""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._stderr = (self._stderr + line.decode(errors="replace"))[-STDERR_KEPT:]

    def _see_it_end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the client, which waits for the container; a container that stays is removed."""
        removing = [self._docker, "rm", "--force", self.name]
        for _ in range(REMOVALS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(removing, stdin=subprocess.DEVNULL, capture_output=True, timeout=REMOVE_S)
        process.kill()  # what is left then is removed by its label when this process is no more
        process.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is gone; False after `timeout` seconds."""
        return self._thread is None or self._ended.wait(timeout)

    def group(self, limit_mb: int) -> Group | None:
        """None: the engine bounds memory."""
        return None

    def discard(self, group: Group) -> None:
        """Nothing."""

    def failure(self) -> KernelUnavailable:
        """Why it ended."""
        self.wait(2 * END_S)
        said = (self._stderr.strip() or "it said nothing").splitlines()[-1]
        return KernelUnavailable(
            f"No container could be had for a kernel: {said}. Does `docker run {self._image}` work? "
            "Build the image again: dabstep docker-image"
        )


class _HostSide:
    """The relay's side in this process, and the orders socket that it serves."""

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders = orders
        self._relay = relays.Relay(process.stdout.fileno(), process.stdin.fileno(), self._on_event, longest=2 << 20)
        self._relay.selector.register(orders, relays.READ, self._on_order)
        self._groups: dict[tuple[str, Any], relays.Group] = {}
        self._numbers = 0

    def serve(self) -> None:
        """Until either side is gone."""
        while not self._relay.is_over:
            self._relay.step(None)

    def send(self, frame: wire.Frame, descriptors: Sequence[int]) -> None:
        """Send a frame with its descriptors, which belong to the relay from now on."""
        self._groups = {key: group for key, group in self._groups.items() if group.channels}
        key = ("id", frame["id"]) if "id" in frame else ("number", frame.get("number", 0))
        group = self._groups[key] = relays.Group() if descriptors else self._groups.get(key, relays.Group())
        ends = []
        for descriptor in descriptors:
            access = os.O_ACCMODE & relays.fcntl.fcntl(descriptor, relays.fcntl.F_GETFL)
            reads, writes = access != os.O_WRONLY, access != os.O_RDONLY
            self._numbers += 1
            self._relay.open(self._numbers, descriptor, is_source=reads, is_sink=writes, group=group)
            ends.append([self._numbers, reads, writes])
        self._relay.send_frame(frame, ends)

    def _on_order(self, _: int) -> None:
        try:
            received = wire.receive(self._orders)
        except (OSError, wire.WireError):
            received = None
        if received is None:
            self._relay.is_over = True
        else:
            self.send(*received)

    def _on_event(self, frame: wire.Frame, _: list[Any]) -> None:
        """An event of process 1's, which comes after what was printed before it."""
        key = ("id", frame["id"]) if "id" in frame else ("number", frame.get("number"))
        group = self._groups.get(key, relays.Group())
        self._relay.in_order(group, lambda: self._tell(frame))

    def _tell(self, frame: wire.Frame) -> None:
        with contextlib.suppress(OSError):
            wire.send(self._orders, frame)

    def close(self) -> None:
        """Let go of everything; who waits is told that the container is gone."""
        self._relay.close()
        self._orders.close()
