"""Meta Kaggle's join: the right column, all data sets, owners of both kinds, and tables that are not as they should."""

from pathlib import Path

import pytest

from pipeline.kaggle.join import Join, Sources, write_join
from pipeline.kaggle.tables import MetaKaggle, TableError
from tests.pipeline.corpus import meta_kaggle as corpus
from tests.pipeline.corpus.studies import STUDIES
from tests.pipeline.kaggle.meta_kaggle import MadeSet, write_tables

FILLER = " ".join(str(number**3) for number in range(300))
SETS = [
    MadeSet(7, "ada", "tides", version=3, licence="CC0: Public Domain", title="Tides", tags=("earth", "water")),
    MadeSet(8, "harbour-board", "ports", organization=True, compressed=None),
    MadeSet(9, "bob", "rain"),
]


def joined(tables: Path, out: Path, wanted: list[int], memory_gb: float = 1) -> tuple[Join, MetaKaggle]:
    out.mkdir(exist_ok=True)
    with MetaKaggle(tables, memory_gb, out / "spill") as meta:
        write_join(meta, wanted, out)
    return Join(out), meta


def test_all_data_sets_of_a_notebook_with_their_versions_pinned(tmp_path: Path) -> None:
    tables = write_tables(tmp_path / "meta", SETS, {100: [7, 8], 200: [9]}, {100: [1, 2]}, {100: [5]})
    join, _ = joined(tables, tmp_path / "out", [100, 300])
    with join:
        assert join.sources([100, 200, 300]) == {100: Sources((7, 8), competitions=2, kernels=1)}
        found = join.versions([8, 7, 4711])
    assert list(found) == [7, 8]
    assert (found[7].owner, found[7].slug, found[7].version, found[7].data_set) == ("ada", "tides", 3, 10_007)
    assert (found[7].licence, found[7].tags, found[7].compressed) == ("CC0: Public Domain", ("earth", "water"), 1000)
    assert (found[8].owner, found[8].compressed) == ("harbour-board", None)


def test_tables_that_may_be_missing_count_as_empty(tmp_path: Path) -> None:
    tables = write_tables(tmp_path / "meta", SETS, {100: [7]})
    for name in ("KernelVersionCompetitionSources", "KernelVersionKernelSources", "DatasetTags", "Tags"):
        (tables / f"{name}.csv").unlink()
    join, _ = joined(tables, tmp_path / "out", [100])
    with join:
        assert join.sources([100]) == {100: Sources((7,))}


def test_a_missing_table_or_column_is_named(tmp_path: Path) -> None:
    tables = write_tables(tmp_path / "meta", SETS, {100: [7]})
    path = tables / "KernelVersionDatasetSources.csv"
    path.write_text("Id,KernelVersionId,DatasourceVersionId\n1,100,7\n")
    with pytest.raises(TableError, match=r"no column SourceDatasetVersionId; it has Id, KernelVersionId, Datasource"):
        joined(tables, tmp_path / "out", [100])
    path.unlink()
    with pytest.raises(TableError, match=r"KernelVersionDatasetSources\.csv: there is no such table"):
        joined(tables, tmp_path / "out", [100])


def test_lines_that_are_none_are_counted_and_many_of_them_are_an_error(tmp_path: Path) -> None:
    many = [MadeSet(number, "ada", f"set-{number}") for number in range(1, 3000)]
    tables = write_tables(tmp_path / "meta", many, {100: [7]})
    with (tables / "DatasetVersions.csv").open("a") as file:
        file.write('9001,"torn"x,\n')
    join, meta = joined(tables, tmp_path / "out", [100])
    join.__exit__(None, None, None)
    assert meta.unreadable == {"DatasetVersions": 1}
    with (tables / "DatasetVersions.csv").open("a") as file:
        file.write('9001,"torn"x,\n' * 20)
    with pytest.raises(TableError, match=r"21 of 3,020 lines are no rows"):
        joined(tables, tmp_path / "out", [100])


def test_the_corpus_written_apart_is_joined_to_the_data_sets_it_was_made_of(tmp_path: Path) -> None:
    notebooks = [corpus.Published(500 + number, "t", study, 1, None) for number, study in enumerate(STUDIES)]
    corpus.write_tables(tmp_path / "meta", notebooks)
    join, _ = joined(tmp_path / "meta", tmp_path / "out", [notebook.number for notebook in notebooks])
    with join:
        sources = join.sources([notebook.number for notebook in notebooks])
        versions = join.versions([number for source in sources.values() for number in source.versions])
    for notebook, study in zip(notebooks, STUDIES, strict=True):
        (number,) = sources[notebook.number].versions
        found = versions[number]
        assert (found.owner, found.slug, found.version) == (study.owner, study.slug, study.version)


@pytest.mark.slow
def test_tables_larger_than_the_memory_are_joined(tmp_path: Path) -> None:
    many = [MadeSet(number, "ada", f"set-{number}", title=f"{number} {FILLER}") for number in range(1, 150_000)]
    tables = write_tables(tmp_path / "meta", many, {100: [149_999]})
    assert (tables / "DatasetVersions.csv").stat().st_size > 320_000_000
    join, _ = joined(tables, tmp_path / "out", [100], memory_gb=0.25)
    with join:
        assert join.versions([149_999])[149_999].slug == "set-149999"
