"""Wan 2.2 A14B: two networks of one class, one for high and one for low noise levels.

Its own pipeline calls one of them, by the level of the clip. A window has many levels: here each of its latents takes
what the expert of its own level makes of the whole window. So a pass is two calls, or one where all noisy latents are
on one side. The experts are called one after the other, never both at once.
Source: "Wan 2.2", https://github.com/Wan-Video/Wan2.2.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from longtake.models.adapter import TIMESTEPS
from longtake.models.wan.model import WanModel, per_frame_timesteps


class Experts(nn.Module):
    """Two networks as one. boundary: the noise level, in (0, 1), from which on `high` is asked, and below it `low`."""

    def __init__(self, high: Any, low: Any, boundary: float) -> None:
        super().__init__()
        self.high, self.low, self.boundary = high, low, boundary

    @property
    def dtype(self) -> torch.dtype:
        """That in which they compute; some of their parameters are float32 whatever it is."""
        dtype: torch.dtype = self.high.dtype
        return dtype

    def forward(
        self, latents: Tensor, timestep: Tensor, text: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """noise - data of latents (B, C, F, H, W) at timestep (B, F), 1000 noise to 0 clean, by the experts of each
        frame's own. Of clean frames it means nothing: they ask for no expert."""
        assert not return_dict
        is_high = timestep >= self.boundary * TIMESTEPS
        asked = {
            name: network
            for name, network, sees in (
                ("high", self.high, is_high),
                ("low", self.low, ~is_high & (timestep > 0)),
            )
            if sees.any()
        }
        made = {
            name: network(latents, timestep, text, return_dict=False)[0]
            for name, network in (asked or {"low": self.low}).items()
        }
        if len(made) == 1:
            return (*made.values(),)
        chosen = is_high.to(latents.device)[:, None, :, None, None]
        return (torch.where(chosen, made["high"], made["low"]),)


class WanExperts(WanModel):
    """Two Wan transformers, which are given per-frame timesteps in place, and the other parts, as a VideoModel."""

    @property
    def networks(self) -> list[Any]:
        return [*self.transformer.children()]

    @staticmethod
    def prepared(transformer: Any) -> Any:
        for network in transformer.children():
            per_frame_timesteps(network)
        return transformer
