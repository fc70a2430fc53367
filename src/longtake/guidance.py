"""Classifier-free guidance: a network that takes text becomes the one velocity that the heart asks for.

B batch, C channels, F latent frames, H W latent height and width
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from longtake.models.text import Text
from longtake.solvers import Velocity


def guided_velocity(
    velocity: Callable[[Tensor, Tensor, Text], Tensor],
    texts: Sequence[Text],
    null_texts: Sequence[Text],
    guidance_scale: float | Callable[[int], float],
    follows: Callable[[int], int] = lambda index: 0,
    below: tuple[float, float] | None = None,
) -> Velocity:
    """Bind the prompts: returns velocity(latents, sigma, first) = uncond + guidance_scale * (cond - uncond).

    velocity(latents (B, C, F, H, W), sigma (F,), text) is called once a pass, with 2B rows: the prompt's, then those of
    the empty or negative prompt. At scale 1, where guidance changes nothing, with B rows. Its text is one a row where
    all latents follow one prompt, else one a latent.
    texts, null_texts: prompts, B rows each. follows(index): which of them, from 0, the latent at an absolute index
    follows; the index is negative in a given context. guidance_scale may be a function of it too. below: a noise level,
    and the guidance_scale of latents below it in place of theirs, of models of two experts.
    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", arXiv 2207.12598.
    """
    assert len(texts) == len(null_texts), f"{len(texts)} texts, {len(null_texts)} null_texts"
    scale_of = guidance_scale if callable(guidance_scale) else lambda index: guidance_scale

    def guided(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        places = range(first, first + latents.shape[2])
        prompts, scales = [follows(index) for index in places], [scale_of(index) for index in places]
        text = _told(texts, prompts)
        if below is not None:
            boundary, low = below
            scales = [
                scale if level >= boundary else low
                for scale, level in zip(scales, sigma.tolist(), strict=True)
            ]
        if set(scales) == {1}:
            return velocity(latents, sigma, text)
        both = Text.cat([text, _told(null_texts, prompts)])
        cond, uncond = velocity(torch.cat([latents, latents]), sigma, both).chunk(2)
        return uncond + _scale(scales, cond) * (cond - uncond)

    return guided


def _told(texts: Sequence[Text], prompts: list[int]) -> Text:
    """What each latent follows; one text for all where they follow one prompt."""
    return texts[prompts[0]] if len(set(prompts)) == 1 else Text.a_latent([texts[i] for i in prompts])


def _scale(scales: list[float], like: Tensor) -> float | Tensor:
    """One scale for all latents, or one each, (F, 1, 1)."""
    return scales[0] if len(set(scales)) == 1 else like.new_tensor(scales).view(-1, 1, 1)
