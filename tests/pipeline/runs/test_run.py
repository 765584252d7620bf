"""A run: every row kept or dropped with a reason, gone on with where it was broken off, never mixed with another."""

import json
import os
from pathlib import Path

import pytest

from pipeline.quarantine import read_quarantine, summary
from pipeline.runs.fingerprint import FingerprintError
from pipeline.runs.funnel import StageCheckError, check_stage, read_line
from pipeline.runs.plan import Plan
from pipeline.runs.run import RunError, missing_ranks, read_plan
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows

PAID_ONLY = {"numbers": {}, "paid": {}}


def rows_of(plan: Plan, stage: str) -> list:
    return [row for shard in shards(plan.folder(stage)) for row in read_rows(shard)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_funnel_says_what_became_of_every_row(toy_plan, run_toys) -> None:
    plan = toy_plan()
    funnel, said = run_toys(plan)

    assert funnel.complete
    numbers, cluster, paid, copies, in_order = funnel.stages
    # 40 numbers; 6 are 3 modulo 7; of the other 34, seven are multiples of 5, which are one cluster
    assert (numbers.counts.read, numbers.counts.kept, numbers.counts.dropped) == (40, 34, {"not JSON": 6})
    assert (cluster.counts.read, cluster.counts.kept, cluster.counts.dropped) == (34, 28, {"near duplicate": 6})
    assert (paid.counts.read, paid.counts.dropped) == (28, {"score below 4": paid.counts.read - paid.counts.kept})
    assert paid.counts.dollars == pytest.approx(0.28)
    assert (paid.counts.input_tokens, paid.counts.output_tokens) == (280, 56)
    assert (copies.counts.made, copies.counts.kept) == (paid.counts.kept, 2 * paid.counts.kept)
    assert (in_order.tasks, in_order.counts.kept) == (1, copies.counts.kept)
    assert "6 near duplicate" in said
    assert "$0.28" in said
    on_disk = json.loads((plan.config.run / "funnel.json").read_text())
    assert [line["kept"] for line in on_disk["stages"]] == [line.counts.kept for line in funnel.stages]
    ids = [row.id for row in rows_of(plan, "sorted")]
    assert ids == sorted(ids)


def test_every_dropped_row_is_in_the_quarantine_with_stage_reason_and_sample(toy_plan, run_toys) -> None:
    plan = toy_plan()
    run_toys(plan)

    dropped = list(read_quarantine(plan.config.run, "numbers"))
    assert {(one.id, one.reason) for one in dropped} == {(f"n{n}.ipynb", "not JSON") for n in range(3, 40, 7)}
    assert dropped[0].sample.startswith(dropped[0].id[1:-6])
    assert "\x1b" not in dropped[0].sample
    assert "\n" not in dropped[0].sample
    not_json, duplicate, low = summary(plan.config.run, samples=2)
    assert (not_json.stage, not_json.count, len(not_json.samples)) == ("numbers", 6, 2)
    assert (duplicate.stage, duplicate.reason, duplicate.count) == ("cluster", "near duplicate", 6)
    assert low.stage == "paid"


def test_a_finished_run_is_not_run_again(toy_plan, run_toys) -> None:
    plan = toy_plan()
    run_toys(plan)
    before = contents(plan.config.run / "stages")

    _, said = run_toys(plan)

    assert contents(plan.config.run / "stages") == before
    assert said.count("complete already") == 5


@pytest.mark.parametrize("rank", [0, 3])
def test_only_ranks_without_a_marker_are_run_again(rank: int, toy_plan, run_toys) -> None:
    plan = toy_plan()
    run_toys(plan, "numbers", "cluster")
    rows = rows_of(plan, "cluster")
    kept = {name: data for name, data in contents(plan.folder("cluster")).items() if not name.startswith(f"0000{rank}")}
    (plan.folder("cluster") / f"0000{rank}.json").unlink()
    (plan.folder("cluster") / f"0000{rank}.jsonl.zst").write_bytes(b"rows of a rank that was killed")
    assert missing_ranks(plan, "cluster") == [rank]

    run_toys(plan, "cluster")

    assert rows_of(plan, "cluster") == rows
    assert kept.items() <= contents(plan.folder("cluster")).items()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": {"numbers": {"rows": 41}, "paid": {}}}, "settings.rows: 40 -> 41"),
        ({"limit": 5}, "limit: null -> 5"),
        ({"endpoints": {"big": "other"}}, 'models.big: "one" -> "other"'),
        ({"stages": {"numbers": {}, "cluster": {}, "paid": {}}}, "before: "),
    ],
)
def test_a_run_that_was_begun_otherwise_is_refused_and_says_what_changed(change, said, toy_plan, run_toys) -> None:
    settings = {"stages": PAID_ONLY, "endpoints": {"big": "one"}}
    plan = toy_plan(**settings)
    run_toys(plan)
    before = contents(plan.config.run / "stages")

    with pytest.raises(FingerprintError, match="mix two runs") as refused:
        run_toys(toy_plan(**{**settings, **change}))

    assert said in str(refused.value)
    assert "Undo the change" in str(refused.value)
    assert contents(plan.config.run / "stages") == before


def test_an_input_that_was_written_again_is_refused(toy_plan, run_toys, tmp_path: Path) -> None:
    archive = tmp_path / "notebooks.zip"
    archive.write_bytes(b"one")
    plan = toy_plan({"numbers": {"file": str(archive)}})
    run_toys(plan)
    os.utime(archive, ns=(1, 1))
    with pytest.raises(FingerprintError, match=r"notebooks\.zip"):
        run_toys(plan)


def test_another_number_of_ranks_is_refused(toy_plan, run_toys) -> None:
    run_toys(toy_plan(PAID_ONLY))
    with pytest.raises(RunError, match="begun with tasks: 4"):
        run_toys(toy_plan(PAID_ONLY, tasks=5))


def test_a_stage_that_has_not_begun_may_change_and_workers_may_always(toy_plan, run_toys) -> None:
    run_toys(toy_plan(), "numbers")
    changed = {"numbers": {}, "cluster": {"by": 3}, "paid": {}, "copies": {}, "sorted": {}}
    funnel, _ = run_toys(toy_plan(changed, local={"workers": 1}))
    assert funnel.complete


def test_changed_code_of_a_stage_is_refused(toy_plan, run_toys, monkeypatch) -> None:
    plan = toy_plan({"numbers": {}})
    run_toys(plan)
    monkeypatch.setattr("pipeline.runs.fingerprint._source_digest", lambda module: f"other {module}")
    with pytest.raises(FingerprintError, match=r"code.pipeline.row"):
        run_toys(plan)


def test_an_exception_in_one_rank_leaves_the_others_their_results(toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {}, "paid": {"raise_for": "n5.ipynb"}, "sorted": {}})
    funnel, said = run_toys(plan)

    assert not funnel.complete
    _, paid, in_order = funnel.stages
    assert (paid.done, paid.tasks, in_order.done) == (3, 4, 0)
    assert "ValueError: cannot digest n5.ipynb" in said
    assert "rank 1" in said
    assert not list(plan.folder("paid").glob("*.partial"))


@pytest.mark.parametrize(
    ("misbehaviour", "said"),
    [
        ({"lose": "n5.ipynb"}, "1 rows came in and were neither kept nor dropped (n5.ipynb)"),
        ({"double": "n5.ipynb"}, "the row 'n5.ipynb' goes out a second time"),
    ],
)
def test_a_stage_that_loses_or_doubles_a_row_has_no_result(misbehaviour, said, toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {}, "paid": misbehaviour})
    funnel, printed = run_toys(plan)
    assert not funnel.complete
    assert said in printed
    assert missing_ranks(plan, "paid") == [1]


def test_a_rank_refuses_an_id_that_comes_in_twice(toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {"same_id_for": [4]}}, tasks=2)
    funnel, said = run_toys(plan)
    assert "'n0.ipynb' came in twice" in said
    assert not funnel.complete


def test_ids_that_meet_in_different_ranks_are_found(toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {"same_id_for": [1]}})
    for _ in ("at its end", "and whenever it is gone on with"):
        with pytest.raises(StageCheckError, match=r"not: n0\.ipynb"):
            run_toys(plan)


def test_rows_that_a_stage_never_read_are_found(toy_plan, run_toys) -> None:
    plan = toy_plan(PAID_ONLY)
    run_toys(plan)
    marker = plan.folder("numbers") / "00002.json"
    told = json.loads(marker.read_text())
    told["counts"]["kept"] += 1
    marker.write_text(json.dumps(told))
    with pytest.raises(StageCheckError, match="numbers kept 35"):
        check_stage(plan, "paid")
    with pytest.raises(StageCheckError, match="read"):
        check_stage(plan, "numbers")


def test_a_stage_waits_for_the_one_before(toy_plan, run_toys) -> None:
    with pytest.raises(RunError, match="paid reads what cluster writes, which is not complete"):
        run_toys(toy_plan(), "paid")


def test_a_gather_step_that_fails_says_why_and_is_run_again(toy_plan, run_toys) -> None:
    funnel, said = run_toys(toy_plan({"numbers": {}, "cluster": {"fail_gather": True}}))
    assert not funnel.complete
    assert "rank gather: ValueError: the clusters do not fit" in said


def test_two_processes_do_not_run_one_run(toy_plan, run_toys) -> None:
    import fcntl

    plan = toy_plan(PAID_ONLY)
    plan.config.run.mkdir(parents=True)
    with (plan.config.run / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="running it already"):
            run_toys(plan)


def test_limit_takes_few_rows(toy_plan, run_toys) -> None:
    funnel, _ = run_toys(toy_plan(limit=8))
    assert funnel.stages[0].counts.read == 8
    assert funnel.complete


def test_a_run_is_found_again_by_its_folder(toy_plan, run_toys, tmp_path: Path) -> None:
    plan = toy_plan()
    run_toys(plan, "numbers")
    moved = tmp_path / "moved"
    plan.config.run.rename(moved)
    assert read_line(read_plan(moved), "numbers").complete
    with pytest.raises(RunError, match="not the folder of a run"):
        read_plan(tmp_path)


def test_a_stage_may_print(toy_plan, run_toys) -> None:
    funnel, _ = run_toys(toy_plan({"numbers": {"print_something": True}}))
    assert funnel.complete
