"""From a prompt to pictures, as a stream; all arithmetic is elsewhere.

Knows nothing of files: pictures leave as uint8 arrays while the film is made, and memory does not grow with
its length.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtake.errors import NumberError, OptionError
from longtake.finite import ADVICE, is_finite, require_finite
from longtake.guidance import emptied, guided_velocity
from longtake.methods import Noise, denoise
from longtake.models.base import VideoModel
from longtake.models.load import load_model
from longtake.models.places import Model
from longtake.noise import chunk_noise, sigma_table
from longtake.options import FilmOptions, FilmPlan, decoded_frames
from longtake.solvers import Velocity

Pictures = NDArray[np.uint8]


class LongTake:
    """A model, ready to film. The same model, options, prompt and seed give the same film, whole or in
    part."""

    def __init__(self, model: VideoModel) -> None:
        self.model = model

    @classmethod
    def from_pretrained(
        cls,
        model: Model = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        lora: str | Path | None = None,
    ) -> Self:
        """Loads a model folder, a model of the hub, or (None) the embedded default, and adds a LoRA to it;
        see `models.load.load_model`."""
        return cls(load_model(model, device, dtype, lora))

    def stream(
        self, prompt: str, seconds: float | None = None, start: Pictures | None = None, **options: Any
    ) -> Generator[Pictures, None, None]:
        """Films `prompt`, yielding pictures (F, height, width, 3) uint8 as soon as they are clean.

        `seconds` become the nearest whole number of frames.
        start: pictures of the film's own size and rate that it begins with; `FilmOptions.resolved` says how many.
        `options` are the fields of `FilmOptions`. OptionError, at once, if they do not fit the model or the
        prompt is longer than it takes. NumberError, at the pass or the picture that it comes with, when numbers are
        not finite. Call `close()` on the result to end early."""
        wanted = FilmOptions(prompt=prompt, seconds=seconds, **options)
        return self.shoot(wanted.resolved(self.model.spec, from_clip=start is not None), start)

    def generate(
        self, prompt: str, seconds: float | None = None, start: Pictures | None = None, **options: Any
    ) -> Pictures:
        """The whole film of `stream`, (num_frames, height, width, 3) uint8, held in memory."""
        return np.concatenate(list(self.stream(prompt, seconds, start, **options)))

    def shoot(self, film: FilmPlan, start: Pictures | None = None) -> Generator[Pictures, None, None]:
        """`stream` for options that are resolved already."""
        given = film.given_frames
        wanted = (given, film.settings.height, film.settings.width, 3) if given else None
        found = None if start is None else start.shape
        if found != wanted:
            raise OptionError(f"the film begins with pictures of shape {wanted}, not {found}")
        text = self.model.encode_prompt([film.prompt])
        null_text = self.model.encode_prompt([film.negative_prompt])
        if not film.negative_prompt:
            null_text = emptied(text, null_text)
        network = partial(self.model.velocity, fps=float(film.rate))
        velocity = guided_velocity(network, text[None], null_text[None], film.settings.guidance_scale)
        return self._pictures(film, watched(velocity, partial(self._place, film)), start)

    @torch.inference_mode()
    def _pictures(
        self, film: FilmPlan, velocity: Velocity, start: Pictures | None
    ) -> Generator[Pictures, None, None]:
        context = None if start is None else self._encoded(to_tensor(start[None]))
        chunks = denoise(
            film.cost.sampling,
            velocity,
            self._noise(film),
            sigma_table(film.settings.num_inference_steps, film.settings.shift),
            film.length.num_chunks,
            context,
            lambda latents: self._encoded(self.model.decoder().push(latents)),
        )
        decoder = self.model.decoder()
        missing = film.length.num_frames
        with closing(chunks):
            for latents in chunks if context is None else chain([context], chunks):
                first = film.length.num_frames - missing
                frames = decoder.push(latents)
                _require_pictures(frames, first, film)
                pictures = to_uint8(frames)[0, :missing]
                missing -= len(pictures)
                if len(pictures):
                    yield pictures
        assert missing == 0

    def _encoded(self, frames: Tensor) -> Tensor:
        """The latents of pictures that are encoded by themselves, as a film's first."""
        return self.model.encoder().push(frames)

    def _place(self, film: FilmPlan, index: int) -> str:
        """A latent by its index, counted from the first that is made, in words."""
        spec, place = self.model.spec, film.length.given_latents + index
        group = spec.group_latents or 1
        frames = decoded_frames(place // group * group, spec)
        return f"latent {place} of the film, at second {_seconds(frames, film)}"

    def _noise(self, film: FilmPlan) -> Noise:
        given = film.length.given_latents
        return lambda first, count: chunk_noise([film.seed], given + first, count, film.latent_shape).to(
            self.model.device
        )


def watched(velocity: Velocity, place: Callable[[int], str]) -> Velocity:
    """The same velocity. NumberError, which names the first latent, when a noisy one's is not finite.

    place(index): a latent in words. It costs one look at the velocity a pass.
    """

    def watching(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        v = velocity(latents, sigma, first)
        noisy = sigma.to(v.device) > 0
        if not is_finite(v[:, :, noisy]):
            wrong = ~v.isfinite().all(dim=(0, 1, 3, 4)) & noisy
            where = place(first + int(wrong.nonzero()[0]))
            raise NumberError(f"the network makes numbers of {where}, that are not finite: {ADVICE}")
        return v

    return watching


def _require_pictures(frames: Tensor, first: int, film: FilmPlan) -> None:
    """NumberError, which names the first picture, for frames (1, 3, N, height, width) that are not finite."""
    if not is_finite(frames):
        number = first + int((~frames.isfinite()).any(dim=(0, 1, 3, 4)).nonzero()[0])
        raise NumberError(
            f"the autoencoder makes numbers of picture {number} of the film, at second {_seconds(number, film)}, that"
            f" are not finite: {ADVICE}"
        )


def _seconds(frames: int, film: FilmPlan) -> str:
    return f"{float(frames / film.rate):.2f}"


def to_tensor(pictures: Pictures) -> Tensor:
    """Pictures (B, N, height, width, 3), 0 to 255, as frames (B, 3, N, height, width), float32 in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_uint8(frames: Tensor) -> Pictures:
    """Frames (B, 3, N, height, width) in [-1, 1] as pictures (B, N, height, width, 3), 0 to 255, rounded.

    NumberError for frames that are not finite: NaN would be black."""
    require_finite(frames, "what is to become pictures")
    levels = frames.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()
