"""A whole model card: metadata the Hub can read, how the model was made and from which data, and its results.

    trained = Trained("Qwen/Qwen3-4B-Instruct-2507", "sft", commands=("accelerate launch ...",), data=..., commit=...)
    write_model_card(folder, "my-lab/agent-4b", trained, [measured(log)])       # -> folder/README.md

The section of results is the one of `results/hub.py`; where a card has been written by hand, only that section and the
metadata of the results are put into it. The metadata are made and read back by huggingface_hub's own classes, and a
name that the Hub would not take is refused. Nothing is uploaded here (see `publish` in `results/publishing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import write_whole
from results.hub import HubError, Measured, card_section, with_section
from results.table import share_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
TAGS = ("notebook-agent", "dabstep", "trl")
METRIC = "accuracy"


@dataclass(frozen=True)
class TrainingData:
    """A training set as a card names it: its name, the sha256 of its rows, their number (None: not known)."""

    name: str
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class Trained:
    """How a model was made: from which model, by which recipe and commands, on which data; code and licence."""

    base_model: str
    method: str
    commands: tuple[str, ...]
    data: tuple[TrainingData, ...]
    commit: str
    licence: str | None = None
    settings: tuple[tuple[str, str], ...] = ()


def write_model_card(
    folder: Path, repository: str, trained: Trained | None, shown: Sequence[Measured] = (), more: str = ""
) -> Path:
    """Write `folder/README.md` and return its path.

    Args:
        folder: Of the model.
        repository: Its name on the Hub, "owner/name".
        trained: How it was made; None leaves what a card that is there says of it.
        shown: Its scores; none are said to be none.
        more: Markdown that follows the scores, such as an ablation's table.

    Raises HubError for a name the Hub would not take, and metadata that do not read back as they were written.
    """
    check_name(repository)
    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() and trained is None else ""
    if not text:
        text = "\n".join(["---", "library_name: transformers", "---\n", *_body(repository, trained)]) + "\n"
    section = card_section(shown, more) if shown else card_section_without_scores(repository)
    text = _with_metadata(with_section(text, section, path), repository, trained, shown, path)
    write_whole(path, text)
    return path


def check_name(repository: str) -> None:
    """Raise HubError unless the Hub takes the name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise HubError(f"{repository!r} is no name for a repository ({error}). Give OWNER/NAME.") from None
    if "/" not in repository:
        raise HubError(f"{repository!r} lacks an owner. Give OWNER/NAME.")


def card_section_without_scores(repository: str) -> str:
    """The section of a model that nobody has scored: it says so, and how to."""
    from results.hub import BEGIN, END

    lines = ["## Results as a notebook agent\n", "Not scored yet. To score it, and to put the table here:\n", "```"]
    lines += [f"inspect eval dabstep/dabstep_dev --model checkpoint/{repository} --log-dir logs/dev"]
    lines += [f"dabstep card logs/dev/*.eval --output FOLDER/{CARD} --push-to-hub {repository}", "```"]
    return "\n".join([BEGIN, *lines, END]) + "\n"


def eval_results(shown: Sequence[Measured]) -> list[EvalResult]:
    """The scores as the Hub's model-index holds them: percent right, with k, n and the interval as arguments."""
    from huggingface_hub import EvalResult

    made = []
    for each in shown:
        row, share = each.row, share_of(each.row)
        assert share is not None, "a run row has k and n"
        bounds = share.interval
        figures = {"k": share.k, "n": share.n, "errors": row.errors, "low": bounds.low, "high": bounds.high}
        made.append(
            EvalResult(
                task_type="text-generation",
                task_name=f"answering questions about data files in a live kernel, scaffold {row.scaffold}",
                dataset_type=each.benchmark or "generated",
                dataset_name=row.task,
                dataset_split=row.split,
                dataset_revision=each.revision,
                dataset_args={"data_hash": row.data_hash},
                metric_type=METRIC,
                metric_name=f"percent right, exposure {row.exposure}",
                metric_value=round(100 * share.value, 2),
                metric_args=figures | {"interval": f"{100 * bounds.level:g}%, {bounds.method}"},
            )
        )
    return made


def _with_metadata(text: str, repository: str, trained: Trained | None, shown: Sequence[Measured], path: Path) -> str:
    """The card with its metadata block, read back by the Hub's own class."""
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard(text)
    given: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    given.pop("model-index", None)
    if trained is not None:
        given |= {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": [*TAGS, trained.method]}
        given |= {"base_model": trained.base_model} if _on_hub(trained.base_model) else {}
        given |= {"license": trained.licence} if trained.licence else {}
    scores = eval_results(shown)
    if scores:
        given |= {"model_name": repository.partition("/")[2], "eval_results": scores}
    card.data = ModelCardData(**given)
    made = str(card)
    read = ModelCard(made).data
    if list(getattr(read, "eval_results", None) or []) != scores or read.get("base_model") != given.get("base_model"):
        raise HubError(f"{path}: its metadata do not read back as they were written; please report this.")
    return made


def _body(repository: str, trained: Trained | None) -> Iterator[str]:
    yield f"# {repository.partition('/')[2]}\n"
    yield (
        "A notebook agent: it answers questions about data files by running cells in a live Python kernel, through the "
        "tools `python` and `final_answer`."
    )
    if trained is not None:
        yield f"Trained from `{trained.base_model}` by `{trained.method}`.\n"
    yield "## Use\n"
    yield "```python"
    yield from USE.format(repository=repository).strip().splitlines()
    yield "```\n"
    yield "It is meant for the loop it was trained in, which runs its cells in an isolated kernel:\n"
    yield f"```\ninspect eval dabstep/dabstep_dev --model checkpoint/{repository}\n```\n"
    if trained is not None:
        yield from _training(trained)


USE = """
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repository}")
model = AutoModelForCausalLM.from_pretrained("{repository}")
chat = [{{"role": "user", "content": "How many rows does payments.csv have?"}}]
prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
reply = model.generate(**prompt, max_new_tokens=32, do_sample=False)
print(tokenizer.decode(reply[0][prompt["input_ids"].shape[1] :]))
"""


def _training(trained: Trained) -> Iterator[str]:
    yield "## Training data\n"
    yield "| Training set | Rows | sha256 of its rows |"
    yield "| --- | ---: | --- |"
    for each in trained.data:
        yield f"| {each.name} | {'not counted' if each.rows is None else each.rows} | `{each.sha256}` |"
    yield "\nNo question, name or answer of DABStep is in a training set that `dabstep training-set` has made."
    yield "\n## Reproduce\n"
    yield f"With the code at commit `{trained.commit}`:\n"
    yield "```"
    yield from trained.commands
    yield "```\n"
    if trained.settings:
        yield "| Setting | Value |"
        yield "| --- | --- |"
        yield from (f"| {name} | {_plain(value)} |" for name, value in trained.settings)
        yield ""


def _on_hub(name: str) -> bool:
    """Whether a base model's name can be one of the Hub: what is a folder here is left out of the metadata."""
    try:
        check_name(name)
    except HubError:
        return False
    return not Path(name).expanduser().exists()


def _plain(cell: Any) -> str:
    return " ".join(str(cell).replace("|", "\\|").split())
