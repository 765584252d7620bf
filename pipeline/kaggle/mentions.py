"""Which files a notebook's code reads, as far as its text tells: paths, file names and patterns, never run.

    found = mentions(code_cells)          # ("../input/titanic/train.csv", "../input/m5/*.parquet")

Strings are followed through names, `+`, `/`, f-strings, `os.path.join` and `Path` within the notebook; a part that is
not known is `*`. What the code only writes (`to_csv`, `open(..., "w")`, `savefig`) is no mention. Cells that are not
Python are searched for quoted names of data files. The walk over all of `/kaggle/input` that Kaggle's template begins
with names nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

ENDINGS = re.compile(
    "csv|tsv|txt|jsonl?|ndjson|parquet|feather|arrow|xls[xm]?|ods|sqlite3?|db|sql|dat|data|xml|geojson|shp|kml|h5|hdf5?"
    "|nc|np[yz]|mat|sav|dta|sas7bdat|rds|rdata|pkl|pickle|arff|avro|orc|html?|pdf|zip|gz|bz2|xz|7z|tar|tgz|log|names"
    "|ya?ml",
    re.IGNORECASE,
)
MOST = 200
LONGEST = 400
# Names of functions whose path is written; `save` and `dump` begin a word.
_WRITES = re.compile(r"to_(?!datetime|numeric|timedelta)\w+|savefig|save\w*|dump\w*|write\w*|imwrite|mkdir|makedirs")
_MAGIC = re.compile(r"^\s*[!%].*$", re.MULTILINE)
_QUOTED = re.compile(r"""(['"])((?:(?!\1)[^\\\n]){2,400})\1""")
_SHELL_PATH = re.compile(r"(?:\.\./input|/kaggle/input|(?<![\w/])input)/[^\s'\";|&>]+")
_FILE = re.compile(r"[^\n\t<>|]{1,400}\.([A-Za-z0-9]{1,8})")
_ROOTS = re.compile(r"(?:.*/)?input/?\**/?")


def mentions(cells: Iterable[str]) -> tuple[str, ...]:
    """The paths that code cells name, in order, none twice, at most 200."""
    found: dict[str, None] = {}
    reader = _Reader()
    for cell in cells:
        for text in _of_cell(cell, reader):
            path = _cleaned(text)
            if path and len(found) < MOST:
                found[path] = None
    return tuple(path for path in found if path not in reader.written)


def _of_cell(cell: str, reader: _Reader) -> Iterator[str]:
    """Everything in a cell that may be a path."""
    for line in _MAGIC.findall(cell):
        yield from _SHELL_PATH.findall(line)
    try:
        tree = ast.parse(_MAGIC.sub("", cell))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from (match[2] for match in _QUOTED.finditer(cell))
        return
    try:
        yield from reader.read(tree)
    except RecursionError:
        yield from (match[2] for match in _QUOTED.finditer(cell))


def _cleaned(text: str) -> str | None:
    """A path as it is matched, or None for text that names no data file and no folder of an input."""
    path = re.sub(r"/{2,}", "/", text.strip().replace("\\", "/"))
    if not path or len(path) > LONGEST or "://" in text or "\n" in path or _ROOTS.fullmatch(path):
        return None
    if re.search(r"(?:^|/)input/[^/*]", path):
        return path
    match = _FILE.fullmatch(path)
    return path if match and ENDINGS.fullmatch(match[1]) and not path.startswith("*.") else None


class _Reader:
    """Reads cells one after the other; names keep the text they were last given."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.written: set[str] = set()

    def read(self, tree: ast.AST) -> list[str]:
        """The texts of the largest expressions that are texts."""
        found: list[str] = []
        self._visit(tree, found)
        return found

    def _visit(self, node: ast.AST, found: list[str]) -> None:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.expr) and (text := self._text(node)) is not None:
            if not isinstance(node, ast.Name) or _cleaned(text):
                found.append(text)
            return
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            self._assign(node)
        if isinstance(node, ast.Call) and self._writes(node):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if (text := self._text(argument)) is not None and (path := _cleaned(text)):
                    self.written.add(path)
            self._visit(node.func, found)
            return
        for child in ast.iter_child_nodes(node):
            self._visit(child, found)

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        text = self._text(node.value) if node.value is not None else None
        for target in targets:
            if isinstance(target, ast.Name):
                if text is None:
                    self._names.pop(target.id, None)
                else:
                    self._names[target.id] = text[:LONGEST]

    def _writes(self, node: ast.Call) -> bool:
        name = _called(node)
        if name == "open":
            modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
            return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax") for mode in modes)
        return bool(_WRITES.fullmatch(name))

    def _text(self, node: ast.expr) -> str | None:
        """The text of an expression, or None where it is none."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(value) for value in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
            return self._joined([node.left, node.right], "" if isinstance(node.op, ast.Add) else "/")
        if isinstance(node, ast.Call) and _called(node) in {"join", "Path", "PurePath", "joinpath"}:
            return self._joined_call(node)
        return None

    def _piece(self, node: ast.expr) -> str:
        inner = node.value if isinstance(node, ast.FormattedValue) else node
        text = self._text(inner)
        return "*" if text is None else text

    def _joined_call(self, node: ast.Call) -> str | None:
        parts: list[ast.expr] = list(node.args)
        if isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr == "joinpath":
                parts.insert(0, owner)
            elif node.func.attr == "join" and not (isinstance(owner, ast.Attribute) and owner.attr == "path"):
                return None  # ", ".join(...)
        return self._joined(parts, "/") if parts else None

    def _joined(self, parts: list[ast.expr], between: str) -> str | None:
        """Parts as one text; None where none of them is known."""
        texts = [self._text(part) for part in parts]
        if all(text is None for text in texts):
            return None
        return between.join("*" if text is None else text for text in texts)


def _called(node: ast.Call) -> str:
    """The last name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""
