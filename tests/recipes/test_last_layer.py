"""The last layer at predicting positions only: the same loss and gradients, and fewer positions in fact."""

from typing import Any

import pytest
import torch

from recipes.attention import register
from recipes.supervised_head import use_supervised_head

WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
LENGTHS = (7, 5, 9, 4)
UNSUPERVISED = 1
"""Index of the document of which nothing is supervised."""


def make_model(family: str, attention: str = "documents", **settings: Any) -> Any:
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=64, num_key_value_heads=2, pad_token_id=0, **WIDTHS | settings
    )
    register()
    torch.manual_seed(0)
    return getattr(transformers, f"{family}ForCausalLM")._from_config(config, attn_implementation=attention).train()


def packed_row() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 64, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(1))
    labels, positions, start = torch.full_like(ids, -100), [], 0
    for number, length in enumerate(LENGTHS):
        positions += list(range(length))
        if number != UNSUPERVISED:
            labels[0, start + 2 : start + length - 1] = ids[0, start + 2 : start + length - 1]
        start += length
    return {"input_ids": ids, "labels": labels, "position_ids": torch.tensor([positions])}


def loss_and_gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    from trl.trainer.utils import add_fused_lm_head

    if "forward" not in vars(model):
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
        assert use_supervised_head(model)
    loss = model(**batch, fused_lm_head=True).loss
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def positions_read(model: Any) -> list[int]:
    """How many positions the last layer's MLP is given, call by call."""
    seen: list[int] = []
    model.base_model.layers[-1].mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    return seen


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3"])
def test_loss_and_gradients_are_those_of_the_whole_layer(family: str) -> None:
    batch = packed_row()
    short, whole = make_model(family), make_model(family, attention="sdpa")
    read = positions_read(short), positions_read(whole)
    (loss, gradients), (expected, wanted) = (loss_and_gradients(model, batch) for model in (short, whole))
    assert read == ([int((batch["labels"] != -100).sum())], [sum(LENGTHS)])
    assert loss == pytest.approx(expected, rel=1e-6)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-6)


def test_a_padded_batch_goes_through_the_whole_layer() -> None:
    model = make_model("Qwen3")
    read = positions_read(model)
    batch = packed_row()
    del batch["position_ids"]
    loss_and_gradients(model, batch | {"attention_mask": torch.ones_like(batch["input_ids"])})
    assert read == [sum(LENGTHS)]


def test_a_row_without_a_supervised_position_has_a_loss_of_nothing() -> None:
    batch = packed_row()
    loss, _ = loss_and_gradients(make_model("Qwen3"), batch | {"labels": torch.full_like(batch["labels"], -100)})
    assert loss == 0.0


def test_layers_with_a_sliding_window_are_left_as_they_are() -> None:
    window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
    model = make_model("Qwen3", **window)
    read = positions_read(model)
    loss_and_gradients(model, packed_row())
    assert read == [sum(LENGTHS)]
