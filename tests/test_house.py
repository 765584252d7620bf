"""The house keeps its shape: imports run one way, every module says what it is, every room is light to enter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "harness": set(),
    "tasks": {"harness"},
    "pipeline": {"harness"},
    "results": {"harness"},
    "recipes": {"harness", "results"},
    "dabstep": {"harness", "tasks", "pipeline", "results", "recipes"},
}
PRODUCTS = ROOT / "results" / "runs"  # what runs leave there is no module of ours
MODULES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py")) if PRODUCTS not in path.parents]


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names & MAY_IMPORT.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_the_rooms_below_it_and_says_what_it_is(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", ["dabstep.cli", "dabstep._registry", "recipes.tiny", "pipeline.training_set"])
def test_heavy_libraries_are_not_imported_by_looking_at_help(module: str) -> None:
    heavy = {
        "torch",
        "transformers",
        "trl",
        "matplotlib",
        "datasets",
        "vllm",
        "wandb",
        "smolagents",
        "datatrove",
        "duckdb",
        "e2b",
        "e2b_code_interpreter",
    }
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
