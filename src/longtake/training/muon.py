"""Muon: momentum whose matrices are orthogonalised before they are applied (Jordan et al., 2024).

torch.optim.Muon orthogonalises in bfloat16, which processors without bfloat16 units do a hundred times slower
than float32; this one stays in the parameters' own precision unless told another. For the matrices inside a network
only; embeddings, heads, gains and biases belong to AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def orthogonalise(matrix: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Move the singular values of a matrix (rows, columns) close to 1 by Newton-Schulz iteration, in a dtype."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = (x / (x.norm() + 1e-7)).to(dtype or matrix.dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)


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
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                blend = p.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalise(blend.flatten(1), dtype=self._dtype).view_as(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)
