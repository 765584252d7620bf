"""What every kernel keeps, whichever sandbox it runs in: the tests of the `Kernel` protocol.

A backend's test module gives a fixture `new_kernel`, a callable that makes a kernel which is not started, and takes
the tests over:

    from tests.harness.kernel.contract import *  # noqa: F403

    @pytest.fixture
    def new_kernel() -> Callable[[], Kernel]:
        return BwrapKernel

Set the module's `LIMITS` to wait longer where a service answers slowly. The battery of hostile cells comes on top.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness.kernel.protocol import CellResult, Kernel, Limits

__all__ = [
    "kernel",
    "limits",
    "test_a_cell_past_its_limit_is_interrupted_and_the_state_kept",
    "test_a_file_that_is_not_there_is_named_before_anything_starts",
    "test_a_last_value_is_the_result_and_streams_are_apart",
    "test_a_long_output_keeps_head_and_tail_and_says_how_much_was_cut",
    "test_a_lost_kernel_says_so_and_is_back_for_the_next_cell",
    "test_a_name_that_leaves_the_input_folder_is_refused",
    "test_an_error_has_a_name_a_message_and_a_plain_traceback",
    "test_cells_are_counted_from_one_and_again_after_a_restart",
    "test_close_may_be_called_twice_and_no_cell_runs_after_it",
    "test_input_says_that_nobody_can_answer",
    "test_no_other_file_of_the_host_is_there",
    "test_restart_forgets_variables_and_shows_the_same_files",
    "test_state_is_kept_between_cells",
    "test_the_files_are_there_and_read_only",
    "test_what_no_record_can_hold_is_shown_all_the_same",
]

LIMITS = Limits(cell_s=60, grace_s=2, output_chars=1000, memory_mb=512, disk_mb=16, processes=32)


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Limits:
    """The taking module's `LIMITS`, or these."""
    return getattr(request.module, "LIMITS", LIMITS)


@pytest.fixture
async def kernel(new_kernel: Callable[[], Kernel], limits: Limits, tmp_path: Path) -> AsyncIterator[Kernel]:
    """A started kernel with two files, one in a folder; a third lies beside them on the host."""
    (tmp_path / "parcels.csv").write_text("id,weight\n1,2.5\n")
    (tmp_path / "rules.json").write_text("[]")
    (tmp_path / "answers.jsonl").write_text("{}")
    kernel = new_kernel()
    files = {"parcels.csv": tmp_path / "parcels.csv", "reference/rules.json": tmp_path / "rules.json"}
    await kernel.start(files, limits)
    yield kernel
    await kernel.close()


async def shown(kernel: Kernel, code: str) -> str:
    """The text of a cell that must succeed."""
    result = await kernel.run(code)
    assert result.status == "ok", result.text()
    return result.text()


async def failed(kernel: Kernel, code: str) -> str:
    """The name of the error of a cell that must fail."""
    result = await kernel.run(code)
    assert result.status == "error", result.text()
    assert result.error is not None
    return result.error.name


async def test_state_is_kept_between_cells(kernel: Kernel) -> None:
    await kernel.run("x = 20\nimport math")
    assert await shown(kernel, "x + math.floor(1.5)") == "21"


async def test_a_last_value_is_the_result_and_streams_are_apart(kernel: Kernel) -> None:
    result = await kernel.run("print('shown')\nimport sys\nprint('warned', file=sys.stderr)\n6 * 7")
    assert (result.stdout, result.stderr, result.result) == ("shown\n", "warned\n", "42")
    assert (result.status, result.error, result.note) == ("ok", None, None)
    assert (await kernel.run("x = 1")).result is None


async def test_an_error_has_a_name_a_message_and_a_plain_traceback(kernel: Kernel) -> None:
    result = await kernel.run("print('before')\n{}['gone']")
    assert (result.status, result.stdout) == ("error", "before\n")
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("KeyError", "'gone'")
    assert "\x1b" not in result.error.traceback
    assert result.error.traceback.endswith("KeyError: 'gone'")
    assert await shown(kernel, "1 + 1") == "2"


async def test_cells_are_counted_from_one_and_again_after_a_restart(kernel: Kernel) -> None:
    assert [(await kernel.run(code)).execution_count for code in ("1", "1/0", "3")] == [1, 2, 3]
    await kernel.restart()
    assert (await kernel.run("1")).execution_count == 1


async def test_input_says_that_nobody_can_answer(kernel: Kernel) -> None:
    assert await failed(kernel, "input('Your name? ')") == "StdinNotImplementedError"


async def test_a_long_output_keeps_head_and_tail_and_says_how_much_was_cut(kernel: Kernel) -> None:
    result = await kernel.run("print('a' * 5000 + 'z' * 5000, end='')")
    assert result.stdout == "a" * 500 + "\n[... 9000 characters cut ...]\n" + "z" * 500
    assert result.cut_chars == 9000


async def test_what_no_record_can_hold_is_shown_all_the_same(kernel: Kernel) -> None:
    result = await kernel.run("print('\\ud800')\n'\\ud800 \\x00'")
    assert CellResult.model_validate_json(result.model_dump_json()) == result


async def test_the_files_are_there_and_read_only(kernel: Kernel) -> None:
    assert await shown(kernel, "print(open('/home/user/input/parcels.csv').read())") == "id,weight\n1,2.5"
    assert await shown(kernel, "import os\nos.getcwd(), sorted(os.listdir('input'))") == (
        "('/home/user', ['parcels.csv', 'reference'])"
    )
    for change in ("open('input/parcels.csv', 'w')", "open('input/new', 'w')", "os.remove('input/parcels.csv')"):
        assert await failed(kernel, f"import os\n{change}") in ("OSError", "PermissionError")
    assert await shown(kernel, "open('mine.txt', 'w').write('kept')") == "4"


async def test_no_other_file_of_the_host_is_there(kernel: Kernel, tmp_path: Path) -> None:
    assert await shown(kernel, f"import os\nos.path.exists({str(tmp_path)!r})") == "False"
    search = (  # libraries are shown on purpose, and there are a hundred thousand files of them
        "found = []\n"
        "for folder, below, files in os.walk('/'):\n"
        "    below[:] = [b for b in below if (folder, b) != ('/', 'proc') and not b.endswith('-packages')]\n"
        "    found += [file for file in files if file == 'answers.jsonl']\n"
        "found"
    )
    assert await shown(kernel, search) == "[]"


async def test_restart_forgets_variables_and_shows_the_same_files(kernel: Kernel) -> None:
    await kernel.run("x = 5")
    await kernel.restart()
    assert await failed(kernel, "x") == "NameError"
    assert await shown(kernel, "import os\nos.path.exists('input/reference/rules.json')") == "True"


async def test_a_cell_past_its_limit_is_interrupted_and_the_state_kept(kernel: Kernel) -> None:
    await kernel.run("x = 5")
    result = await kernel.run("print('begun', flush=True)\nimport time\ntime.sleep(600)", timeout=1)
    assert (result.status, result.stdout) == ("timeout", "begun\n")
    assert result.note == "The cell was interrupted after 1 s, its time limit. Variables are kept."
    assert 1 <= result.duration_s < 60
    assert await shown(kernel, "x") == "5"


async def test_a_lost_kernel_says_so_and_is_back_for_the_next_cell(kernel: Kernel) -> None:
    await kernel.run("x = 5")
    result = await kernel.run("import os\nos._exit(3)")
    assert result.status == "died"
    assert result.note is not None
    assert "It has been restarted: all variables are gone" in result.note
    assert await failed(kernel, "x") == "NameError"
    assert await shown(kernel, "1 + 1") == "2"


async def test_close_may_be_called_twice_and_no_cell_runs_after_it(kernel: Kernel) -> None:
    await kernel.close()
    await kernel.close()
    with pytest.raises(RuntimeError, match="the kernel is closed"):
        await kernel.run("1")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
async def test_a_name_that_leaves_the_input_folder_is_refused(
    new_kernel: Callable[[], Kernel], limits: Limits, tmp_path: Path, name: str
) -> None:
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(ValueError, match="relative path without"):
        await new_kernel().start({name: tmp_path / "a.csv"}, limits)


async def test_a_file_that_is_not_there_is_named_before_anything_starts(
    new_kernel: Callable[[], Kernel], limits: Limits, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.csv: no such file"):
        await new_kernel().start({"a.csv": tmp_path / "missing.csv"}, limits)
