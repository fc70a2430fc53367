"""Networks with joint attention against stock diffusers: the same, but a timestep for each latent frame.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from joint import NETWORKS, ROTARY, Network, cogvideox_network
from longtake.errors import OptionError
from longtake.models.joint import cogvideox, hunyuan
from longtake.models.joint.tokens import with_text
from portable import close, rounding

pytestmark = pytest.mark.slow

FRAMES = 4
NORMS = "norm1.linear", "norm.linear", "norm_out.linear", "norm1_context.linear"


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=list(NETWORKS))
def kind(request: pytest.FixtureRequest) -> Network:
    kind: Network = request.param
    return kind


@pytest.fixture(scope="module")
def stock(kind: Network) -> Any:
    torch.manual_seed(4)
    return kind.make()


@pytest.fixture(scope="module")
def ours(kind: Network, stock: Any) -> Any:
    return kind.prepared(copy.deepcopy(stock))


def latents(frames: int = FRAMES) -> Tensor:
    return torch.randn(2, 4, frames, 6, 8)


def seen_times(network: Any, call: Any) -> Tensor:
    """What is embedded of timesteps, (B, 1 + F, D), as the first block is given it."""
    blocks = getattr(network, "transformer_blocks", None) or network.visual_transformer_blocks
    seen: list[Tensor] = []
    hook = blocks[0].register_forward_pre_hook(
        lambda block, args, kwargs: seen.append(kwargs["temb"] if "temb" in kwargs else args[2]),
        with_kwargs=True,
    )
    call()
    hook.remove()
    return torch.cat(seen)


def test_the_text_has_the_mean_of_what_is_noisy() -> None:
    """Clean context has no say; nothing but clean frames is told as clean."""
    times = torch.tensor([[0.0, 0.0, 200.0, 400.0, 900.0], [0.0, 0.0, 0.0, 0.0, 0.0], [300.0] * 5])
    assert torch.equal(with_text(times), torch.cat([torch.tensor([[500.0], [0.0], [300.0]]), times], dim=1))


@torch.no_grad()
def test_one_timestep_a_clip_is_as_stock(kind: Network, stock: Any, ours: Any) -> None:
    """A network that was prepared can still be put into a stock pipeline, to rounding."""
    x, told, timestep = latents(), kind.told(), torch.tensor([321.0, 999.0])

    def made() -> Tensor:
        return kind.stock(ours, x, timestep, *told)

    close(made(), kind.stock(stock, x, timestep, *told), rounding(made, ours, x, told))


@torch.no_grad()
def test_equal_timesteps_are_as_one_a_clip(kind: Network, stock: Any, ours: Any) -> None:
    """Frames that share a level, and the text with them, give stock's result to rounding."""
    x, told, level = latents(), kind.told(), torch.tensor([400.0, 900.0])
    each = level[:, None].expand(-1, FRAMES)

    def filmed() -> Tensor:
        return kind.velocity(ours, x, each, *told)

    expected = kind.stock(stock, x, level, *told)
    close(filmed(), expected, rounding(filmed, ours, x, told))


@torch.no_grad()
def test_a_frame_is_told_its_own_timestep(kind: Network, ours: Any) -> None:
    """Another level of one frame moves what is told of that frame, of the text, and of nothing else."""
    x, told = latents(), kind.told()
    times = torch.tensor([[0.0, 0.0, 300.0, 300.0], [150.0, 150.0, 800.0, 800.0]])
    other = times.clone()
    other[:, 2:] += 100
    before, after = (seen_times(ours, lambda t=t: kind.velocity(ours, x, t, *told)) for t in (times, other))
    moved = (before != after).any(dim=-1)
    clean = [False] * (2 // kind.joined)
    assert moved.tolist() == [[True, *clean, *[True] * (2 // kind.joined)]] * 2
    assert not torch.allclose(kind.velocity(ours, x, times, *told), kind.velocity(ours, x, other, *told))


@torch.no_grad()
def test_modulations_are_held_once_a_frame(kind: Network, ours: Any) -> None:
    """No modulation has a row a token: as many as frames, or tokens of pairs, and one for the text."""
    shapes = set()
    hooks = [
        module.register_forward_hook(lambda module, args, made: shapes.add(made[0, ..., 0].numel()))
        for name, module in ours.named_modules()
        if name.endswith((*NORMS, "modulation")) and not name.startswith("context_embedder")
    ]
    kind.velocity(
        ours, latents(), torch.rand(2, FRAMES // kind.joined).repeat_interleave(kind.joined, 1), *kind.told()
    )
    for hook in hooks:
        hook.remove()
    assert shapes == {1, FRAMES // kind.joined}


def test_gradients_are_those_of_stock(kind: Network, stock: Any) -> None:
    """Training at equal levels gives stock's gradients, with gradient checkpointing too."""
    x, told, level = latents(), kind.told(), torch.tensor([400.0, 900.0])
    plain, framed = copy.deepcopy(stock).train(), kind.prepared(copy.deepcopy(stock)).train()

    def gradient(network: Any, velocity: Tensor) -> Tensor:
        network.zero_grad()
        velocity.square().mean().backward()
        gradients = (each.grad for _, each in sorted(network.named_parameters()))
        return torch.cat([each.flatten() for each in gradients if each is not None])

    def found() -> Tensor:
        return gradient(framed, kind.velocity(framed, x, level[:, None].expand(-1, FRAMES), *told))

    expected = gradient(plain, kind.stock(plain, x, level, *told))
    tolerance = rounding(found, framed, x, told, makers=2)
    assert tolerance < 0.01 * expected.abs().max()
    close(found(), expected, tolerance)
    framed.enable_gradient_checkpointing()
    close(found(), expected, tolerance)


def test_weights_keep_their_names(kind: Network, stock: Any, ours: Any, tmp_path: Path) -> None:
    """What is trained through the adapter is saved as a plain diffusers model; preparing twice is as once."""
    hooks = [len(module._forward_pre_hooks) for module in ours.modules()]
    assert kind.prepared(ours) is ours
    assert hooks == [len(module._forward_pre_hooks) for module in ours.modules()]
    assert [type(m).__name__ for m in ours.modules()] == [type(m).__name__ for m in stock.modules()]
    ours.save_pretrained(tmp_path)
    saved = type(stock).from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in stock.state_dict().items())


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # Kandinsky's own
def test_timesteps_stay_float32(kind: Network, stock: Any, tmp_path: Path) -> None:
    """bfloat16 has no 999: weights in bfloat16 must not round it to 1000."""
    stock.save_pretrained(tmp_path)
    network = kind.prepared(type(stock).from_pretrained(tmp_path, torch_dtype=torch.bfloat16))
    seen: list[torch.dtype] = []
    for name, module in network.named_modules():
        if name.endswith(("time_proj", "time_embeddings")):
            module.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    told = [x.bfloat16() if x.is_floating_point() else x for x in kind.told()]
    x = latents().bfloat16()
    assert kind.velocity(network, x, torch.rand(2, 1).expand(-1, FRAMES) * 1000, *told).isfinite().all()
    assert seen[0] == torch.float32


@torch.no_grad()
def test_added_positions_begin_with_the_window() -> None:
    """The first CogVideoX adds positions: a window is where it begins, whatever its length."""
    network = cogvideox_network()
    embedded = network.patch_embed(torch.zeros(1, 5, 16), torch.zeros(1, 6, 4, 6, 8))
    shorter = network.patch_embed(torch.zeros(1, 5, 16), torch.zeros(1, 2, 4, 6, 8))
    close(embedded[:, : shorter.shape[1]], shorter, rounding(lambda: shorter, network))


@torch.no_grad()
def test_pairs_of_latents_are_whole() -> None:
    """An odd window of a network that joins two latents is an error, which says so."""
    kind = NETWORKS["CogVideoX1.5-5B"]
    network = kind.prepared(kind.make())
    with pytest.raises(OptionError, match="joins 2 latents into one token: a window of 3 has one over"):
        kind.velocity(network, latents(3), torch.full((2, 3), 500.0), *kind.told())


def test_guidance_is_told_as_the_authors_do() -> None:
    """In bfloat16 too: 6016, as their script rounds it."""
    assert torch.full((1,), 1000 * hunyuan.EMBEDDED_GUIDANCE, dtype=torch.bfloat16).item() == 6016


def test_rotary_is_for_networks_that_turn() -> None:
    x = torch.zeros(1, 4, 4, 6, 8)
    assert cogvideox.rotary(cogvideox_network().config, x) is None
    cos, _ = cogvideox.rotary(cogvideox_network(**ROTARY).config, x) or (None, None)
    assert cos is not None and cos.shape == (4 * 3 * 4, 16)
