"""Classifier-free guidance: a network that takes text becomes the one velocity that the heart asks for.

B batch, C channels, F latent frames, H W latent height and width, T prompts, L text tokens, D text width
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
    texts: Tensor,
    null_texts: Tensor,
    guidance_scale: float | Callable[[int], float],
    follows: Callable[[int], int] = lambda index: 0,
) -> Velocity:
    """Bind the prompts: returns velocity(latents, sigma, first) = uncond + guidance_scale * (cond - uncond).

    velocity(latents (B, C, F, H, W), sigma (F,), text) is called once a pass, with 2B rows: the prompt's, then those of
    the empty or negative prompt. At scale 1, where guidance changes nothing, with B rows. Its text is (B, L, D) where
    all latents follow one prompt, else (B, F, L, D), one a latent.
    texts, null_texts: T prompts (T, B, L, D). follows(index): the prompt, 0 to T - 1, of the latent at an absolute
    index, which is negative in a given context. guidance_scale may be a function of that index too.
    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", arXiv 2207.12598.
    """
    assert texts.shape == null_texts.shape, (
        f"texts {tuple(texts.shape)}, null_texts {tuple(null_texts.shape)}"
    )
    scale_of = guidance_scale if callable(guidance_scale) else lambda index: guidance_scale

    def guided(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        places = range(first, first + latents.shape[2])
        prompts, scales = [follows(index) for index in places], [scale_of(index) for index in places]
        text = _told(texts, prompts)
        if set(scales) == {1}:
            return velocity(latents, sigma, text)
        both = torch.cat([text, _told(null_texts, prompts)])
        cond, uncond = velocity(torch.cat([latents, latents]), sigma, both).chunk(2)
        return uncond + _scale(scales, cond) * (cond - uncond)

    return guided


def _told(texts: Tensor, prompts: list[int]) -> Tensor:
    """What each latent follows, (B, F, L, D); (B, L, D) where all follow one prompt."""
    return texts[prompts[0]] if len(set(prompts)) == 1 else texts[prompts].transpose(0, 1)


def _scale(scales: list[float], like: Tensor) -> float | Tensor:
    """One scale for all latents, or one each, (F, 1, 1)."""
    return scales[0] if len(set(scales)) == 1 else like.new_tensor(scales).view(-1, 1, 1)
