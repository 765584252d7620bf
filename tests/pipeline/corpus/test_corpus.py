"""The small corpus is what it says: real outputs, Kaggle's layout, tables that join to the right data sets only."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.corpus.make import corpus
from tests.pipeline.corpus.studies import STUDIES
from tests.stand_ins.teacher_rules import SENTENCES


@pytest.fixture(scope="module")
def made() -> Path:
    return corpus()


def notebooks(made: Path) -> dict[str, bytes]:
    found = {}
    for archive in sorted((made / "archives").glob("metakaggle_code_with_outputs_*.zip")):
        with zipfile.ZipFile(archive) as opened:
            found |= {name: opened.read(name) for name in opened.namelist()}
    return found


def truth(made: Path) -> dict[str, dict[str, str]]:
    lines = map(json.loads, (made / "truth.jsonl").read_text().splitlines())
    return {line["id"]: line for line in lines}


def table(made: Path, name: str) -> list[dict[str, str]]:
    with (made / "meta-kaggle" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_notebook_lies_where_kaggle_puts_its_version(made: Path) -> None:
    assert notebooks(made).keys() == truth(made).keys()
    for name in truth(made):
        number = Path(name).stem
        assert name == f"{number.zfill(10)[:4]}/{number.zfill(10)[4:7]}/{number}.ipynb"


def test_what_notebooks_print_is_true_of_the_data(made: Path) -> None:
    """Recomputed here in plain Python, which shares nothing with the notebooks' code."""
    seen = 0
    for study in STUDIES:
        with (made / "input" / study.slug / study.main).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        named = [name for name, line in truth(made).items() if line["data"] == study.slug and line["kind"] != "torn"]
        for name in named:
            text = outputs(json.loads(notebooks(made)[name]))
            for column, value, share in SENTENCES["rate"].findall(text):
                assert float(share) == pytest.approx(sum(row[column] == value for row in rows) / len(rows), abs=1e-4)
                seen += 1
            for key, amount, winner in SENTENCES["rank"].findall(text):
                totals = {row[key]: sum(int(r[amount]) for r in rows if r[key] == row[key]) for row in rows[:60]}
                assert max(totals, key=lambda each: totals[each]) == winner
                seen += 1
    assert seen > 20


def test_the_right_join_finds_the_data_and_the_wrong_one_finds_another(made: Path) -> None:
    versions = {row["Id"]: row for row in table(made, "DatasetVersions")}
    datasets = {row["Id"]: row for row in table(made, "Datasets")}
    users = {row["Id"]: row["UserName"] for row in table(made, "Users")}
    organisations = {row["Id"]: row["Slug"] for row in table(made, "Organizations")}
    by_number = {Path(name).stem: line for name, line in truth(made).items()}
    owners = {study.slug: study.owner for study in STUDIES}
    joined = 0
    for source in table(made, "KernelVersionDatasetSources"):
        version = versions[source["SourceDatasetVersionId"]]
        dataset = datasets[version["DatasetId"]]
        owner = users.get(dataset["OwnerUserId"]) or organisations[dataset["OwnerOrganizationId"]]
        slug = by_number[source["KernelVersionId"]]["data"]
        assert (owner, version["Slug"]) == (owners[slug], slug)
        assert versions[version["DatasourceVersionId"]]["DatasetId"] != version["DatasetId"]
        joined += 1
    assert joined == len(by_number) - 1  # one reads no data


def outputs(notebook: dict[str, Any]) -> str:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(output.get("text", "")) for cell in cells for output in cell["outputs"])
