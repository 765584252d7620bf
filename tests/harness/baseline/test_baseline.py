"""The official baseline's scaffold: real smolagents, scripted models, real kernels, whole evaluations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    ModelOutput,
)

import dabstep._registry  # noqa: F401  (the kernel sandbox, by its name)
from harness.baseline import IMPORTS, baseline
from harness.notebook import to_notebook
from harness.trace import chat_row
from tests.harness.baseline.conftest import Reply, Run, answer, block, cells, model_calls, question, score

pytest.importorskip("smolagents", reason="the extra `baseline` is not installed")

READ = "import pandas as pd\ndf = pd.read_csv('/home/user/input/a.csv')"


def test_steps_share_one_kernel_and_the_answer_is_graded(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    sample, run = play(block(READ), block("total = df.x.sum()\nprint('sum:', total)"), block("final_answer(total)"))
    assert (score(sample), answer(sample)) == ("C", "6")
    assert [(cell["status"], cell.get("stdout", "")) for cell in cells(sample)] == [
        ("ok", ""),
        ("ok", "sum: 6\n"),
        ("ok", ""),
    ]
    assert run.shown[2] == "Observation:\nExecution logs:\nsum: 6\nLast output from code snippet:\nNone"


def test_the_prompt_names_the_directory_and_asks_for_the_documentation_twice(
    play: Callable[..., tuple[EvalSample, Run]],
) -> None:
    sample, run = play(block("final_answer(6)"))
    asked = run.shown[0]
    assert asked.count("/home/user/input") == 2
    assert len(re.findall("documentation", asked)) >= 2
    assert "q: what is the sum of x?" in asked
    assert "you MUST follow" in asked
    assert asked.index("MUST follow") < asked.index("A whole number.")
    system = sample.messages[0].text
    assert all(f"'{name}'" in system for name in IMPORTS)


def test_a_trace_a_notebook_and_a_chat_row_are_made_of_it(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    _, run = play(block(READ, "First I read."), block("df.x.sum()"), block("final_answer(df.x.sum())", "Done."))
    [trace] = run.traces
    assert (trace.scaffold, trace.stop_reason, trace.verdict.correct, trace.tools) == ("baseline", "answered", True, ())
    assert [cell.result for cell in trace.cells] == [None, "np.int64(6)", None]
    shown = [(cell.cell_type, cell.source) for cell in to_notebook(trace).cells[1:-1]]
    assert shown == [
        ("markdown", "Thought: First I read."),
        ("code", READ),
        ("markdown", "Thought: I go on."),
        ("code", "df.x.sum()"),
        ("markdown", "Thought: Done."),
        ("code", "final_answer(df.x.sum())"),
    ]
    roles = [message["role"] for message in chat_row(trace)["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user", "assistant"]


@pytest.mark.parametrize(
    "code",
    [
        "print('before')\nimport requests",
        "from pathlib import Path",
        "import os.path",
        "print(1)\nfor i in range(3):\n    print(i)\n    1 / (1 - i)\nprint(2)",
        "print('first')\nfee = int('six')",
        "if True:\n    raise ValueError('as I said')",
        "x = (1,",
        "final_answer = 6",
    ],
)
def test_the_model_is_told_what_smolagents_own_interpreter_would_tell(
    play: Callable[..., tuple[EvalSample, Run]], code: str
) -> None:
    """That interpreter runs here, on these harmless lines, for comparison only."""
    from smolagents.local_python_executor import InterpreterError, LocalPythonExecutor

    theirs = LocalPythonExecutor(list(IMPORTS))
    theirs.send_tools({"final_answer": print})
    theirs.authorized_imports.sort()  # as CodeAgent names them in its prompt
    with pytest.raises(InterpreterError) as refused:
        theirs(code)
    _, run = play(block(code), block("final_answer(6)"))
    told = run.shown[1]
    assert f"Error:\n{refused.value}\n" in told
    logs = str(theirs.state.get("_print_outputs", ""))
    assert not logs or f"Execution logs:\n{logs.rstrip()}" in told


def test_a_cells_error_does_not_end_the_work(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    sample, run = play(block("kept = 6\n1 / 0"), block("final_answer(kept)"))
    assert "ZeroDivisionError: division by zero" in run.shown[1]
    assert [cell["status"] for cell in cells(sample)] == ["error", "ok"]
    assert score(sample) == "C"


@pytest.mark.parametrize("reply", ["I cannot do that.", "<code>\n!ls /\n</code>", "<code>\nx = '\0'\n</code>"])
def test_what_is_no_python_runs_nowhere_and_goes_back_to_the_model(
    play: Callable[..., tuple[EvalSample, Run]], reply: str
) -> None:
    sample, run = play(reply, block("final_answer(6)"))
    assert "Now let's retry" in run.shown[1]
    assert (score(sample), len(cells(sample))) == ("C", 1)


def test_code_fences_are_understood_too_and_what_a_model_imagines_after_its_code_is_cut(
    play: Callable[..., tuple[EvalSample, Run]],
) -> None:
    imagined = "\nObservation:\n7\nThought: so\n<code>\nfinal_answer(7)\n</code>"
    sample, _ = play("Thought: I see.\n```python\nx = 6\n```", block("print(x)") + imagined, block("final_answer(x)"))
    assert (score(sample), len(cells(sample))) == ("C", 3)
    assert model_calls(sample)[0].config.stop_seqs == ["Observation:", "Calling tools:", "</code>"]


@pytest.mark.parametrize(
    ("given", "answer_text"),
    [("12.50", "12.5"), ("'12.50'", "12.50"), ("[1, 2]", "[1, 2]"), ("None", "None"), ("answer='a'", "a")],
)
def test_an_answer_is_its_text_and_no_except_clause_swallows_it(
    play: Callable[..., tuple[EvalSample, Run]], given: str, answer_text: str
) -> None:
    sample, _ = play(block(f"try:\n    final_answer({given})\nexcept Exception:\n    print('caught')"))
    assert (answer(sample), len(cells(sample))) == (answer_text, 1)


def test_reasoning_is_neither_run_nor_shown_again(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    thinking = ModelOutput.from_content("mockllm", "")
    thinking.choices[0].message = ChatMessageAssistant(
        content=[ContentReasoning(reasoning=block("final_answer(7)")), ContentText(text=block("x = 6"))]
    )
    sample, _ = play(thinking, block("final_answer(x)"))
    assert score(sample) == "C"
    assert all("final_answer(7)" not in message.text for message in model_calls(sample)[1].input)
    assert "final_answer(7)" in str(model_calls(sample)[0].output.message.content)  # the log has it


def test_hostile_code_stays_in_the_sandbox(
    play: Callable[..., tuple[EvalSample, Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, mark = tmp_path / "secret.txt", Path(f"/tmp/escaped-{os.getpid()}")
    secret.write_text("kept-on-the-host")
    monkeypatch.setenv("DABSTEP_TEST_KEY", "kept-in-the-environment")
    attack = (
        "import os, glob\n"
        f"print(os.system('touch {mark}; cat {secret}'))\n"
        "print('env', dict(os.environ), os.popen('cat /proc/*/environ').read())\n"
        f"print(glob.glob({str(tmp_path)!r} + '/**', recursive=True))\n"
        f"print(open({str(secret)!r}).read())"
    )
    around = "().__class__.__base__.__subclasses__()\n__builtins__['open']('/etc/shadow').read()"
    sample, run = play(block(attack), block(around), block("final_answer(6)"))
    assert not mark.exists()
    assert "kept-" not in "".join(run.shown[1:])
    assert "env" in run.shown[1]
    assert "FileNotFoundError" in run.shown[1]
    assert [cell["status"] for cell in cells(sample)] == ["error", "error", "ok"]


def test_a_kernel_that_died_is_told_and_the_next_has_its_final_answer(
    play: Callable[..., tuple[EvalSample, Run]],
) -> None:
    sample, run = play(block("x = 6"), block("import os\nos._exit(1)"), block("print(x)"), block("final_answer(6)"))
    assert [cell["status"] for cell in cells(sample)] == ["ok", "died", "error", "ok"]
    assert "Code execution failed: " in run.shown[2]
    assert "NameError" in run.shown[3]
    assert score(sample) == "C"


def test_samples_that_run_at_once_do_not_mix(tmp_path: Path) -> None:
    def own(messages: list[ChatMessage], turn: int) -> Reply:
        [number] = re.findall(r"q(\d+):", messages[1].text)
        if turn == 0:
            return block(f"mine = {number}\nimport time\ntime.sleep(0.2)")
        return block("print(mine)\nmine += 100") if turn == 1 else block("final_answer(mine)")

    run = Run(tmp_path, own)
    samples = run(*[question(f"q{n}", str(100 + n)) for n in range(8)], max_samples=8)
    assert {str(sample.id): answer(sample) for sample in samples} == {f"q{n}": str(100 + n) for n in range(8)}
    assert all(score(sample) == "C" for sample in samples)


def test_without_smolagents_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "smolagents", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'dabstep\\\[baseline\]'"):
        baseline()
