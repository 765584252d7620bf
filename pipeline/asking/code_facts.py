"""What a notebook's code says by itself: which packages it imports, which data files it reads, which cells compute.

    facts = code_facts(["folder = '../input/trips/'", "frame = pd.read_csv(folder + 'trips.csv')"])
    facts.files                                  # ("../input/trips/trips.csv",)
    computing([...])                             # for each cell, whether what it shows was computed

By the syntax tree alone, nothing is run: names that are put together from constants are followed through `+`, `/`,
f-strings, `os.path.join`, `Path` and loops over lists; others are not. Cells that are no Python, when their magics are
taken out, are counted.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import PurePosixPath

Texts = tuple[str, ...]
ALTERNATIVES = 50
"""At most so many names are made of one expression."""

DATA = re.compile(
    r"\.(csv|tsv|txt|jsonl?|xlsx?|xlsm|parquet|feather|dat|data|db|sqlite3?|h5|hdf5|xml|html|gz|zip|bz2|xz|npy|npz|pkl|"
    r"pickle|sas7bdat|sav|dta|geojson|shp|orc|arff|log|md|pdf)",
    re.IGNORECASE,
)
READERS = re.compile(
    r"(read|scan|load)_\w+|open|load|loadtxt|genfromtxt|fromfile|connect|imread|ExcelFile|HDFStore|ZipFile|DictReader"
)
LOOKING = re.compile(
    r"head|tail|sample|info|describe|print|display|len|type|list|set_\w+|filterwarnings|use|walk|join|listdir|glob|exists|"
    r"isfile|show|format"
)
ALIASES = {
    "scikit-learn": "sklearn",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "beautifulsoup4": "bs4",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
}
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class CodeFacts:
    """Top-level packages but the standard library's, data files as the code names them, cells that are no Python."""

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unparsed: int = 0


def code_facts(cells: Iterable[str]) -> CodeFacts:
    """The facts of a notebook's code cells, in their order."""
    packages: dict[str, None] = {}
    files: dict[str, None] = {}
    known: dict[str, Texts] = {}
    unparsed = 0
    for code in cells:
        tree = parsed(code)
        if tree is None:
            unparsed += 1
            continue
        for node in ast.walk(tree):
            packages.update(dict.fromkeys(_imported(node)))
        for node in _in_order(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                known[node.targets[0].id] = _texts(node.value, known)
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                known[node.target.id] = _texts(node.iter, known)
            elif isinstance(node, ast.Call):
                files.update(dict.fromkeys(_read(node, known)))
    return CodeFacts(tuple(packages), tuple(files), unparsed)


def computing(cells: Sequence[str]) -> list[bool]:
    """For each code cell, whether it computes something or shows what an earlier cell computed.

    False for cells that only load, look (head, shape, describe, ...) and print constants. True where a cell is no
    Python and so cannot be judged.
    """
    computed: set[str] = set()
    verdicts = []
    for code in cells:
        tree = parsed(code)
        if tree is None:
            verdicts.append(True)
            continue
        verdict = False
        for statement in tree.body:
            computes = _computes(statement) or bool(_names(statement) & computed)
            if computes:
                computed |= _assigned(statement)
            verdict = verdict or (computes and not isinstance(statement, ast.Import | ast.ImportFrom))
        verdicts.append(verdict)
    return verdicts


def parsed(code: str) -> ast.Module | None:
    """The syntax tree of a cell without its magics; None where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(_MAGIC.sub(r"\1pass", code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def base_name(file: str) -> str:
    """A file's name without its folders, for comparing; lower case."""
    return PurePosixPath(file.replace("\\", "/").strip()).name.lower()


def package_name(told: str) -> str:
    """The import's name of a package that somebody named; "" for one of the standard library."""
    name = ALIASES.get(told.strip().lower(), told.strip()).split(".")[0]
    return "" if name in sys.stdlib_module_names else name


def _imported(node: ast.AST) -> Iterable[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module]
    return filter(None, map(package_name, names))


def _in_order(tree: ast.Module) -> list[ast.Assign | ast.For | ast.Call]:
    """Nodes by line; a loop's head before its body, a call before the assignment that it is in."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.For | ast.Call)]
    return sorted(nodes, key=lambda node: (node.lineno, isinstance(node, ast.Assign)))


def _read(call: ast.Call, known: Mapping[str, Texts]) -> list[str]:
    """The data files that a call reads."""
    name = _called(call)
    if not READERS.fullmatch(name):
        return []
    arguments = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg not in ("mode", "encoding"))]
    if name == "open" and len(call.args) > 1 and any(set(mode) & set("wax") for mode in _texts(call.args[1], known)):
        return []
    texts = [text for argument in arguments[:2] for text in _texts(argument, known)]
    return [text for text in texts if DATA.fullmatch(PurePosixPath(text).suffix)]


def _texts(node: ast.expr, known: Mapping[str, Texts]) -> Texts:
    """What text an expression may be, its parts that are not constants left out; nothing where none is constant."""
    if isinstance(node, ast.Constant):
        return (node.value,) if isinstance(node.value, str) else ()
    if isinstance(node, ast.Name):
        return known.get(node.id, ())
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(text for item in node.elts for text in _texts(item, known))[:ALTERNATIVES]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        return _joined([node.left, node.right], known, "/" if isinstance(node.op, ast.Div) else "")
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return _joined(parts, known, "")
    if isinstance(node, ast.Call) and _called(node) in ("join", "Path", "PurePath", "str"):
        return _joined(node.args, known, "/")
    return ()


def _joined(parts: Sequence[ast.expr], known: Mapping[str, Texts], between: str) -> Texts:
    """The parts put together in every way; without the last one the name of a file would not be known."""
    choices = [_texts(part, known) for part in parts]
    if not choices or not choices[-1]:
        return ()
    ways = islice(product(*(choice for choice in choices if choice)), ALTERNATIVES)
    return tuple(between.join([*(text.rstrip("/") if between else text for text in way[:-1]), way[-1]]) for way in ways)


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _computes(statement: ast.stmt) -> bool:
    """Whether a statement calls, compares or calculates beyond loading and looking."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Compare | ast.comprehension):
            return True
        if isinstance(node, ast.BinOp) and not _is_text(node):
            return True
        if isinstance(node, ast.Call):
            name = _called(node)
            if not (LOOKING.fullmatch(name) or READERS.fullmatch(name)):
                return True
    return False


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in ast.walk(node)
    )


def _names(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _assigned(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value, or a column of which it does."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if isinstance(statement, ast.FunctionDef):
        names.add(statement.name)
    for target in statement.targets if isinstance(statement, ast.Assign) else ():
        names |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    return names
