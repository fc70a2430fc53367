"""From a prompt to pictures, as a stream; all arithmetic is elsewhere.

Knows nothing of files: pictures leave as uint8 arrays while the film is made, and memory does not grow with
its length.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtake.guidance import guided_velocity
from longtake.methods import Noise, denoise
from longtake.models.base import VideoModel
from longtake.models.load import load_model
from longtake.noise import chunk_noise, sigma_table
from longtake.options import Film, FilmOptions
from longtake.progressive import Velocity

Pictures = NDArray[np.uint8]


class LongTake:
    """A model, ready to film. The same model, options, prompt and seed give the same film, whole or in
    part."""

    def __init__(self, model: VideoModel) -> None:
        self.model = model

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        lora: str | Path | None = None,
    ) -> Self:
        """Loads a model folder, a model of the hub, or (None) the embedded default, and adds a LoRA to it;
        see `models.load.load_model`."""
        return cls(load_model(model, device, dtype, lora))

    def stream(
        self, prompt: str, seconds: float | None = None, **options: Any
    ) -> Generator[Pictures, None, None]:
        """Films `prompt`, yielding pictures (F, height, width, 3) uint8 as soon as they are clean.

        `options` are the fields of `FilmOptions`. OptionError, at once, if they do not fit the model or the
        prompt is longer than it takes. Call `close()` on the result to end early."""
        return self.shoot(FilmOptions(prompt=prompt, seconds=seconds, **options).resolved(self.model.spec))

    def generate(self, prompt: str, seconds: float | None = None, **options: Any) -> Pictures:
        """The whole film of `stream`, (num_frames, height, width, 3) uint8, held in memory."""
        return np.concatenate(list(self.stream(prompt, seconds, **options)))

    def shoot(self, film: Film) -> Generator[Pictures, None, None]:
        """`stream` for options that are resolved already."""
        text = self.model.encode_prompt([film.prompt])
        null_text = self.model.encode_prompt([film.negative_prompt])
        return self._pictures(
            film, guided_velocity(self.model.velocity, text, null_text, film.settings.guidance_scale)
        )

    @torch.inference_mode()
    def _pictures(self, film: Film, velocity: Velocity) -> Generator[Pictures, None, None]:
        sigmas = sigma_table(film.settings.num_inference_steps, film.settings.shift)
        chunks = denoise(film.plan.sampling, velocity, self._noise(film), sigmas, film.length.num_chunks)
        decoder = self.model.decoder()
        missing = film.length.num_frames
        with closing(chunks):
            for latents in chunks:
                pictures = to_uint8(decoder.push(latents))[0, :missing]
                missing -= len(pictures)
                if len(pictures):
                    yield pictures
        assert missing == 0

    def _noise(self, film: Film) -> Noise:
        return lambda first, count: chunk_noise([film.seed], first, count, film.latent_shape).to(
            self.model.device
        )


def to_uint8(frames: Tensor) -> Pictures:
    """Frames (B, 3, N, height, width) in [-1, 1] as pictures (B, N, height, width, 3), 0 to 255, rounded."""
    levels = frames.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()
