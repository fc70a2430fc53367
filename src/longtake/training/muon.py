"""Muon: momentum whose matrices are orthogonalised before they are applied (Jordan et al., 2024).

torch.optim.Muon orthogonalises in bfloat16, which processors without bfloat16 units do a hundred times slower
than float32; this one stays in the parameters' own precision unless told another. For the matrices inside a network
only; embeddings, heads, gains and biases belong to AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalise(matrices: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Move the singular values of matrices (…, rows, columns) close to 1 by Newton-Schulz iteration, in a dtype."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(dtype or matrices.dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; `lr` is scaled by sqrt(max(1, rows/columns)) a matrix;
    convolutions count as matrices of (out, in × kernel)."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._dtype = dtype
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                alike.setdefault(p.shape, []).append(p)
            for params in alike.values():
                self._move(params, group)

    def _move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Matrices of one shape, together: so an accelerator is asked for few large products."""
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        grads = [p.grad for p in params if p.grad is not None]
        momenta = [self.state[p]["momentum"] for p in params]
        assert len(grads) == len(params)
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        blends = torch._foreach_lerp(grads, momenta, group["momentum"])
        updates = orthogonalise(torch.stack(blends).flatten(2), dtype=self._dtype).view(-1, *params[0].shape)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        rows, columns = params[0].shape[:2]
        torch._foreach_add_(params, list(updates), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
