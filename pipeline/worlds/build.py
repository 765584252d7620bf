"""Build a question set from a rule world: draw questions, write files, then prove every answer in a real kernel.

    questions = draw_questions("parcel-tariffs", "training", count=240, worlds=12)
    write_question_set(Path("results/runs/demo/training"), ...)

Drawing is deterministic in its arguments. A draw without a certain answer is thrown away and counted by reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.records import Question, Solution, write_jsonl
from pipeline.worlds.parcel_questions import FAMILIES
from pipeline.worlds.parcel_tariffs import parcel_world
from pipeline.worlds.world import Ambiguous, Family, Split, World, stream

MOST_TRIES = 200
MOST_REPEATS = 500
"""After so many draws in a row that were asked before, the worlds are taken to be used up."""


@dataclass(frozen=True)
class Drawn:
    """Questions and their worlds, and how many draws were thrown away for which reason."""

    questions: tuple[Question, ...]
    worlds: tuple[World, ...]
    thrown_away: Counter[str] = field(default_factory=Counter)


def draw_questions(split: Split, count: int, worlds: int, seed: int = 0, rephrased: bool = False) -> Drawn:
    """Draw `count` questions over `worlds` worlds, families in turn, no question twice in a world."""
    made = tuple(parcel_world(split, index, seed) for index in range(worlds))
    reasons: Counter[str] = Counter()
    questions: dict[tuple[str, str], Question] = {}
    number = repeats = 0
    while len(questions) < count:
        world, family = made[number % worlds], FAMILIES[(number // worlds + number) % len(FAMILIES)]
        question = _draw_one(world, family, number, seed, rephrased, reasons)
        if (world.id, question.question) in questions:
            reasons["asked before in this world"] += 1
            repeats += 1
        else:
            questions[(world.id, question.question)] = question
            repeats = 0
        number += 1
        if repeats > MOST_REPEATS:
            raise ValueError(f"{worlds} worlds do not hold {count} different questions; give more worlds.")
    return Drawn(tuple(questions.values()), made, reasons)


def _draw_one(world: World, family: Family, number: int, seed: int, rephrased: bool, reasons: Counter[str]) -> Question:
    rng = stream(world.id, family.name, number, seed, "rephrased" if rephrased else "worded")
    for _ in range(MOST_TRIES):
        try:
            draw = family.draw(world, rng)
        except Ambiguous as reason:
            reasons[f"{family.name}: {reason}"] += 1
            continue
        wording = rng.choice(family.rephrased[world.split == "held-out"] if rephrased else family.wordings)
        return Question(
            id=f"{world.id}-{number:05d}{'-r' if rephrased else ''}",
            question=wording.format(**draw.slots),
            guidelines=family.guidelines,
            level="primer",
            answer=draw.answer,
            answer_kind="not-applicable" if draw.answer == "Not Applicable" else family.kind,
            files=tuple(f"{world.id}/{name}" for name in world.files),
            source=f"world:{world.kind}",
            source_id=world.id,
            family=family.name,
            licence="Apache-2.0",
            checked="oracle",
            solution=Solution(cells=draw.cells),
        )
    raise ValueError(f"{family.name}: no certain answer in {MOST_TRIES} draws from {world.id}. Widen the family.")


def write_question_set(folder: Path, drawn: Drawn) -> Path:
    """Write `questions.jsonl` and `files/`; questions.jsonl is written last, so a torn set is not a set."""
    for world in drawn.worlds:
        for name, text in world.files.items():
            path = folder / "files" / world.id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    write_jsonl(folder / "questions.jsonl", list(drawn.questions))
    return folder
