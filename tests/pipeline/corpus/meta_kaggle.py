"""Meta Kaggle's tables for the corpus: what joins a notebook to the data sets it used, with the traps of the real ones.

    write_tables(folder, notebooks)

The columns are those of the published CSV files that the pipeline reads, and some that mislead: `DatasourceVersionId`
holds numbers that are ids of other data sets' versions, `Slug` of a version may differ from the data set's, numbers may
be written `3.0`, titles hold commas, quotes and newlines. Kernel versions nobody asked about stand between the others.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pipeline.corpus.studies import STUDIES, Study

AUTHOR = 900


@dataclass(frozen=True)
class Published:
    """A notebook as Meta Kaggle knows it: `number` is its kernel version."""

    number: int
    title: str
    study: Study | None
    votes: int
    medal: int | None
    language: int = 9
    """9 is an IPython notebook in Python, 12 one in R."""


def version_id(study: Study) -> int:
    """DatasetVersions.Id of the version that the notebooks used."""
    return 5_000 + 10 * STUDIES.index(study) + study.version


def write_tables(folder: Path, notebooks: Sequence[Published]) -> None:
    """All tables, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in _tables(notebooks).items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)


def _tables(notebooks: Sequence[Published]) -> Mapping[str, list[dict[str, Any]]]:
    unasked = [Published(77, 'Nobody\'s, "quoted"\nand on two lines', None, 12, None)]
    every = [*unasked, *notebooks]
    return {
        "KernelVersions": [_version(notebook) for notebook in every],
        "Kernels": [_kernel(notebook) for notebook in every],
        "KernelVersionDatasetSources": list(_sources(notebooks)),
        "KernelVersionCompetitionSources": [{"Id": 1, "KernelVersionId": 77, "SourceCompetitionId": 3136}],
        "KernelVersionKernelSources": [{"Id": 1, "KernelVersionId": 77, "SourceKernelVersionId": 76}],
        "DatasetVersions": [row for study in STUDIES for row in _versions(study)],
        "Datasets": [_dataset(study) for study in STUDIES],
        "Users": [
            {"Id": 400 + place, "UserName": study.owner, "DisplayName": study.owner.title(), "PerformanceTier": 1}
            for place, study in enumerate(STUDIES)
            if not study.owner_is_organisation
        ],
        "Organizations": [
            {"Id": 600 + place, "Name": study.owner.replace("-", " ").title(), "Slug": study.owner}
            for place, study in enumerate(STUDIES)
            if study.owner_is_organisation
        ],
    }


def _version(notebook: Published) -> dict[str, Any]:
    return {
        "Id": notebook.number,
        "ScriptId": 10_000 + notebook.number,
        "ParentScriptVersionId": "",
        "ScriptLanguageId": notebook.language,
        "AuthorUserId": AUTHOR,
        "CreationDate": "03/14/2023 09:26:53",
        "VersionNumber": "2.0",
        "Title": notebook.title,
        "RunningTimeInMilliseconds": 21_000,
        "TotalVotes": notebook.votes,
    }


def _kernel(notebook: Published) -> dict[str, Any]:
    return {
        "Id": 10_000 + notebook.number,
        "AuthorUserId": AUTHOR,
        "CurrentKernelVersionId": notebook.number,
        "CurrentUrlSlug": f"notebook-{notebook.number}",
        "Medal": "" if notebook.medal is None else float(notebook.medal),
        "TotalVotes": notebook.votes,
    }


def _sources(notebooks: Sequence[Published]) -> Iterable[dict[str, Any]]:
    number = 0
    for notebook in notebooks:
        if notebook.study is not None:
            number += 1
            source = version_id(notebook.study)
            yield {"Id": number, "KernelVersionId": notebook.number, "SourceDatasetVersionId": source}


def _versions(study: Study) -> Iterable[dict[str, Any]]:
    """Every version up to the one that was used; the wrong join by DatasourceVersionId finds another data set."""
    place = STUDIES.index(study)
    other = STUDIES[(place + 1) % len(STUDIES)]
    for version in range(1, study.version + 1):
        yield {
            "Id": 5_000 + 10 * place + version,
            "DatasetId": 300 + place,
            "DatasourceVersionId": version_id(other),
            "CreatorUserId": 400 + place,
            "LicenseName": study.licence,
            "CreationDate": f"01/{version + 1:02}/2022 12:00:00",
            "VersionNumber": float(version),
            "Title": f"{study.title}, version {version}",
            "Slug": study.slug if version == study.version else f"{study.slug}-draft",
            "TotalCompressedBytes": 9_000.0,
            "TotalUncompressedBytes": 31_000.0,
        }


def _dataset(study: Study) -> dict[str, Any]:
    place = STUDIES.index(study)
    return {
        "Id": 300 + place,
        "CreatorUserId": 400 + place,
        "OwnerUserId": "" if study.owner_is_organisation else 400 + place,
        "OwnerOrganizationId": 600 + place if study.owner_is_organisation else "",
        "CurrentDatasetVersionId": version_id(study),
        "TotalVotes": 5,
    }
