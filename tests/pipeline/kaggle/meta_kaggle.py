"""Meta Kaggle's tables in small, with the columns of the real ones, and notebooks to go with them.

write_tables(folder, data_sets=[MadeSet(7, "ada", "tides")], reads={132087938: [7]})
write_notebook(folder / "0132/087/132087938.ipynb", ["import pandas as pd", "pd.read_csv(...)"])
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class MadeSet:
    """One version of a data set. Its id in DatasourceVersions is another's id in DatasetVersions: the known trap."""

    id: int
    owner: str
    slug: str
    version: int = 1
    licence: str = "CC0: Public Domain"
    title: str = ""
    compressed: int | None = 1000
    uncompressed: int | None = 4000
    organization: bool = False
    tags: tuple[str, ...] = ()

    @property
    def handle(self) -> str:
        return f"{self.owner}/{self.slug}/versions/{self.version}"

    @property
    def data_set(self) -> int:
        return 10_000 + self.id


def write_tables(
    folder: Path,
    data_sets: Iterable[MadeSet],
    reads: Mapping[int, Iterable[int]],
    competitions: Mapping[int, Iterable[int]] | None = None,
    kernels: Mapping[int, Iterable[int]] | None = None,
) -> Path:
    """`reads`: kernel versions to ids of data sets' versions."""
    folder.mkdir(parents=True, exist_ok=True)
    made = list(data_sets)
    owners = {name: number for number, name in enumerate(dict.fromkeys(one.owner for one in made), 100)}
    tags = {name: number for number, name in enumerate(sorted({tag for one in made for tag in one.tags}), 1)}
    people = [(n, name, name.title(), 0) for name, n in owners.items()]
    _write(folder, "Users", ["Id", "UserName", "DisplayName", "PerformanceTier"], people)
    organizations = [(n, name, name, 'a,\n"b"') for name, n in owners.items()]
    _write(folder, "Organizations", ["Id", "Name", "Slug", "Description"], organizations)
    columns = ["Id", "CreatorUserId", "OwnerUserId", "OwnerOrganizationId", "CurrentDatasetVersionId"]
    lines: list[tuple[object, ...]] = []
    for one in made:
        owner = ("", owners[one.owner]) if one.organization else (float(owners[one.owner]), "")
        lines.append((one.data_set, 1, *owner, one.id))
    _write(folder, "Datasets", columns, lines)
    columns = ["Id", "DatasetId", "DatasourceVersionId", "LicenseName", "VersionNumber", "Title", "Slug", "Description"]
    lines = []
    for number, one in enumerate(made):
        of_another = made[number - 1].id
        text = (one.title, one.slug, 'Lines,\nand "quotes"')
        sizes = ["" if size is None else size for size in (one.compressed, one.uncompressed)]
        lines.append((one.id, one.data_set, of_another, one.licence, float(one.version), *text, *sizes))
    _write(folder, "DatasetVersions", [*columns, "TotalCompressedBytes", "TotalUncompressedBytes"], lines)
    _write(folder, "Tags", ["Id", "Name"], [(number, name) for name, number in tags.items()])
    pairs = [(s.data_set, tags[tag]) for s in made for tag in s.tags]
    _write(folder, "DatasetTags", ["Id", "DatasetId", "TagId"], [(n, *pair) for n, pair in enumerate(pairs)])
    for name, column, of in (
        ("Dataset", "SourceDatasetVersionId", reads),
        ("Competition", "SourceCompetitionId", competitions or {}),
        ("Kernel", "SourceKernelVersionId", kernels or {}),
    ):
        reading = [(kernel, source) for kernel, sources in of.items() for source in sources]
        lines = [(number, *pair) for number, pair in enumerate(reading)]
        _write(folder, f"KernelVersion{name}Sources", ["Id", "KernelVersionId", column], lines)
    return folder


def write_notebook(path: Path, cells: Iterable[str], sources: Iterable[Mapping[str, Any]] | None = None) -> None:
    """A notebook of code cells; `sources` are its own metadata.kaggle.dataSources."""
    listed = [{"cell_type": "code", "source": cell, "outputs": [], "metadata": {}} for cell in cells]
    metadata: dict[str, Any] = {"kernelspec": {"language": "python"}}
    if sources is not None:
        metadata["kaggle"] = {"dataSources": list(sources), "isGpuEnabled": False}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": listed, "metadata": metadata, "nbformat": 4}), encoding="utf-8")


def own_source(made: MadeSet) -> dict[str, Any]:
    """A data set as a notebook's own metadata name it."""
    return {"sourceId": made.id, "sourceType": "datasetVersion", "datasetId": made.data_set}


def _write(folder: Path, table: str, columns: list[str], rows: Iterable[tuple[object, ...]]) -> None:
    with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
