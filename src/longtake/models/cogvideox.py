"""The CogVideoX adapter: diffusers' CogVideoXTransformer3DModel with a timestep for each latent frame.

The network knows 1000 levels of a variance-preserving schedule, y = a x0 + s noise with a² + s² = 1, and predicts
v = a noise - s x0 ("CogVideoX", arXiv 2408.06072; "Progressive distillation", arXiv 2202.00512). Ours, x = (1 - sigma)
x0 + sigma noise, differs in length alone: y = x / r with r = |(1 - sigma, sigma)|, a = (1 - sigma) / r, s = sigma / r.
So noise - data = (a + s) v + (s - a) y, and a step of DDIM is one of Euler's. The last level, of zero SNR, is sigma 1.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler
from diffusers.models import normalization
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.models.transformers import cogvideox_transformer_3d
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor

from longtake.errors import OptionError
from longtake.models.joint import Timesteps, apart, in_frames, modulated, modulation, with_text

# The schedule of every CogVideoX, and by how much the first, of positions that are added, shifts its signal-to-noise
# ratio. Source: scripts/convert_cogvideox_to_diffusers.py of diffusers.
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "clip_sample": False,
    "timestep_spacing": "trailing",
}
SNR_SHIFT = {False: 3.0, True: 1.0}  # by use_rotary_positional_embeddings


class CogVideoXBlock(cogvideox_transformer_3d.CogVideoXBlock):
    """CogVideoX' block with one modulation a frame. It keeps the name by which diffusers finds it."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D) to the same; F counts pairs of latents where two share a token."""
        _, of_frames = apart(temb)
        x, text = in_frames(hidden_states, of_frames), encoder_hidden_states
        y, z, gate, text_gate = normed(self.norm1, x, text, temb)
        seen, said = self.attn1(
            y.flatten(1, 2), z, image_rotary_emb=image_rotary_emb, **(attention_kwargs or {})
        )
        x, text = x + in_frames(seen, of_frames) * gate, text + said * text_gate
        y, z, gate, text_gate = normed(self.norm2, x, text, temb)
        return (x + self.ff(y) * gate).flatten(1, 2), text + self.ff(z) * text_gate


def normed(norm: Any, x: Tensor, text: Tensor, temb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens (B, F, P, D) and text (B, L, D) modulated, and their gates (B, F, 1, D) and (B, 1, D)."""
    of_text, of_frames = apart(temb)
    shift, scale, gate, *_ = modulation(norm, of_frames, 6)
    *_, text_shift, text_scale, text_gate = modulation(norm, of_text, 6)
    y = modulated(norm.norm(x), shift, scale)
    return y, modulated(norm.norm(text), text_shift, text_scale), gate, text_gate


class AdaLayerNorm(normalization.AdaLayerNorm):
    """The last norm, which modulates the frames' tokens alone."""

    def forward(self, x: Tensor, timestep: Tensor | None = None, temb: Tensor | None = None) -> Tensor:
        assert temb is not None
        _, of_frames = apart(temb)
        shift, scale = modulation(self, of_frames, 2)
        return modulated(self.norm(in_frames(x, of_frames)), shift, scale).flatten(1, 2)


def per_frame_timesteps(transformer: Any) -> Any:
    """Make a CogVideoX transformer, in place, take `timestep` (B, 1 + F), as with_text gives it; returns it.

    Where two latents share a token, F counts their pairs. Call it before anything else hooks into the model; twice is
    as once. Gradients, gradient checkpointing, state dict and saving are untouched.
    """
    for block in transformer.transformer_blocks:
        block.__class__ = CogVideoXBlock
    transformer.norm_out.__class__ = AdaLayerNorm
    transformer.time_proj.__class__ = Timesteps
    return transformer


@cache
def levels(snr_shift_scale: float) -> Tensor:
    """The noise levels of the network's timesteps 0 to 999, sigma: rising, the last one 1; float32 on the CPU."""
    alphas = CogVideoXDDIMScheduler(**SCHEDULE, snr_shift_scale=snr_shift_scale).alphas_cumprod
    return ((1 - alphas).sqrt() / (alphas.sqrt() + (1 - alphas).sqrt())).float()


def network_timestep(sigma: Tensor, snr_shift_scale: float) -> Tensor:
    """The network's timesteps of noise levels, float32: between two levels in proportion; 0 for cleaner ones."""
    known = levels(snr_shift_scale).to(sigma.device)
    below = torch.searchsorted(known, sigma.contiguous(), right=True).clamp(1, len(known) - 1) - 1
    return (below + (sigma - known[below]) / known.diff()[below]).clamp_min(0)


def ddim_sigmas(num_steps: int, snr_shift_scale: float) -> Tensor:
    """The noise levels (num_steps + 1,), from 1 to 0, of the authors' sampler: every so-many-th of the 1000."""
    scheduler = CogVideoXDDIMScheduler(**SCHEDULE, snr_shift_scale=snr_shift_scale)
    scheduler.set_timesteps(num_steps)
    return torch.cat([levels(snr_shift_scale)[scheduler.timesteps], torch.zeros(1)])


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
    latents share a token and their number is odd; their noise level is that of the first of the two.
    """
    config, sigma = network.config, timestep / 1000
    joined = config.patch_size_t or 1
    if latents.shape[2] % joined:
        raise OptionError(
            f"the network joins {joined} latents into one token: a window of {latents.shape[2]} has one over"
        )
    length = torch.sqrt((1 - sigma) ** 2 + sigma**2)
    signal, noise = (
        (level / length)[:, None, :, None, None].to(latents.device) for level in (1 - sigma, sigma)
    )
    y = (latents.float() / length[:, None, :, None, None].to(latents.device)).to(latents.dtype)
    told = network_timestep(sigma[:, ::joined], SNR_SHIFT[config.use_rotary_positional_embeddings])
    frames_first = y.transpose(1, 2)
    (v,) = network(
        frames_first,
        states,
        with_text(told),
        image_rotary_emb=rotary(config, frames_first),
        return_dict=False,
    )
    return (signal + noise) * v.transpose(1, 2).float() + (noise - signal) * y.float()
