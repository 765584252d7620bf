"""What the join of Meta Kaggle's tables costs: time and memory, on tables made for it: `make bench-link`.

    python scripts/bench_link.py --versions 2000000 --memory-gb 0.5    a minute or two, most of it making 2 GB of tables
    python scripts/bench_link.py --versions 20000                      whether it runs

The tables have the columns that the join reads, and descriptions of the length of real ones; the real dump has more
users. Writes `results/runs/bench/link.json` and prints it. Run it from the root with PYTHONPATH=.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.kaggle.join import Join, write_join
from pipeline.kaggle.tables import MetaKaggle

OUT = Path("results/runs/bench/link.json")
LINKS_A_VERSION = 4
WANTED_EVERY = 20
BATCH = 256


def main() -> None:
    """Make the tables, join them, look a batch up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=2_000_000, help="versions of data sets")
    parser.add_argument("--memory-gb", type=float, default=0.5, help="what DuckDB may hold")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), asked.versions, asked.memory_gb)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


def measure(folder: Path, versions: int, memory_gb: float) -> dict[str, float]:
    """The figures of one join."""
    tables, out = folder / "tables", folder / "out"
    write_tables(tables, versions)
    out.mkdir()
    wanted = range(0, versions * LINKS_A_VERSION // 2, WANTED_EVERY)
    began = (time.perf_counter(), time.process_time())
    with MetaKaggle(tables, memory_gb, folder / "spill") as meta:
        write_join(meta, wanted, out)
    joined = (time.perf_counter() - began[0], time.process_time() - began[1])
    began = (time.perf_counter(), time.process_time())
    with Join(out) as join:
        found = join.sources(wanted[:BATCH])
        known = join.versions([number for sources in found.values() for number in sources.versions])
    return {
        "versions": versions,
        "links": versions * LINKS_A_VERSION,
        "notebooks": len(wanted),
        "tables_gb": round(sum(path.stat().st_size for path in tables.iterdir()) / 1e9, 3),
        "memory_limit_gb": memory_gb,
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3),
        "join_seconds": round(joined[0], 2),
        "join_cpu_seconds": round(joined[1], 2),
        "left_gb": round(sum(path.stat().st_size for path in out.iterdir()) / 1e9, 3),
        "batch_of_notebooks": len(found),
        "batch_of_data_sets": len(known),
        "batch_cpu_seconds": round(time.process_time() - began[1], 3),
    }


def write_tables(folder: Path, versions: int) -> None:
    """Tables of that many versions, five a data set, in the order of their ids."""
    chance = random.Random(0)
    folder.mkdir()
    text = " ".join(f"word{chance.randrange(5000)}" for _ in range(100))
    sets = versions // 5 + 1
    _write(folder / "Users.csv", "Id UserName DisplayName", ((n, f"user{n}", f"User {n}") for n in range(sets)))
    _write(folder / "Organizations.csv", "Id Name Slug", ((n, f"O {n}", f"o{n}") for n in range(100)))
    _write(
        folder / "Datasets.csv",
        "Id OwnerUserId OwnerOrganizationId",
        ((n, float(chance.randrange(sets)), "") for n in range(sets)),
    )
    columns = "Id DatasetId DatasourceVersionId LicenseName VersionNumber Title Slug Subtitle Description"
    _write(
        folder / "DatasetVersions.csv",
        f"{columns} TotalCompressedBytes TotalUncompressedBytes",
        (
            (n, n // 5, n + 1, "CC0: Public Domain", n % 5 + 1.0, f"Title {n}", f"set-{n // 5}", "a subtitle")
            + (f'"{n}"\n{text}', n * 10, n * 30)
            for n in range(versions)
        ),
    )
    _write(
        folder / "KernelVersionDatasetSources.csv",
        "Id KernelVersionId SourceDatasetVersionId",
        ((n, n // 2, chance.randrange(versions)) for n in range(versions * LINKS_A_VERSION)),
    )


def _write(path: Path, columns: str, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.split())
        writer.writerows(rows)


if __name__ == "__main__":
    main()
