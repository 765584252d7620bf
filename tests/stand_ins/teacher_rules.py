"""What the endpoint's stand-in says as judge, writer, checker and solver of the pipeline: rules over the made corpus.

    with StandIn(teacher) as there: ...
    python -m tests.stand_ins.teacher_rules          # in a process of its own; prints its address

Nothing here has seen the answers: it reads the sentences that the corpus's notebooks print (`styles.py`), and as
solver it writes code for the question and answers with what the kernel gives back. Now and then it also does what real
models do: asks for a model's score, for something trivial or twice, invents quotes, disagrees (by a hash of the
question). A prompt that does not keep to the frame of `pipeline/asking/framing.py` is refused.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.stand_ins.endpoint import Refuse, Service, _serve

FRAME = re.compile(
    r"^===== (NOTEBOOK|FILES|QUESTION) ([0-9a-f]{16}) =====$\n(.*?)\n^===== END OF \1 \2 =====$", re.S | re.M
)
CELL = re.compile(r'^<(markdown|python|output)_cell n="(\d+)">\n(.*?)\n</\1_cell>$', re.S | re.M)
ANALYSIS = re.compile(r"groupby|\.merge\(|\.query\(|\bJOIN\b|pivot_table|value_counts|crosstab")
GERMAN = re.compile(r"\b(und|die|der|wir|nicht|sind|mit|ist|das)\b", re.I)
ENGLISH = re.compile(r"\b(and|the|we|not|are|with|is|that|of|to)\b", re.I)
LANGUAGE_MODEL = re.compile(r"\b(LLM|LoRA|fine-tuning|AutoModelForCausalLM)\b")
IMPORT = re.compile(r"^\s*(?:import|from) (\w+)", re.M)
FILE = re.compile(r"[\w./-]*\w\.csv")

SENTENCES = {
    "filter": re.compile(r"^mean of (\w+) where (\w+) is ([\w ]+) and (\w+) is (\w+): (\S+)$", re.M),
    "join": re.compile(r"^mean of (\w+) where (\w+) is ([\w ]+) \(joined by (\w+)\): (\S+)$", re.M),
    "rank": re.compile(r"^(\w+) with the highest total of (\w+): (\w+)$", re.M),
    "rate": re.compile(r"^share of rows where (\w+) is (\w+): (\S+)$", re.M),
    "multi-step": re.compile(r"^spread of (\w+) in the (\w+) with the most rows: (\S+)$", re.M),
}
QUESTIONS = {
    "filter": "In {file}, what is the mean of {0} over the rows where {1} is {2} and {3} is {4}?",
    "join": "Join {file} and {other} by {3}: what is the mean of {0} over the rows where {1} is {2}?",
    "rank": "In {file}, which {0} has the highest total of {1}?",
    "rate": "In {file}, what share of the rows has {0} equal to {1}?",
    "multi-step": "In {file}, take the {1} with the most rows: what is the spread (largest less least) of {0} in it?",
}
FORMS = dict.fromkeys(QUESTIONS, ("number", 2)) | {"rank": ("text", None), "rate": ("number", 4)}
CODE = {
    "filter": "t = pd.read_csv('input/{file}')\n"
    "print(round(t[(t['{1}'] == '{2}') & (t['{3}'] == '{4}')]['{0}'].mean(), 2))",
    "join": "t = pd.read_csv('input/{file}').merge(pd.read_csv('input/{other}'), on='{3}')\n"
    "print(round(t[t['{1}'] == '{2}']['{0}'].mean(), 2))",
    "rank": "t = pd.read_csv('input/{file}')\nprint(t.groupby('{0}')['{1}'].sum().idxmax())",
    "rate": "t = pd.read_csv('input/{file}')\nprint(round((t['{0}'] == '{1}').mean(), 4))",
    "multi-step": "t = pd.read_csv('input/{file}')\nv = t[t['{1}'] == t['{1}'].value_counts().idxmax()]['{0}']\n"
    "print(round(v.max() - v.min(), 2))",
}


@dataclass(frozen=True)
class Finding:
    """A sentence of a notebook: its kind, what it is about, its value, and the cell that printed it."""

    kind: str
    about: tuple[str, ...]
    value: str
    cell: int
    sentence: str

    def question(self, files: list[str]) -> str:
        return QUESTIONS[self.kind].format(*self.about, file=files[0], other=files[-1])


@dataclass(frozen=True)
class Seen:
    """A prompt taken apart along its frame."""

    notebook: str
    files: list[str]
    question: str

    def cells(self, kind: str) -> list[tuple[int, str]]:
        return [(int(number), body) for found, number, body in CELL.findall(self.notebook) if found == kind]

    @property
    def code(self) -> str:
        return "\n".join(body.strip("`").removeprefix("python\n") for _, body in self.cells("python"))

    @property
    def findings(self) -> list[Finding]:
        found = []
        for number, body in self.cells("output"):
            for kind, pattern in SENTENCES.items():
                for match in pattern.finditer(body):
                    *about, value = match.groups()
                    found.append(Finding(kind, tuple(about), value, number, match.group()))
        return found


def teacher(payload: dict[str, Any]) -> str | dict[str, Any]:
    """The rule: by the schema that is asked for; with tools, the solver."""
    if payload.get("tools"):
        return solver(payload)
    rules: dict[str, Callable[[Seen], dict[str, Any]]] = {
        "Rubric": rubric,
        "Extraction": extraction,
        "Proposals": proposals,
        "Check": check,
    }
    name = payload.get("response_format", {}).get("json_schema", {}).get("name", "")
    if name not in rules:
        raise Refuse(400, f"the stand-in has no rule for the schema {name!r}")
    return json.dumps(rules[name](seen(payload)))


def seen(payload: dict[str, Any]) -> Seen:
    """A prompt along its frame. Raises Refuse where it has none, or more than one mark."""
    user = payload["messages"][1]["content"]
    parts = {name: body for name, _, body in FRAME.findall(user)}
    marks = {mark for _, mark, _ in FRAME.findall(user)}
    if "NOTEBOOK" not in parts or len(marks) != 1:
        raise Refuse(400, f"the prompt is not framed: {sorted(parts)} between {len(marks)} marks")
    files = [line.rpartition("/")[2] for line in parts.get("FILES", "").splitlines()]
    return Seen(parts["NOTEBOOK"], files, parts.get("QUESTION", ""))


def rubric(notebook: Seen) -> dict[str, Any]:
    """Points by what stands in the notebook."""
    text = "\n".join(body for _, body in notebook.cells("markdown"))
    outputs = [body for _, body in notebook.cells("output")]
    failed = sum("Error" in body and "Traceback" in body for body in outputs)
    code, texts = notebook.cells("python"), notebook.cells("markdown")
    disqualified = "none"
    if len(GERMAN.findall(text)) > len(ENGLISH.findall(text)):
        disqualified = "not English"
    elif failed and failed * 2 >= len(outputs):
        disqualified = "broken"
    elif not texts:
        disqualified = "only code"
    elif not code:
        disqualified = "only text"
    points = {
        "valid_python": _parses(code),
        "data_loading": "read_csv" in notebook.code and bool(outputs),
        "analysis": bool(ANALYSIS.search(notebook.code)),
        "narrative": len(texts) >= 3,
        "insight": len(notebook.findings) >= 3,
    }
    given = {name: int(point and disqualified == "none") for name, point in points.items()}
    reply: dict[str, Any] = {name: {"why": f"{name} by rule", "points": point} for name, point in given.items()}
    return {"disqualified": disqualified, **reply, "total": sum(given.values()), "why": "the stand-in's rules"}


def extraction(notebook: Seen) -> dict[str, Any]:
    """Files and packages by pattern; packages by the names that people install them by."""
    language_model = len(LANGUAGE_MODEL.findall(notebook.notebook)) >= 3
    fitted = "Logit(" in notebook.code
    subject = "language models" if language_model else "modelling of tables" if fitted else "data analysis"
    return {
        "files": sorted(set(FILE.findall(notebook.code)), key=notebook.code.find),
        "packages": sorted(set(IMPORT.findall(notebook.code))),
        "subject": subject,
        "why": "by the words in it",
        "is_data_analysis": not language_model,
    }


def proposals(notebook: Seen) -> dict[str, Any]:
    """Up to three questions from what was found out, and one that should not have been asked."""
    chosen: dict[str, Finding] = {}
    for finding in notebook.findings:
        if notebook.files:
            chosen.setdefault(finding.kind, finding)
    questions = [_proposal(finding, notebook.files) for finding in list(chosen.values())[:3]]
    if questions:
        questions.append(_unwelcome(notebook, questions))
    return {"questions": questions, "why_none": "" if questions else "nothing was found out"}


def _proposal(finding: Finding, files: list[str]) -> dict[str, Any]:
    kind, decimals = FORMS[finding.kind]
    form = f"a number rounded to {decimals} decimals" if decimals else "the name alone"
    return {
        "kind": finding.kind,
        "question": finding.question(files),
        "evidence": [{"cell": finding.cell, "quote": finding.sentence}],
        "reasoning": "It is printed so.",
        "answer": finding.value,
        "answer_kind": kind,
        "decimals": decimals,
        "guidelines": f"Answer with {form}.",
    }


def _unwelcome(notebook: Seen, questions: list[dict[str, Any]]) -> dict[str, Any]:
    """A question of the sorts that are forbidden."""
    first = questions[0]
    accuracy = re.search(r"^accuracy of the model: ([\d.]+)$", notebook.notebook, re.M)
    if accuracy:
        asked = "What accuracy does the logistic regression reach?"
        return first | {"question": asked, "answer": accuracy.group(1), "decimals": 4, "answer_kind": "number"}
    looks = [number for number, body in notebook.cells("python") if body.strip("`\n").endswith(".head()")]
    if looks:
        [table] = [body for number, body in notebook.cells("output") if number == looks[0]]
        quote = table.strip("`\n").splitlines()[-1]
        return first | {
            "question": f"In {notebook.files[0]}, what is the id in the fifth row?",
            "answer": quote.split()[1],
            "answer_kind": "text",
            "decimals": None,
            "evidence": [{"cell": looks[0], "quote": quote}],
        }
    if _chance(first["question"], 2):
        return first | {"question": first["question"].replace("what is the", "give the")}
    return first | {"question": "What is the largest value of all?", "evidence": [{"cell": 2, "quote": "max: 99.5"}]}


def check(notebook: Seen) -> dict[str, Any]:
    """The answer that the notebook's sentences give; now and then another one, or an objection."""
    question = notebook.question.split("\n", 1)[0]
    kind_and_about = _read(question)
    nothing = {"evidence": [], "reasoning": "It is not shown.", "answerable": False, "unambiguous": True, "answer": ""}
    if kind_and_about is None:
        return nothing
    kind, about, _ = kind_and_about
    for finding in notebook.findings:
        if (finding.kind, finding.about) == (kind, about):
            answer = "Nobody" if _chance(question, 7) and kind == "rank" else finding.value
            if _chance(question, 7) and kind != "rank":
                answer = f"{float(finding.value) + 1:.2f}"
            evidence = [{"cell": finding.cell, "quote": finding.sentence}]
            unambiguous = not _chance("?" + question, 13)
            return nothing | {"evidence": evidence, "answerable": True, "unambiguous": unambiguous, "answer": answer}
    return nothing


def solver(payload: dict[str, Any]) -> dict[str, Any]:
    """One cell, then its output as the answer. The model called "careless" sometimes answers at once.

    A call that came out broken (an endpoint's fault) is made again: only what a whole cell gave back is an answer.
    """
    messages = payload["messages"]
    asked = next(found for message in messages if message["role"] == "user" and (found := _read(_text(message))))
    cells = {call["id"] for message in messages for call in message.get("tool_calls") or () if _whole(call, "code")}
    shown = [_text(message) for message in messages if message["role"] == "tool" and message["tool_call_id"] in cells]
    if shown:
        lines = shown[-1].strip().splitlines()
        return _call("final_answer", {"answer": lines[-1].strip("` ") if lines else ""})
    if "careless" in payload["model"] and _chance(str(asked), 11):
        return _call("final_answer", {"answer": "0"})
    kind, about, files = asked
    names = {str(place): text for place, text in enumerate(about)} | files
    code = CODE[kind]
    for name, text in names.items():
        code = code.replace(f"{{{name}}}", text)
    return _call("python", {"code": f"import pandas as pd\n{code}"})


def _whole(call: dict[str, Any], argument: str) -> bool:
    """Whether a call of the conversation was made with this argument."""
    try:
        return argument in json.loads(call["function"]["arguments"])
    except ValueError:
        return False


def _call(name: str, arguments: dict[str, str]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    digest = hashlib.sha256(json.dumps(function).encode()).hexdigest()[:12]
    return {"content": "", "tool_calls": [{"id": f"call_{digest}", "type": "function", "function": function}]}


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def _read(text: str) -> tuple[str, tuple[str, ...], dict[str, str]] | None:
    """A question of ours taken apart: its kind, what it is about, its files."""
    for kind, question in QUESTIONS.items():
        pattern = (
            re.escape(question).replace(r"\{file\}", r"(?P<file>[\w.-]+)").replace(r"\{other\}", r"(?P<other>[\w.-]+)")
        )
        pattern = re.sub(r"\\\{(\d)\\\}", r"(?P<a\1>[\\w ]+?)", pattern)
        if found := re.search(pattern, text):
            groups = found.groupdict()
            about = tuple(groups[name] for name in sorted(groups) if re.fullmatch(r"a\d", name))
            return kind, about, {name: groups[name] for name in ("file", "other") if name in groups}
    return None


def _parses(code: list[tuple[int, str]]) -> bool:
    whole = 0
    for _, body in code:
        try:
            ast.parse(re.sub(r"^[%!].*$", "", body.strip("`").removeprefix("python\n"), flags=re.M))
            whole += 1
        except SyntaxError:
            continue
    return whole * 2 > len(code)


def _chance(text: str, one_in: int) -> bool:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % one_in == 0


async def _main() -> None:
    _, base_url = await _serve(Service(teacher))
    print(base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
