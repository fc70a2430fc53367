"""Every family learns: on latents alone, tiny, whole and as a LoRA, by the progressive loss through its own adapter."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from longtake.models.base import ModelDefaults
from longtake.models.families import FAMILIES
from longtake.models.load import adapter
from longtake.models.lora import add_lora
from longtake.models.records import imported
from longtake.models.text import Text
from longtake.noise import sigma_table
from longtake.training.loss import Shares, draw_sigma, draw_window, progressive_loss
from longtake.training.objectives import velocity_of
from longtake.training.shards import blocks_of

pytestmark = pytest.mark.slow

CHANNELS, WIDTH, TOKENS = 4, 16, 5
HEADS: dict[str, Any] = {"num_attention_heads": 2, "num_layers": 2}
SAME: dict[str, Any] = {"in_channels": CHANNELS, "out_channels": CHANNELS}
WAN: dict[str, Any] = (
    SAME | HEADS | {"attention_head_dim": 12, "text_dim": WIDTH, "freq_dim": 32, "ffn_dim": 48}
)
LTX: dict[str, Any] = (
    SAME | HEADS | {"attention_head_dim": 12, "cross_attention_dim": 24, "caption_channels": WIDTH}
)
SOUND: dict[str, Any] = {"audio_in_channels": 4, "audio_out_channels": 4, "audio_num_attention_heads": 2}
SOUND |= {"audio_attention_head_dim": 6, "audio_cross_attention_dim": 12, "rope_type": "split"}
COSMOS: dict[str, Any] = (
    SAME | HEADS | {"in_channels": CHANNELS + 1, "attention_head_dim": 16, "mlp_ratio": 2}
)
COSMOS |= {
    "text_embed_dim": WIDTH,
    "adaln_lora_dim": 4,
    "max_size": (16, 32, 32),
    "rope_scale": (1.0, 3.0, 3.0),
}
COSMOS |= {"extra_pos_embed_type": None}
COSMOS_3: dict[str, Any] = {
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 32,
    "latent_channel": CHANNELS,
}
COSMOS_3 |= {
    "latent_patch_size": 2,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
}
COSMOS_3 |= {"patch_latent_dim": 16, "rope_axes_dim": [4, 2, 2], "vocab_size": 20}
SANA: dict[str, Any] = SAME | HEADS | {"attention_head_dim": 12, "num_cross_attention_heads": 2}
SANA |= {
    "cross_attention_head_dim": 12,
    "cross_attention_dim": 24,
    "caption_channels": WIDTH,
    "mlp_ratio": 2.0,
}
SANA |= {"rope_max_seq_len": 32}
STEPS, FPS = 20, 24.0


@dataclass(frozen=True)
class Tiny:
    """A network of a few thousand weights: its configuration, and the widths of states and pooled vector it reads."""

    config: dict[str, Any]
    width: int = WIDTH
    pooled: int | None = None


# A new family says here how small it can be.
TINY = {
    "WanTransformer3DModel": Tiny(WAN),
    "SkyReelsV2Transformer3DModel": Tiny(WAN | {"inject_sample_info": True}),
    "OpenSoraTransformer3DModel": Tiny(
        HEADS | {"attention_head_dim": 12, "in_channels": CHANNELS, "caption_channels": WIDTH}
    ),
    "LTXVideoTransformer3DModel": Tiny(LTX),
    "CosmosTransformer3DModel": Tiny(COSMOS),
    "Cosmos3OmniTransformer": Tiny(COSMOS_3, width=32),
    "SanaVideoTransformer3DModel": Tiny(SANA),
    "LTX2VideoTransformer3DModel": Tiny(LTX | SOUND),
}


@pytest.mark.parametrize("rank", [None, 4], ids=["whole", "lora"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_learns(name: str, rank: int | None) -> None:
    """Guards network, adapter and loss of each family, and that a LoRA finds layers in each of its blocks: on the same
    windows, the loss after twenty steps is lower."""
    assert name in TINY, f"say in TINY how small a {name} can be"
    tiny = TINY[name]
    torch.manual_seed(0)
    network = adapter(name).prepared(imported(FAMILIES[name].code)(**tiny.config))
    if rank:
        add_lora(network, rank, float(rank))
        blocks = blocks_of(network)
        assert blocks and all(any("lora_A" in name for name, _ in block.named_modules()) for block in blocks)
    velocity = velocity_of(network, name, "flow_prediction", FPS, torch.device("cpu"), bf16=False)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0)
    batches = [drawn(tiny, seed) for seed in range(4)]

    def loss(batch: tuple[Any, ...]) -> torch.Tensor:
        return progressive_loss(velocity, *batch)

    with torch.no_grad():
        before = sum(float(loss(batch)) for batch in batches)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(batches[step % len(batches)]).backward()
        optimizer.step()
    with torch.no_grad():
        after = sum(float(loss(batch)) for batch in batches)
    assert after < (0.97 if rank else 0.9) * before, (before, after)


def drawn(tiny: Tiny, seed: int) -> tuple[Any, ...]:
    """Two windows of a wave, with texts, noise levels and noise: what the loss takes."""
    generator = torch.Generator().manual_seed(seed)
    sampling = ModelDefaults(32, 32, FPS, 4, 1, 1, 1, 1.0, 1.0)
    window = draw_window(generator, sampling, Shares(level=0, start=0, drain=0))
    place = (
        torch.linspace(0, 3, window.num_latents)[:, None, None]
        + torch.linspace(0, 2, 4)[:, None]
        + torch.linspace(0, 2, 4)
    )
    wave = torch.stack([torch.sin(place + c) for c in range(CHANNELS)])
    latents = torch.stack([wave, -wave])
    states = torch.randn(2, TOKENS, tiny.width, generator=torch.Generator().manual_seed(9))
    pooled = (
        None
        if tiny.pooled is None
        else torch.randn(2, tiny.pooled, generator=torch.Generator().manual_seed(8))
    )
    sigma = draw_sigma(window, 2, sigma_table(4, 1.0), generator)
    noise = torch.randn(latents.shape, generator=generator)
    return latents, Text(states, torch.ones(2, TOKENS, dtype=torch.bool), pooled), sigma, noise
