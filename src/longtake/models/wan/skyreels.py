"""The SkyReels-V2 adapter: diffusers' SkyReelsV2Transformer3DModel with a timestep for each latent frame.

Its diffusion-forcing weights were trained on frames of unequal noise levels ("SkyReels-V2", arXiv 2504.13074, §3.4), so
they film progressively as they are. diffusers repeats a frame's modulation over all its tokens; here it is broadcast,
as the Wan adapter does, on the network's path without diffusion forcing.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from typing import Any

from diffusers.models.transformers import transformer_skyreels_v2
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.text import Text
from longtake.models.wan.model import WanTransformerBlock, per_frame_timesteps

SLOW_FPS = 16  # of the two frame rates that a network may be told, the one that is class 0


class SkyReelsV2TransformerBlock(transformer_skyreels_v2.SkyReelsV2TransformerBlock):
    """Its block is Wan's. It keeps the name by which diffusers finds a SkyReels-V2's blocks."""

    forward, modulated = WanTransformerBlock.forward, WanTransformerBlock.modulated


class SkyReelsModel(Adapter):
    """A SkyReels-V2 transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer, SkyReelsV2TransformerBlock)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Wan's. Networks that are told the frame rate know 16 and 24; any other counts as 24."""
        (velocity,) = network(
            latents, timestep, text.zero_padded(), fps=[int(fps != SLOW_FPS)], return_dict=False
        )
        return velocity
