"""Namespaces, mounts and limits: how a process forked by the zygote becomes an isolated kernel.

The zygote sees the host's file system read-only and holds CAP_SYS_ADMIN in its user namespace (the host's own for
root, bubblewrap's for an ordinary user). It forks a kernel's process 1 by `fork_first`, which calls `leave_namespaces`,
`enter_root` (a root that holds the interpreter, the question's files and private scratch space, nothing else) and
`drop` (an unprivileged user, a user namespace of its own, no capabilities, limits, a filter of system calls). Every
failure is an OSError whose text names the step.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from harness.kernel.guest import seccomp

STAGING = "/dev/kernel"  # an empty directory that the zygote's bubblewrap makes; kernels' roots are built on it
HOME = "/home/user"
INPUT = "/home/user/input"
HOST_UID = 65533  # who a kernel is on the host when root starts it: an identity that owns nothing
OOM_SCORE, WORKERS_OOM_SCORE = 500, 1000
INSIDE_UID = 1000  # who it is in its own user namespace

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
CAPABILITY_VERSION_3 = 0x20080522

SYSTEM_PARTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
PREFIX_PARTS = (*SYSTEM_PARTS, "libexec", "share", "include", "etc/fonts", "etc/jupyter", "pyvenv.cfg")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "mime.types")
SCRATCH = {"home": HOME, "tmp": "/tmp", "shm": "/dev/shm"}
OURS = ("dabstep", "harness", "pipeline", "recipes", "results", "tasks")
DEVICES = ("null", "zero", "full", "random", "urandom")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(step: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    _checked(f"mount {source} on {target}", _libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]))


def _unshare(flags: int, what: str) -> None:
    _checked(f"unshare ({what})", _libc.unshare(flags))


def _prctl(option: int, value: int) -> int:
    return int(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may trace this one and read its memory."""
    _prctl(PR_SET_DUMPABLE, int(dumpable))


def enter_group(processes: int) -> None:
    """Move this process, which has one thread, into the control group on whose list of processes this is open."""
    try:
        os.write(processes, b"0")
    except OSError as error:
        raise OSError(error.errno, f"control group: {error.strerror}") from None
    os.close(processes)


def fork_first(own_processes: int) -> int:
    """As `os.fork`, but the child is process 1 of a new process namespace.

    `own_processes` is open on this process's own process namespace, in which its other children are to be.
    """
    _unshare(CLONE_NEWPID, "process namespace")
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0 and _libc.setns(own_processes, CLONE_NEWPID) != 0:
            os._exit(1)  # no further fork would be where it belongs
    return pid


def leave_namespaces() -> None:
    """Leave the zygote's namespaces but that of processes."""
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP
    _unshare(flags, "mount, ipc, uts, network and cgroup namespaces")


def runtime_paths() -> list[str]:
    """What the interpreter needs of the host, as absolute paths: system libraries and programs, and this environment.

    Of a prefix only its known parts: a checkout or a data folder that happens to be inside a prefix stays out of sight.
    """
    prefixes = {"/usr", "/usr/local", sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes}
    site = {entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")}
    wanted = {f"/{part}" for part in SYSTEM_PARTS} | {f"/etc/{name}" for name in ETC} | {"/nix/store"} | site
    wanted |= {f"{prefix}/{part}" for prefix in prefixes if prefix != "/" for part in PREFIX_PARTS}
    present = sorted(path for path in wanted if os.path.lexists(path))
    directories = {path for path in present if not os.path.islink(path)}
    return [path for path in present if not any(str(parent) in directories for parent in Path(path).parents)]


def build_template(runtime: Sequence[str]) -> None:
    """Build what all kernels' roots have in common, once, in the zygote: `runtime`, shown as it is, and /etc and /dev.

    Each kernel inherits it read-only and mounts its own files, scratch space and /proc on its empty directories.
    """
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    _mount("tmpfs", STAGING, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for path in runtime:
        if not _is_covered(path):
            _show(path, STAGING + path)
    for path in _ours(runtime, covered=False):
        _hide(path)
    _write_etc()
    for name in DEVICES:
        _show(f"/dev/{name}", f"{STAGING}/dev/{name}")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        Path(STAGING, "dev", name).symlink_to(f"/proc/self/fd{target}")
    for directory in ("/proc", *SCRATCH.values()):
        Path(STAGING + directory).mkdir(parents=True, exist_ok=True)
    _mount("none", STAGING, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


@dataclass(frozen=True)
class Own:
    """What each kernel mounts for itself, found once: paths that its scratch space would cover, and our own in them."""

    covered: tuple[str, ...]
    hidden: tuple[str, ...]

    @classmethod
    def of(cls, runtime: Sequence[str]) -> Self:
        """Of all that kernels see of the host."""
        return cls(tuple(filter(_is_covered, runtime)), tuple(_ours(runtime, covered=True)))


def enter_root(own: Own, files: Sequence[tuple[str, str]], disk_mb: int) -> None:
    """Complete the template with what is this kernel's own, move into it and let go of the host's root.

    `files` are pairs (name under INPUT, path on the host), shown read-only.
    """
    _make_scratch(disk_mb)
    for path in own.covered:
        _show(path, STAGING + path)
    for path in own.hidden:
        _hide(path)
    _bind_files(files)
    _mount("proc", f"{STAGING}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _checked("sethostname", _libc.sethostname(b"kernel", 6))
    os.chdir(STAGING)
    _checked("pivot_root", _libc.pivot_root(b".", b"."))
    _checked("umount of the host's root", _libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _is_covered(path: str) -> bool:
    """Whether a kernel's own scratch space lies over this path of the host (an environment in /tmp, say)."""
    return any(path.startswith(f"{target}/") for target in SCRATCH.values())


def _show(source: str, target: str) -> None:
    """Show a file, directory or symbolic link of the host, as it is."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o644))
    _mount(source, target, flags=MS_BIND | MS_REC)


def is_shown(path: str, runtime: Sequence[str]) -> bool:
    """Whether kernels see this path of the host."""
    return os.path.exists(path) and any(path == shown or path.startswith(f"{shown}/") for shown in runtime)


def _ours(runtime: Sequence[str], covered: bool) -> list[str]:
    """Our own packages where they are installed among the shown ones."""
    paths = [str(Path(__file__).parents[3] / name) for name in OURS]
    return [path for path in paths if is_shown(path, runtime) and _is_covered(path) == covered]


def _hide(path: str) -> None:
    """Cover a folder: a world's oracles would answer it."""
    _mount("tmpfs", STAGING + path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k,mode=0755")


def _write_etc() -> None:
    etc = Path(STAGING, "etc")
    etc.mkdir(exist_ok=True)
    (etc / "passwd").write_text(f"user:x:{INSIDE_UID}:{INSIDE_UID}:user:{HOME}:/bin/sh\n")
    (etc / "group").write_text(f"user:x:{INSIDE_UID}:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    (etc / "hostname").write_text("kernel\n")


def _make_scratch(disk_mb: int) -> None:
    """One file system in memory behind the home directory, /tmp and /dev/shm, so that one quota bounds all three."""
    owner = HOST_UID if os.geteuid() == 0 and _is_host_root() else os.geteuid()
    scratch = f"{STAGING}/proc"  # /proc will cover it
    _mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk_mb}m,nr_inodes=65536,mode=0755")
    for name, target in SCRATCH.items():
        os.mkdir(f"{scratch}/{name}")
        os.chown(f"{scratch}/{name}", owner, owner)
        _mount(f"{scratch}/{name}", STAGING + target, flags=MS_BIND)


def _bind_files(files: Sequence[tuple[str, str]]) -> None:
    folder = STAGING + INPUT
    os.mkdir(folder)
    _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for name, source in files:
        target = f"{folder}/{name}"
        _show(os.path.realpath(source), target)
        _mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    _mount("none", folder, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def unreadable(names: Sequence[str]) -> list[str]:
    """Those of the question's files that the kernel's user may not read."""
    return [name for name in names if not os.access(f"{INPUT}/{name}", os.R_OK)]


@cache
def _is_host_root() -> bool:
    """Whether user 0 here is the host's root, and not an ordinary user who was mapped to it."""
    with open("/proc/self/uid_map", encoding="ascii") as mapping:
        inside, outside, _ = (int(field) for field in mapping.readline().split())
    return inside == 0 and outside == 0


def drop(memory_mb: int, processes: int, disk_mb: int, filter_: bytes) -> None:
    """Become an unprivileged user in a user namespace of its own that can make no further ones, under `filter_`.

    The host's root becomes HOST_UID first: the kernel never counts processes against the host's user 0, so their
    number would be unbounded.
    """
    if os.geteuid() == 0 and _is_host_root():
        os.setgroups([])
        os.setresgid(HOST_UID, HOST_UID, HOST_UID)
        os.setresuid(HOST_UID, HOST_UID, HOST_UID)
    outside = os.geteuid(), os.getegid()
    set_dumpable(True)  # a changed identity cleared it, and /proc/self/uid_map then belongs to root
    _unshare(CLONE_NEWUSER, "user namespace")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE_UID} {outside[0]} 1")
    _write("/proc/self/gid_map", f"{INSIDE_UID} {outside[1]} 1")
    _write("/proc/sys/user/max_user_namespaces", "0")
    _limit(memory_mb, processes, disk_mb)
    _checked("no_new_privs", _prctl(PR_SET_NO_NEW_PRIVS, 1))
    _drop_capabilities()
    killed_early(OOM_SCORE)
    set_dumpable(False)
    seccomp.install(filter_)


def drop_within(memory_mb: int, disk_mb: int, filter_: bytes) -> None:
    """What is left to `drop` where a container has seen to namespaces, user and capabilities.

    The number of processes is left to the container, too: Linux counts a user's over all containers.
    """
    _limit(memory_mb, None, disk_mb)
    _checked("no_new_privs", _prctl(PR_SET_NO_NEW_PRIVS, 1))
    killed_early(OOM_SCORE)
    set_dumpable(False)
    seccomp.install(filter_)


def killed_early(score: int) -> None:
    """How soon Linux kills this process where memory runs out, 0 to 1000: before the host's, and the worker first."""
    _write("/proc/self/oom_score_adj", str(score))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"write {text!r} to {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _limit(memory_mb: int, processes: int | None, disk_mb: int) -> None:
    """Limits of each process. `memory_mb` bounds its private memory; its address space may hold 2 GiB beyond that.

    What this process brings along from the zygote does not count.
    """
    mib = 1 << 20
    with open("/proc/self/status", encoding="ascii") as status:
        brought = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    for which, value in (
        (resource.RLIMIT_DATA, brought + memory_mb * mib),
        (resource.RLIMIT_AS, brought + (memory_mb + 2048) * mib),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, disk_mb * mib),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 64 * 1024),
    ):
        if value is None:
            continue
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))


def _drop_capabilities() -> None:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        for capability in range(int(last.read()) + 1):
            _checked("dropping a capability from the bounding set", _prctl(PR_CAPBSET_DROP, capability))
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _checked("capset", _libc.capset(header, (ctypes.c_uint32 * 6)()))


def close_all_but(keep: Sequence[int]) -> None:
    """Close every descriptor but 0, 1, 2 and `keep`."""
    edges = [2, *sorted(keep), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]
    for low, high in itertools.pairwise(edges):
        os.closerange(low + 1, high)
