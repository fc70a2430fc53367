"""The network of every family, so small that it learns in a second: random weights, the real classes."""

from dataclasses import dataclass
from typing import Any

import torch

from longtake.models.families import FAMILIES
from longtake.models.load import adapter
from longtake.models.records import imported
from longtake.models.text import Text

CHANNELS, WIDTH, TOKENS = 4, 16, 5
SAME: dict[str, Any] = dict(in_channels=CHANNELS, out_channels=CHANNELS, num_attention_heads=2, num_layers=2)
WAN = SAME | dict(attention_head_dim=12, text_dim=WIDTH, freq_dim=32, ffn_dim=48)
OPEN_SORA: dict[str, Any] = dict(
    in_channels=CHANNELS, num_attention_heads=2, attention_head_dim=12, num_layers=2
)
LTX = SAME | dict(attention_head_dim=12, cross_attention_dim=24, caption_channels=WIDTH)
SOUND: dict[str, Any] = dict(audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2)
SOUND |= dict(audio_attention_head_dim=6, audio_cross_attention_dim=12, rope_type="split")
COSMOS = SAME | dict(in_channels=CHANNELS + 1, attention_head_dim=16, mlp_ratio=2, text_embed_dim=WIDTH)
COSMOS |= dict(adaln_lora_dim=4, max_size=(16, 32, 32), rope_scale=(1.0, 3.0, 3.0), extra_pos_embed_type=None)
COSMOS_3: dict[str, Any] = dict(head_dim=16, hidden_size=32, intermediate_size=32, latent_channel=CHANNELS)
COSMOS_3 |= dict(latent_patch_size=2, num_attention_heads=2, num_hidden_layers=2, num_key_value_heads=1)
COSMOS_3 |= dict(patch_latent_dim=4 * CHANNELS, rope_axes_dim=[4, 2, 2], vocab_size=20)
SANA = SAME | dict(attention_head_dim=12, num_cross_attention_heads=2, cross_attention_head_dim=12)
SANA |= dict(cross_attention_dim=24, caption_channels=WIDTH, mlp_ratio=2.0, rope_max_seq_len=32)


@dataclass(frozen=True)
class Tiny:
    """A configuration, and the widths of the states and of the pooled vector that such a network reads."""

    config: dict[str, Any]
    width: int = WIDTH
    pooled: int | None = None

    def text(self, seed: int) -> Text:
        """Two texts of five tokens."""
        generator = torch.Generator().manual_seed(seed)
        states = torch.randn(2, TOKENS, self.width, generator=generator, device="cpu")
        pooled = (
            None if self.pooled is None else torch.randn(2, self.pooled, generator=generator, device="cpu")
        )
        return Text(states, torch.ones(2, TOKENS, dtype=torch.bool, device="cpu"), pooled)


# A new family says here how small it can be.
NETWORKS = {
    "WanTransformer3DModel": Tiny(WAN),
    "SkyReelsV2Transformer3DModel": Tiny(WAN | dict(inject_sample_info=True)),
    "OpenSoraTransformer3DModel": Tiny(OPEN_SORA | dict(caption_channels=WIDTH)),
    "LTXVideoTransformer3DModel": Tiny(LTX),
    "LTX2VideoTransformer3DModel": Tiny(LTX | SOUND),
    "CosmosTransformer3DModel": Tiny(COSMOS),
    "Cosmos3OmniTransformer": Tiny(COSMOS_3, width=32),
    "SanaVideoTransformer3DModel": Tiny(SANA),
}


def tiny_network(name: str) -> Any:
    """The network of a family, made to take a timestep for each latent frame."""
    assert name in NETWORKS, f"say in tests/networks.py how small a {name} can be"
    return adapter(name).prepared(imported(FAMILIES[name].code)(**NETWORKS[name].config))
