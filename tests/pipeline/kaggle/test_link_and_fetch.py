"""The stages link and fetch in a run: from notebooks and Meta Kaggle's tables to the files that the notebooks read."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.quarantine import read_quarantine
from pipeline.reading.notebook import Cell, Notebook
from pipeline.row import Extracted, NotebookRow, Source
from pipeline.runs.config import make_config
from pipeline.runs.funnel import Funnel, byte_size, to_rich
from pipeline.runs.plan import Plan
from pipeline.runs.run import run_pipeline
from pipeline.runs.stages import load_stages, shards
from pipeline.runs.store import read_rows
from pipeline.stages.link import named_files
from tests.pipeline.kaggle.meta_kaggle import MadeSet, own_source, write_notebook, write_tables
from tests.stand_ins.kaggle import Kaggle

ORDER = tuple(f"pipeline.stages.{name}" for name in ("load", "link", "fetch"))
TIDES = MadeSet(1, "ada", "tides", version=3)
PORTS = MadeSet(2, "harbour-board", "ports", organization=True)
SECRET = MadeSet(3, "bob", "clinic", licence="Unknown")
BERT = MadeSet(4, "bob", "bert-base")
CONSENT = MadeSet(5, "bob", "survey")
GONE = MadeSet(6, "bob", "gone")
LARGE = MadeSet(7, "bob", "large", compressed=9_000_000_000)
NEW = MadeSet(8, "eve", "rain", version=2)
SETS = [TIDES, PORTS, SECRET, BERT, CONSENT, GONE, LARGE, NEW]

READ = "pd.read_csv('../input/{}')".format
NOTEBOOKS: dict[int, tuple[list[str], list[MadeSet], list[MadeSet] | None]] = {
    # kernel version: code, data sets by the tables, data sets by the notebook's own metadata
    101: ([READ("tides/tides.csv"), READ("ports/ports.csv")], [TIDES, PORTS], None),
    102: ([READ("tides/TIDES.csv")], [TIDES, BERT], [TIDES, BERT]),
    103: ([READ("rain/rain.csv")], [], [NEW]),
    104: ([READ("clinic/a.csv")], [SECRET], None),
    105: ([READ("bert-base/vocab.txt")], [BERT], None),
    106: ([READ("survey/a.csv")], [CONSENT], None),
    107: ([READ("gone/a.csv")], [GONE], None),
    108: ([READ("large/a.csv")], [LARGE], None),
    109: (["print(1)"], [TIDES], None),
    110: ([READ("titanic/train.csv")], [], None),  # a competition
    111: ([READ("tides/absent.csv")], [TIDES], None),
    112: ([READ("tides/big.csv")], [TIDES], None),  # zipped
    113: (["pd.read_csv('days.csv')"], [TIDES], None),  # two of that name
}
REASONS = {
    104: "data set licence unknown",
    105: "data set model weights",
    106: "data set needs consent",
    107: "data set not on Kaggle any more",
    108: "data set over the budget of bytes",
    109: "names no data file",
    110: "reads only a competition",
    111: "names no file of its data sets",
    113: "its files could be several",
}


def row_id(kernel: int) -> str:
    return f"0000/000/{kernel:09}.ipynb"


@pytest.fixture
def world(tmp_path: Path, kaggle: Kaggle) -> Path:
    """Notebooks, tables, and what Kaggle has of the data sets."""
    for kernel, (cells, _, own) in NOTEBOOKS.items():
        sources = None if own is None else [own_source(made) for made in own]
        write_notebook(tmp_path / "notebooks" / row_id(kernel), cells, sources)
    reads = {kernel: [made.id for made in tables] for kernel, (_, tables, _) in NOTEBOOKS.items()}
    write_tables(tmp_path / "meta", SETS, reads, competitions={110: [3136]})
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("big.csv", "a,b\n1,2\n" * 1000)
    days = {f"{year}/days.csv": b"d\n" for year in (2020, 2021)}
    kaggle.add(TIDES.handle, {"tides.csv": b"t,h\n1,2\n", "big.csv.zip": zipped.getvalue(), **days})
    kaggle.add(PORTS.handle, {"ports.csv": b"port\nBrest\n"})
    kaggle.add(NEW.handle, {"rain.csv": b"mm\n3\n"})
    kaggle.always[CONSENT.handle] = "403"
    return tmp_path


@pytest.fixture
def plan(world: Path) -> Callable[..., Plan]:
    def make(run: str = "run", **fetch: Any) -> Plan:
        stages: dict[str, Any] = {
            "load": {"inputs": [str(world / "notebooks")]},
            "link": {"meta_kaggle": str(world / "meta"), "memory_gb": 0.5},
            "fetch": {"cache": str(world / "cache"), "budget_gb": 1.0, "backoff_s": 0.01, "tries": 2, **fetch},
        }
        raw = {"run": str(world / run), "tasks": 2, "local": {"workers": 2}, "stages": stages}
        return Plan(make_config(raw, load_stages(ORDER)), ORDER)

    return make


def go(plan: Plan, *only: str) -> Funnel:
    return run_pipeline(plan, Console(file=io.StringIO()), only)


def rows_of(plan: Plan, stage: str) -> dict[int, NotebookRow]:
    rows = (row for shard in shards(plan.folder(stage)) for row in read_rows(shard))
    return {int(Path(row.id).stem): row for row in rows}


def test_what_becomes_of_each_notebook_and_a_second_run_finds_it_in_the_cache(
    world: Path, plan: Callable[..., Plan], kaggle: Kaggle
) -> None:
    funnel = go(plan())
    assert funnel.complete
    rows = rows_of(plan(), "fetch")
    dropped = {int(Path(one.id).stem): one.reason for one in read_quarantine(world / "run")}
    assert dropped == REASONS
    assert rows.keys() == NOTEBOOKS.keys() - REASONS.keys()

    both = rows[101].links
    assert [(one.handle, one.said_by) for one in both.data_sets] == [(TIDES.handle, "tables"), (PORTS.handle, "tables")]
    assert [one.said_by for one in rows[102].links.data_sets] == ["both"]
    assert [(one.data_set, one.reason) for one in rows[102].links.left_out] == [(BERT.handle, "model weights")]
    assert [(one.handle, one.said_by) for one in rows[103].links.data_sets] == [(NEW.handle, "notebook")]

    files = {kernel: [file.path for file in row.files.files] for kernel, row in rows.items()}
    assert files == {
        101: ["files/ada/tides/3/tides.csv", "files/harbour-board/ports/1/ports.csv"],
        102: ["files/ada/tides/3/tides.csv"],
        103: ["files/eve/rain/2/rain.csv"],
        112: ["files/ada/tides/3/big.csv"],
    }
    assert (world / "run/files/ada/tides/3/big.csv").read_bytes() == b"a,b\n1,2\n" * 1000
    for row in rows.values():
        for file in row.files.files:
            path = world / "run" / file.path
            assert path.stat().st_size == file.bytes
            assert path.stat().st_mode & 0o777 == 0o444

    assert kaggle.asked == {TIDES.handle: 1, PORTS.handle: 1, NEW.handle: 1, CONSENT.handle: 1, GONE.handle: 1}
    check_figures(funnel, kaggle)

    sent = Counter(kaggle.sent)
    again = go(plan("again"))
    assert again.stages[2].counts.figures["data sets in the cache"] == 3
    assert kaggle.sent == sent
    assert rows_of(plan("again"), "fetch") == rows


def test_files_that_only_stage_extract_found_are_looked_for_too() -> None:
    cell = Cell(cell_type="code", source=READ("tides/a.csv"))
    extracted = Extracted(files=("A.csv", "b.csv"), packages=(), subject="", why="", model="m")
    row = NotebookRow(id="1", source=Source(address="a"), extracted=extracted)
    assert named_files(row, Notebook(cells=[cell])) == ("../input/tides/a.csv", "b.csv")


def check_figures(funnel: Funnel, kaggle: Kaggle) -> None:
    """The funnel counts links, data sets and bytes."""
    link, fetch = funnel.stages[1].counts.figures, funnel.stages[2].counts.figures
    assert link["links"] == 1
    assert link["links only in the tables"] == 9
    assert link["links only in the notebook"] == 1
    assert link["links left out: model weights"] == 2
    assert link["links left out: licence unknown"] == 1
    assert link["sources that are competitions"] == 1
    assert fetch["data sets fetched"] == 3
    assert fetch["data sets: needs consent"] == 1
    assert fetch["bytes downloaded"] == sum(kaggle.sent.values())
    shown = io.StringIO()
    Console(file=shown, width=200).print(to_rich(funnel))
    assert "data sets fetched 3" in shown.getvalue()
    assert f"downloaded {byte_size(sum(kaggle.sent.values()))}" in shown.getvalue()


def test_a_dry_run_foretells_the_bytes_without_fetching(world: Path, plan: Callable[..., Plan], kaggle: Kaggle) -> None:
    stage, context = plan().stage("fetch"), plan().context("fetch")
    assert "known when link is complete" in stage.foretell(context)[0]
    go(plan(), "load", "link")
    lines = stage.foretell(context)
    assert lines[0].startswith("5 data sets, 5.0 kB of a budget of 1.0 GB")
    assert lines[1] == "1 data sets do not fit into it (9.0 GB)"
    assert not kaggle.asked


def test_a_bad_day_fails_the_rank_and_the_next_run_goes_on(
    world: Path, plan: Callable[..., Plan], kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ["http_proxy"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    funnel = go(plan())
    assert not funnel.complete
    assert any("run the same command again" in why for why in funnel.stages[2].failed.values())
    monkeypatch.setenv("http_proxy", address)
    assert go(plan()).complete
    assert rows_of(plan(), "fetch").keys() == NOTEBOOKS.keys() - REASONS.keys()


def test_tables_that_changed_are_not_mixed(world: Path, plan: Callable[..., Plan]) -> None:
    go(plan(), "load", "link")
    with (world / "meta/Users.csv").open("a") as file:
        file.write("999,mallory,M,0\n")
    with pytest.raises(ValueError, match=r"inputs.*Users\.csv"):
        go(plan(), "link")


def test_the_command_says_what_a_table_lacks(world: Path, plan: Callable[..., Plan]) -> None:
    (world / "meta/DatasetVersions.csv").write_text("Id,Slug\n1,a\n")
    funnel = go(plan(), "load", "link")
    assert not funnel.complete
    assert "DatasetVersions.csv: no column DatasetId" in json.dumps(funnel.stages[1].failed)
