"""The weights that a run trains, their average, and what its optimizers remember of them, as tensors by name.

Tensors may be shared out over processes (see shards); those that are saved are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from longtake.training.shards import gathered, scattered


class Weights:
    """What moves in training, and what is kept of it between two steps."""

    def __init__(
        self,
        trained: Iterable[tuple[str, nn.Parameter]],
        optimizers: Mapping[str, Optimizer],
        average: Iterable[Tensor] = (),
    ) -> None:
        """trained: with names. optimizers: with names, of all of these. average: their average, in the same order, or
        nothing."""
        self.trained = dict(trained)
        self.optimizers = optimizers
        self.average = dict(zip(self.trained, average, strict=False))
        groups = (group for optimizer in optimizers.values() for group in optimizer.param_groups)
        self._rates = [(group, group["lr"]) for group in groups]
        assert len(self.average) in (0, len(self.trained))

    def clip(self, norm: float) -> float:
        """Shorten the gradient to a length; returns the length that it had."""
        return gathered(torch.nn.utils.clip_grad_norm_(self.trained.values(), norm)).item()

    def move(self, rate: float, ema: float = 0.0) -> None:
        """Apply the gradient, with `rate` times each learning rate; the average keeps `ema` of itself."""
        for group, lr in self._rates:
            group["lr"] = lr * rate
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        if self.average:
            get_ema_multi_avg_fn(ema)(list(self.average.values()), list(self.trained.values()), None)

    @property
    def parts(self) -> dict[str, Mapping[str, Tensor]]:
        """The state, tensors by name in parts that are a file of a checkpoint each; what an optimizer remembers of a
        weight is NAME/SLOT."""
        slots = {
            part: {
                f"{name}/{slot}": value
                for name, p in self.trained.items()
                for slot, value in optimizer.state.get(p, {}).items()
            }
            for part, optimizer in self.optimizers.items()
        }
        return {"weights": self.trained, **({"average": self.average} if self.average else {}), **slots}

    def whole(self, part: str, keep: bool = True) -> dict[str, Tensor]:
        """The tensors of a part, whole and on the CPU. All processes must ask for them; those that do not keep them
        need no room for them."""
        whole = ((name, gathered(tensor)) for name, tensor in self.parts[part].items())
        return {name: tensor for name, tensor in whole if keep}

    @torch.no_grad()
    def load(self, stored: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Take over the state whose parts are `stored`."""
        for part, held in (("weights", self.trained), ("average", self.average)):
            tensors = stored(part) if held else {}
            for name, tensor in held.items():
                tensor.copy_(scattered(tensors[name], tensor))
        for part, optimizer in self.optimizers.items():
            for key, value in stored(part).items():
                name, slot = key.split("/")
                p = self.trained[name]
                optimizer.state[p][slot] = scattered(value, p) if value.ndim else value
