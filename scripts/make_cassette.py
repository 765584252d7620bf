"""Record the cassette in tests/cassettes: a question set of a rule world, and the log of solutions played over it.

    python scripts/make_cassette.py        # writes tests/cassettes/parcels/ and tests/cassettes/parcels.eval

Most solutions of uneven number are spoiled, each in another way, so that `dabstep failures` has something to tell; one
displays a time and an address, so that `dabstep replay` has something to set aside. The paths of the machine
that recorded it are taken out of the log. Record anew when the prompts or the worlds have changed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from inspect_ai import eval
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log

from harness.agent import play_solution
from harness.records import Question

CASSETTES = Path("tests/cassettes")
QUESTIONS, LOG = CASSETTES / "parcels", CASSETTES / "parcels.eval"

NOISY = "import time\nstarted = time.perf_counter()\nprint(object(), f'took {time.perf_counter() - started:.9f} s')"
NO_COLUMN = "import pandas as pd\npd.read_csv('input/parcels.csv')['no such column']"


def spoiled(number: int, question: Question) -> dict[str, object]:
    """A question's solution as a line of a solutions file; some end badly."""
    assert question.solution is not None
    cells, answer = list(question.solution.cells), question.answer or ""
    lines: dict[int, tuple[list[str], str]] = {
        0: ([NOISY, *cells], answer),
        1: ([*cells, NO_COLUMN], "0.001"),
        3: (cells, answer.replace(".", ",")),
        5: (cells, "This cannot be determined."),
        7: (cells, "another value"),
        8: (["'two of three'"], "economy, express"),
        9: ([*cells, "1 / 0"], "0.001"),
        11: ([], "0.001"),
    }
    played, said = lines.get(number, (cells, answer))
    return {"id": question.id, "cells": played, "answer": said}


def record() -> EvalLog:
    """Make the question set, play it, and give the log with nothing of this machine in it."""
    from dabstep._registry import generated_qa
    from pipeline.worlds.build import draw_questions, write_question_set

    shutil.rmtree(QUESTIONS, ignore_errors=True)
    drawn = draw_questions("development", count=12, worlds=2, seed=7)
    write_question_set(QUESTIONS, drawn)
    with tempfile.TemporaryDirectory() as folder:
        solutions = Path(folder) / "solutions.jsonl"
        lines = [json.dumps(spoiled(number, question)) for number, question in enumerate(drawn.questions)]
        solutions.write_text("\n".join(lines), encoding="utf-8")
        task = generated_qa(questions=str(QUESTIONS), solutions=str(solutions))
        [done] = eval(task, solver=play_solution(), model="none/none", log_dir=folder, display="none")
        log = read_eval_log(done.location, resolve_attachments="full")
    log.eval.task_args_passed.pop("solutions", None)
    log.eval.task_args.pop("solutions", None)
    log.eval.revision = None
    text = log.model_dump_json().replace(f"{os.getcwd()}/", "")
    return EvalLog.model_validate_json(text)


if __name__ == "__main__":
    recorded = record()
    partial = LOG.with_name("partial-" + LOG.name)
    write_eval_log(recorded, str(partial))
    partial.replace(LOG)
    print(f"{LOG}: {LOG.stat().st_size:,} bytes")
