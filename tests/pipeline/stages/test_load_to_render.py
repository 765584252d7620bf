"""The stages load, sign, dedup and render as one run: over ZIPs, folders and remote addresses, with nothing lost."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.quarantine import read_quarantine
from pipeline.reading.refusal import REASONS
from pipeline.row import NotebookRow
from pipeline.runs.config import make_config
from pipeline.runs.plan import Plan
from pipeline.runs.run import run_pipeline
from pipeline.runs.stages import load_stages, shards
from pipeline.runs.store import read_rows
from scripts.notebook_corpus import write_archive
from tests.pipeline.reading.hostile_archives import refused_archives, refused_members
from tests.pipeline.reading.hostile_notebooks import refused_notebooks

ORDER = tuple(f"pipeline.stages.{name}" for name in ("load", "sign", "dedup", "render"))


def run(
    folder: Path, inputs: list[Any], tasks: int = 3, limit: int | None = None, **load: Any
) -> tuple[Any, list[NotebookRow]]:
    """(funnel, rendered rows)."""
    stages = {"load": {"inputs": inputs, **load}, "sign": {}, "dedup": {}, "render": {}}
    raw = {"run": str(folder / "run"), "tasks": tasks, "limit": limit, "local": {"workers": 2}, "stages": stages}
    plan = Plan(make_config(raw, load_stages(ORDER)), ORDER)
    funnel = run_pipeline(plan, Console(file=io.StringIO()))
    rows = [row for shard in shards(plan.folder("render")) for row in read_rows(shard)]
    return funnel, rows


def lost(funnel: Any) -> int:
    return sum(line.counts.read - line.counts.kept - line.counts.dropped_rows for line in funnel.stages)


def write_notebook(path: Path, source: str, language: str = "python") -> None:
    cell = {"cell_type": "code", "source": source, "outputs": [], "metadata": {}}
    document = {"cells": [cell], "metadata": {"kernelspec": {"language": language}}, "nbformat": 4}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_a_made_corpus_is_read_and_its_duplicates_are_dropped(tmp_path: Path) -> None:
    truths = [truth for archive in (0, 1) for truth in write_archive(tmp_path, archive, 240, seed=3)]
    funnel, rows = run(tmp_path, [f"{tmp_path}/*.zip"])
    assert funnel.complete
    assert lost(funnel) == 0
    clusters = {truth.id: truth.cluster for truth in truths}
    assert Counter(clusters[row.id] for row in rows) == Counter(set(clusters.values()))
    dropped = Counter(one.reason for one in read_quarantine(tmp_path / "run"))
    assert set(dropped) <= {"same bytes", "same code", "near duplicate"}
    assert all(row.markdown.count("<python_cell>") for row in rows)
    assert all(row.shape and row.shape.language == "python" and row.shape.code_cells for row in rows)


def test_folders_other_languages_links_and_checkpoints(tmp_path: Path) -> None:
    notebooks = tmp_path / "notebooks"
    write_notebook(notebooks / "a.ipynb", "alpha()")
    write_notebook(notebooks / "deep/b.ipynb", "beta()")
    write_notebook(notebooks / "r.ipynb", "library(dplyr)", "R")
    write_notebook(notebooks / "empty.ipynb", " ")
    write_notebook(notebooks / ".ipynb_checkpoints/a-checkpoint.ipynb", "alpha()")
    (notebooks / "link.ipynb").symlink_to(notebooks / "a.ipynb")
    (notebooks / "readme.txt").write_text("no notebook")
    funnel, rows = run(tmp_path, [str(notebooks)])
    assert funnel.complete
    assert sorted(row.id for row in rows) == ["a.ipynb", "deep/b.ipynb"]
    reasons = Counter(one.reason for one in read_quarantine(tmp_path / "run"))
    assert reasons == {"other language": 1, "no code cells": 1, "symlink": 1}


def test_two_hundred_hostile_inputs_do_not_stop_a_run(tmp_path: Path) -> None:
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    write_notebook(notebooks / "good.ipynb", "good()")
    expected: Counter[str] = Counter()
    for number, (_, archive, reason) in enumerate(refused_archives()):
        (notebooks / f"whole-{number:03}.zip").write_bytes(archive)
        expected[reason] += 1
    members = list(refused_members())
    for number, (_, archive, _) in enumerate(members):
        (notebooks / f"member-{number:03}.zip").write_bytes(archive)
    for number, (_, data, reason) in enumerate(refused_notebooks()):
        (notebooks / f"notebook-{number:03}.ipynb").write_bytes(data)
        expected[reason] += 1
    funnel, rows = run(tmp_path, [str(notebooks)])
    assert funnel.complete
    assert lost(funnel) == 0
    assert "good.ipynb" in {row.id for row in rows}
    reasons = Counter(one.reason for one in read_quarantine(tmp_path / "run"))
    expected.update({reason for _, _, reason in members})
    assert {reason for reason in expected if not reasons[reason]} == set()
    assert set(reasons) <= set(REASONS) | {"same bytes", "same code"}
    assert sum(expected.values()) >= 120


def test_the_same_notebook_in_two_archives_with_meta_kaggle_s_votes(tmp_path: Path) -> None:
    code = "\n".join(f"step_{number}(frame)" for number in range(9))
    for number in (11, 12, 13):
        write_notebook(tmp_path / f"{number}.ipynb", code + (f"\nextra_{number}()" if number > 11 else ""))
    for number in (11, 12, 13):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w", zipfile.ZIP_DEFLATED) as out:
            out.write(tmp_path / f"{number}.ipynb", f"0000/000/{number}.ipynb")
    tables = tmp_path / "meta-kaggle"
    tables.mkdir()
    (tables / "KernelVersions.csv").write_text('Id,ScriptId,Title\n11,1,"a\nb"\n12,2,c\n13,3,\n99,4,d\n')
    (tables / "Kernels.csv").write_text("Id,Medal,TotalVotes\n1,,900\n2,3.0,5\n3,,0\n")
    funnel, rows = run(tmp_path, [f"{tmp_path}/*.zip"], meta_kaggle=str(tables))
    assert funnel.complete
    (kept,) = rows
    assert kept.id == "0000/000/12.ipynb"
    assert kept.popularity is not None
    assert (kept.popularity.votes, kept.popularity.medal) == (5, 3)
    assert kept.family is not None
    assert (kept.family.representative, kept.family.size) == (kept.id, 3)


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_only_what_the_file_list_names(tmp_path: Path, kind: str) -> None:
    for name in ("0001/002/31.ipynb", "0001/002/32.ipynb", "0001/002/33.ipynb"):
        write_notebook(tmp_path / "notebooks" / name, f"f('{name}')")
    path = tmp_path / f"list.{kind}"
    if kind == "txt":
        path.write_text("31\n0001/002/33.ipynb\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.table({"file_id": ["31", "0001/002/33.ipynb"]}), path)
    _, rows = run(tmp_path, [str(tmp_path / "notebooks")], file_list=str(path))
    assert sorted(Path(row.id).stem for row in rows) == ["31", "33"]
    reasons = Counter(one.reason for one in read_quarantine(tmp_path / "run"))
    assert reasons == {"not in the file list": 1}


def test_a_limit_is_a_limit_of_notebooks(tmp_path: Path) -> None:
    write_archive(tmp_path, 0, 80, seed=5)
    funnel, _ = run(tmp_path, [f"{tmp_path}/*.zip"], limit=4)
    assert funnel.stages[0].counts.kept == 4
