"""Settings that must not change what is learned do not: weights after three steps of plain gradient descent agree.

The tolerance is that of float32 sums in another order: 2e-6 at weights of about 0.02 that moved by up to 0.05.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.tiny_training import make_study, trainer_of, weights_of

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight rows of different lengths: one step an epoch at batch 8."""
    return make_study(tmp_path_factory.mktemp("equivalence"), rows=8)


def trained(study: Path, output: Path, plain_trl: bool = False, attention: str | None = None, **settings: Any) -> Any:
    given = {"max_steps": 3, "optim": "sgd", "learning_rate": 0.5, "save_strategy": "no", "logging_steps": 1}
    given |= {"per_device_train_batch_size": 8, "lr_scheduler_type": "constant"}
    trainer = trainer_of(study, output, attention=attention, **(given | settings))
    if plain_trl:
        from trl.trainer.utils import add_fused_lm_head

        del trainer.model.forward
        add_fused_lm_head(trainer.model, outputs=("log_probs", "entropy", "is_top1"))
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def padded(eight: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(eight, tmp_path_factory.mktemp("padded"))


def furthest(one: Any, other: Any) -> float:
    mine, theirs = weights_of(one), weights_of(other)
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


def printed(trainer: Any, name: str) -> list[float]:
    return [line[name] for line in trainer.state.log_history if name in line]


def test_the_training_moves_the_weights_by_far_more_than_the_tolerance(
    eight: Path, padded: Any, tmp_path: Path
) -> None:
    untouched = trained(eight, tmp_path, learning_rate=0.0)
    assert furthest(untouched, padded) > 1000 * TOLERANCE


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}, id="batch 1 x 8"),
        pytest.param({"per_device_train_batch_size": 3, "gradient_accumulation_steps": 3}, id="batch 3, 3 and 2"),
        pytest.param({"plain_trl": True}, id="TRL's own head over all positions"),
        pytest.param({"packing": True, "max_length": 2000, "per_device_train_batch_size": 1}, id="packed, SDPA"),
        pytest.param(
            {"packing": True, "max_length": 2000, "per_device_train_batch_size": 1, "attention": "documents"},
            id="packed, documents",
        ),
        pytest.param({"padding_free": True, "attention": "documents"}, id="padding-free, documents"),
        pytest.param(
            {"padding_free": True, "attention": "documents", "gradient_checkpointing": True},
            id="padding-free, checkpointed",
        ),
        pytest.param({"attention": "documents"}, id="padded, documents"),
        pytest.param({"gradient_checkpointing": True}, id="checkpointed"),
        pytest.param({"train_sampling_strategy": "group_by_length"}, id="grouped by length, one batch"),
    ],
)
def test_the_same_rows_in_another_form_lead_to_the_same_weights(
    eight: Path, padded: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    other = trained(eight, tmp_path, **settings)
    assert furthest(other, padded) < TOLERANCE
    assert printed(other, "loss") == pytest.approx(printed(padded, "loss"), rel=1e-5)


def test_the_head_over_supervised_positions_prints_trls_metrics(eight: Path, padded: Any, tmp_path: Path) -> None:
    theirs = trained(eight, tmp_path, plain_trl=True)
    for name in ("entropy", "mean_token_accuracy", "num_tokens"):
        assert printed(padded, name) == pytest.approx(printed(theirs, name), rel=1e-5)


def test_a_packed_row_keeps_its_documents_apart(eight: Path, tmp_path: Path) -> None:
    """What a document's positions say does not change with the document before it."""
    import torch

    model = trained(eight, tmp_path, attention="documents", max_steps=1).model.eval()
    ends, positions = torch.tensor([0, 5, 9], dtype=torch.int32), torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]])
    with torch.no_grad():
        said = [
            model(
                input_ids=torch.tensor([[*before, 7, 8, 9, 10]]),
                position_ids=positions,
                **({"cu_seq_lens_q": ends, "cu_seq_lens_k": ends} if by_collator else {}),
            ).logits[0, 5:]
            for before in ([20, 21, 22, 23, 24], [30, 31, 32, 33, 34])
            for by_collator in (True, False)
        ]
    assert all(torch.equal(said[0], other) for other in said[1:])


def test_grouping_by_length_shows_the_same_rows_with_less_padding(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", rows=70)

    def epoch(strategy: str) -> tuple[list[tuple[int, ...]], int]:
        trainer = trainer_of(
            study, tmp_path / strategy, per_device_train_batch_size=4, train_sampling_strategy=strategy
        )
        batches = list(trainer.get_train_dataloader())
        rows = [
            tuple(ids[mask.bool()].tolist())
            for batch in batches
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]
        return sorted(rows), sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)

    (rows, padding), (grouped_rows, grouped_padding) = epoch("random"), epoch("group_by_length")
    assert rows == grouped_rows
    assert grouped_padding < padding / 3
