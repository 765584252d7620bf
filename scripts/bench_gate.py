"""What the contamination gate stops and what it costs: `make bench-gate`, a few seconds.

    python scripts/bench_gate.py --benchmark data/dabstep

DABStep's own questions with some of their words replaced (a stand-in for a careless paraphrase), questions of rule
worlds (none of which should be stopped), and the time of a row. Writes `results/runs/bench/gate.json`. It says nothing
of paraphrases in other words, which the gate does not find.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.gates.contamination import Contamination, GateError
from pipeline.worlds.build import draw_questions

OUTPUT = Path("results/runs/bench/gate.json")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
ROW_WORDS = 4000


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, required=True, help="DABStep's files: tasks/ and context/")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        gate = Contamination.of(arguments.benchmark)
    except GateError as error:
        print(error, file=sys.stderr)
        return 2
    rng = random.Random(arguments.seed)
    found = {"questions": len(gate.known), "reworded": [reworded(gate, share, rng) for share in SHARES]}
    worlds = [question.question for question in draw_questions("training", 2000, 8, seed=1).questions]
    found["worlds"] = {
        "questions": len(worlds),
        "stopped": sum(gate.finding(text, None, "") is not None for text in worlds),
    }
    words = " ".join(worlds).split()
    text = " ".join(rng.choice(words) for _ in range(ROW_WORDS))
    began = time.process_time()
    for question in worlds[:100]:
        gate.finding(question, None, text)
    found["row"] = {"characters": len(text), "cpu_ms": round((time.process_time() - began) * 10, 2)}
    print(json.dumps(found, indent=1))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def reworded(gate: Contamination, share: float, rng: random.Random) -> dict[str, float]:
    """How many of the benchmark's questions are stopped when a share of their words is another one."""
    stopped = 0
    for known in gate.known:
        words = ["something" if rng.random() < share else word for word in known.text.split()]
        stopped += gate.finding(" ".join(words), None, "") is not None
    return {"words_replaced": share, "stopped": stopped}


if __name__ == "__main__":
    raise SystemExit(main())
