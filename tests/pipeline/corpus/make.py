"""Make the small corpus: 34 notebooks, run for real, in Kaggle's ZIP layout, with data and Meta Kaggle's tables.

    python -m tests.pipeline.corpus.make FOLDER

    FOLDER/input/harbour-ferries/trips.csv ...                  the data, as notebooks find them under ../input
    FOLDER/archives/metakaggle_code_with_outputs_000.zip ...    0132/087/132087938.ipynb ...
    FOLDER/meta-kaggle/KernelVersions.csv ...
    FOLDER/truth.jsonl                                          a line a notebook: id, what it is, its data set

Outputs are real: every notebook that can be run is run by nbclient, all in one kernel that is emptied in between. The
code is that of `styles.py` and `oddities.py`, which is ours; so it runs without isolation, as no other notebook may.
The folder appears when it is whole. `corpus()` makes it once for all tests and demos of a checkout, `put_on` lets the
stand-in for Kaggle give out its data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from tests.pipeline.corpus import oddities
from tests.pipeline.corpus.meta_kaggle import Published, write_tables
from tests.pipeline.corpus.studies import STUDIES, Study
from tests.pipeline.corpus.styles import GOOD, Cells

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager

    from tests.stand_ins.kaggle import Kaggle

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ARCHIVES = 2
FIRST_NUMBER = 132_087_938
STEP = 1_009
CELL_S = 60


@dataclass(frozen=True)
class Made:
    """One notebook to be: `kind` names its style or oddity, `file` is set where it is not to be run."""

    kind: str
    study: Study
    cells: Cells | None = None
    file: bytes | None = None
    votes: int = 3
    medal: int | None = None


def notebooks() -> list[Made]:
    """The corpus, in the order of its numbers."""
    made = [Made(style.__name__, study, style(study), votes=40) for style in GOOD for study in STUDIES]
    first, second, third = STUDIES
    made += [Made("edited", study, oddities.edited(GOOD[place](study))) for place, study in enumerate(STUDIES)]
    made.append(Made("same code", second, [("text", "# My copy of a notebook that I liked"), *GOOD[2](second)]))
    made.append(Made("same bytes", third, GOOD[2](third)))
    odd: dict[str, Callable[[Study], Cells]] = {
        "german": oddities.german,
        "failing": oddities.failing,
        "trivial": oddities.trivial,
        "bare": oddities.bare,
        "wordy": oddities.wordy,
        "invented data": oddities.invented_data,
        "language model": oddities.language_model,
        "injecting": oddities.injecting,
        "overlong": oddities.overlong,
    }
    made += [
        Made(kind, (first, second, third)[place % 3], cells((first, second, third)[place % 3]))
        for place, (kind, cells) in enumerate(odd.items())
    ]
    made.append(Made("r", third, file=oddities.r_notebook(third)))
    made.append(Made("torn", first, file=b'{"cells": [{"cell_type": "code", "source": "pri'))
    return made


def make(folder: Path) -> None:
    """Make all of it. `folder` must not be there yet."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        for study in STUDIES:
            study.write(partial / "input")
        made = notebooks()
        files = _files(made, partial)
        _write_archives(partial / "archives", files)
        _write_truth(partial / "truth.jsonl", made)
        published = [
            Published(
                _number(place),
                f"A notebook, {one.kind}",
                one.study if one.kind != "invented data" else None,
                one.votes,
                one.medal,
                12 if one.kind == "r" else 9,
            )
            for place, one in enumerate(made)
        ]
        write_tables(partial / "meta-kaggle", published)
        shutil.rmtree(partial / "working")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def corpus(root: Path = ROOT / "results" / "runs" / "corpus") -> Path:
    """The corpus of this state of its sources, made on first use (half a minute)."""
    digest = hashlib.sha256()
    for source in sorted(HERE / f"{name}.py" for name in ("make", "meta_kaggle", "oddities", "studies", "styles")):
        digest.update(source.read_bytes())
    folder = root / digest.hexdigest()[:12]
    if not folder.exists():
        command = [sys.executable, "-m", "tests.pipeline.corpus.make", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode and not folder.exists():  # another process may have been quicker
            raise RuntimeError(f"the corpus could not be made:\n{done.stderr[-2000:]}")
    return folder


def put_on(kaggle: Kaggle, made: Path) -> None:
    """Have the stand-in for Kaggle give out the corpus's data sets, under the versions that its tables name."""
    for study in STUDIES:
        files = {path.name: path.read_bytes() for path in (made / "input" / study.slug).iterdir()}
        kaggle.add(f"{study.owner}/{study.slug}/versions/{study.version}", files)


def _files(made: list[Made], folder: Path) -> list[bytes]:
    """Each notebook's bytes; what can be run has been run."""
    files = []
    with _kernel(folder) as kernel:
        for one in track(made, "running notebooks"):
            files.append(one.file if one.file is not None else _run(one, kernel))
    return files


@contextmanager
def _kernel(folder: Path) -> Iterator[KernelManager]:
    from jupyter_client.manager import start_new_kernel

    working = folder / "working"
    working.mkdir()
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(working))
    client.stop_channels()
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def _run(one: Made, kernel: KernelManager) -> bytes:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook()
    # The last cell empties the kernel for the next notebook, and is not part of this one.
    for number, (kind, source) in enumerate([*(one.cells or []), ("code", "%reset -f")]):
        new: Any = nbformat.v4.new_markdown_cell if kind == "text" else nbformat.v4.new_code_cell
        notebook.cells.append(new(source, id=f"cell-{number}"))
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    runner = NotebookClient(
        notebook, km=kernel, timeout=CELL_S, allow_errors=one.kind == "failing", record_timing=False
    )
    runner.execute()
    notebook.cells.pop()
    for place, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = place + 1
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = place + 1
    return nbformat.writes(notebook).encode()


def _number(place: int) -> int:
    return FIRST_NUMBER + STEP * place


def _id(place: int) -> str:
    whole = f"{_number(place):010}"
    return f"{whole[:4]}/{whole[4:7]}/{_number(place)}.ipynb"


def _write_archives(folder: Path, files: list[bytes]) -> None:
    folder.mkdir()
    for archive in range(ARCHIVES):
        path = folder / f"metakaggle_code_with_outputs_{archive:03}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for place in range(archive, len(files), ARCHIVES):
                out.writestr(zipfile.ZipInfo(_id(place), (2023, 3, 14, 9, 26, 52)), files[place], zipfile.ZIP_DEFLATED)


def _write_truth(path: Path, made: list[Made]) -> None:
    lines = [{"id": _id(place), "kind": one.kind, "data": one.study.slug} for place, one in enumerate(made)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(Path(sys.argv[1]))
