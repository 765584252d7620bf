"""A cell in a bwrap kernel behaves as in a notebook, and what it shows is plain and bounded."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


async def test_variables_persist_between_cells(run: Any) -> None:
    await run("x = 20")
    assert (await run("x + 1")).result == "21"


async def test_the_last_value_is_the_result_and_not_part_of_stdout(run: Any) -> None:
    result = await run("print('shown')\nimport sys\nprint('warned', file=sys.stderr)\n6 * 7")
    assert (result.stdout, result.stderr, result.result) == ("shown\n", "warned\n", "42")
    assert result.text() == "shown\nwarned\n42"


@pytest.mark.parametrize("code", ["x = 1", "None", "1;", "# nothing", ""])
async def test_a_cell_without_a_value_has_no_result(run: Any, code: str) -> None:
    result = await run(code)
    assert (result.status, result.result, result.stdout) == ("ok", None, "")


async def test_cells_are_counted(run: Any) -> None:
    assert [(await run(code)).execution_count for code in ("1", "1/0", "3")] == [1, 2, 3]


async def test_underscore_in_and_out_work(run: Any) -> None:
    await run("6 * 7")
    assert (await run("_ + 1")).result == "43"
    assert (await run("Out[1], In[1]")).result == "(42, '6 * 7')"


async def test_magics_shell_commands_and_top_level_await_work(run: Any) -> None:
    assert "Wall time" in (await run("%time 1")).stdout
    assert (await run("!echo from the shell")).stdout == "from the shell\n"
    assert (await run("lines = !ls input\nlines")).result == "['parcels.csv', 'reference']"
    assert (await run("%%bash\necho in bash")).stdout == "in bash\n"
    assert (await run("import asyncio\nawait asyncio.sleep(0, 'awaited')")).result == "'awaited'"


async def test_a_data_frame_is_shown_as_text(run: Any) -> None:
    result = await run("import pandas as pd\ndf = pd.read_csv('input/parcels.csv')\ndisplay(df)\ndf")
    assert result.stdout == "   id      world\n0   1  world-001\n"
    assert result.result == "   id      world\n0   1  world-001"


async def test_an_error_is_told_short_and_plain(run: Any) -> None:
    await run("import pandas as pd\ndf = pd.DataFrame({'weight': [1]})")
    result = await run("def column(name):\n    return df[name]\n\ncolumn('wait')")
    assert result.status == "error"
    assert (result.error.name, result.error.message) == ("KeyError", "'wait'")
    lines = result.error.traceback.splitlines()
    assert lines[:5] == [
        "Traceback (most recent call last):",
        "  Cell In[2], line 4",
        "    column('wait')",
        "  Cell In[2], line 2, in column",
        "    return df[name]",
    ]
    assert lines[5].startswith("  File pandas/core/")
    assert lines[-1] == "KeyError: 'wait'"
    assert "\x1b" not in result.error.traceback
    assert len(lines) == 8


async def test_a_syntax_error_marks_its_place(run: Any) -> None:
    result = await run("total = (1 +")
    assert result.error.name in ("SyntaxError", "_IncompleteInputError")
    assert result.error.traceback.startswith("  Cell In[1], line 1\n    total = (1 +")


async def test_input_says_that_nobody_can_answer(run: Any) -> None:
    result = await run("name = input('Your name? ')")
    assert result.status == "error"  # and no timeout
    assert "nobody can answer" in result.error.message


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys; sys.exit(3)", "raise SystemExit"])
async def test_leaving_the_interpreter_is_an_error_and_keeps_the_state(run: Any, code: str) -> None:
    await run("x = 5")
    left = await run(code)
    assert left.status == "error"
    assert left.stderr == ""
    assert (await run("x")).result == "5"


async def test_plots_need_no_screen(run: Any) -> None:
    result = await run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('a.png')\nplt.show()")
    assert (result.status, result.stderr) == ("ok", "")


async def test_a_long_output_keeps_head_and_tail_and_says_how_much_was_cut(run: Any) -> None:
    result = await run("print('a' * 5000 + 'z' * 5000, end='')")
    assert result.stdout == "a" * 500 + "\n[... 9000 characters cut ...]\n" + "z" * 500
    assert result.cut_chars == 9000


async def test_result_and_traceback_are_cut_too(run: Any) -> None:
    result = await run("'r' * 3000")
    assert "[... 2002 characters cut ...]" in result.result
    failed = await run("raise ValueError('m' * 3000)")
    assert len(failed.error.traceback) < 1100
    assert len(failed.error.message) < 1100
    assert failed.cut_chars > 1900


async def test_two_hundred_megabytes_of_output_neither_stall_nor_stay(run: Any) -> None:
    before = peak_kb()
    result = await run("import sys\nfor _ in range(200): sys.stdout.write('x' * 1_000_000)")
    assert result.status == "ok"
    assert result.cut_chars == 200_000_000 - 1000
    assert len(result.stdout) < 1100
    assert peak_kb() - before < 20_000


async def test_what_is_not_text_is_shown_all_the_same(run: Any) -> None:
    result = await run(
        "import sys\nsys.stdout.flush()\nsys.stdout.buffer.write(b'\\xff\\xfe ok\\n')\nprint('\\ud800')\n'\\ud800'"
    )
    assert result.stdout == "\ufffd\ufffd ok\n\\ud800\n"
    result.model_dump_json()


async def test_characters_that_arrive_in_pieces_are_put_together(run: Any) -> None:
    code = "import os, time\nfor part in (b'caf\\xc3', b'\\xa9\\n'):\n    os.write(1, part); time.sleep(0.05)"
    assert (await run(code)).stdout == "café\n"


async def test_output_of_child_processes_is_part_of_the_cell(run: Any) -> None:
    result = await run("import subprocess\nsubprocess.run(['sh', '-c', 'echo out; echo err >&2'])\nNone")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


async def test_a_fork_that_runs_on_does_not_answer_in_the_cells_place(run: Any) -> None:
    assert (await run("import os\npid = os.fork()\n'parent' if pid else 'child'")).result == "'parent'"
    assert (await run("1 + 1")).result == "2"


async def test_a_cell_may_close_its_streams(run: Any) -> None:
    await run("import sys\nsys.stdout.close()")
    assert (await run("print('again')")).stdout == "again\n"


async def test_two_kernels_draw_different_random_numbers(run: Any, question_set: Any) -> None:
    from harness.kernel.bwrap import BwrapKernel

    draw = "import random, numpy\nrandom.random(), numpy.random.random()"
    async with await BwrapKernel.create() as other:
        drawn = [(await kernel.run(draw)).text().strip("()").split(", ") for kernel in (run.kernel, other)]
    assert not set(drawn[0]) & set(drawn[1])


async def test_sets_of_strings_have_the_same_order_in_every_run(run: Any) -> None:
    assert (await run("import sys\nsys.flags.hash_randomization")).result == "0"


def peak_kb() -> int:
    """The most memory that this process ever held, in KiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
