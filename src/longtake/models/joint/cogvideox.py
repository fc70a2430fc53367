"""The CogVideoX adapter: diffusers' CogVideoXTransformer3DModel with a timestep for each latent frame.

The network knows 1000 levels of a variance-preserving schedule, y = a x0 + s noise with a² + s² = 1, and predicts
v = a noise - s x0 ("CogVideoX", arXiv 2408.06072; "Progressive distillation", arXiv 2202.00512). Ours, x = (1 - sigma)
x0 + sigma noise, differs in length alone: y = x / r with r = |(1 - sigma, sigma)|, a = (1 - sigma) / r, s = sigma / r.
So noise - data = (a + s) v + (s - a) y, and a step of DDIM is one of Euler's. The last level, of zero SNR, is sigma 1.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor, nn

from longtake.errors import OptionError
from longtake.models.adapter import Adapter
from longtake.models.base import Decoder, Encoder
from longtake.models.joint.cogvideox_blocks import per_frame_timesteps
from longtake.models.joint.cogvideox_codec import CogVideoXDecoder, CogVideoXEncoder
from longtake.models.joint.discrete import nearest_timestep
from longtake.models.joint.tokens import with_text
from longtake.models.text import PromptEncoder, Text
from longtake.schedules import cogvideox_levels

# By how much a schedule shifts the signal-to-noise ratio, by use_rotary_positional_embeddings: the first model's does,
# which adds its positions. Source: scripts/convert_cogvideox_to_diffusers.py of diffusers.
SNR_SHIFT = {False: 3.0, True: 1.0}


def check_pairs(sigma: Tensor, joined: int) -> None:
    """OptionError unless the latents that share a token, so many each, share their noise level (B, F)."""
    count = sigma.shape[1]
    if count % joined:
        raise OptionError(
            f"the network joins {joined} latents into one token: a window of {count} has one over"
        )
    if not torch.equal(sigma, sigma[:, ::joined].repeat_interleave(joined, dim=1)):
        raise OptionError(
            f"the network joins {joined} latents into one token, which have different noise levels here: take chunks of"
            f" {joined} latents, or a multiple"
        )


def rotary(config: Any, latents: Tensor) -> tuple[Tensor, Tensor] | None:
    """The turns of positions for tokens of latents (B, F, C, H, W); None for networks that add their positions.

    As diffusers' pipeline has them: over the area that the network was trained on, or, where two latents share a token,
    a patch a step. In time they count from the first latent of the window.
    """
    if not config.use_rotary_positional_embeddings:
        return None
    patch, joined = config.patch_size, config.patch_size_t
    grid = (latents.shape[3] // patch, latents.shape[4] // patch)
    trained = (config.sample_height // patch, config.sample_width // patch)
    area = (
        {"crops_coords": get_resize_crop_region_for_grid(grid, trained[1], trained[0])}
        if joined is None
        else {"crops_coords": None, "grid_type": "slice", "max_size": trained}
    )
    frames = latents.shape[1] // (joined or 1)
    return get_3d_rotary_pos_embed(
        config.attention_head_dim, grid_size=grid, temporal_size=frames, device=latents.device, **area
    )


def velocity(network: Any, latents: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
    """noise - data (B, C, F, H, W), float32.

    latents (B, C, F, H, W), timestep (B, F), 1000 noise to 0 clean, states (B, L, D) of T5. OptionError where two
    latents share a token, but not a noise level, or one is over.
    """
    config, sigma = network.config, timestep / 1000
    joined = config.patch_size_t or 1
    if joined > 1:
        check_pairs(sigma, joined)
    length = torch.sqrt((1 - sigma) ** 2 + sigma**2)
    signal, noise = (
        (level / length)[:, None, :, None, None].to(latents.device) for level in (1 - sigma, sigma)
    )
    y = (latents.float() / length[:, None, :, None, None].to(latents.device)).to(latents.dtype)
    known = cogvideox_levels(SNR_SHIFT[config.use_rotary_positional_embeddings])
    frames_first = y.transpose(1, 2)
    (v,) = network(
        frames_first,
        states,
        with_text(nearest_timestep(sigma[:, ::joined], known)),
        image_rotary_emb=rotary(config, frames_first),
        return_dict=False,
    )
    return (signal + noise) * v.transpose(1, 2).float() + (noise - signal) * y.float()


class CogVideoXPromptEncoder(PromptEncoder):
    """The last states of a T5, (B, L, D), L = spec.max_prompt_tokens: of all of them, padding as well, as the network
    was trained."""

    def encode(self, prompts: list[str]) -> Text:
        encoder = self.parts["text_encoder"]
        tokens = self.tokenizer(
            prompts, padding="max_length", max_length=self.spec.max_prompt_tokens, return_tensors="pt"
        ).to(encoder.device)
        return Text(
            encoder(tokens.input_ids).last_hidden_state, torch.ones_like(tokens.attention_mask).bool()
        )


class CogVideoXModel(Adapter):
    """A CogVideoX transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says; a CogVideoX is not told the frame rate."""
        return velocity(network, latents, timestep, text.states)

    def decoder(self) -> Decoder:
        return CogVideoXDecoder(self.vae, copies=self.spec.joined_latents - 1)

    def encoder(self) -> Encoder:
        return CogVideoXEncoder(self.vae, copies=self.spec.joined_latents - 1)
