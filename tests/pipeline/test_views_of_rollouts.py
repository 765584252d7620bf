"""Of several rollouts a question: pairs, prompts, right ones, chat rows; every try is used or counted with a reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ChatMessage, ChatMessageAssistant, GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolChoice, ToolInfo

import harness.kernel.bwrap_sandbox  # noqa: F401  (registers the sandbox)
from harness.react_form import form_reward
from harness.records import Question
from pipeline.chat_export import Export, build_chat_rows
from pipeline.curation.rules import Rules
from pipeline.preference_pairs import Pairing, build_preference_pairs
from pipeline.rl_prompts import Choice, build_rl_prompts
from pipeline.training_set import build_training_set
from pipeline.view import TrainingSetError
from tasks.notebook_task import NotebookSettings, notebook_task
from tests.pipeline.publishing.school import write_benchmark

ANSWERS: dict[str, tuple[str, str, str, str]] = {
    "mixed": ("3", "3", "4", "5"),
    "easy": ("3", "3", "3", "3"),
    "hopeless": ("4", "5", "6", "7"),
    "tricky": ("3 4 5 6", "3 4 5 6", "4", "5"),
    "broken": ("3", "4", "BREAK", "BREAK"),
    "secret": ("3", "4", "3", "4"),
    "repeated": ("3", "3", "4", "4"),
}
"""What each of four tries at a question answers; all right answers are 3. The tries of `repeated` say the same."""


def question(id: str) -> Question:
    return Question(
        id=id,
        question=f"{id}: how many rows?",
        guidelines="A whole number.",
        level="primer",
        answer=None if id == "secret" else "3",
        family="rows",
        source="parcels",
        source_id=f"parcels-{id}",
        licence="CC0-1.0",
        checked="by hand",
    )


class Model:
    """Counts the tries of each question; a try knows its number by its own first cell."""

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()

    def __call__(
        self, messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        id = messages[1].text.partition(":")[0]
        turns = [message for message in messages if isinstance(message, ChatMessageAssistant)]
        if not turns:
            number = self.tries[id] = self.tries[id] + 1
            if ANSWERS[id][number - 1] == "BREAK":
                raise RuntimeError("the model fell over")
            said = ANSWERS[id][number - 1] if id == "repeated" else number
            code = (
                f"import pandas as pd\nn = len(pd.read_csv('input/a.csv')) + 0  # {said}, {ANSWERS[id][number - 1]}\nn"
            )
            output = ModelOutput.for_tool_call("mockllm", "python", {"code": code}, content="")
        else:
            code = (turns[0].tool_calls or [])[0].arguments["code"]
            answer = re.search(r", (.*)\n", code)
            assert answer is not None
            output = ModelOutput.for_tool_call("mockllm", "final_answer", {"answer": answer[1]}, content="")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real evaluation of four epochs in real kernels."""
    folder = tmp_path_factory.mktemp("rollouts")
    (folder / "a.csv").write_text("x\n1\n2\n3\n", encoding="utf-8")
    task = notebook_task(
        [question(id) for id in ANSWERS],
        {id: {"a.csv": folder / "a.csv"} for id in ANSWERS},
        {},
        NotebookSettings(split="test", data_hash="test", comments="never"),
    )
    model = get_model("mockllm/model", custom_outputs=Model(), memoize=False)
    [done] = eval(task, model=model, epochs=4, fail_on_error=False, log_dir=str(folder / "logs"), display="none")
    return Path(done.location)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def answers_of(rows: list[dict[str, Any]], side: str) -> set[str]:
    calls = [message["tool_calls"][0]["function"] for row in rows for message in row[side] if message.get("tool_calls")]
    return {json.loads(call["arguments"])["answer"] for call in calls if call["name"] == "final_answer"}


def test_a_pair_is_a_right_rollout_beside_a_wrong_one_in_trls_conversational_form(log: Path, tmp_path: Path) -> None:
    card = build_preference_pairs([log], tmp_path / "pairs")
    rows = read(tmp_path / "pairs" / "pairs.jsonl")
    assert Counter(row["question_id"] for row in rows) == {"mixed": 4, "broken": 1, "repeated": 1}
    assert (card.rows, card.traces) == (6, 28)
    assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user"]
    assert [message["role"] for message in rows[0]["rejected"]] == ["assistant", "tool", "assistant"]
    assert (rows[0]["chosen_score"], rows[0]["rejected_score"], rows[0]["task_type"]) == (1.0, 0.0, "notebook")
    assert rows[0]["source"] == "parcels"
    assert (answers_of(rows, "chosen"), answers_of(rows, "rejected")) == ({"3"}, {"4", "5"})
    assert {tool["function"]["name"] for tool in json.loads(rows[0]["tools"])} == {"python", "final_answer"}
    assert "tokens" not in rows[0]  # a mock model keeps no ids


def test_every_try_that_is_in_no_pair_is_counted_with_its_reason(log: Path, tmp_path: Path) -> None:
    card = build_preference_pairs([log], tmp_path / "pairs")
    assert card.dropped == {
        "no wrong try of its question": 4,
        "no right try of its question": 6,
        "right by the grader alone: several answers in one": 2,
        "unscored": 6,
        "another try says the same": 2,
    }
    used = {"mixed": 4, "broken": 2, "repeated": 2}
    assert sum(card.dropped.values()) + sum(used.values()) == card.traces


def test_a_question_has_no_more_pairs_than_asked_for_and_a_try_is_in_no_more(log: Path, tmp_path: Path) -> None:
    card = build_preference_pairs([log], tmp_path / "pairs", pairing=Pairing(per_question=1))
    assert card.rows == 3
    assert card.dropped["its question has pairs enough"] == 2
    with pytest.raises(ValueError, match="least_gap"):
        Pairing(least_gap=0.0)


def test_a_benchmarks_question_is_in_no_pair_and_in_no_prompt(log: Path, tmp_path: Path) -> None:
    benchmark = write_benchmark(tmp_path / "benchmark")
    line = json.dumps({"task_id": "7", "question": "Mixed: how many rows?", "answer": ""})
    (benchmark / "tasks" / "dev.jsonl").write_text(line + "\n")
    card = build_preference_pairs([log], tmp_path / "pairs", benchmark=benchmark)
    assert card.dropped["a question of the benchmark"] == 4
    assert "mixed" not in {row["question_id"] for row in read(tmp_path / "pairs" / "pairs.jsonl")}
    build_rl_prompts([log], tmp_path / "prompts", benchmark=benchmark, choice=Choice(most_common=1.0))
    assert "mixed" not in {row["question_id"] for row in read(tmp_path / "prompts" / "prompts.jsonl")}


def test_prompts_are_questions_that_are_right_at_times_with_their_files_and_answers(log: Path, tmp_path: Path) -> None:
    card = build_rl_prompts([log], tmp_path / "prompts", choice=Choice(most_common=1.0))
    rows = {row["question_id"]: row for row in read(tmp_path / "prompts" / "prompts.jsonl")}
    assert set(rows) == {"mixed", "broken", "repeated"}
    assert (rows["mixed"]["answer"], rows["mixed"]["right"], rows["mixed"]["tries"]) == ("3", 2, 4)
    assert Path(rows["mixed"]["files"]["a.csv"]).is_file()
    assert [message["role"] for message in rows["mixed"]["prompt"]] == ["system", "user"]
    assert (card.dropped["every try is right"], card.dropped["no try is right"]) == (1, 2)
    assert "tool" not in json.dumps(rows["mixed"]["prompt"])  # nothing of a rollout


def test_an_answer_of_too_many_questions_does_not_pay_to_be_guessed(log: Path, tmp_path: Path) -> None:
    card = build_rl_prompts([log], tmp_path / "prompts", choice=Choice(most_common=0.34))
    assert (card.rows, card.dropped["too many questions have its answer"]) == (1, 2)


def test_rejection_sampling_keeps_several_right_rollouts_that_differ(log: Path, tmp_path: Path) -> None:
    card = build_training_set([log], tmp_path / "set", rules=Rules(per_question=4, distinct=True, rewarded=True))
    kept = Counter(row["question_id"] for row in read(tmp_path / "set" / "rows.jsonl"))
    assert kept == {"mixed": 2, "easy": 4, "repeated": 1, "broken": 1}
    assert card.dropped["right by the grader alone: several answers in one"] == 2
    assert card.dropped["another try says the same"] >= 1


def test_chat_rows_have_three_fields_and_metadata_and_general_chat_is_mixed_in(log: Path, tmp_path: Path) -> None:
    general = tmp_path / "general.jsonl"
    texts = ["What is a tide?", "Who bakes rye bread?", "Is BANNED here?", "Unbannedly fine?"] + ["More?"] * 30
    general.write_text(
        "".join(json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n" for text in texts),
        encoding="utf-8",
    )
    banned = tmp_path / "banned.txt"
    banned.write_text("banned\n")
    card = build_chat_rows([log], tmp_path / "chat", export=Export(general=general), banned=banned)
    rows = read(tmp_path / "chat" / "chat.jsonl")
    ours = [row for row in rows if row["task_type"] == "notebook"]
    assert len(ours) == 5
    assert len(rows) == 3 * len(ours)
    assert {row["source"] for row in rows} == {"parcels", "general"}
    metadata = json.loads((tmp_path / "chat" / "metadata.json").read_text())
    assert metadata["settings"]["task_types"] == {"notebook": 5, "general": 10}
    assert metadata["dropped"]["general row: a banned term"] == 1  # "Unbannedly" has another word around it
    assert card.sha256 == metadata["sha256"]


def test_what_a_message_alone_gives_away_drops_its_row(log: Path, tmp_path: Path) -> None:
    benchmark = write_benchmark(tmp_path / "benchmark")
    general = tmp_path / "general.jsonl"
    chats = [
        [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": text}]
        for text in ("Hm.", "Which village had the most ovens?")
    ]
    general.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8")
    card = build_chat_rows([log], tmp_path / "chat", export=Export(general=general), benchmark=benchmark)
    assert card.dropped["general row: close to a question of the benchmark"] == 1
    assert "oven" not in (tmp_path / "chat" / "chat.jsonl").read_text()


def test_react_rows_are_text_and_the_reward_for_their_form_is_had_for_nothing(log: Path, tmp_path: Path) -> None:
    build_chat_rows([log], tmp_path / "chat", export=Export(form="react"), rules=Rules(rewarded=True))
    row = read(tmp_path / "chat" / "chat.jsonl")[0]
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert row["messages"][2]["content"].startswith("Action: python\nAction Input: {")
    assert row["messages"][3]["content"].startswith("Observation: ")
    assert row["messages"][4]["content"] == "Final Answer: 3"
    text = "\n".join(message["content"] for message in row["messages"][2:])
    nothing = "Thought: hm\nAction: none\nAction Input: none\nObservation: none\nFinal Answer: none"
    assert form_reward(nothing) == form_reward(text) == 1.0
    assert form_reward("Observation: I made it up\nThought: good") < 0.5
    with pytest.raises(ValueError, match="form: 'prose'"):
        Export(form="prose")  # type: ignore[arg-type]


def test_a_log_without_a_pair_says_why_and_writes_nothing(taught: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match=r"no trace is left of 6: .*no wrong try of its question"):
        build_preference_pairs([taught[1]], tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()
    with pytest.raises(TrainingSetError, match="held out by"):
        build_rl_prompts([taught[1]], tmp_path / "prompts", held_out=[taught[0]])
