"""Make a corpus of notebooks whose near duplicates are known: Kaggle's ZIP layout, sizes and habits, invented contents.

    python scripts/notebook_corpus.py results/runs/bench/corpus --notebooks 20000

Writes `metakaggle_code_with_outputs_000.zip` to `_007.zip` and `truth.jsonl`, a line a notebook: its id, its kind, and
the cluster it belongs to. The kinds:

    original    its own lines of code, often below Kaggle's template header, which all share
    edited      an original with one line changed in 60% of its code cells
    rerun       an original's code with other outputs
    copy        an original byte for byte
    fork        the first 30% of an original's cells and then its own: another notebook, in a cluster of its own
    tiny        one to three lines below the header: a cluster of its own

Deterministic in its arguments. No file of Kaggle's is read; the sentences and tables mean nothing.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHIVES = 8
EDITED_CELLS = 0.6
FORKED_CELLS = 0.3
KINDS = {"original": 0.69, "edited": 0.15, "rerun": 0.04, "copy": 0.03, "fork": 0.05, "tiny": 0.04}
SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "xi",
    "yo",
    "zu",
    "tra",
    "ple",
    "sto",
    "gri",
]
HEADER = """# This Python 3 environment comes with many helpful analytics libraries installed
# For example, here's several helpful packages to load

import numpy as np # linear algebra
import pandas as pd # data processing, CSV file I/O (e.g. pd.read_csv)

# Input data files are available in the read-only "../input/" directory

import os
for dirname, _, filenames in os.walk('/kaggle/input'):
    for filename in filenames:
        print(os.path.join(dirname, filename))"""
LINES = (
    "{a} = {b}.groupby('{c}')['{d}'].agg('mean').reset_index()",
    "{a}['{c}'] = {a}['{d}'].fillna({n}).astype(int)",
    "{a} = {b}[{b}['{c}'] > {n}].sort_values('{d}', ascending=False)",
    "{a} = pd.read_csv('../input/{b}/{c}.csv', nrows={n})",
    "{a} = pd.merge({b}, {c}, on='{d}', how='left')",
    "plt.title('{a} by {b} ({n})')",
    "sns.barplot(x='{a}', y='{b}', data={c}.head({n}))",
    "print({a}['{b}'].describe(), {n})",
    "model_{a} = RandomForestClassifier(n_estimators={n}, max_depth=len({b}))",
    "{a}_train, {a}_test = train_test_split({b}, test_size=0.{n}, random_state={n})",
    "for {a} in {b}['{c}'].unique()[:{n}]:",
    "    {a}.append({b}['{c}'].quantile(0.{n}))",
)
COMMON = ("plt.figure(figsize=(10, 6))", "plt.show()", "plt.xticks(rotation=90)", "df.head()", "df.info()", "df.shape")
IMPORTS = "import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\nimport seaborn as sns"


@dataclass(frozen=True)
class Truth:
    """What a made notebook is."""

    id: str
    kind: str
    cluster: str


def plan(count: int, seed: int) -> list[tuple[str, int]]:
    """(kind, number of the original it is made of, or its own number) of every notebook, in order."""
    rng = random.Random(seed)
    kinds = rng.choices(list(KINDS), list(KINDS.values()), k=count)
    originals = [number for number, kind in enumerate(kinds) if kind == "original"]
    return [
        (kind, number if kind in ("original", "tiny") else rng.choice(originals)) for number, kind in enumerate(kinds)
    ]


def notebook_id(number: int) -> str:
    """A path in Kaggle's layout."""
    padded = f"{100_000_000 + 37 * number:010}"
    return f"{padded[:4]}/{padded[4:7]}/{int(padded)}.ipynb"


def notebook_bytes(kind: str, source: int, number: int, seed: int) -> bytes:
    """The bytes of one notebook; the same arguments give the same bytes."""
    if kind == "copy":
        kind, number = "original", source
    texts = random.Random(f"{seed}/{number}/outputs")
    own = random.Random(f"{seed}/{number}/code")
    cells = _cells(random.Random(f"{seed}/{source}/code"), tiny=kind == "tiny")
    if kind == "edited":
        edited = [cell for cell in cells if cell[0] == "code" and cell[1] != HEADER]
        for cell in own.sample(edited, round(EDITED_CELLS * len(edited))):
            lines = cell[1].split("\n")
            lines[own.randrange(len(lines))] = _line(own)
            cell[1] = "\n".join(lines)
    elif kind == "fork":
        cells = cells[: max(1, round(FORKED_CELLS * len(cells)))] + _cells(own)
    document = {
        "cells": [_cell(kind, text, texts, position) for position, (kind, text) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "version": "3.10.12", "mimetype": "text/x-python"},
        },
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _cells(rng: random.Random, tiny: bool = False) -> list[list[str]]:
    """[kind, text] of each cell."""
    cells: list[list[str]] = [["code", HEADER]] if tiny or rng.random() < 0.6 else [["code", IMPORTS]]
    if tiny:
        return [*cells, ["code", "\n".join(_line(rng) for _ in range(rng.randint(1, 3)))]]
    cells.insert(0, ["markdown", f"# {_words(rng, 4).title()}\n\n{_words(rng, 40)}"])
    for _ in range(rng.randint(8, 32)):
        if rng.random() < 0.35:
            cells.append(["markdown", f"## {_words(rng, 3).title()}\n{_words(rng, rng.randint(10, 80))}"])
        else:
            lines = [_line(rng) for _ in range(rng.randint(3, 12))]
            cells.append(["code", "\n".join([*lines, rng.choice(COMMON)])])
    return cells


def _cell(kind: str, text: str, rng: random.Random, position: int) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    if kind == "markdown":
        return {"cell_type": "markdown", "metadata": {}, "source": source}
    return {
        "cell_type": "code",
        "execution_count": position,
        "metadata": {"_uuid": f"{rng.getrandbits(160):040x}", "execution": {"shell.execute_reply": "2024-05-01"}},
        "outputs": list(_outputs(rng, position)),
        "source": source,
    }


def _outputs(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    roll = rng.random()
    if roll < 0.25:
        lines = [f"{_words(rng, 3)} {rng.random():.6f}\n" for _ in range(rng.randint(1, 60))]
        yield {"name": "stdout", "output_type": "stream", "text": lines}
    elif roll < 0.45:
        rows = [[f"{rng.random():.4f}" for _ in range(8)] for _ in range(rng.randint(5, 12))]
        table = "".join(f"<tr><th>{n}</th>{''.join(f'<td>{v}</td>' for v in row)}</tr>\n" for n, row in enumerate(rows))
        html = (
            f'<div>\n<style scoped>\n.dataframe tbody {{ top }}\n</style>\n<table border="1">\n{table}</table>\n</div>'
        )
        plain = [" ".join(row) + "\n" for row in rows]
        data = {"text/html": html.splitlines(keepends=True), "text/plain": plain}
        yield {"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}
    elif roll < 0.57:
        picture = base64.b64encode(rng.randbytes(int(rng.lognormvariate(9.65, 0.7)))).decode()
        data = {"image/png": picture + "\n", "text/plain": ["<Figure size 720x432 with 1 Axes>"]}
        yield {"data": data, "metadata": {"needs_background": "light"}, "output_type": "display_data"}
    elif roll < 0.62:
        trace = {"mode": "lines", "name": _words(rng, 2), "type": "scatter"}
        points = {"x": list(range(1000)), "y": [round(rng.random() * 100, 2) for _ in range(1000)]}
        data = {"application/vnd.plotly.v1+json": {"data": [trace | points] * 2, "layout": {"title": _words(rng, 3)}}}
        yield {"data": data, "metadata": {}, "output_type": "display_data"}
    elif roll < 0.65:
        steps = "".join(f"\r {n}%|{'█' * (n // 10)}| {n}/100 [00:{n:02}<00:00, 9.1it/s]" for n in range(0, 100, 5))
        yield {"name": "stderr", "output_type": "stream", "text": [steps]}
    elif roll < 0.67:
        frames = [
            f"\x1b[0;32m<ipython-input-{count}>\x1b[0m in \x1b[0;36m<module>\x1b[0;34m()\x1b[0m" for _ in range(8)
        ]
        yield {"ename": "KeyError", "evalue": _words(rng, 1), "output_type": "error", "traceback": frames}


def _line(rng: random.Random) -> str:
    names = {slot: _word(rng) for slot in "abcd"}
    return rng.choice(LINES).format(**names, n=rng.randint(2, 99))


def _words(rng: random.Random, count: int) -> str:
    return " ".join(_word(rng) for _ in range(count))


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3)))


def write_archive(folder: Path, archive: int, count: int, seed: int) -> list[Truth]:
    """Write one archive and tell what is in it."""
    path = folder / f"metakaggle_code_with_outputs_{archive:03}.zip"
    truths = []
    partial = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as out:
        for number, (kind, source) in enumerate(plan(count, seed)):
            if number * ARCHIVES // count == archive:
                own = number if kind in ("fork", "tiny") else source
                truths.append(Truth(notebook_id(number), kind, notebook_id(own)))
                out.writestr(notebook_id(number), notebook_bytes(kind, source, number, seed))
    partial.replace(path)
    return truths


def make_corpus(folder: Path, count: int, seed: int = 0, workers: int = 2) -> None:
    """Write the whole corpus; `truth.jsonl` comes last, so a torn corpus has none."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        made = [pool.submit(write_archive, folder, archive, count, seed) for archive in range(ARCHIVES)]
        began = time.monotonic()
        lines = []
        for number, future in enumerate(made, start=1):
            lines += [json.dumps(vars(truth)) + "\n" for truth in future.result()]
            passed = time.monotonic() - began
            print(f"archive {number} of {ARCHIVES}, {passed * (ARCHIVES - number) / number:.0f} s left", flush=True)
    partial = folder / "truth.jsonl.partial"
    partial.write_text("".join(lines))
    partial.replace(folder / "truth.jsonl")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--notebooks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_corpus(arguments.folder, arguments.notebooks, arguments.seed)


if __name__ == "__main__":
    main()
