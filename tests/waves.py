"""Film without files, for a network of any kind: waves that run through latents, and captions that are numbers."""

import torch
from torch import Tensor

from longtake.models.base import ModelDefaults
from longtake.models.folder import ModelFolder
from longtake.models.text import Text
from longtake.training.loss import Window

SIDE = 4  # latents


class Waves:
    """Two captioned clips of latents of 4 × 4, a wave in each; a Footage for the trainer."""

    def __init__(self, folder: ModelFolder, sampling: ModelDefaults, length: int = 40) -> None:
        spec = folder.spec
        self.sampling = sampling
        across = torch.linspace(0, 2, SIDE)
        place = torch.linspace(0, length / 4, length)[:, None, None] + across[:, None] + across
        waves = torch.stack([torch.sin(place + c) for c in range(spec.latent_channels)])
        self.clips = torch.stack([waves, -waves.flip(1)])
        told = (spec.max_prompt_tokens, folder.network.text_width)
        self.texts = torch.randn(2, *told, generator=torch.Generator().manual_seed(9))
        self.null_text = Text.of_zero_padded(torch.zeros(1, *told))

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Text]:
        clips = torch.randint(2, (batch,), generator=generator).tolist()
        most = self.clips.shape[2] - window.num_latents + 1
        starts = torch.randint(most, (batch,), generator=generator).tolist()
        windows = [self.clips[c, :, s : s + window.num_latents] for c, s in zip(clips, starts, strict=True)]
        return torch.stack(windows), Text.of_zero_padded(self.texts[clips])
