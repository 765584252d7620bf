"""Fetching with the real kagglehub against a stand-in of Kaggle: what each misbehaviour comes to, and what it costs."""

import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from pipeline.kaggle import attempt, fetching
from pipeline.kaggle.attempt import FetchRules, KaggleError, archive_path
from pipeline.kaggle.downloads import FETCHED, Downloads
from pipeline.kaggle.fetching import Fetcher
from pipeline.kaggle.handles import Handle
from tests.stand_ins.kaggle import Kaggle

HANDLE = Handle("ada", "tides", 3)
NAME = str(HANDLE)
TABLE = {"tides.csv": os.urandom(300_000), "more/ports.csv": b"port,height\nBrest,4\n"}


@pytest.fixture
def downloads(tmp_path: Path):
    ledger = Downloads(tmp_path / "downloads.sqlite", budget=100_000_000)
    yield ledger
    ledger.close()


@pytest.fixture
def fetcher(tmp_path: Path, downloads: Downloads) -> Callable[..., Fetcher]:
    def make(**rules: float) -> Fetcher:
        given = {"tries": 3, "backoff_s": 0.01, "stall_s": 2.0, **rules}
        return Fetcher(FetchRules(tmp_path / "cache", **given), downloads, 0)  # type: ignore[arg-type]

    return make


def test_a_data_set_is_fetched_once_and_then_found(kaggle: Kaggle, fetcher, downloads: Downloads) -> None:
    size = len(kaggle.add(NAME, TABLE))
    folder = fetcher().fetch(HANDLE, size).folder
    assert (folder / "tides.csv").read_bytes() == TABLE["tides.csv"]
    assert (folder / "more/ports.csv").read_bytes() == TABLE["more/ports.csv"]
    assert downloads.get(NAME).paid == size
    assert fetcher().fetch(HANDLE, size).folder == folder
    assert kaggle.asked[NAME] == 1
    assert downloads.get(NAME).outcome == FETCHED


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("401", "needs an account"),
        ("403", "needs consent"),
        ("404", "not on Kaggle any more"),
        ("418", "refused by Kaggle"),
    ],
)
def test_what_is_the_data_sets_own_is_a_reason_at_the_first_try(
    fault: str, reason: str, kaggle: Kaggle, fetcher, downloads: Downloads
) -> None:
    kaggle.add(NAME, TABLE)
    kaggle.always[NAME] = fault
    fetched = fetcher().fetch(HANDLE, 1000)
    assert (fetched.folder, fetched.reason) == (None, reason)
    assert kaggle.asked[NAME] == 1
    assert fetcher().fetch(HANDLE, 1000).reason == reason  # another rank asks the ledger, not Kaggle
    assert kaggle.asked[NAME] == 1


def test_credentials_that_kaggle_refuses_stop_the_rank(
    kaggle: Kaggle, fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "wrong")
    kaggle.always[NAME] = "401"
    with pytest.raises(KaggleError, match="KAGGLE_API_TOKEN"):
        fetcher().fetch(HANDLE, 1000)
    assert kaggle.authorization == ["Bearer wrong"]


def test_nothing_is_sent_that_claims_to_be_somebody(kaggle: Kaggle, fetcher) -> None:
    kaggle.add(NAME, TABLE)
    assert fetcher().fetch(HANDLE, 1000).folder
    assert kaggle.authorization == [None]


@pytest.mark.parametrize("fault", ["500", "503:0", "429:0", "corrupt", "503-store", "no-archive", "drop:100000"])
def test_what_passes_is_tried_again(fault: str, kaggle: Kaggle, fetcher, downloads: Downloads) -> None:
    kaggle.add(NAME, TABLE)
    kaggle.faults[NAME] = [fault]
    folder = fetcher().fetch(HANDLE, 1000).folder
    assert (folder / "tides.csv").read_bytes() == TABLE["tides.csv"]
    assert downloads.get(NAME).attempts == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", fetching.SERVER_ERROR),
        ("corrupt", "wrong checksum"),
        ("no-archive", "no archive that can be unpacked"),
        ("drop:100000", fetching.CONNECTION_LOST),
    ],
)
def test_tries_are_bounded(fault: str, reason: str, kaggle: Kaggle, fetcher, downloads: Downloads) -> None:
    kaggle.add(NAME, {"tides.csv": os.urandom(3_000_000)})
    kaggle.always[NAME] = fault
    assert fetcher().fetch(HANDLE, 1000).reason == reason
    assert downloads.get(NAME).attempts == 3


def test_a_broken_download_goes_on_where_it_was(kaggle: Kaggle, fetcher, downloads: Downloads) -> None:
    # A mebibyte is what kagglehub writes at a time: what came of an unfinished one is lost.
    size = len(kaggle.add(NAME, {"tides.csv": os.urandom(5_000_000)}))
    kaggle.faults[NAME] = ["drop:3000000"]
    assert fetcher().fetch(HANDLE, size).folder
    ((_, start),) = kaggle.ranges
    assert 0 < 3_000_000 - start < 1 << 20
    assert downloads.get(NAME).paid == size


def test_a_rate_limit_that_lasts_stops_the_rank_and_all_ranks_wait(
    kaggle: Kaggle, fetcher, downloads: Downloads
) -> None:
    kaggle.always[NAME] = "429:1"
    with pytest.raises(KaggleError, match=r"rate limit, 2 times.*run the same command again later"):
        fetcher(tries=2).fetch(HANDLE, 1000)
    kaggle.always[NAME] = "429:3600"
    with pytest.raises(KaggleError, match="asks to wait 3,600 s"):
        fetcher(tries=2).fetch(HANDLE, 1000)
    downloads.pause(30)
    assert 29 < downloads.seconds_to_wait() <= 30


@pytest.mark.parametrize("fault", ["hang", "hang-at:100000"])
def test_a_server_that_says_nothing_more_is_left(fault: str, kaggle: Kaggle, fetcher, downloads: Downloads) -> None:
    kaggle.add(NAME, TABLE)
    kaggle.faults[NAME] = [fault]
    assert fetcher(stall_s=1.5).fetch(HANDLE, 1000).folder
    assert downloads.get(NAME).attempts == 2


def test_an_unreachable_kaggle_stops_the_rank_and_loses_no_data_set(
    kaggle: Kaggle, fetcher, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(KaggleError, match="connection, 2 times"):
        fetcher(tries=2).fetch(HANDLE, 1000)
    assert downloads.get(NAME).outcome is None


def test_a_server_that_fails_for_one_data_set_after_the_other_stops_the_rank(kaggle: Kaggle, fetcher) -> None:
    handles = [Handle("ada", f"set{number}", 1) for number in range(fetching.FAILURES_IN_A_ROW)]
    for handle in handles:
        kaggle.always[str(handle)] = "500"
    for handle in handles[:-1]:
        assert fetcher(tries=1).fetch(handle, 10).reason == fetching.SERVER_ERROR
    with pytest.raises(KaggleError, match="down"):
        fetcher(tries=1).fetch(handles[-1], 10)


def test_more_than_was_foretold_is_broken_off(kaggle: Kaggle, fetcher, tmp_path: Path, downloads: Downloads) -> None:
    kaggle.add(NAME, {"tides.csv": os.urandom(8_000_000)})
    fetched = fetcher(max_gb=0.002).fetch(HANDLE, 1000)
    assert fetched.reason == attempt.TOO_LARGE
    assert downloads.get(NAME).paid < 4_000_000
    assert not archive_path(tmp_path / "cache", HANDLE).exists()


def test_an_archive_that_unpacks_to_too_much_is_broken_off(kaggle: Kaggle, fetcher) -> None:
    kaggle.add(NAME, {"bomb.csv": bytes(30_000_000)})
    assert len(kaggle.archives[NAME]) < 100_000
    assert fetcher(max_gb=0.005).fetch(HANDLE, 1000).reason == attempt.TOO_LARGE


def test_names_in_an_archive_do_not_lead_out_of_it(kaggle: Kaggle, fetcher, tmp_path: Path) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../../../../escaped.csv", "a")
        archive.writestr("tides.csv", "b")
    kaggle.archives[NAME] = buffer.getvalue()
    folder = fetcher().fetch(HANDLE, 1000).folder
    assert sorted(path.name for path in folder.iterdir()) == ["escaped.csv", "tides.csv"]
    assert not list(tmp_path.glob("escaped.csv"))


def test_the_budget_holds_for_all_data_sets_together(kaggle: Kaggle, tmp_path: Path) -> None:
    ledger = Downloads(tmp_path / "small.sqlite", budget=1_000_000)
    fetcher = Fetcher(FetchRules(tmp_path / "cache", backoff_s=0.01), ledger, 0)
    others = [Handle("ada", "first", 1), Handle("ada", "second", 1), Handle("ada", "liar", 1)]
    for handle in others:
        kaggle.add(str(handle), {"a.csv": os.urandom(400_000)})
    assert fetcher.fetch(others[0], 401_000).folder
    assert fetcher.fetch(others[1], 700_000).reason == attempt.OVER_BUDGET  # not begun
    assert kaggle.asked[str(others[1])] == 0
    kaggle.add(str(others[2]), {"a.csv": os.urandom(5_000_000)})
    kaggle.always[str(others[2])] = "slow:3000000"
    assert fetcher.fetch(others[2], 1000).reason == attempt.OVER_BUDGET  # broken off
    assert kaggle.asked[str(others[2])] == 1
    ledger.close()
