"""Classifier-free guidance: a network that takes text becomes the one velocity that the heart asks for.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable

import torch
from torch import Tensor

from longtake.solvers import Velocity


def emptied(text: Tensor, null_text: Tensor) -> Tensor:
    """The empty caption null_text (1, L, D) in place of captions (B, L, D), cut to the tokens of each.

    So are networks trained that learn an empty caption of many tokens; one that is shorter than all others stays as
    it is. A row of zeros is no token.
    """
    return null_text * text.any(dim=-1, keepdim=True)


def guided_velocity(
    velocity: Callable[[Tensor, Tensor, Tensor], Tensor],
    text: Tensor,
    null_text: Tensor,
    guidance_scale: float,
) -> Velocity:
    """Bind the prompt: returns velocity(latents, sigma, first) = uncond + guidance_scale * (cond - uncond).

    velocity(latents (B, C, F, H, W), sigma (F,), text (B, L, D)) is called once a pass, with 2B rows: the
    prompt's, then those of the empty or negative prompt. At scale 1, where guidance changes nothing, with B
    rows. text, null_text: (B, L, D).
    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", arXiv 2207.12598.
    """
    assert text.shape == null_text.shape, f"text {tuple(text.shape)}, null_text {tuple(null_text.shape)}"
    if guidance_scale == 1:
        return lambda latents, sigma, first: velocity(latents, sigma, text)
    both = torch.cat([text, null_text])

    def guided(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        cond, uncond = velocity(torch.cat([latents, latents]), sigma, both).chunk(2)
        return uncond + guidance_scale * (cond - uncond)

    return guided
