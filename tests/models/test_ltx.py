"""The LTX adapters against stock diffusers: the same networks, but a timestep for each latent frame.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D network or text width
"""

import copy
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel, LTXVideoTransformer3DModel
from diffusers.loaders import lora_conversion_utils, single_file_utils
from torch import Tensor

from longtake.models.adapter import Adapter
from longtake.models.ltx import model as ltx
from longtake.models.ltx import model2 as ltx2
from longtake.models.spellings import AUTHORS_OF_LTX, authors_name
from longtake.models.text import Text
from portable import close, rounding

pytestmark = pytest.mark.slow

CHANNELS, TEXT_WIDTH, FPS = 8, 16, 24
SIZE = (2, CHANNELS, 3, 2, 4)
COMMON: dict[str, Any] = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "cross_attention_dim": 24,
    "num_layers": 2,
}
LTX_2: dict[str, Any] = {
    **COMMON,
    "audio_in_channels": 4,
    "audio_out_channels": 4,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 6,
    "audio_cross_attention_dim": 12,
    "caption_channels": TEXT_WIDTH,
    "rope_type": "split",
    "causal_offset": 8,  # positions without a first frame of its own, as a window has them
}
# What sets the later ones apart, as published: gates, text that is told by noise level, no projection of text.
LATER: dict[str, Any] = {
    "gated_attn": True,
    "audio_gated_attn": True,
    "cross_attn_mod": True,
    "audio_cross_attn_mod": True,
}
LTX_2_3: dict[str, Any] = {**LTX_2, **LATER, "use_prompt_embeddings": False, "perturbed_attn": True}
LTX_2_5: dict[str, Any] = {**LTX_2_3, "ff_bias": False, "use_keyframes_abs_pos_embedding": True}


class Case(NamedTuple):
    """A stock network, the same one prepared, and the adapter that prepared it."""

    stock: Any
    ours: Any
    model: type[Adapter]
    text_width: int

    def window(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents (B, C, F, H, W), unequal timesteps (B, F), text (B, 5, D) and its mask (B, 5)."""
        mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:batch]
        states = torch.randn(batch, 5, self.text_width)
        return torch.randn(batch, *SIZE[1:]), torch.rand(batch, SIZE[2]) * 1000, states, mask

    def velocity(self, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        return self.model.network_velocity(self.ours, latents, timestep, Text(states, mask), FPS)

    def stock_velocity(
        self, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor, sigma: Tensor | None = None
    ) -> Tensor:
        """As the model's own pipelines call the network: timesteps a clip (B,), or a token (B, F * H * W); sigma (B,):
        what text is told by, where it is told another."""
        told = {
            "hidden_states": ltx.as_tokens(latents),
            "encoder_hidden_states": states,
            "timestep": timestep,
            "encoder_attention_mask": mask.long(),
            "num_frames": latents.shape[2],
            "height": latents.shape[3],
            "width": latents.shape[4],
        }
        if self.model is ltx.LTXModel:
            told["rope_interpolation_scale"] = (8 / FPS, 32, 32)
        else:
            told |= {
                "audio_hidden_states": torch.randn(len(latents), 2, 4),
                "audio_encoder_hidden_states": torch.randn(
                    len(latents), 5, 16 if self.ours.config.use_prompt_embeddings else 12
                ),
                "audio_timestep": timestep[:, 0] if timestep.ndim == 2 else timestep,
                "sigma": (timestep[:, 0] if timestep.ndim == 2 else timestep) if sigma is None else sigma,
                "audio_num_frames": 2,
                "fps": FPS,
                "isolate_modalities": True,
            }
        with torch.no_grad():
            return ltx.as_latents(self.stock(**told, return_dict=False)[0], latents)


def made(name: str, **changed: Any) -> Case:
    torch.manual_seed(4)
    stock: Any
    if name == "LTX-Video":
        stock = LTXVideoTransformer3DModel(**COMMON, caption_channels=TEXT_WIDTH).eval()
        return Case(stock, ltx.LTXModel.prepared(copy.deepcopy(stock)), ltx.LTXModel, TEXT_WIDTH)
    config: dict[str, Any] = {"LTX-2": LTX_2, "LTX-2.3": LTX_2_3, "LTX-2.5": LTX_2_5}[name]
    stock = LTX2VideoTransformer3DModel(**{**config, **changed}).eval()
    width = TEXT_WIDTH if name == "LTX-2" else 24
    return Case(stock, ltx2.LTX2Model.prepared(copy.deepcopy(stock)), ltx2.LTX2Model, width)


@pytest.fixture(scope="module", params=["LTX-Video", "LTX-2", "LTX-2.3", "LTX-2.5"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield made(request.param)


def per_token(timestep: Tensor) -> Tensor:
    """Each frame's timestep repeated over its tokens."""
    return timestep.repeat_interleave(SIZE[3] * SIZE[4], dim=1)


@torch.no_grad()
def test_equal_levels_are_one_timestep_a_clip(case: Case) -> None:
    """The stock network's own call, sound and all but what pictures hear of it."""
    latents, _, states, mask = case.window()
    timestep = torch.tensor([700.0, 300.0])

    def ours() -> Tensor:
        return case.velocity(latents, timestep[:, None].expand(2, SIZE[2]), states, mask)

    expected = case.stock_velocity(latents, timestep, states, mask)
    close(ours(), expected, rounding(ours, case.ours, latents, states))
    assert expected.std() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("name", ["LTX-Video", "LTX-2"])
def test_unequal_levels_are_one_timestep_a_token(name: str) -> None:
    """Where stock diffusers can be told unequal levels, token by token, it gives the same."""
    case = made(name)
    latents, timestep, states, mask = case.window()

    def ours() -> Tensor:
        return case.velocity(latents, timestep, states, mask)

    close(
        ours(),
        case.stock_velocity(latents, per_token(timestep), states, mask),
        rounding(ours, case.ours, latents),
    )


@torch.no_grad()
def test_text_is_told_by_the_level_of_each_frame() -> None:
    """LTX-2.3 tells text by the noise level of a clip: in one layer, a frame hears what a clip of its level would."""
    case = made("LTX-2.3", num_layers=1)
    latents, timestep, states, mask = case.window()

    def ours() -> Tensor:
        return case.velocity(latents, timestep, states, mask)

    tolerance = rounding(ours, case.ours, latents)
    for frame in range(SIZE[2]):
        expected = case.stock_velocity(latents, per_token(timestep), states, mask, timestep[:, frame])
        close(ours()[:, :, frame], expected[:, :, frame], tolerance)
        assert (ours() - expected).abs().amax((0, 1, 3, 4))[frame - 1] > 10 * tolerance


@torch.no_grad()
def test_a_level_is_told_to_its_frame_alone(case: Case) -> None:
    """Modulations are a frame's, never a token's; another level of one frame changes that frame's alone, and so is what
    the first layer is told of the prompt."""
    latents, timestep, states, mask = case.window(1)
    told: list[Tensor] = []
    block = case.ours.transformer_blocks[0]
    hook = block.register_forward_pre_hook(
        lambda block, args, named: told.append(named["temb"].clone()), with_kwargs=True
    )
    case.velocity(latents, timestep, states, mask)
    other = timestep.clone()
    other[:, 1] += 100
    case.velocity(latents, other, states, mask)
    hook.remove()
    assert told[0].shape[:2] == (1, SIZE[2])
    assert ((told[0] - told[1]).abs().amax((0, 2)) > 0).tolist() == [False, True, False]


@torch.no_grad()
def test_text_may_be_a_frames_own(case: Case) -> None:
    """A text each that is the same for all is one text; another text of one frame changes that frame most."""
    latents, timestep, states, mask = case.window()
    whole = case.velocity(latents, timestep, states, mask)
    each, masks = states[:, None].repeat(1, 3, 1, 1), mask[:, None].repeat(1, 3, 1)

    def ours() -> Tensor:
        return case.velocity(latents, timestep, each, masks)

    close(ours(), whole, rounding(ours, case.ours, latents, states))
    each[:, 2] += torch.randn_like(each[:, 2])
    moved = (ours() - whole).abs().mean((0, 1, 3, 4))
    assert moved[2] > 2 * moved[:2].max()


@torch.no_grad()
def test_masked_tokens_are_not_seen(case: Case) -> None:
    latents, timestep, states, mask = case.window()
    other = states.masked_fill(~mask[..., None], 3.0)
    assert torch.equal(
        case.velocity(latents, timestep, other, mask), case.velocity(latents, timestep, states, mask)
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["LTX-Video", "LTX-2"])
def test_a_window_may_begin_anywhere(name: str) -> None:
    """Attention sees differences of place alone: what is told of a window's place in the film changes no more than the
    rounding of float32 angles, of up to 10,000 turns."""
    case = made(name)
    latents, timestep, states, mask = case.window()
    here = case.velocity(latents, timestep, states, mask)
    rope = case.ours.rope
    forward = rope.forward

    def later(*args: Any, **named: Any) -> Any:
        if name == "LTX-2":
            coords = args[0].clone()
            coords[:, 0] += 40 * 8 / FPS
            return forward(coords, *args[1:], **named)
        grid = rope._prepare_video_coords(len(latents), *SIZE[2:], (8 / FPS, 32, 32), latents.device)
        grid[..., 0] += 40 * 8 / FPS / 20
        coords = torch.stack([grid[..., 0] * 20, grid[..., 1] * 2048, grid[..., 2] * 2048], dim=1)
        return forward(args[0], video_coords=coords)

    rope.forward = later
    there = case.velocity(latents, timestep, states, mask)
    rope.forward = forward
    assert 0 < (there - here).abs().max() < 0.01 * here.abs().max()


@torch.no_grad()
def test_the_rate_is_told(case: Case) -> None:
    """Latents of a film with more frames a second lie closer."""
    latents, timestep, states, mask = case.window()
    slow, fast = (
        case.model.network_velocity(case.ours, latents, timestep, Text(states, mask), fps) for fps in (8, 30)
    )
    assert (slow - fast).abs().max() > 1e-4 * slow.abs().max()


def test_gradients_and_checkpointing(case: Case) -> None:
    """Training through the adapter: the same gradients with checkpointing, and for LTX-Video those of the stock."""
    window = case.window()

    def gradients(network: Any) -> dict[str, Tensor]:
        network.zero_grad()
        case._replace(ours=network).velocity(*window).square().mean().backward()
        return {name: x.grad.clone() for name, x in network.named_parameters() if x.grad is not None}

    network = copy.deepcopy(case.ours).train()
    plain = gradients(network)
    network.enable_gradient_checkpointing()
    checkpointed = gradients(network)
    assert plain.keys() == checkpointed.keys()
    assert any("transformer_blocks.1.attn2" in name for name in plain)
    assert not any(
        part in name for name in plain for part in ("audio_attn", "audio_ff", "_to_video", "_to_audio")
    )
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_layers_are_known_by_their_authors_names(case: Case) -> None:
    """LoRAs in the authors' names, as ComfyUI takes them, are read as diffusers reads them."""
    is_first = case.model is ltx.LTXModel
    layers = [name for name, layer in case.stock.named_modules() if isinstance(layer, torch.nn.Linear)]
    theirs = [f"diffusion_model.{authors_name(layer, AUTHORS_OF_LTX)}" for layer in layers]
    if is_first:
        whole = {f"model.{name}": torch.tensor(i) for i, name in enumerate(theirs)}
        made = single_file_utils.convert_ltx_transformer_checkpoint_to_diffusers(whole)
    else:
        made = lora_conversion_utils._convert_non_diffusers_ltx2_lora_to_diffusers(
            dict(zip(theirs, count(), strict=False))
        )
    expected = {f"{'' if is_first else 'transformer.'}{layer}": i for i, layer in enumerate(layers)}
    assert {name: int(place) for name, place in made.items()} == expected
    assert "diffusion_model.patchify_proj" in theirs and "diffusion_model.adaln_single.linear" in theirs


def test_weights_keep_their_names(case: Case) -> None:
    """What is trained through the adapter is saved as a plain diffusers model; preparing twice is as once."""
    assert case.model.prepared(case.ours) is case.ours
    assert len(case.ours.proj_out._forward_pre_hooks) == 1
    assert type(case.ours.transformer_blocks[0]).__name__ == case.ours._repeated_blocks[0]
    assert list(case.ours.state_dict()) == list(case.stock.state_dict())
