"""What a question must keep to, and the reason for each that does not."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.asking.question_rules import QuestionRules
from pipeline.row import Quote
from tests.pipeline.asking.given import ANALYSIS, question, rendered

RULES = QuestionRules(
    rendered([*ANALYSIS, ("code", "print((trips.late == 'yes').mean(), list(best))", "0.2314 ['Ember', 'Dune']")])
)
BROKEN: dict[str, list[dict[str, Any]]] = {
    "empty question or answer": [{"question": " "}, {"answer": ""}],
    "answer too long": [{"answer": "x" * 400, "answer_kind": "text"}],
    "answer does not fit its kind": [
        {"answer": "about seven"},
        {"answer": "7.125", "decimals": 2},
        {"answer": "7.125", "answer_kind": "yes-no"},
        {"answer": "yes", "answer_kind": "text"},
        {"answer": "7.125", "answer_kind": "not-applicable"},
    ],
    "asks for a model's metric": [
        {"question": "What accuracy does the classifier reach on trips.csv?"},
        {"question": "What is the RMSE of the regression?"},
        {"question": "What is the validation loss after 3 epochs?"},
    ],
    "speaks of the notebook": [
        {"question": "What is the largest mean fare in the notebook?"},
        {"question": "Which route leads in the figure shown above?"},
    ],
    "answer given away": [{"question": "Is 7.125 the largest mean fare of a route in trips.csv?"}],
    "no evidence": [{"evidence": ()}],
    "evidence from a cell without output": [
        {"evidence": (Quote(cell=1, quote="Trips"),)},
        {"evidence": (Quote(cell=99, quote="7"),)},
    ],
    "quote is not in that output": [
        {"evidence": (Quote(cell=3, quote="7.126"),)},
        {"evidence": (Quote(cell=3, quote=" "),)},
    ],
    "trivial look-up": [{"answer": "9.25", "decimals": 2, "evidence": (Quote(cell=2, quote="1 9.25"),)}],
    "answer is not in the quotes": [
        {"answer": "7.2", "decimals": 3},
        {"answer": "Dune", "answer_kind": "text", "evidence": (Quote(cell=4, quote="best route: Ember"),)},
    ],
}


def test_a_good_question_keeps_to_all() -> None:
    assert RULES.fault(question()) is None


@pytest.mark.parametrize(("reason", "changes"), [(reason, one) for reason, many in BROKEN.items() for one in many])
def test_each_rule_has_its_reason(reason: str, changes: dict[str, Any]) -> None:
    assert RULES.fault(question(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "7.1", "decimals": 1},
        {"answer": "7", "decimals": 0},
        {"answer": "Ember", "answer_kind": "text", "evidence": (Quote(cell=4, quote="best  route: Ember"),)},
        {"answer": "Ember, Dune", "answer_kind": "list", "evidence": (Quote(cell=5, quote="['Ember', 'Dune']"),)},
        {"answer": "yes", "answer_kind": "yes-no"},
        {
            "answer": "23.14",
            "decimals": 2,
            "question": "What percentage is late?",
            "evidence": (Quote(cell=5, quote="0.2314"),),
            "guidelines": "In percent.",
        },
        {"answer": "Not Applicable", "answer_kind": "not-applicable", "evidence": (Quote(cell=2, quote="fare"),)},
        {"question": "How many passengers recall the crossing, by route, at most?"},
    ],
)
def test_answers_in_other_forms_are_let_pass(changes: dict[str, Any]) -> None:
    assert RULES.fault(question(**changes)) is None


def test_the_same_question_in_other_words_is_a_repetition() -> None:
    same = question(question="What is the largest mean of the routes' fares in trips.csv?")
    other_answer = question(question="In trips.csv, what is the smallest of the routes' mean fares?", answer="1.5")
    assert RULES.repeats(same, [question()])
    assert not RULES.repeats(other_answer, [question()])
    assert not RULES.repeats(question(), [])
