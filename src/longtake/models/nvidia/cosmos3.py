"""The Cosmos 3 adapter: diffusers' Cosmos3OmniTransformer, its pictures alone, with a time for each latent frame.

One network reads the prompt and makes the pictures: words attend to words before them, patches to all words and all
patches. A patch is told its frame's time by a sum with it; a patch of a clean frame is told none, as its pipeline does
for frames that are known. Stock Cosmos 3 embeds a time for each patch; here it is one a frame. The weights, their names
and the results stay what they were.

The sound and the actions that it could make beside pictures are left out.

B batch, C channels, F latent frames, H W latent height and width, P patches a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import Cosmos3OmniTransformer as StockTransformer
from diffusers.pipelines.cosmos.pipeline_cosmos3_omni import (
    get_3d_mrope_ids_text_tokens,
    get_3d_mrope_ids_vae_tokens,
)
from torch import Tensor, nn

from longtake.errors import ModelError
from longtake.models.adapter import Adapter
from longtake.models.text import Text

FRAMES_A_LATENT = 4


class Cosmos3OmniTransformer(StockTransformer):
    """Cosmos 3's network, which is asked for a velocity by latents, times and embedded words alone."""

    def forward(self, latents: Tensor, timestep: Tensor, words: Tensor, fps: float) -> Tensor:
        """noise - data (B, C, F, H, W) of latents (B, C, F, H, W) at timestep (B, F), from 1000, noise, to 0, clean.

        words (B, L, D), behind whose tokens are rows of zeros.
        """
        counts = words.any(dim=-1).sum(dim=1).tolist()
        rows = zip(latents.split(1), timestep, words, counts, strict=True)
        return torch.cat([self._row(x, time, text[:count], fps) for x, time, text, count in rows])

    def _row(self, latents: Tensor, timestep: Tensor, words: Tensor, fps: float) -> Tensor:
        """One row of it: latents (1, C, F, H, W), timestep (F,), words (L, D)."""
        patches, sizes = self._patchify_and_pack_latents([latents])
        x = self.proj_in(patches)
        frames, side = latents.shape[2], self.config.latent_patch_size
        grid = (frames, -(-latents.shape[3] // side), -(-latents.shape[4] // side))
        told = self.time_proj(timestep.to(x.device) * self.config.timestep_scale)
        told = self.time_embedder(told.to(self.time_embedder.linear_1.weight.dtype)).to(x.dtype)
        told = told.masked_fill((timestep == 0).to(x.device)[:, None], 0)
        x = (x.unflatten(0, (frames, -1)) + told[:, None]).flatten(0, 1)
        cos, sin = self._turns(len(words), grid, fps, x)
        count = len(words)
        _, x = self._run_decoder_stack(words, x, (cos[:count], sin[:count], cos[count:], sin[count:]))
        every = torch.arange(frames, device=x.device)
        return self._unpatchify_and_unpack_latents(self.proj_out(x), [grid], [every], sizes)[0]

    def _turns(
        self, count: int, grid: tuple[int, int, int], fps: float, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The rotary embedding, (L + F * P, width of a head) each, of so many words and of patches behind them."""
        config = self.config
        words, behind = get_3d_mrope_ids_text_tokens(
            count, 0, use_float_positions=config.enable_fps_modulation
        )
        patches, _ = get_3d_mrope_ids_vae_tokens(
            *grid,
            temporal_offset=behind + config.unified_3d_mrope_temporal_modality_margin,
            reset_spatial_indices=config.unified_3d_mrope_reset_spatial_ids,
            fps=fps if config.enable_fps_modulation else None,
            base_fps=float(config.base_fps),
            temporal_compression_factor=FRAMES_A_LATENT,
        )
        places = torch.cat([words, patches], dim=1).unsqueeze(1).to(like.device)
        cos, sin = self.rotary_emb(position_ids=places, device=like.device, dtype=like.dtype)
        return cos.squeeze(0), sin.squeeze(0)


def per_frame_times(transformer: Any) -> Any:
    """Make a Cosmos 3 transformer, in place, what Cosmos3OmniTransformer is here; returns it.

    Call it before anything else hooks into the model; twice is as once. State dict and saving are untouched.
    """
    transformer.__class__ = Cosmos3OmniTransformer
    return transformer


class Cosmos3Model(Adapter):
    """A Cosmos 3 transformer, which is given per-frame times in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_times(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says, a row at a time."""
        velocity: Tensor = network(latents, timestep, text.zero_padded(), fps)
        return velocity

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str], negative: bool = False) -> Text:
        """As Adapter says, embedded, and zero behind the tokens. All of it is seen, so that an empty prompt is not cut
        to the length of another: it ends in words of its own. ModelError if the network, which embeds, is not loaded.
        """
        table = self.transformer.embed_tokens
        if table.weight.is_meta:
            raise ModelError(
                f"{self.spec.name} reads prompts with its network: it cannot be trained here yet"
            )
        numbers = super().encode_prompt(prompts, negative)
        words = table(numbers.states[..., 0].long().to(table.weight.device))
        return Text(words.masked_fill(~numbers.mask[..., None], 0), torch.ones_like(numbers.mask))
