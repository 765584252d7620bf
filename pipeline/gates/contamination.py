"""The contamination gate: nothing that the benchmark or a held-out question set holds goes into a training set.

    gate = Contamination.of(Path("dabstep"), held_out=[Path("data/held-out")])
    finding = gate.finding(question, answer, text)       # None, or what was found

The benchmark's files are taken from a folder that holds `tasks/` and `context/`, itself or under `data/`
(`tasks/benchmark_files.py` fetches them). A row is stopped when

1. its question is one of theirs, up to case, punctuation and blanks;
2. its text (question, messages, cells) quotes one: the whole of a short question, or 13 words in a row of any;
3. its question is one of theirs reworded a little: the two share 75% of their runs of five letters (Dice);
4. its text has a name that only the benchmark has: its merchants, card schemes and acquirers as written there, and
   merchants with blanks ("Crossfit Hanna", not "the steakhouse");
5. its answer is one of those that are published with the benchmark, and long enough not to be met by chance;
6. its source is that of a held-out question;
7. its text has a term that was banned, standing alone, in any case ("visa" is not found in "advisable").

What it does not find: a paraphrase in other words. Guidelines are no part of a question here, for theirs ("Answer must
be just a number rounded to 2 decimals") are anybody's. Questions of rule worlds are drawn from templates, so of a
held-out world set only the sources are barred, not the wordings.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.records import Question, read_questions
from pipeline.gates.wording import LIKE, Wordings, words

WORDS_IN_ROW = 13
LEAST_WORDS = 6
"""A shorter question than this is looked for as a whole question only (rule 1), not inside other text."""
TEMPLATED = "world:"
"""How the source of a rule world's question begins."""
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class GateError(ValueError):
    """A gate that cannot be set up; the message names the file, the reason and the mend."""


@dataclass(frozen=True)
class Finding:
    """What was found: `reason` is the same for all rows of its kind, `detail` says what and where."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Known:
    """A question that must not be trained on. `whose` is "the benchmark" or "a held-out set"."""

    id: str
    text: str
    answer: str
    whose: str


@dataclass(frozen=True)
class Contamination:
    """The gate; see the module's docstring. Build it with `of`."""

    known: tuple[Known, ...] = ()
    names: frozenset[str] = frozenset()
    spelled: frozenset[str] = frozenset()
    files: Mapping[tuple[int, str], str] = field(default_factory=dict)
    """The benchmark's data files by size and sha256."""
    sources: Mapping[str, str] = field(default_factory=dict)
    banned: frozenset[str] = frozenset()
    """Terms in lower case."""
    _whole: Mapping[tuple[str, ...], Known] = field(default_factory=dict, repr=False)
    _rows: Mapping[tuple[str, ...], Known] = field(default_factory=dict, repr=False)
    _worded: Wordings[Known] = field(default_factory=Wordings, repr=False)
    _answers: Mapping[str, Known] = field(default_factory=dict, repr=False)
    _lengths: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls, benchmark: Path | None = None, held_out: Iterable[Path] = (), banned: Iterable[str] = ()
    ) -> Contamination:
        """The gate for a benchmark's folder, held-out question sets, banned terms. GateError, QuestionSetError."""
        known: list[Known] = []
        names = spelled = frozenset[str]()
        files: dict[tuple[int, str], str] = {}
        if benchmark is not None:
            root = _root(benchmark)
            known += _tasks(root)
            names, spelled = _names(root / "context")
            context = [path for path in sorted((root / "context").iterdir()) if path.is_file()]
            files = {(path.stat().st_size, _sha256(path)): path.name for path in context}
        sources: dict[str, str] = {}
        for folder in held_out:
            questions = read_questions(folder)
            sources |= {question.source_id: str(folder) for question in questions}
            known += [_held_out(question) for question in questions if not question.source.startswith(TEMPLATED)]
        terms = frozenset(term.strip().casefold() for term in banned if term.strip())
        gate = replace(cls._indexed(tuple(known)), names=names, spelled=spelled, files=files, sources=sources)
        return replace(gate, banned=terms)

    @classmethod
    def _indexed(cls, known: tuple[Known, ...]) -> Contamination:
        whole: dict[tuple[str, ...], Known] = {}
        rows: dict[tuple[str, ...], Known] = {}
        worded = Wordings[Known]()
        for each in known:
            own = words(each.text)
            whole.setdefault(own, each)
            for row in _in_row(own):
                rows.setdefault(row, each)
            worded.add(each, each.text)
        return cls(
            known,
            _whole=whole,
            _rows=rows,
            _worded=worded,
            _answers={_plain(each.answer): each for each in known if _telling(each.answer)},
            _lengths=tuple(sorted({len(row) for row in rows}, reverse=True)),
        )

    def finding(self, question: str, answer: str | None, text: str, source_id: str = "") -> Finding | None:
        """What speaks against a row, or None. `text` is all that would be trained on, the question included or not."""
        if source_id in self.sources:
            return Finding("source held out", f"{source_id} of {self.sources[source_id]}")
        if (same := self._whole.get(words(question))) is not None:
            return Finding(f"a question of {same.whose}", f"{same.id}: {same.text}")
        for part in (question, text):
            if (found := self._quoted(words(part))) is not None:
                return found
        if (found := self._reworded(question)) is not None:
            return found
        for part in (question, answer or "", text):
            if (name := self._named(part)) is not None:
                return Finding("a name of the benchmark", name)
            if (term := _first_alone(self.banned, part.casefold())) is not None:
                return Finding("a banned term", term)
        if answer is not None and (same := self._answers.get(_plain(answer))) is not None:
            return Finding(f"an answer of {same.whose}", f"{same.id}: {same.answer}")
        return None

    def file_finding(self, path: Path) -> Finding | None:
        """Whether a data file is one of the benchmark's, byte for byte."""
        size = path.stat().st_size
        if all(size != known for known, _ in self.files):
            return None  # most files are told apart without reading them
        name = self.files.get((size, _sha256(path)))
        return Finding("a file of the benchmark", f"{path.name} is {name}") if name else None

    def _quoted(self, text: tuple[str, ...]) -> Finding | None:
        for length in self._lengths:
            for start in range(len(text) - length + 1):
                if (same := self._rows.get(text[start : start + length])) is not None:
                    quoted = " ".join(text[start : start + length])
                    return Finding(f"quotes a question of {same.whose}", f"{same.id}: {quoted}")
        return None

    def _reworded(self, question: str) -> Finding | None:
        for same, likeness in self._worded.like(question, LIKE):
            return Finding(f"close to a question of {same.whose}", f"{same.id}, {likeness:.0%} alike: {same.text}")
        return None

    def _named(self, text: str) -> str | None:
        return _first_alone(self.names, text.casefold()) or _first_alone(self.spelled, text)


def _root(folder: Path) -> Path:
    for root in (folder, folder / "data"):
        if (root / "tasks").is_dir() and (root / "context").is_dir():
            return root
    raise GateError(
        f"{folder}: holds no tasks/ and context/, itself or under data/. Give the folder of the benchmark's files; "
        "without them nothing can be kept apart from it."
    )


def _tasks(root: Path) -> Iterator[Known]:
    for name in ("all.jsonl", "dev.jsonl"):
        path = root / "tasks" / name
        if not path.is_file():
            raise GateError(f"{path}: is missing. All of the benchmark's questions are needed; fetch its files again.")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                task = json.loads(line)
                yield Known(str(task["task_id"]), task["question"], task.get("answer") or "", "the benchmark")
            except (ValueError, KeyError) as error:
                raise GateError(f"{path}:{number}: not a question of the benchmark ({error!r}).") from None


def _held_out(question: Question) -> Known:
    return Known(question.id, question.question, question.answer or "", "a held-out set")


def _names(context: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Merchants, card schemes, acquirers: those whose form is not that of a word ("gringotts" alone is none).

    The first are found in any case; the second, merchants with blanks for underscores, only as they are spelled.
    """
    found: set[str] = set()
    for name, keys in (("merchant_data.json", ("merchant", "acquirer")), ("fees.json", ("card_scheme",))):
        path = context / name
        if not path.is_file():
            raise GateError(f"{path}: is missing, and with it the benchmark's names. Fetch its files again.")
        for record in json.loads(path.read_text(encoding="utf-8")):
            for key in keys:
                value = record.get(key) or []
                found |= {value} if isinstance(value, str) else set(value)
    with (context / "acquirer_countries.csv").open(encoding="utf-8", newline="") as file:
        found |= {row["acquirer"] for row in csv.DictReader(file)}
    unlike_words = (name.casefold() for name in found if "_" in name or re.search(r"[a-z][A-Z]", name))
    with_blanks = (name.replace("_", " ") for name in found if "_" in name and not name.islower())
    return frozenset(unlike_words), frozenset(with_blanks)


def _first_alone(names: frozenset[str], text: str) -> str | None:
    return next((name for name in sorted(names) if name in text and _stands_alone(name, text)), None)


def _stands_alone(name: str, text: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text) is not None


def _in_row(text: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every 13 words in a row; a shorter question as a whole."""
    if len(text) < WORDS_IN_ROW:
        if len(text) >= LEAST_WORDS:
            yield text
        return
    for start in range(len(text) - WORDS_IN_ROW + 1):
        yield text[start : start + WORDS_IN_ROW]


def _plain(answer: str) -> str:
    return " ".join(answer.casefold().split())


def _telling(answer: str) -> bool:
    """Whether an answer is met by chance hardly ever: six digits or more, or a text of twelve letters or more."""
    text = _plain(answer)
    if _NUMBER.fullmatch(text):
        return len(text.replace(".", "").lstrip("-0")) >= 6
    return len(text) >= 12 and text != "not applicable"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
