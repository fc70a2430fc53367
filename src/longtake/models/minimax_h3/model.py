"""The MiniMax-H3 adapter: diffusers' MiniMaxH3Transformer3DModel with a time for each latent frame, without sound.

The network reads one row of text, sound and picture, a table of times, and which of them each token has: a time a frame
is an input of its own. Its times are 1 - sigma, its velocity is data - noise, and its films have no tokens of sound.
Text has a time of its own, as joint.py says.

The places of latents in time follow the autoencoder's groups of 1, 4, 4, 4 and 4 frames, counted from the window's
first latent. So a window must begin with a group.
Source: diffusers' MiniMaxH3ModularPipeline.

C channels, F latent frames, H W latent height and width, h w the same in patches, L text tokens, D text width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from longtake.models.adapter import TIMESTEPS, Adapter
from longtake.models.joint.tokens import with_text
from longtake.models.text import PromptEncoder, Text

PICTURE, WORD = 0, 1  # kinds of tokens, as the network numbers them
PATCH, SOUND_CHANNELS = 2, 32
GROUP_FRAMES = (1, 4, 4, 4, 4)  # pixel frames of each latent in a group
FRAME = 5 / 3  # of a pixel frame, on the network's axis of time, where a text token is 1
SIDE = 32  # of a square picture, on its axes of space
LAYER = 50  # of the text encoder, whose states the network reads


class MiniMaxH3Model(Adapter):
    """A MiniMax-H3 transformer and its other parts, as a VideoModel."""

    asks_mask = True

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says, a call a row: rows differ in their number of tokens. It films at 24 frames a second, and is
        told no other rate."""
        rows = zip(latents, timestep, text.states, text.mask, strict=True)
        return torch.stack([_velocity(network, x, t, states[mask]) for x, t, states, mask in rows])


def _velocity(network: nn.Module, latents: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
    """noise - data (C, F, H, W) of latents (C, F, H, W) at timestep (F,), 1000 noise to 0 clean, told states (L, D)."""
    patches = latents.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH)).permute(1, 2, 4, 0, 3, 5)
    count, (frames, height, width) = len(states), patches.shape[:3]
    places = torch.cat([_text_places(count), _picture_places(count, frames, height, width)])
    tokens = torch.arange(len(places), device=latents.device)
    data, _ = network(
        hidden_states=patches.flatten(3).flatten(0, 2)[None],
        audio_hidden_states=latents.new_empty(1, 0, SOUND_CHANNELS),
        encoder_hidden_states=states[None],
        timestep=1 - with_text(timestep[None])[0].to(latents.device) / TIMESTEPS,
        timestep_indices=(tokens - count).div(height * width, rounding_mode="floor").add(1).clamp_min(0),
        token_tags=torch.where(tokens < count, WORD, PICTURE),
        position_ids=places.float().to(latents.device),
        video_indices=tokens[count:],
        audio_indices=tokens[:0],
        text_indices=tokens[:count],
        return_dict=False,
    )
    made = data[0].unflatten(0, (frames, height, width)).unflatten(3, (-1, PATCH, PATCH))
    return -made.permute(3, 0, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def _text_places(count: int) -> Tensor:
    """Where text tokens are in time, height and width: (L, 3), float64."""
    places = torch.zeros(count, 3, dtype=torch.float64)
    places[:, 0] = torch.arange(count)
    return places


def _picture_places(start: int, frames: int, height: int, width: int) -> Tensor:
    """The same of patches, (F * h * w, 3): in time behind `start` text tokens, in space by the picture's shape."""
    lasting = torch.tensor(GROUP_FRAMES, dtype=torch.float64).repeat(-(-frames // len(GROUP_FRAMES)))
    times = start + FRAME * torch.cat([torch.zeros(1), lasting.cumsum(0)])[:frames]
    area = math.sqrt(height * width)
    rows, columns = (
        SIDE * (0.5 + (torch.arange(side, dtype=torch.float64) - side / 2) / area) for side in (height, width)
    )
    return torch.stack(torch.meshgrid(times, rows, columns, indexing="ij"), dim=-1).flatten(0, 2)


class Qwen3VLPromptEncoder(PromptEncoder):
    """What a Qwen3-VL makes of prompts as they are written: the states (B, L, D) behind layer 50, where
    L = spec.max_prompt_tokens."""

    @staticmethod
    def clean(prompt: str) -> str:
        """The prompt itself: it may have lines and sections."""
        return prompt

    def encode(self, prompts: list[str]) -> Text:
        language = self.parts["text_encoder"].model
        tokens = self.tokenizer(
            prompts,
            add_special_tokens=False,
            padding="max_length",
            padding_side="right",
            max_length=self.spec.max_prompt_tokens,
            return_tensors="pt",
        ).to(language.device)
        states = language(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states[LAYER]
        return Text(states, tokens.attention_mask.bool())
