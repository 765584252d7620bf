"""The commands beside `dabstep training-set`: what was kept, what was dropped and why, a mistake in one line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dabstep.cli import app

ROOT = Path(__file__).parents[2]
LOG = str(ROOT / "tests/cassettes/parcels.eval")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def test_prompts_of_a_log_are_written_with_their_card(tmp_path: Path) -> None:
    status, said = run("rl-prompts", LOG, "--settled", "--most-common", "0.2", "--output", str(tmp_path / "prompts"))
    assert (status, "prompts of 12 traces in" in said) == (0, True), said
    rows = [json.loads(line) for line in (tmp_path / "prompts" / "prompts.jsonl").read_text().splitlines()]
    assert {"prompt", "task_type", "source", "answer", "files"} <= set(rows[0])
    assert json.loads((tmp_path / "prompts" / "card.json").read_text())["rows"] == len(rows)


def test_right_rollouts_and_chat_rows_of_a_log(tmp_path: Path) -> None:
    status, said = run("rejection-sampling", LOG, "--output", str(tmp_path / "right"))
    assert (status, "rows of 12 traces" in said) == (0, True), said
    status, said = run("chat-rows", LOG, "--form", "react", "--output", str(tmp_path / "chat"))
    assert (status, "rows of 12 traces" in said) == (0, True), said
    assert (tmp_path / "chat" / "metadata.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("preference-pairs", LOG), "no trace is left of 12"),
        (("preference-pairs", LOG, "--least-gap", "0"), "least_gap: 0.0; scores lie between 0 and 1"),
        (("rl-prompts", LOG, "--most-common", "2"), "most_common: 2.0; it is a share"),
        (("chat-rows", LOG, "--form", "prose"), "form: 'prose'; there are tools, react"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    status, said = run(*arguments, "--output", str(tmp_path / "out"))
    assert (status, reason in said) == (2, True), said
    assert not (tmp_path / "out").exists()
