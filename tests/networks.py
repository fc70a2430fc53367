"""The network of every family, so small that it learns in a second: random weights, the real classes."""

from dataclasses import dataclass
from typing import Any

import torch

from longtake.models.families import FAMILIES
from longtake.models.joint.hunyuan_text import GLYPH_TOKENS
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
COG = SAME | dict(attention_head_dim=16, time_embed_dim=8, text_embed_dim=WIDTH, max_text_seq_length=TOKENS)
COG |= dict(sample_width=8, sample_height=8, sample_frames=9, use_rotary_positional_embeddings=True)
HUNYUAN = SAME | dict(
    attention_head_dim=16, num_refiner_layers=1, text_embed_dim=WIDTH, rope_axes_dim=(4, 6, 6)
)
HUNYUAN_1_5 = HUNYUAN | dict(in_channels=2 * CHANNELS + 1, text_embed_2_dim=8, image_embed_dim=12)
KANDINSKY: dict[str, Any] = dict(
    in_visual_dim=CHANNELS, out_visual_dim=CHANNELS, in_text_dim=WIDTH, in_text_dim2=8
)
KANDINSKY |= dict(time_dim=16, model_dim=32, ff_dim=48, num_text_blocks=1, num_visual_blocks=2)
KANDINSKY |= dict(axes_dims=(4, 6, 6), visual_cond=True)

H3: dict[str, Any] = dict(
    num_attention_heads=2, attention_head_dim=16, hidden_size=24, num_layers=2, ffn_dim=32
)
H3 |= dict(num_refiner_layers=1, in_channels=CHANNELS, text_dim=WIDTH, freq_dim=16, time_embed_hidden_dim=24)
H3 |= dict(time_embed_dim=16, rope_freq_dim=2)
MOTIF = SAME | dict(in_channels=2 * CHANNELS + 1, attention_head_dim=12, num_layers=1, num_single_layers=3)
MOTIF |= dict(num_decoder_layers=2, text_embed_dim=WIDTH, rope_axes_dim=(4, 4, 4))
MOTIF |= dict(enable_text_cross_attention_dual=True, enable_text_cross_attention_single=True)


@dataclass(frozen=True)
class Tiny:
    """A configuration, and the widths of the states and of the pooled vector that such a network reads, and how many
    tokens."""

    config: dict[str, Any]
    width: int = WIDTH
    pooled: int | None = None
    tokens: int = TOKENS

    def text(self, seed: int) -> Text:
        """Two texts."""
        generator = torch.Generator().manual_seed(seed)
        states = torch.randn(2, self.tokens, self.width, generator=generator, device="cpu")
        pooled = (
            None if self.pooled is None else torch.randn(2, self.pooled, generator=generator, device="cpu")
        )
        return Text(states, torch.ones(2, self.tokens, dtype=torch.bool, device="cpu"), pooled)


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
    "CogVideoXTransformer3DModel": Tiny(COG),
    "HunyuanVideoTransformer3DModel": Tiny(
        HUNYUAN | dict(num_single_layers=2, pooled_projection_dim=8), pooled=8
    ),
    "HunyuanVideo15Transformer3DModel": Tiny(HUNYUAN_1_5, tokens=GLYPH_TOKENS + TOKENS),
    "Kandinsky5Transformer3DModel": Tiny(KANDINSKY, pooled=8),
    "MiniMaxH3Transformer3DModel": Tiny(H3),
    "MotifVideoTransformer3DModel": Tiny(MOTIF),
}


def tiny_network(name: str) -> Any:
    """The network of a family, made to take a timestep for each latent frame."""
    assert name in NETWORKS, f"say in tests/networks.py how small a {name} can be"
    network = adapter(name).prepared(imported(FAMILIES[name].code)(**NETWORKS[name].config))
    for parameter in network.parameters():
        if not parameter.is_meta and parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # what begins as nothing would learn in its second step
    return network
