"""Mentions and the files they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kaggle.handles import Handle
from pipeline.kaggle.matching import File, match

TIDES = Handle("ada", "tides", 3)
PORTS = Handle("bob", "ports-of-europe", 1)
FILES = {
    TIDES: ("tides.csv", "2020/days.csv", "2021/days.csv", "Heights.CSV", "big.csv.zip"),
    PORTS: ("ports.csv", "readme.csv", "data/deep/depth.json"),
}


@pytest.mark.parametrize(
    ("mention", "path"),
    [
        ("../input/tides/tides.csv", "tides.csv"),
        ("/kaggle/input/tides/2020/days.csv", "2020/days.csv"),
        ("/kaggle/input/datasets/ada/tides/tides.csv", "tides.csv"),
        ("../input/Tides/heights.csv", "Heights.CSV"),
        ("../input/tides.csv", "tides.csv"),  # the days when an only data set lay in input itself
        ("input/ports-of-europe/data/deep/depth.json", "data/deep/depth.json"),
        ("../input/ports-of-europe/depth.json", "data/deep/depth.json"),
        ("./tides.csv", "tides.csv"),
        ("/home/ada/notebooks/ports.csv", "ports.csv"),
        ("deep/depth.json", "data/deep/depth.json"),
        ("../input/tides/big.csv", "big.csv.zip"),
        ("big.csv.zip", "big.csv.zip"),
    ],
)
def test_one_file_is_meant(mention: str, path: str) -> None:
    matched = match([mention], FILES)
    assert [(file.path, names) for file, names in matched.files.items()] == [(path, (mention,))]


def test_what_could_be_several_files_is_said_and_not_guessed() -> None:
    matched = match(["days.csv", "../input/tides/2021/days.csv"], FILES)
    assert matched.ambiguous == {"days.csv": (File(TIDES, "2020/days.csv"), File(TIDES, "2021/days.csv"))}
    assert list(matched.files) == [File(TIDES, "2021/days.csv")]


def test_files_of_sources_that_are_not_linked_are_not_taken_from_others() -> None:
    matched = match(["../input/titanic/ports.csv", "absent.csv"], FILES)
    assert not matched.files
    assert matched.unmatched == ("../input/titanic/ports.csv", "absent.csv")


def test_a_pattern_and_a_folder_mean_all_their_files() -> None:
    assert [file.path for file in match(["../input/tides/*/days.csv"], FILES).files] == [
        "2020/days.csv",
        "2021/days.csv",
    ]
    assert [file.path for file in match(["../input/tides/2020"], FILES).files] == ["2020/days.csv"]
    assert {file.handle for file in match(["../input/ports-of-europe"], FILES).files} == {PORTS}
    many = {TIDES: tuple(f"{number}.csv" for number in range(500))}
    assert len(match(["../input/tides/"], many).files) == 50


@given(st.lists(st.text(max_size=40), max_size=6))
def test_any_mentions_come_to_files_of_the_data_sets_or_to_none(mentions: list[str]) -> None:
    matched = match(mentions, FILES)
    assert all(file.path in FILES[file.handle] for file in matched.files)
    said = {name for names in matched.files.values() for name in names} | {*matched.ambiguous, *matched.unmatched}
    assert said == set(mentions)
