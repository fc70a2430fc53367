"""The Cosmos adapter: diffusers' CosmosTransformer3DModel, of Cosmos Predict 2 and 2.5, with a time for each latent
frame.

Stock Cosmos takes such times, but repeats a frame's modulation over all its tokens; here it is broadcast. The weights,
their names and the results stay what they were.

The network gives noise - data of a flow whose level is its time. Cosmos Predict 2's pipeline writes the same as the
preconditioning of EDM (Karras et al., arXiv 2206.00364) of a level s = t / (1 - t): c_in = c_skip = 1 - t, c_out = -t
and c_noise = t. So nothing is converted but the scale of the time.

Both are trained on clips whose first latents may be known. They are told which ones by a channel that is 1 there, and
by a time next to 0: so are clean latents told here.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network or text
width
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from diffusers import CosmosTransformer3DModel as StockTransformer
from diffusers.models.transformers import transformer_cosmos
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.models.adapter import TIMESTEPS, Adapter
from longtake.models.base import Decoder
from longtake.models.nvidia.guardrail import GuardedDecoder, Guardrail, check_prompt, load_guardrail
from longtake.models.text import Text

KNOWN = 1e-4  # the time of latents that are known: conditional_frame_timestep of the pipelines


class CosmosTransformerBlock(transformer_cosmos.CosmosTransformerBlock):
    """Cosmos' block with one modulation a frame, and one text a frame where it is given so. It keeps the name by which
    diffusers finds a Cosmos' blocks."""

    def forward(
        self, x: Tensor, text: Tensor, embedded: Tensor, temb: Tensor, rotary_emb: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Tokens (B, F, P, D) to the same, by the time of each frame: embedded (B, F, 1, D), temb (B, F, 1, 3 * D).

        Text states (B, L, D) are those of the whole clip; of (B, F, L, D) each frame sees its own.
        """
        y, gate = self.norm1(x, embedded, temb)
        x = x + gate * self.attn1(y.flatten(1, 2), image_rotary_emb=rotary_emb).view_as(x)
        y, gate = self.norm2(x, embedded, temb)
        asking = y.flatten(0, 1) if text.ndim == 4 else y.flatten(1, 2)
        x = x + gate * self.attn2(asking, encoder_hidden_states=text.flatten(0, -3)).view_as(x)
        y, gate = self.norm3(x, embedded, temb)
        return x + gate * self.ff(y)


class CosmosTransformer3DModel(StockTransformer):
    """Cosmos' network, which is asked for a velocity by latents and times alone."""

    _repeated_blocks: ClassVar[list[str]] = ["CosmosTransformerBlock"]

    def forward(self, latents: Tensor, timestep: Tensor, text: Tensor, fps: float) -> Tensor:
        """noise - data (B, C, F, H, W) of latents (B, C, F, H, W) at timestep (B, F), from 1000, noise, to 0, clean.

        text (B, L, D), or (B, F, L, D), one a frame. Predict 2 is told the frame rate, 2.5 is not.
        """
        config, timestep = self.config, timestep.to(latents.device)
        known = timestep == 0
        time = (timestep / TIMESTEPS).masked_fill(known, KNOWN)
        mask = known[:, None, :, None, None].to(latents.dtype).expand(-1, 1, -1, *latents.shape[3:])
        inputs = torch.cat([latents, mask], dim=1)
        rotary_emb = self.rope(inputs, fps=None if config.use_crossattn_projection else fps)
        if config.concat_padding_mask:
            inputs = F.pad(inputs, (0,) * 7 + (1,))  # a channel of zeros: no part of the picture is padding
        grid = self.patch_embed(inputs)
        x = grid.flatten(2, 3)
        temb, embedded = (row.view(*time.shape, 1, -1) for row in self.time_embed(x, time.flatten()))
        if config.use_crossattn_projection:
            text = self.crossattn_proj(text)
        for block in self.transformer_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, text, embedded, temb, rotary_emb)
            else:
                x = block(x, text, embedded, temb, rotary_emb)
        x = self.proj_out(self.norm_out(x, embedded, temb))
        x = x.unflatten(2, grid.shape[2:4]).unflatten(4, (*config.patch_size[1:], -1))
        return x.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def per_frame_times(transformer: Any) -> Any:
    """Make a Cosmos transformer, in place, what CosmosTransformer3DModel is here; returns it.

    Call it before anything else hooks into the model; twice is as once. State dict and saving are untouched. Its result
    equals that of stock Cosmos with times (B, 1, F, 1, 1), to the rounding of the modulation: products of F rows, not
    F * P.
    """
    assert transformer.config.patch_size[0] == 1, "a token must belong to one latent frame"
    transformer.__class__ = CosmosTransformer3DModel
    for block in transformer.transformer_blocks:
        block.__class__ = CosmosTransformerBlock
    return transformer


class CosmosModel(Adapter):
    """A Cosmos transformer, which is given per-frame times in place, and its other parts, as a VideoModel: behind
    NVIDIA's guardrail."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_times(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says. The network sees zeros where a prompt has no token, as its pipelines give them."""
        velocity: Tensor = network(latents, timestep, text.zero_padded(), fps)
        return velocity

    @cached_property
    def guardrail(self) -> Guardrail:
        return load_guardrail(self.device)

    def encode_prompt(self, prompts: list[str], negative: bool = False) -> Text:
        """As Adapter says. OptionError for a prompt that the guardrail blocks; nothing is made of a negative one."""
        for prompt in () if negative else prompts:
            check_prompt(self.guardrail, prompt)
        return super().encode_prompt(prompts, negative)

    def decoder(self) -> Decoder:
        return GuardedDecoder(super().decoder(), self.guardrail)
