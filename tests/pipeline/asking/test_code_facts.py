"""What the code says by itself: packages, the files it reads, the cells that compute."""

from __future__ import annotations

import pytest

from pipeline.asking.code_facts import base_name, code_facts, computing, package_name

READS = {
    "pd.read_csv('../input/a/trips.csv')": ("../input/a/trips.csv",),
    "folder = '../input/a/'\npd.read_csv(folder + 'trips.csv')": ("../input/a/trips.csv",),
    "pd.read_csv(os.path.join('../input', 'a', 'trips.csv'))": ("../input/a/trips.csv",),
    "root = Path('/kaggle/input') / 'a'\npd.read_excel(root / 'trips.xlsx')": ("/kaggle/input/a/trips.xlsx",),
    "year = 2020\npd.read_csv(f'../input/a/{year}.csv')": (),
    "for name in ['a.csv', 'b.csv']:\n    frames.append(pd.read_csv('../input/' + name))": (
        "../input/a.csv",
        "../input/b.csv",
    ),
    "with open('notes.txt') as f: pass": ("notes.txt",),
    "with open('notes.txt', 'w') as f: pass": (),
    "frame.to_csv('submission.csv')": (),
    "print('see trips.csv')": (),
    "pd.read_csv(unknown)": (),
    "np.loadtxt(fname='a.dat')": ("a.dat",),
}


@pytest.mark.parametrize("code", READS)
def test_files_that_are_read(code: str) -> None:
    assert code_facts([code]).files == READS[code]


def test_names_are_known_in_later_cells_and_cells_that_are_no_python_are_counted() -> None:
    facts = code_facts(
        ["HERE = '../input/a'", "%matplotlib inline\n!pip install x", "select * from t", "pd.read_csv(HERE + '/b.csv')"]
    )
    assert facts.files == ("../input/a/b.csv",)
    assert facts.unparsed == 1


def test_packages_without_the_standard_library() -> None:
    code = "import os, re\nimport numpy as np\nfrom sklearn.linear_model import Ridge\nfrom . import mine\nimport json"
    assert code_facts([code]).packages == ("numpy", "sklearn")
    assert [package_name(told) for told in ("scikit-learn", "Pillow", "os", "pandas.io")] == [
        "sklearn",
        "PIL",
        "",
        "pandas",
    ]


def test_a_file_is_compared_by_its_name_alone() -> None:
    assert base_name("..\\input\\A\\Trips.CSV ") == base_name("/kaggle/input/b/trips.csv") == "trips.csv"


def test_looking_is_not_computing_but_looking_at_what_was_computed_is() -> None:
    cells = [
        "import pandas as pd\nt = pd.read_csv('t.csv')",
        "t.head()",
        "print(t.shape)",
        "m = t.groupby('a').b.mean()",
        "print(m)",
        "t.describe()",
        "t['c'] = t.a * t.b",
        "t.head()",
        "print(len(t), 'rows')",
        "not python at all",
        "for x in [1, 2]:\n    print(x)",
        "print(f'{t.a.max() - t.a.min()}')",
    ]
    assert computing(cells) == [False, False, False, True, True, False, True, True, True, True, False, True]
