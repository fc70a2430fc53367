"""Classifier-free guidance, on a small real WanTransformer3DModel with random weights."""

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from longtake.guidance import guided_velocity
from portable import close, rounding

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
SIGMA = torch.tensor([0.0, 0.3, 0.9])


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    ).eval()

    @torch.no_grad()
    def velocity(latents: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        tokens = latents.shape[-1] * latents.shape[-2] // 4
        timestep = (sigma * 1000).repeat_interleave(tokens).expand(len(latents), -1)
        out: Tensor = model(latents, timestep, text, return_dict=False)[0]
        return out

    return velocity


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, 8), torch.randn(2, 5, 8)


@pytest.mark.parametrize("scale", [0.0, 2.5, 7.0])
def test_both_prompts_in_one_call(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor], scale: float
) -> None:
    """uncond + g (cond - uncond), each row with its own prompt, in a single call of twice the batch."""
    latents, text, null_text = inputs
    sizes: list[int] = []

    def counting(latents: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        sizes.append(len(latents))
        return network(latents, sigma, text)

    velocity = guided_velocity(counting, text[None], null_text[None], scale)
    guided = velocity(latents, SIGMA, 0)
    cond, uncond = network(latents, SIGMA, text), network(latents, SIGMA, null_text)
    assert sizes == [4]
    assert (cond - uncond).abs().max() > 1e-3
    tolerance = rounding(lambda: velocity(latents, SIGMA, 0), latents, text, null_text)
    close(guided, uncond + scale * (cond - uncond), tolerance)


def test_scale_one_is_the_prompt_alone(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """At scale 1 the empty prompt cancels: one call of the plain batch, with the same bits."""
    latents, text, null_text = inputs
    guided = guided_velocity(network, text[None], null_text[None], 1.0)(latents, SIGMA, 0)
    assert torch.equal(guided, network(latents, SIGMA, text))


def test_equal_prompts_cancel(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """With the empty prompt in both places, guidance of any strength changes nothing."""
    latents, _, null_text = inputs
    velocity = guided_velocity(network, null_text[None], null_text[None].clone(), 9.0)
    tolerance = rounding(lambda: velocity(latents, SIGMA, 0), latents, null_text)
    close(velocity(latents, SIGMA, 0), network(latents, SIGMA, null_text), tolerance)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_each_latent_follows_its_prompt(scale: float) -> None:
    """Where latents follow two prompts the network is told one a latent, with the empty ones beside, by its absolute
    index; where they follow one, that one alone."""
    told: list[Tensor] = []

    def network(latents: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        told.append(text)
        return latents

    texts, null_texts = torch.randn(2, 1, 5, 8), torch.zeros(2, 1, 5, 8)
    velocity = guided_velocity(network, texts, null_texts, scale, lambda index: int(index >= 4))
    for first in (-2, 2, 4):
        velocity(torch.zeros(1, 4, 3, 2, 2), SIGMA, first)
    before, both, after = (text[:1] for text in told)
    assert torch.equal(before, texts[0]) and torch.equal(after, texts[1])
    assert torch.equal(both, texts[[0, 0, 1]].transpose(0, 1))
    assert len(told[1]) == (1 if scale == 1 else 2)
    if scale != 1:
        assert told[1].shape == (2, 3, 5, 8) and not told[1][1].any() and not told[0][1].any()
