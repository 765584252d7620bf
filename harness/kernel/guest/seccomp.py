"""The system calls that a kernel's processes may not make: a seccomp filter, built here, for x86_64 and aarch64.

`install()` puts the calling process and everything that it starts under the filter for good; `no_new_privs` must be
set. Refused are kernel interfaces that data work has no use for and escapes have: tracing and the memory of other
processes, keyrings, bpf, perf, userfaultfd, mounts, namespaces, modules, clocks, io_uring, and every socket family but
unix, IPv4, IPv6 and route netlink (so neither vsock nor the kernel's cipher sockets). Memory that no limit counts is
refused too: memfd, System V segments and queues. A call newer than `NEWEST` answers that it does not exist, as it
would on an older Linux, so what is added to Linux later is refused until somebody has looked at it.

The filter is assembled by hand and not by libseccomp, because bubblewrap does not bring that library along: a machine
without it would have to do without a kernel. tests/harness/kernel/test_seccomp.py holds the numbers against
libseccomp's where it is there, and runs the program of both architectures.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence

# Name -> number on x86_64, on aarch64 (None: it has no such call). Equal from 424 on, by Linux's rule.
REFUSED: dict[str, tuple[int, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # what holds secrets or runs code inside Linux
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    # mounts, roots and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "unshare": (272, 97),
    "setns": (308, 268),
    # files past their paths
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # the machine
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    # where memory lies
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
ABSENT: dict[str, tuple[int, int | None]] = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags lie in memory, out of a filter's sight; the C library goes on with clone
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
SOCKETS = {"socket": (41, 198), "socketpair": (53, 199)}
CLONE, PERSONALITY, IOCTL = (56, 220), (135, 92), (16, 29)
NEWEST = 462  # mseal, Linux 6.10

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FAMILIES = {"unix": 1, "IPv4": 2, "IPv6": 10}
NETLINK, NETLINK_ROUTE = 16, 0
NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW flag that clone takes
ASKING = 0xFFFFFFFF  # personality's argument that changes nothing
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type into the terminal of whoever started this

ALLOW, ERROR = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_OF, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data; both machines are little-endian
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def program(machine: str) -> bytes:
    """The filter for a machine ("x86_64", "aarch64") as an array of struct sock_filter. Raises OSError for others."""
    if machine not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise OSError(errno.ENOTSUP, f"seccomp: system calls are known for {known}, not for {machine}")
    column = list(ARCHITECTURES).index(machine)
    absent = _answer(errno.ENOSYS)
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        absent,  # a 32-bit call
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, 0, 1, NEWEST + 1),
        absent,
    ]
    for table, answer in ((REFUSED, _answer(errno.EPERM)), (ABSENT, absent)):
        for number in _numbers(table, column):
            code += [(EQUAL, 0, 1, number), answer]
    for call in SOCKETS.values():
        code += _on(call[column], _socket_rules())
    code += _on(CLONE[column], [_argument(0), (ANY_OF, 0, 1, NEW_NAMESPACES), _answer(errno.EPERM)])
    code += _on(PERSONALITY[column], [_argument(0), (EQUAL, 1, 0, ASKING), _answer(errno.EPERM)])
    injections = [((EQUAL, 0, 1, request), _answer(errno.EPERM)) for request in TERMINAL_INPUT]
    code += _on(IOCTL[column], [_argument(1), *(step for pair in injections for step in pair)])
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _answer(number: int) -> Instruction:
    return RETURN, 0, 0, ERROR | number


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument, which is all that Linux looks at in the calls here."""
    return LOAD, 0, 0, ARGUMENTS_AT + 8 * index


def _numbers(table: Mapping[str, tuple[int, int | None]], column: int) -> list[int]:
    return sorted(number for numbers in table.values() if (number := numbers[column]) is not None)


def _on(number: int, rules: Sequence[Instruction]) -> list[Instruction]:
    """`rules` for one call, which is allowed where they come to their end."""
    return [(EQUAL, 0, len(rules) + 1, number), *rules, (RETURN, 0, 0, ALLOW)]


def _socket_rules() -> list[Instruction]:
    allowed: Instruction = (RETURN, 0, 0, ALLOW)
    rules = [_argument(0)]
    for family in FAMILIES.values():
        rules += [(EQUAL, 0, 1, family), allowed]
    rules += [(EQUAL, 0, 3, NETLINK), _argument(2), (EQUAL, 0, 1, NETLINK_ROUTE), allowed]
    return [*rules, _answer(errno.EAFNOSUPPORT)]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(filter_: bytes) -> None:
    """Put this process and what it starts under `filter_`. Raises OSError where Linux has no seccomp filters."""
    libc = ctypes.CDLL(None, use_errno=True)
    compiled = _Program(len(filter_) // 8, filter_)
    if libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(compiled), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp filter: {os.strerror(number)}")
