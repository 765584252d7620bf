"""Stage extract: what a model says of files and packages is held against the code, and only data analysis stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.stages.extract import Extraction
from tests.pipeline.asking.given import row_of, run_stage


def reply(**changes: Any) -> str:
    plain = {
        "files": ["../input/ferries/trips.csv"],
        "packages": ["pandas"],
        "subject": "data analysis",
        "why": "groups are compared",
        "is_data_analysis": True,
    }
    return json.dumps(plain | changes)


def test_agreement_leaves_nothing_to_record(tmp_path: Path) -> None:
    (row,), _ = run_stage(tmp_path, "extract", [row_of()], lambda _: reply())
    assert row.extracted is not None
    assert row.extracted.files == ("../input/ferries/trips.csv",)
    assert row.extracted.packages == ("pandas",)
    assert row.extracted.files_only_told == row.extracted.files_only_code == ()


def test_disagreement_is_recorded_and_what_the_code_lacks_does_not_stand(tmp_path: Path) -> None:
    told = reply(files=["weather.csv"], packages=["pandas", "scikit-learn", "os"])
    (row,), _ = run_stage(tmp_path, "extract", [row_of()], lambda _: told)
    found = row.extracted
    assert found is not None
    assert (found.files_only_told, found.files_only_code) == (("weather.csv",), ("../input/ferries/trips.csv",))
    assert found.packages_only_told == ("sklearn",)
    assert (found.files, found.packages) == (("../input/ferries/trips.csv",), ("pandas",))


def test_a_name_that_only_the_model_can_follow_stands_when_the_code_holds_it(tmp_path: Path) -> None:
    cells = [("code", "import duckdb\nduckdb.sql('select * from read_csv(\"../input/a/b.csv\")')", "1")]
    told = reply(files=["../input/a/b.csv"], packages=["duckdb"])
    (row,), _ = run_stage(tmp_path, "extract", [row_of(cells)], lambda _: told)
    assert row.extracted is not None
    assert row.extracted.files == row.extracted.files_only_told == ("../input/a/b.csv",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subject": "language models", "is_data_analysis": False}, "about something else: language models"),
        ({"subject": "other", "is_data_analysis": False}, "about something else: other"),
        ({"is_data_analysis": False}, "no data analysis"),
    ],
)
def test_the_rest_is_dropped_with_the_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    kept, dropped = run_stage(tmp_path, "extract", [row_of()], lambda _: reply(**changes))
    assert not kept
    assert [one.reason for one in dropped] == [reason]


def test_a_notebook_that_reads_no_file_is_dropped_also_when_the_model_invents_one(tmp_path: Path) -> None:
    cells = [("code", "import numpy as np\nprint(np.arange(3).mean())", "1.0")]
    kept, dropped = run_stage(tmp_path, "extract", [row_of(cells)], lambda _: reply(files=["data.csv"]))
    assert not kept
    assert (dropped[0].reason, dropped[0].sample) == ("reads no file", "told: data.csv")


def test_language_models_are_never_data_analysis() -> None:
    with pytest.raises(ValidationError, match="is_data_analysis must be false"):
        Extraction.model_validate_json(reply(subject="language models"))
