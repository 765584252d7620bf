"""The loss on a CPU without what nobody learns from: the last projection runs over the supervised positions only.

TRL's fused head (`trl.trainer.utils.add_fused_lm_head`) does so on a GPU, with kernels of its own; on a CPU it projects
every position, twice. `use_supervised_head(model)` takes its place there, with the same outputs, and leaves all else
to it; of a packed row it has the last layer computed there only, too (`last_layer.py`). Models whose logits are scaled,
capped or routed are left to TRL everywhere.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from recipes.last_layer import fits, use_short_last_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEFT_TO_TRL = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


def use_supervised_head(model: PreTrainedModel) -> bool:
    """Have `model(..., labels=..., fused_lm_head=True)` project supervised positions only, where it runs on a CPU.

    Args:
        model: A causal model to which TRL has added its fused head.

    Returns whether the model is one of those that are not left to TRL.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    config = model.config.get_text_config()
    if any(getattr(config, name, None) is not None for name in LEFT_TO_TRL) or hasattr(config, "output_router_logits"):
        return False
    trl_forward = model.forward
    short = use_short_last_layer(model)

    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **kwargs: Any) -> Any:
        head = self.get_output_embeddings()
        apart = {"shift_labels", "num_items_in_batch"} & kwargs.keys()
        if not kwargs.get("fused_lm_head") or labels is None or apart or head.weight.device.type != "cpu":
            return trl_forward(*args, **({} if labels is None else {"labels": labels}), **kwargs)
        kwargs.pop("fused_lm_head")
        targets = labels[:, 1:]
        supervised = targets != -100
        wanted = targets[supervised]
        kwargs["use_cache"] = False
        if short and len(wanted) and not args and fits(self, kwargs):
            predicting = supervised[0].nonzero().flatten()
            hidden = self.base_model(**kwargs, predicting=predicting).last_hidden_state[0]
        else:
            hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1][supervised]
        log_probs = functional.log_softmax(head(hidden).float(), dim=-1)
        chosen = -functional.nll_loss(log_probs, wanted, reduction="none")
        with torch.no_grad():
            entropy = -torch.einsum("nv,nv->n", log_probs.exp(), log_probs)
            first = log_probs.argmax(-1) == wanted
        loss = -chosen.sum() / supervised.sum().clamp(min=1)
        return FusedCausalLMOutput(loss=loss, log_probs=chosen, entropy=entropy, is_top1=first, label_mask=supervised)

    model.forward = types.MethodType(forward, model)
    return True
