"""A film as a function from state to state: what a pass makes of a half-made film, and the pictures that come of it.

B batch, C channels, F latent frames, H W latent height and width
"""

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longtake.cues import Stage, stages
from longtake.ends import Toward
from longtake.errors import NumberError, OptionError, StateError
from longtake.finite import ADVICE, is_finite
from longtake.given import decoded_frames
from longtake.guidance import guided_velocity
from longtake.methods import sampler
from longtake.models.base import Stateful, VideoModel
from longtake.models.text import Text
from longtake.noise import film_table, latent_noise, tail
from longtake.options import FilmPlan
from longtake.pictures import Pictures, to_tensor, to_uint8
from longtake.progressive import Window
from longtake.samplers import AGAIN, Noise, Sampler
from longtake.solvers import Velocity

Look = Callable[[Tensor, Tensor, Tensor, int], None]


@dataclass(frozen=True)
class ShotState:
    """All that a half-made film remembers: kept, it is the film stopped; advanced twice, films that branch.

    num_frames: the pictures made so far. window: the sampler's. decoder: tensors by name, as `Decoder.state` gives
    them. draft: those of the draft's latents, if the film has a draft. end: the latents (1, C, F, H, W) that it runs
    into, behind one that leads there; of a loop its first ones, as many as there are.
    """

    num_frames: int
    window: Window
    decoder: Mapping[str, Tensor]
    draft: Mapping[str, Tensor] = field(default_factory=dict)
    end: Tensor | None = None


class DraftLatents(Stateful, Protocol):
    """A film's draft, encoded at the film's size."""

    def latents(self, first: int, count: int) -> Tensor:
        """Clean latents (1, C, count, H, W) first, first + 1, …; `first` never falls, but by `restore`."""
        ...


class Shot:
    """A film as a function from state to state: a model, a plan, and the prompts encoded. It keeps nothing of a film.

    noise: the pure noise (1, C, count, H, W) of latents first, first + 1, … that are made, in place of the seed's.
    draft: what enters the window, noised to film.strength, in place of pure noise; whoever has it has it to himself.
    look(latents, velocity, sigma, first): sees every call of the network, what a Velocity takes and what it gave, and
    changes nothing.
    OptionError for a prompt of more tokens than the model takes, and for a film of a draft without it; NumberError for
    text that is not finite.
    """

    def __init__(
        self,
        model: VideoModel,
        film: FilmPlan,
        noise: Noise | None = None,
        draft: DraftLatents | None = None,
        look: Look | None = None,
    ) -> None:
        if (draft is None) != (film.strength is None):
            raise OptionError("a film has a strength if it is made from a draft, and only then")
        self.model, self.film, self._draft = model, film, draft
        self._stages = stages(film.directions)
        self._told = list(dict.fromkeys(stage.told for stage in self._stages))
        texts = self._texts()
        null_text = model.encode_prompt([film.negative_prompt], negative=True)
        null_texts = [null_text if film.negative_prompt else text.emptied(null_text) for text in texts]
        velocity = guided_velocity(
            partial(model.velocity, fps=float(film.rate)),
            texts,
            null_texts,
            lambda index: self._stage(index).guidance_scale,
            lambda index: self._told.index(self._stage(index).told),
            (film.experts.boundary, film.experts.guidance_scale_2) if film.experts else None,
        )
        pure, sigmas = noise or self._noise, self._sigmas
        level = round(float(sigmas[0]), 6)  # float32 comes near to 1
        self._sampler = sampler(
            film.cost.sampling,
            watched(velocity, self._place, look),
            self._drafted if draft is not None else lambda first, count: level * pure(first, count),
            sigmas,
            film.length.num_chunks,
            lambda latents: self._encoded(self._frames(latents)),
            level,
            self._fresh,
        )

    @property
    def _sigmas(self) -> Tensor:
        settings, strength = self.film.settings, self.film.strength
        table = film_table(settings, self.film.schedule)
        steps = self.film.cost.sampling.num_inference_steps
        return table if strength is None else tail(table, strength, steps)

    def _texts(self) -> list[Text]:
        """All that the film is told: each prompt is encoded by itself, and what two are encoded as is blended."""
        prompts = dict.fromkeys(prompt for told in self._told for prompt in told[:2])
        texts = {prompt: self.model.encode_prompt([prompt]) for prompt in prompts}
        return [texts[a].blended(texts[b], share) for a, b, share in self._told]

    def _stage(self, index: int) -> Stage:
        """The stage that a latent belongs to, by its index, counted from the first that is made."""
        place = self.film.length.given_latents + index
        return self._stages[max(0, bisect_right(self._stages, place, key=lambda stage: stage.first) - 1)]

    def check_given(self, start: Pictures | None, end: Pictures | None) -> None:
        """OptionError for pictures that are not those, as many and as large, that the film begins and ends with."""
        settings, film = self.film.settings, self.film
        for side, given, count in (("begins", start, film.given_frames), ("ends", end, film.end_frames)):
            wanted = (count, settings.height, settings.width, 3) if count else None
            if (found := None if given is None else given.shape) != wanted:
                raise OptionError(f"the film {side} with pictures of shape {wanted}, not {found}")

    @property
    def given_pictures(self) -> int:
        """How many of its first pictures are those that it begins with; they may come after `begin`."""
        return decoded_frames(self.film.length.given_latents, self.model.spec)

    @torch.inference_mode()
    def begin(self, start: Pictures | None = None, end: Pictures | None = None) -> tuple[ShotState, Pictures]:
        """The state before the first pass, and the pictures that are there by then: those of `start`, as the model's
        autoencoder gives them back. start: (given_frames, height, width, 3), if the film begins with a clip or photo;
        end: (end_frames, height, width, 3), if it ends with one."""
        self.check_given(start, end)
        if self._draft is not None:
            self._draft.restore({})
        context = None if start is None else self._encoded(to_tensor(start[None]))
        window = self._sampler.begin(context)
        state = ShotState(0, window, {}, self._drafted_so_far)
        if end is not None:
            state = self.toward(state, end)
        if context is None:
            return state, self._none
        return self._decoded(self._begun(state, context), context)

    @torch.inference_mode()
    def toward(self, state: ShotState, end: Pictures) -> ShotState:
        """The same state, which runs into pictures (end_frames, height, width, 3) from now on."""
        return replace(state, end=self._encoded_behind(to_tensor(end[None])))

    @torch.inference_mode()
    def advance(self, state: ShotState) -> tuple[ShotState, Pictures]:
        """The state a pass later, and the pictures (F, height, width, 3), 0 or more, that are finished with it.

        NumberError, which names the latent or the picture, for numbers that are not finite.
        """
        if self._draft is not None:
            self._draft.restore(state.draft)
        window, chunk = self._toward(state.end).advance(state.window)
        after = replace(state, window=window, draft=self._drafted_so_far)
        return (after, self._none) if chunk is None else self._decoded(self._begun(after, chunk), chunk)

    def _toward(self, end: Tensor | None) -> Sampler:
        """The film's sampler, toward its end as soon as that is known."""
        count = self.film.end_latents
        if not count or end is None or end.shape[2] <= count:
            return self._sampler
        return Toward.of(self._sampler, end[:, :, -count:], self.film.behind)

    def _begun(self, state: ShotState, latents: Tensor) -> ShotState:
        """The state of a loop when these come out of it: it remembers its beginning, to run into it.

        Where a latent stands for its frames alone, it remembers the latents, and otherwise what the autoencoder makes
        of their pictures behind others.
        """
        spec, missing = self.model.spec, self.film.end_latents + 1
        end = latents[:, :, :0] if state.end is None else state.end
        if not self.film.loop or (missing := missing - end.shape[2]) <= 0:
            return state
        end = torch.cat([end, latents[:, :, :missing].to(end)], dim=2)
        if missing <= latents.shape[2]:
            if spec.first_frames == spec.temporal_factor and not spec.lookahead_latents:
                end = end.roll(1, dims=2)
            else:
                frames = self._frames(end)
                end = self._encoded_behind(frames[:, :, : self.film.end_latents * spec.temporal_factor])
        return replace(state, end=end)

    def _encoded_behind(self, frames: Tensor) -> Tensor:
        """The latents of pictures (1, 3, N, height, width) that come behind others, and before them one that leads
        there: the first picture is held for it, and the last one where latents reach ahead."""
        spec = self.model.spec
        factor, count = spec.temporal_factor, frames.shape[2]
        wanted = spec.first_frames + self.film.end_latents * factor + spec.lookahead_latents * factor
        places = torch.arange(wanted).sub(spec.first_frames).clamp(0, count - 1)
        return self._encoded(frames[:, :, places])[:, :, : self.film.end_latents + 1]

    def passes(self, state: ShotState, until: int | None = None) -> Iterator[tuple[ShotState, Pictures]]:
        """What `advance` gives, from a state to the film's end, or until so many pictures are made."""
        while not self.is_whole(state) and (until is None or state.num_frames < until):
            state, pictures = self.advance(state)
            yield state, pictures

    def pictures(
        self, start: Pictures | None = None, end: Pictures | None = None
    ) -> Generator[Pictures, None, None]:
        """The whole film's pictures (F, height, width, 3), portion by portion as they are finished."""
        state, portion = self.begin(start, end)
        portions = (portion for _, portion in self.passes(state))
        yield from filter(len, chain([portion], portions))

    @torch.inference_mode()
    def remembering(self, state: ShotState) -> ShotState:
        """The same state, with all that its file left out made again; bars tell of it where it takes long."""
        decoder = self.model.decoder()
        decoder.restore(state.decoder)
        if self._draft is not None:
            self._draft.restore(state.draft)
        return replace(state, decoder=decoder.state(), draft=self._drafted_so_far)

    def check_state(self, state: ShotState) -> None:
        """StateError for a state of latents of another shape."""
        noisy = state.window.noisy.shape
        if (noisy[1], *noisy[3:]) != self.film.latent_shape:
            raise StateError(
                f"the state is of latents {tuple(noisy)}, the film's are {self.film.latent_shape}"
            )

    def is_open(self, state: ShotState) -> bool:
        """Whether a film that is longer has the same state on its way: nothing drains, no picture was cut off, and none
        was made because no latent follows."""
        length, sampling = self.film.length, self.film.cost.sampling
        given = 0 if self.film.behind else self.film.end_latents // sampling.chunk_size
        is_cut = state.num_frames == length.num_frames and length.surplus_frames > 0
        if self.model.spec.delay_latents and self.is_whole(state):
            return False
        return state.window.t <= self._sampler.open_until - given * sampling.steps_per_chunk and not is_cut

    def is_whole(self, state: ShotState) -> bool:
        """Whether the film has all its pictures."""
        return state.window.t == self._sampler.end

    def _decoded(self, state: ShotState, latents: Tensor) -> tuple[ShotState, Pictures]:
        decoder, num_frames = self.model.decoder(), state.num_frames
        decoder.restore(state.decoder)
        pictures = [self._none]
        for frames in chain([decoder.push(latents)], decoder.rest() if self.is_whole(state) else ()):
            _require_pictures(frames, num_frames, self.film)
            pictures.append(to_uint8(frames)[0, : self.film.length.num_frames - num_frames])
            num_frames += len(pictures[-1])
        return replace(state, num_frames=num_frames, decoder=decoder.state()), np.concatenate(pictures)

    @property
    def _drafted_so_far(self) -> Mapping[str, Tensor]:
        return {} if self._draft is None else self._draft.state()

    @property
    def _none(self) -> Pictures:
        return np.empty((0, self.film.settings.height, self.film.settings.width, 3), np.uint8)

    def _frames(self, latents: Tensor) -> Tensor:
        """The pictures of latents that are decoded by themselves."""
        decoder = self.model.decoder()
        return torch.cat([decoder.push(latents), *decoder.rest()], dim=2)

    def _encoded(self, frames: Tensor) -> Tensor:
        """The latents of pictures that are encoded by themselves, as a film's first."""
        encoder = self.model.encoder()
        return torch.cat([encoder.push(frames), *encoder.rest()], dim=2)

    def _place(self, index: int) -> str:
        """A latent by its index, counted from the first that is made, in words."""
        spec, place = self.model.spec, self.film.length.given_latents + index
        group = spec.group_latents or 1
        frames = decoded_frames(place // group * group, spec)
        return f"latent {place} of the film, at second {_seconds(frames, self.film)}"

    def _drafted(self, first: int, count: int) -> Tensor:
        """Latents of the draft at the film's strength. Their noise is of places so far ahead that the draft itself was
        not made of it."""
        assert self._draft is not None and self.film.strength is not None
        clean = self._draft.latents(first, count).to(self.model.device)
        return torch.lerp(clean, self._noise(AGAIN + first, count), self.film.strength)

    def _noise(self, first: int, count: int) -> Tensor:
        return self._fresh(first, torch.zeros(count))

    def _fresh(self, first: int, rungs: Tensor) -> Tensor:
        """Noise (1, C, F, H, W) for latents first, first + 1, …, or for these again, AGAIN ahead; each at its rung."""
        given, shape = self.film.length.given_latents, self.film.latent_shape
        latents = [
            latent_noise(self._stage(index % AGAIN).seed, given + index, shape, int(rung))
            for index, rung in enumerate(rungs.tolist(), first)
        ]
        return torch.stack(latents, dim=1)[None].to(self.model.device)


def watched(velocity: Velocity, place: Callable[[int], str], look: Look | None = None) -> Velocity:
    """The same velocity. NumberError, which names the first latent, when a noisy one's is not finite.

    place(index): a latent in words. look: as for Shot. It costs one look at the velocity a pass.
    """

    def watching(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        v = velocity(latents, sigma, first)
        noisy = sigma.to(v.device) > 0
        if not is_finite(v[:, :, noisy]):
            wrong = ~v.isfinite().all(dim=(0, 1, 3, 4)) & noisy
            where = place(first + int(wrong.nonzero()[0]))
            raise NumberError(f"the network makes numbers of {where}, that are not finite: {ADVICE}")
        if look is not None:
            look(latents, v, sigma, first)
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
