"""Classifier-free guidance, on a small real WanTransformer3DModel with random weights."""

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from longtake.guidance import guided_velocity
from longtake.models.text import Text
from portable import close, rounding

Network = Callable[[Tensor, Tensor, Text], Tensor]
Inputs = tuple[Tensor, Text, Text]
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
    def velocity(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        tokens = latents.shape[-1] * latents.shape[-2] // 4
        timestep = (sigma * 1000).repeat_interleave(tokens).expand(len(latents), -1)
        out: Tensor = model(latents, timestep, text.zero_padded(), return_dict=False)[0]
        return out

    return velocity


@pytest.fixture
def inputs() -> Inputs:
    torch.manual_seed(1)
    latents, *texts = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    text, null_text = map(Text.of_zero_padded, texts)
    return latents, text, null_text


@pytest.mark.parametrize("scale", [0.0, 2.5, 7.0])
def test_both_prompts_in_one_call(network: Network, inputs: Inputs, scale: float) -> None:
    """uncond + g (cond - uncond), each row with its own prompt, in a single call of twice the batch."""
    latents, text, null_text = inputs
    sizes: list[int] = []

    def counting(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        sizes.append(len(latents))
        return network(latents, sigma, text)

    velocity = guided_velocity(counting, [text], [null_text], scale)
    guided = velocity(latents, SIGMA, 0)
    cond, uncond = network(latents, SIGMA, text), network(latents, SIGMA, null_text)
    assert sizes == [4]
    assert (cond - uncond).abs().max() > 1e-3
    tolerance = rounding(lambda: velocity(latents, SIGMA, 0), latents, text.states, null_text.states)
    close(guided, uncond + scale * (cond - uncond), tolerance)


def test_scale_one_is_the_prompt_alone(network: Network, inputs: Inputs) -> None:
    """At scale 1 the empty prompt cancels: one call of the plain batch, with the same bits."""
    latents, text, null_text = inputs
    guided = guided_velocity(network, [text], [null_text], 1.0)(latents, SIGMA, 0)
    assert torch.equal(guided, network(latents, SIGMA, text))


def test_equal_prompts_cancel(network: Network, inputs: Inputs) -> None:
    """With the empty prompt in both places, guidance of any strength changes nothing."""
    latents, _, null_text = inputs
    velocity = guided_velocity(network, [null_text], [null_text], 9.0)
    tolerance = rounding(lambda: velocity(latents, SIGMA, 0), latents, null_text.states)
    close(velocity(latents, SIGMA, 0), network(latents, SIGMA, null_text), tolerance)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_each_latent_follows_its_prompt(scale: float) -> None:
    """Where latents follow two prompts the network is told one a latent, with the empty ones beside, by its absolute
    index; where they follow one, that one alone."""
    told: list[Text] = []

    def network(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        told.append(text)
        return latents

    texts = [Text.of_zero_padded(torch.randn(1, 5, 8)) for _ in range(2)]
    null_texts = [text.emptied(Text.of_zero_padded(torch.zeros(1, 5, 8))) for text in texts]
    velocity = guided_velocity(network, texts, null_texts, scale, lambda index: int(index >= 4))
    for first in (-2, 2, 4):
        velocity(torch.zeros(1, 4, 3, 2, 2), SIGMA, first)
    before, both, after = (text[:1].states for text in told)
    assert torch.equal(before, texts[0].states) and torch.equal(after, texts[1].states)
    assert torch.equal(both, torch.stack([texts[i].states for i in (0, 0, 1)], dim=1))
    assert len(told[1]) == (1 if scale == 1 else 2)
    if scale != 1:
        assert told[1].states.shape == (2, 3, 5, 8)
        assert not told[1].states[1].any() and not told[0].mask[1].any()
