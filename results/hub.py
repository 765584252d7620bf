"""From logs to a model's page on the Hub: a model card's section, and the `.eval_results` YAML.

    shown = [measured(Path("easy.eval"), ledger_rows), measured(Path("hard.eval"), ledger_rows)]
    write_card(Path("model/README.md"), card_section(shown))
    write_eval_results(Path("model"), shown)          # -> model/.eval_results/dabstep.yaml

A log that was graded here speaks for itself; one without a key takes its score from the ledger row that
`dabstep submit --read-back` made. The YAML is made by huggingface_hub's own `EvalResultEntry` and is for DABStep's
easy and hard questions only; its task ids, `easy` and `hard`, and its unit, percent, are those of the leaderboard's
columns. The Hub lists a value only where the data set names that task in its own `eval.yaml`; whether `adyen/DABstep`
does was not known when this was written. Nothing is uploaded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog

from harness.files import write_whole
from harness.records import Result
from harness.scoring import NO_KEY
from results.from_log import read_log, result_from_log, settings_of
from results.ledger import portable_name
from results.submission import WEIGHT
from results.table import remarks, share_of

BEGIN, END = "<!-- dabstep results: begin -->", "<!-- dabstep results: end -->"
LISTED = ("easy", "hard")
FILE = Path(".eval_results") / "dabstep.yaml"


class HubError(ValueError):
    """Results that cannot be shown on the Hub; the message names the log, the reason and the mend."""


@dataclass(frozen=True)
class Measured:
    """A run as a card shows it: its ledger row, the command that repeats it, its day, what it was asked of."""

    row: Result
    command: str
    date: str
    benchmark: str | None
    revision: str | None


def measured(log: Path, ledger: Sequence[Result] = ()) -> Measured:
    """What a card says of a log: its newest row in `ledger`, else the row that the log itself makes.

    Raises HubError for a log without a score in either, and the errors of `results.from_log`.
    """
    header, samples = read_log(log)
    rows = [row for row in ledger if row.log and Path(row.log).name == log.name and row.n is not None]
    graded = any(score.reason != NO_KEY for sample in samples for score in (sample.scores or {}).values())
    if not rows and not graded:
        raise HubError(
            f"{log}: has no score, here or in the ledger given. Submit it and read the scores back: "
            "`dabstep submit --help`; then give --ledger."
        )
    about = header.eval.metadata or {}
    return Measured(
        row=rows[-1] if rows else result_from_log(log),
        command=command_of(header),
        date=header.eval.created[:10],
        benchmark=about.get("benchmark"),
        revision=about.get("revision"),
    )


def command_of(header: EvalLog) -> str:
    """The `inspect eval` that repeats a log's run; of a path on this machine only the last part is kept."""
    spec = header.eval
    words = ["inspect", "eval", spec.task if "/" in spec.task else f"dabstep/{spec.task}"]
    for name, value in spec.task_args_passed.items():
        words += ["-T", f"{name}={_shown(value)}"] if value is not None and name != "data_dir" else []
    if spec.solver and spec.solver != "notebook":
        words += ["--solver", spec.solver]
    words += ["--model", portable_name(spec.model) or spec.model]
    for name, value in spec.model_args.items():
        words += ["-M", f"{name}={_shown(value)}"] if value is not None else []
    epochs = {"epochs": spec.config.epochs} if (spec.config.epochs or 1) > 1 else {}
    for name, value in (settings_of(header) | epochs).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def card_section(shown: Sequence[Measured], more: str = "") -> str:
    """The section as Markdown between its two marks: scores with k, n and interval, commands, exposure, hashes.

    `more` follows them within the marks.
    """
    if not shown:
        raise HubError("there is no log to show.")
    return "\n".join([BEGIN, *_section(shown), *([f"\n{more.strip()}"] if more else []), END]) + "\n"


def write_card(path: Path, section: str) -> None:
    """Put the section into the card at `path`: in place of the one that is there, else at the end.

    Raises HubError for a card with half a pair of marks, or whose metadata huggingface_hub cannot read.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_whole(path, with_section(text, section, path))


def with_section(text: str, section: str, path: Path) -> str:
    """A card's text with the section in it; see `write_card`."""
    from huggingface_hub import ModelCard

    if (text.count(BEGIN), text.count(END)) not in ((0, 0), (1, 1)) or text.find(BEGIN) > text.find(END):
        raise HubError(f"{path}: the marks {BEGIN} and {END} are not one pair. Mend or remove them.")
    if BEGIN in text:
        text = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n?", lambda _: section, text, flags=re.S)
    else:
        text = f"{text.rstrip()}\n\n{section}".lstrip()
    try:
        ModelCard(text)
    except Exception as error:  # YAML errors of several kinds
        raise HubError(f"{path}: its metadata block cannot be read ({error}). Mend it first.") from None
    return text


def write_eval_results(repository: Path, shown: Sequence[Measured], source: str | None = None) -> Path:
    """Write `.eval_results/dabstep.yaml` into the folder of a model repository and return its path.

    Args:
        repository: The folder; the file in it is replaced.
        shown: Runs of the easy and hard questions, one of each at most.
        source: An https:// address of the logs.

    Raises HubError for a run of anything else, one on incomplete data, and two runs of the same level.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries

    entries = [_entry(each, source) for each in shown]
    levels = [entry.task_id for entry in entries]
    if len(set(levels)) < len(levels):
        raise HubError("two runs of the same level: a model repository lists one score of each. Choose one.")
    listed = eval_result_entries_to_yaml(entries)
    text = yaml.safe_dump(listed, sort_keys=False, allow_unicode=True, width=120)
    if parse_eval_result_entries(yaml.safe_load(text)) != entries:
        raise HubError(f"{FILE}: does not read back as it was written; please report this.")
    path = repository / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def _entry(shown: Measured, source: str | None) -> Any:
    from huggingface_hub import EvalResultEntry

    row, share = shown.row, share_of(shown.row)
    if shown.benchmark is None or row.split not in LISTED:
        raise HubError(
            f"{row.log}: {row.task} has no leaderboard on the Hub; only DABStep's easy and hard questions do."
        )
    if row.incomplete_data:
        raise HubError(
            f"{row.log}: ran without {', '.join(row.incomplete_data)}; a score on incomplete data must not be listed "
            "as the benchmark's. Run it on all files."
        )
    assert share is not None, "a run row has k and n"
    bounds = share.interval
    return EvalResultEntry(
        dataset_id=shown.benchmark,
        task_id=row.split,
        value=round(100 * share.value, 2),
        dataset_revision=shown.revision,
        date=shown.date,
        source_url=source,
        notes=(
            f"percent right; {share.k}/{share.n}, 95% interval {100 * bounds.low:.1f} to {100 * bounds.high:.1f}; "
            f"scaffold {row.scaffold}; exposure {row.exposure}" + (f"; {row.note}" if row.note else "")
        ),
    )


def _section(shown: Sequence[Measured]) -> Iterator[str]:
    yield "## Results as a notebook agent\n"
    yield "| Questions | Right | % | 95% interval | Failed | Scaffold | Exposure | Remarks |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- | --- |"
    for each in shown:
        row, share = each.row, share_of(each.row)
        assert share is not None, "a run row has k and n"
        bounds = f"{100 * share.interval.low:.1f} to {100 * share.interval.high:.1f}"
        cells = [f"{row.task} ({row.split})", f"{share.k}/{share.n}", f"{100 * share.value:.1f}", bounds]
        cells += [str(row.errors), row.scaffold, row.exposure, remarks(row) or "-"]
        yield f"| {' | '.join(_plain(cell) for cell in cells)} |"
    yield (
        "\nRight answers out of all questions asked, failed ones included; Wilson intervals, or intervals over the "
        "questions where each was asked several times."
    )
    heaviest = max((each.row.exposure for each in shown), key=lambda exposure: WEIGHT[exposure])
    yield f"Exposure: **{heaviest}**.\n"
    yield "```"
    yield from dict.fromkeys(each.command for each in shown)
    yield "```\n"
    for each in shown:
        row = each.row
        revision = f", revision {each.revision}" if each.revision else ""
        yield (
            f"- {row.task} ({row.split}), {each.date}: data {row.data_hash}{revision}; model {row.model_hash}; code "
            f"{row.commit}; {row.tokens:,} tokens; log {Path(row.log or '').name}"
        )


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_shown, value))
    text = str(value)
    return Path(text).name if text.startswith(("/", "~")) else text


def _plain(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
