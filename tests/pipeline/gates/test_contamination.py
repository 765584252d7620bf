"""The contamination gate: what the benchmark or a held-out set holds is found, whatever its case; other text is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Question, write_jsonl
from pipeline.gates.contamination import Contamination, GateError
from pipeline.worlds.build import draw_questions
from tests.pipeline.publishing.school import write_benchmark

DABSTEP = Path(os.environ.get("DABSTEP_SHARED", Path(__file__).parents[4] / "shared" / "dabstep"))
LONG = "For the third week of spring, how much did the baker of Oberdorf pay for rye flour?"
REWORDED = "For the third week of spring how much did the bakers from Oberdorf pay for their rye flour?"
needs_dabstep = pytest.mark.skipif(not DABSTEP.is_dir(), reason="the benchmark's files are not here")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Contamination:
    return Contamination.of(write_benchmark(tmp_path_factory.mktemp("benchmark")))


@pytest.mark.parametrize(
    ("question", "answer", "text", "reason"),
    [
        (LONG.upper(), "1", "", "a question of the benchmark"),
        ("Which village has, the most ovens", "1", "", "a question of the benchmark"),
        ("How much?", "1", f"He asked: {LONG.lower()}", "quotes a question of the benchmark"),
        ("How much?", "1", "which VILLAGE has\nthe most ovens?", "quotes a question of the benchmark"),
        ("How much?", "1", " ".join(LONG.split()[:13]), "quotes a question of the benchmark"),
        (
            REWORDED,
            "1",
            "",
            "close to a question of the benchmark",
        ),
        ("What does crossfit_hannes owe?", "1", "", "a name of the benchmark"),
        ("How much?", "1", "sales[sales.shop == 'Crossfit Hannes']", "a name of the benchmark"),
        ("How much?", "1", "paid by OVENCARD", "a name of the benchmark"),
        ("How much?", "1", "df['bank_of_ovens']", "a name of the benchmark"),
        ("Where?", "Oberdorf an  der laaber", "", "an answer of the benchmark"),
    ],
)
def test_it_finds(gate: Contamination, question: str, answer: str, text: str, reason: str) -> None:
    finding = gate.finding(question, answer, text)
    assert finding is not None
    assert finding.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        " ".join(LONG.split()[:12]),  # twelve words are not thirteen
        "the moneybags of the bank of ovens, a crossfit hannes",  # names that are words
        "CrossfitHannes2 and MyOvenCardX",  # parts of other names
        "Oberdorf",
    ],
)
def test_it_lets_pass(gate: Contamination, text: str) -> None:
    assert gate.finding("How much?", "Oberdorf", text) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_quotation_is_found_wherever_it_stands(gate: Contamination, before: str, after: str) -> None:
    finding = gate.finding("How much?", "1", f"{before} {LONG} {after}")
    assert finding is not None


@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=200))
def test_it_never_raises(gate: Contamination, question: str, answer: str, text: str) -> None:
    gate.finding(question, answer, text)


def question_of(source: str, text: str) -> Question:
    return Question(
        id="h1",
        question=text,
        level="easy",
        answer="12345678",
        source=source,
        source_id="held",
        licence="MIT",
        checked="",
    )


def test_of_a_held_out_set_the_sources_and_the_wordings_are_barred(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "questions.jsonl", [question_of("kaggle", "How many otters swam in the Enns?")])
    gate = Contamination.of(held_out=[tmp_path])
    found = [
        gate.finding("Other?", "1", "", "held"),
        gate.finding("How many otters swam in the Enns", "1", "", "x"),
        gate.finding("Other?", "12345678", "", "x"),
    ]
    assert [finding.reason for finding in found if finding] == [
        "source held out", "a question of a held-out set", "an answer of a held-out set"
    ]  # fmt: skip


def test_of_held_out_worlds_only_the_sources_are_barred(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "questions.jsonl", [question_of("world:parcel", "What does a parcel of 3 kg cost today?")])
    gate = Contamination.of(held_out=[tmp_path])
    assert gate.finding("What does a parcel of 3 kg cost today?", "1", "", "another world") is None
    assert gate.finding("What does a parcel of 3 kg cost today?", "1", "", "held") is not None


def test_a_file_of_the_benchmark_is_known_by_its_bytes(gate: Contamination, tmp_path: Path) -> None:
    fees = tmp_path / "renamed.json"
    fees.write_text(json.dumps([{"card_scheme": "OvenCard"}]))
    finding = gate.file_finding(fees)
    assert finding is not None
    assert finding.detail == "renamed.json is fees.json"
    fees.write_text("[]")
    assert gate.file_finding(fees) is None


def test_a_folder_that_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="holds no tasks/ and context/"):
        Contamination.of(tmp_path)
    (write_benchmark(tmp_path) / "tasks" / "all.jsonl").unlink()
    with pytest.raises(GateError, match=r"all\.jsonl: is missing"):
        Contamination.of(tmp_path)


@needs_dabstep
def test_every_question_of_dabstep_is_found_in_its_own_words_and_quoted_in_a_trace() -> None:
    gate = Contamination.of(DABSTEP)
    assert len(gate.known) == 460
    for known in gate.known:
        assert gate.finding(known.text, None, "") is not None
        if len(known.text.split()) >= 7:
            assert gate.finding("", None, f"so the user asks: {known.text} Let me look.") is not None


@needs_dabstep
def test_the_names_of_dabstep_are_found_and_its_common_words_are_not() -> None:
    gate = Contamination.of(DABSTEP)
    for name in ("Crossfit_Hanna", "belles_cookbook_store", "Golfclub Baron Friso", "NexPay", "TransactPlus"):
        assert gate.finding("", None, f"about {name}?") is not None, name
    for text in ("Lehman Brothers failed", "gringotts", "medici", "the manual", "the steakhouse", "fees"):
        assert gate.finding("", None, text) is None, text


@needs_dabstep
def test_no_question_of_the_worlds_is_taken_for_one_of_dabstep() -> None:
    gate = Contamination.of(DABSTEP)
    drawn = draw_questions("training", 200, 4, seed=1)
    found = [gate.finding(question.question, question.answer, question.guidelines) for question in drawn.questions]
    assert [finding for finding in found if finding] == []
