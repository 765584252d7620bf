"""Muon for the weight matrices, AdamW for everything else, as one optimizer that the Trainer can save and resume.

Both are torch's own, but that Muon's matrices of one shape are made orthogonal together, which halves its time in a
small model. Muon (https://kellerjordan.github.io/posts/muon/) is meant for the two-dimensional weights inside the
network; embeddings, norms and a separate head go to AdamW, as its author advises. Chosen by `optimizer: muon` in a
recipe's YAML. Not for sharded parameters (FSDP, ZeRO-3): Muon needs whole matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


class StackedMuon(torch.optim.Muon):
    """torch's Muon, its groups and its state; the Newton-Schulz iteration takes all matrices of one shape at once."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            moved: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                kept = self.state[weight]
                if "momentum_buffer" not in kept:
                    kept["momentum_buffer"] = torch.zeros_like(weight.grad)
                kept["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                towards = kept["momentum_buffer"]
                update = weight.grad.lerp(towards, group["momentum"]) if group["nesterov"] else towards
                wide = update.T if update.shape[0] > update.shape[1] else update
                moved.setdefault((wide.shape[0], wide.shape[1]), []).append((weight, wide))
            for alike in moved.values():
                wide = torch.stack([update for _, update in alike]).bfloat16()
                for (weight, _), update in zip(alike, orthogonal(wide, group), strict=True):
                    scale = group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.T if weight.shape[0] > weight.shape[1] else update, alpha=-scale)
        return loss


def orthogonal(matrices: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """Matrices of (n, rows, columns), no more rows than columns, made nearly orthogonal as Muon's author does."""
    a, b, c = group["ns_coefficients"]
    matrices = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = torch.bmm(matrices, matrices.mT)
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        matrices = torch.baddbmm(matrices, gram, matrices, beta=a)
    return matrices


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon and `torch.optim.AdamW` behind one `step`; their groups are shared, so schedulers see both."""

    def __init__(
        self,
        matrices: list[torch.nn.Parameter],
        others: list[torch.nn.Parameter],
        matrix_lr: float,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        self.parts = (
            StackedMuon(matrices, lr=matrix_lr, weight_decay=weight_decay),
            torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas, fused=True),
        )
        super().__init__([*matrices, *others], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of both."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Both states, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both; the shared groups are rebuilt, because loading replaces them."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def split_parameters(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """(matrices for Muon, the rest for AdamW): the layers' two-dimensional weights, not embeddings or the head."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inner else others).append(parameter)
    return matrices, others
