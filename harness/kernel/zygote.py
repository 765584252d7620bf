"""The host's side of the zygote: one bubblewrap process for this host process, from which every kernel is forked.

    zygote = await warm_zygote(timeout=30)
    zygote.request({...}, descriptors)

It is started by the first kernel, shared by all event loops and threads, replaced when it has died, and ends with this
process, however that ends: bubblewrap and everything below die with the thread that started it, which lives as long as
they do. Inside, the zygote sees the host's files read-only and has neither network nor this process's environment; the
kernels that it forks see a root of their own (`harness/kernel/guest/confine.py`).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import harness
from harness.kernel.cgroup import CannotGroup, Group, Groups
from harness.kernel.guest import wire
from harness.kernel.guest.confine import DEVICES, HOME, HOST_UID, INSIDE_UID, STAGING
from harness.kernel.protocol import KernelUnavailable

# Everything that a kernel's environment holds. One thread for numerical libraries: kernels run many at a time.
# A fixed hash seed: the order of a set of strings, and so an answer, is the same in every run.
ENVIRONMENT = {
    "HOME": HOME,
    "USER": "user",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "TERM": "dumb",
    "MPLBACKEND": "Agg",
    "IPYTHONDIR": "/tmp/.ipython",
    "MPLCONFIGDIR": "/tmp/.matplotlib",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # its own allocators reserve 1 GiB of a process's allowance
    "JE_ARROW_MALLOC_CONF": "background_thread:false,narenas:1",  # a process that forks: no thread, few locks
}
ENTRY = (
    "import sys; sys.path.insert(0, {root!r}); from harness.kernel.guest import zygote; del sys.path[0]; zygote.main()"
)
STDERR_KEPT = 4000


def bubblewrap() -> str:
    """The path of bubblewrap. Raises KernelUnavailable where it is not installed."""
    if not sys.platform.startswith("linux"):
        raise KernelUnavailable(f"The bwrap kernel needs Linux; this is {sys.platform}. Use a Linux machine.")
    path = shutil.which("bwrap")
    if path is None:
        raise KernelUnavailable(
            "bubblewrap (the program bwrap), which isolates the kernels, is not installed. "
            "Install it: apt-get install bubblewrap (or dnf, pacman, apk: the package has the same name)."
        )
    return path


def is_privileged() -> bool:
    """Whether this process may mount without a user namespace (root with CAP_SYS_ADMIN)."""
    with open("/proc/self/status", encoding="ascii") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return os.geteuid() == 0 and bool(effective >> 21 & 1)


def command(bwrap: str, descriptor: int) -> list[str]:
    """The command line that starts the zygote with its socket as `descriptor`."""
    capabilities = ["SYS_ADMIN"]
    users = ["--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
    if is_privileged():
        capabilities += ["SETUID", "SETGID", "CHOWN", "DAC_READ_SEARCH"]
        users = []
    namespaces = ["--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    mounts = ["--ro-bind", "/", "/", "--bind", "/proc", "/proc", "--tmpfs", "/dev", "--dir", STAGING]
    mounts += ["--ro-bind-try", "/dev/shm", "/dev/shm"]  # somebody's files may lie there
    for device in DEVICES:
        mounts += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    kept = [word for name in capabilities for word in ("--cap-add", f"CAP_{name}")]
    entry = ENTRY.format(root=str(Path(harness.__file__).resolve().parent.parent))
    python = [sys.executable, "-s", "-P", "-c", entry, str(descriptor)]
    return [bwrap, "--die-with-parent", "--new-session", *users, *namespaces, *mounts, *kept, "--", *python]


FORBIDDEN = re.compile("permi|denied|namespace|unshare|mount|pivot_root|uid_map|max_user_namespaces", re.IGNORECASE)
SETTINGS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)


def remedy(said: str) -> str:
    """What to do about what bubblewrap, the zygote or a new kernel said, going by the system's settings too."""
    if "No module named" in said:
        return f"Install what is missing into the environment of {sys.executable}."
    if "seccomp" in said:
        return "Use a Linux on x86_64 or aarch64 with seccomp filters (CONFIG_SECCOMP_FILTER), or another sandbox."
    if not FORBIDDEN.search(said):
        return "Nothing is known to mend that; please report it."
    for setting, forbidding, allowing in SETTINGS:
        path = Path("/proc/sys", setting)
        if path.exists() and path.read_text(encoding="ascii").strip() == forbidding:
            return f"Allow user namespaces, as root: sysctl -w {allowing}"
    return (
        "If this is a container, start it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined "
        "(docker, podman); otherwise user namespaces must be allowed here."
    )


class Zygote:
    """A started zygote; ready some time after it was made."""

    reader = f"user {HOST_UID} when root starts it"

    def __init__(self) -> None:
        self._bwrap = bubblewrap()
        self._socket, guest = socket.socketpair()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # hundreds of requests never wait
        self._settled = threading.Event()  # ready, or ended
        self._ended = threading.Event()
        self._sending = threading.Lock()
        self._stderr = ""
        self._groups: Groups | None = None
        self.owner = os.getpid()
        threading.Thread(target=self._live, args=(guest,), name="kernel-zygote", daemon=True).start()
        atexit.register(self.close)

    def _live(self, guest: socket.socket) -> None:
        """Start bubblewrap and stay until it has ended: it dies with this thread."""
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
        try:
            with guest:
                process = subprocess.Popen(
                    command(self._bwrap, guest.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[guest.fileno()],
                    env={**ENVIRONMENT, "PATH": path},
                    cwd="/",
                )
            with process:
                with contextlib.suppress(CannotGroup, OSError):  # a watchdog then bounds the kernels' memory
                    self._groups = Groups.open()
                with contextlib.suppress(OSError, wire.WireError):
                    if wire.receive(self._socket) is not None:
                        self._settled.set()
                assert process.stderr is not None
                for line in process.stderr:
                    self._stderr = (self._stderr + line.decode(errors="replace"))[-STDERR_KEPT:]
        except OSError as error:
            self._stderr = str(error)
        finally:
            if self._groups is not None:
                self._groups.close()
            self._ended.set()
            self._settled.set()
            with self._sending:
                self._socket.close()

    @property
    def is_settled(self) -> bool:
        """Whether it has become ready, or failed to."""
        return self._settled.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether it may still serve, as far as is known."""
        return self.owner == os.getpid() and not self._ended.is_set()

    def wait(self, timeout: float) -> bool:
        """Block until it is settled; False after `timeout` seconds."""
        return self._settled.wait(timeout)

    def request(self, request: wire.Frame, descriptors: Sequence[int]) -> None:
        """Ask for a kernel. Raises OSError where the zygote has ended; the caller keeps its descriptors."""
        with self._sending:
            wire.send(self._socket, request, descriptors)

    def group(self, limit_mb: int) -> Group | None:
        """A control group for a kernel, None where none can be had."""
        if self._groups is not None:
            with contextlib.suppress(OSError):
                return self._groups.make(limit_mb)
        return None

    def discard(self, group: Group) -> None:
        """Let go of a kernel's control group."""
        if self._groups is not None:
            self._groups.discard(group)

    def failure(self) -> KernelUnavailable:
        """Why it ended."""
        self._ended.wait(5)
        said = self._stderr.strip() or "it said nothing"
        last = said.splitlines()[-1]
        return KernelUnavailable(f"No isolated kernel can be had here: {last}. {remedy(said)}")

    def close(self) -> None:
        """End it and all its kernels; wait until they are gone."""
        atexit.unregister(self.close)
        if self.owner == os.getpid():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._ended.wait(10)


_shared: Zygote | None = None
_sharing = threading.Lock()


def shared_zygote() -> Zygote:
    """This process's zygote, started or replaced where there is none alive; it may not be ready yet."""
    global _shared
    with _sharing:
        if _shared is None or not _shared.is_alive:
            _shared = Zygote()
        return _shared


async def warm_zygote(timeout: float) -> Zygote:
    """This process's zygote, ready. Raises KernelUnavailable where it cannot be had within `timeout` seconds."""
    zygote = shared_zygote()
    if not zygote.is_settled:
        started = time.monotonic()
        settled = await asyncio.to_thread(zygote.wait, timeout)
        if not settled:
            waited = time.monotonic() - started
            raise KernelUnavailable(
                f"The kernel's zygote was not ready after {waited:.0f} s. Is the machine overloaded? "
                "Give it longer: Limits(start_s=...)."
            )
    if not zygote.is_alive:
        raise await asyncio.to_thread(zygote.failure)
    return zygote
