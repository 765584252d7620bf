"""The filter of system calls: its numbers are Linux's, its program says what its tables say, and kernels obey it."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import platform
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.guest import seccomp
from harness.kernel.zygote import remedy

COLUMNS = {"x86_64": 0, "aarch64": 1}
TABLES = {errno.EPERM: seccomp.REFUSED, errno.ENOSYS: seccomp.ABSENT}
ARGUED = {
    "clone": seccomp.CLONE,
    "personality": seccomp.PERSONALITY,
    "ioctl": seccomp.IOCTL,
    **seccomp.SOCKETS,
}
machines = st.sampled_from(list(COLUMNS))
words = st.integers(0, 2**64 - 1)


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to a call, 0 where it is allowed: the program, run as Linux would."""
    given = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, architecture or seccomp.ARCHITECTURES[machine], 0, *given)
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    value = at = 0
    while True:
        operation, then, otherwise, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, constant)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[operation]
                at += then if holds else otherwise
            case 0x06:
                assert constant & ~0xFFFF in (0x7FFF0000, 0x00050000)
                return constant & 0xFFFF
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


@pytest.mark.parametrize("machine", COLUMNS)
def test_the_numbers_are_those_of_libseccomp(machine: str) -> None:
    try:
        resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name_arch
    except OSError:
        pytest.skip("libseccomp is not installed")
    compared = 0
    for name, numbers in (seccomp.REFUSED | seccomp.ABSENT | ARGUED).items():
        theirs = resolve(seccomp.ARCHITECTURES[machine], name.encode())
        if theirs == -1:  # newer than the library
            continue
        ours = numbers[COLUMNS[machine]]
        assert (theirs if theirs >= 0 else None) == ours, name
        compared += 1
    assert compared > 60


@given(machine=machines, number=st.integers(0, seccomp.NEWEST), arguments=st.lists(words, max_size=6))
def test_a_call_is_answered_by_the_table_that_it_is_in(machine: str, number: int, arguments: list[int]) -> None:
    column = COLUMNS[machine]
    if number in [numbers[column] for numbers in ARGUED.values()]:
        return
    expected = [code for code, table in TABLES.items() if number in [numbers[column] for numbers in table.values()]]
    assert answer(machine, number, *arguments) == (expected[0] if expected else 0)


@given(machine=machines, number=st.integers(seccomp.NEWEST + 1, 2**32 - 1), architecture=st.integers(1, 2**32 - 1))
def test_calls_that_nobody_has_looked_at_do_not_exist(machine: str, number: int, architecture: int) -> None:
    """Newer ones, x32's (their numbers have bit 30 set), and every call of another architecture."""
    assert answer(machine, number) == errno.ENOSYS
    if architecture != seccomp.ARCHITECTURES[machine]:
        assert answer(machine, number % 400, architecture=architecture) == errno.ENOSYS


@given(machine=machines, family=st.integers(0, 60), kind=words, protocol=st.integers(0, 30), upper=st.integers(0, 9))
def test_four_families_of_sockets_are_there(machine: str, family: int, kind: int, protocol: int, upper: int) -> None:
    allowed = family in (1, 2, 10) or (family, protocol) == (16, 0)
    for numbers in seccomp.SOCKETS.values():  # Linux looks at the lower half of an argument alone
        given_answer = answer(machine, numbers[COLUMNS[machine]], family | upper << 32, kind, protocol)
        assert given_answer == (0 if allowed else errno.EAFNOSUPPORT)


@given(machine=machines, flags=words)
def test_clone_makes_processes_and_threads_but_no_namespaces(machine: str, flags: int) -> None:
    new = sum(1 << bit for bit in (17, 25, 26, 27, 28, 29, 30))
    expected = errno.EPERM if flags & new else 0
    assert answer(machine, seccomp.CLONE[COLUMNS[machine]], flags) == expected


@given(machine=machines, value=st.sampled_from([0, 0x40000, 0x5412, 0x5413, 0x541C, 0xFFFFFFFF]))
def test_personality_is_only_asked_and_terminals_are_not_typed_into(machine: str, value: int) -> None:
    column = COLUMNS[machine]
    assert answer(machine, seccomp.PERSONALITY[column], value) == (0 if value == 0xFFFFFFFF else errno.EPERM)
    assert answer(machine, seccomp.IOCTL[column], 0, value) == (errno.EPERM if value in (0x5412, 0x541C) else 0)


def test_an_architecture_without_a_table_is_refused_and_said_so() -> None:
    with pytest.raises(OSError, match="known for x86_64 and aarch64, not for riscv64") as error:
        seccomp.program("riscv64")
    assert "another sandbox" in remedy(str(error.value))


@pytest.mark.anyio
async def test_a_kernel_obeys_the_filter(run: Any) -> None:
    column = COLUMNS[platform.machine()]
    for code, table in TABLES.items():
        numbers = {name: number for name, row in table.items() if (number := row[column]) is not None}
        call = (
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(number):\n"
            "    ctypes.set_errno(0)\n    return libc.syscall(number, 0, 0, 0, 0, 0, 0), ctypes.get_errno()\n"
            f"[name for name, number in {numbers!r}.items() if call(number) != (-1, {code})]"
        )
        assert (await run(call)).result == "[]", os.strerror(code)
    assert (await run("!grep Seccomp: /proc/self/status")).stdout == "Seccomp:\t2\n"


@pytest.mark.anyio
async def test_commands_beside_the_kernel_obey_it_too(run: Any) -> None:
    completed = await run.kernel.exec(["grep", "Seccomp:", "/proc/self/status"])
    assert completed.stdout == b"Seccomp:\t2\n"
    completed = await run.kernel.exec(["python3", "-c", "import socket; socket.socket(40)"])
    assert b"Address family not supported" in completed.stderr
