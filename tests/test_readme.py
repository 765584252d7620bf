"""The README's own commands, run as they stand there: from a question set to a trained checkpoint's score."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```\n(.*?)```", section, flags=re.S)
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_two_commands_come_first() -> None:
    first = re.findall(r"```\n(.*?)```", README, flags=re.S)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.slow
def test_questions_training_set_model_and_score_by_the_readmes_commands(tmp_path: Path) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "INSPECT_DISPLAY": "plain",
    }
    for command in commands("Make questions and a training set") + commands("Train"):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, executable="/bin/bash"
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (tmp_path / "data/training/rows.jsonl").exists()
    assert "accuracy" in done.stdout
