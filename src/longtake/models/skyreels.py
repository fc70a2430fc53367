"""The SkyReels-V2 adapter: diffusers' SkyReelsV2Transformer3DModel, which takes a timestep for each latent frame.

Its diffusion-forcing weights were trained on frames of unequal noise levels ("SkyReels-V2", arXiv 2504.13074, §3.4), so
they film progressively as they are. The network repeats a frame's modulation over all its tokens, which is diffusers'
own cost.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

from torch import Tensor, nn

from longtake.models.t5 import T5VideoModel

SLOW_FPS = 16  # of the two frame rates that a network may be told, the one that is class 0


class SkyReelsModel(T5VideoModel):
    """A SkyReels-V2 transformer and its other parts as a VideoModel."""

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Tensor, fps: float
    ) -> Tensor:
        """As T5VideoModel says. Networks that are told the frame rate know 16 and 24; any other counts as 24."""
        (velocity,) = network(
            latents,
            timestep,
            text,
            enable_diffusion_forcing=True,
            fps=[int(fps != SLOW_FPS)],
            return_dict=False,
        )
        return velocity
