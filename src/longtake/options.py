"""What a user may ask for, and what comes of it for one model.

Imports no torch. Each option is described, and each bound and default set, here and nowhere else; where an
option is None the model's own default holds."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any

from pydantic import Field

from longtake.cues import Cue, Direction, directions
from longtake.errors import OptionError
from longtake.frames import (
    MOST_FRAMES,
    FilmLength,
    exact_fps,
    frames_in,
    lasting,
    number,
    rounding,
)
from longtake.given import (
    End,
    Given,
    check_groups,
    check_tokens,
    encoded_frames,
    from_draft,
    jumps_at_end,
    latent_of,
    latent_side,
    latents_at_end,
    latents_at_start,
    length_of,
    loop_length,
)
from longtake.models.base import LoraName, ModelDefaults, ModelSpec, TwoExperts
from longtake.plan import (
    OWN_SETTINGS,
    OWN_START,
    RENOISING,
    Method,
    Plan,
    Sampling,
    Solver,
    make_plan,
    sampling_by,
)
from longtake.prompts import PromptText
from longtake.schedules import TABLES, Sigmas, levels_of, takes_shift, with_levels
from longtake.values import Count, Options, Positive, Rate

DEFAULT_SECONDS = 60.0

# No bound of taste: what is larger fits no memory, and no codec.
MOST_STEPS, LONGEST_WINDOW, LONGEST_SIDE = 10_000, 10_000, 16_384


@dataclass(frozen=True)
class FilmPlan:
    """A film that can be made: options that fit one model, none of them open.

    `settings` are the sampling options, `rate` is the exact frames a second, `cost` the film's length in every unit,
    how its method takes the settings, and its cost, `latent_shape` the (C, H, W) of one latent frame,
    `given_frames` how many frames of a clip or of a photo it begins with, `end_frames` how many it ends with,
    `end_latents` how many known latents it runs into, its own first ones if it is a `loop`, and whether these come
    `behind` it, `notes` what is not quite as it was asked for, in words, and `directions` what it follows from which
    latent on: its own prompt from 0, then what its `cues` say. `strength` is the noise level at which the latents of a
    draft enter, None for a film of pure noise, `quantize` how the model's weights are held, None for whole ones,
    `tile` whether large pictures are made in tiles, `schedule` the model's formula of noise levels, `experts` what is
    said of a model of two networks."""

    model: str
    loras: tuple[LoraName, ...]
    prompt: str
    negative_prompt: str
    seed: int
    settings: ModelDefaults
    rate: Fraction
    cost: Plan
    latent_shape: tuple[int, int, int]
    given_frames: int = 0
    end_frames: int = 0
    end_latents: int = 0
    loop: bool = False
    behind: bool = False
    notes: tuple[str, ...] = ()
    cues: tuple[Cue, ...] = ()
    directions: tuple[Direction, ...] = ()
    strength: float | None = None
    quantize: str | None = None
    tile: bool = False
    schedule: str = "flow"
    experts: TwoExperts | None = None

    @property
    def length(self) -> FilmLength:
        return self.cost.length

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything the film follows from, as JSON values."""
        levels = self.settings, self.schedule
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "seed": self.seed,
            "model": self.model,
            **({"loras": [asdict(lora) for lora in self.loras]} if self.loras else {}),
            **({"quantize": self.quantize} if self.quantize else {}),
            **({"tile": True} if self.tile else {}),
            "method": self.cost.sampling.method,
            **({"solver": self.cost.sampling.solver} if self.cost.sampling.solver != "euler" else {}),
            **({"reencode_context": True} if self.cost.sampling.reencode_context else {}),
            "num_frames": self.length.num_frames,
            **({"loop": True} if self.loop else {}),
            **{k: v for k, v in self.settings.told.items() if k != "shift" or takes_shift(*levels)},
            **({"guidance_scale_2": self.experts.guidance_scale_2} if self.experts else {}),
            **({"cues": [cue.model_dump(exclude_defaults=True) for cue in self.cues]} if self.cues else {}),
            **({} if self.strength is None else {"strength": self.strength}),
        }


class FilmOptions(Options):
    """The options of a film."""

    prompt: PromptText = Field(description="What to film.")
    negative_prompt: PromptText = Field("", description="What to steer away from; needs guidance.")
    seconds: float | None = Field(
        None,
        description=f"Length of the film, to the nearest whole frame; {DEFAULT_SECONDS:g} if nothing is given.",
    )
    num_frames: Count | None = Field(
        None, le=MOST_FRAMES, description="Length of the film in frames, instead of seconds."
    )
    seed: int = Field(0, ge=0, lt=2**64, description="Another seed is another film.")
    width: Count | None = Field(None, le=LONGEST_SIDE, description="Width of the picture in pixels.")
    height: Count | None = Field(None, le=LONGEST_SIDE, description="Height of the picture in pixels.")
    fps: Rate | None = Field(
        None, description="Frames a second, such as 24, 12.5, 24000/1001; 23.976 means 24000/1001."
    )
    method: Method = Field(
        "progressive",
        description="How to denoise; the others are there to compare. Those that need a context take a third of the"
        " model's window where it has none.",
    )
    num_inference_steps: Count | None = Field(
        None, le=MOST_STEPS, description="Denoising steps that each frame takes."
    )
    steps_per_chunk: Count | None = Field(None, description="Passes between two finished chunks.")
    chunk_size: Count | None = Field(
        None, le=LONGEST_WINDOW, description="Latent frames that are finished together."
    )
    context_size: int | None = Field(
        None, ge=0, le=LONGEST_WINDOW, description="Finished latent frames that stay in view."
    )
    solver: Solver = Field(
        "euler",
        description="How a pass moves a latent; unipc, of second order, is what most models' own pipelines take.",
    )
    shift: Positive | None = Field(None, description="Warp of the noise levels; larger stays noisy longer.")
    sigmas: Sigmas | None = Field(
        None,
        description="The noise levels themselves, such as 1,0.9375,0.83,0.625, one a step and without the 0 that they"
        f" fall to; or those of weights with few steps by name: {', '.join(TABLES)}.",
    )
    guidance_scale: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="How closely to follow the prompt; 1 is off."
    )
    guidance_scale_2: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="The same of the second expert, of models of two."
    )
    cues: tuple[Cue, ...] = Field((), description="What changes on the way, in the order of the film.")
    reencode_context: bool = Field(
        False,
        description="Decode and encode what is finished before it becomes context, as Open-Sora's own script does;"
        " for chunks that are made one by one, none shorter than the context.",
    )

    loop: bool = Field(
        False, description="Let the film run into its own beginning; its length becomes whole chunks."
    )

    def resolved(
        self,
        spec: ModelSpec,
        from_clip: bool = False,
        *,
        photo: bool = False,
        end: Given | None = None,
        strength: float | None = None,
    ) -> FilmPlan:
        """The film that these options mean for a model. OptionError if they do not fit it or each other.

        from_clip: it begins with frames of a clip: with as many latents as it has context, or, where the autoencoder
        has groups, with one of these. photo: that is a photo: one latent of it is enough. end: what it ends with, if
        anything: with as many latents of a clip as the last ones that it makes see, or with a chunk of a photo.
        strength: the noise level in (0, 1) at which the latents of a draft enter; the steps are those of the model's
        table below it.
        """
        if not self.prompt.strip():
            raise OptionError("the prompt is empty: say what to film")
        settings = self._settings(spec)
        experts = spec.experts_guided(self.guidance_scale_2)
        scales = {settings.guidance_scale, *(cue.guidance_scale for cue in self.cues)}
        scales |= {experts.guidance_scale_2} if experts else set()
        if self.negative_prompt and scales <= {1, None}:
            raise OptionError("a negative prompt does nothing at guidance_scale 1, which is off")
        sampling = self.sampling(spec)
        if strength is not None:
            sampling = from_draft(sampling, strength, levels_of(settings, spec.schedule))
        rate = exact_fps(settings.fps)
        num_frames, given_latents = self._num_frames(rate), 0
        if from_clip:
            given_latents = latents_at_start(sampling, spec, photo)
        given_frames = encoded_frames(given_latents, spec)
        met: End | None = "loop" if self.loop else end
        end_latents = latents_at_end(sampling, spec, met)
        end_frames = 0 if self.loop else end_latents * spec.temporal_factor
        if self.loop and end:
            raise OptionError("a loop ends with its own beginning: give --loop or --end, not both")
        if strength is not None and end_latents:
            raise OptionError("a draft is finished as it is: it runs into no end, nor into its own beginning")
        if num_frames <= given_frames:
            raise OptionError(
                f"the film begins with {lasting(given_frames, rate)} of the clip, as many as its context holds, and"
                f" {num_frames:,} frames were asked for: ask for {given_frames + 1:,} or more"
            )
        behind = self.loop or end == "behind"
        if not behind and num_frames <= given_frames + end_frames:
            raise OptionError(
                f"the film ends with {lasting(end_frames, rate)} that are given, and {num_frames:,} frames were asked"
                f" for: ask for {given_frames + end_frames + 1:,} or more"
            )
        length = (
            loop_length(spec, sampling, num_frames, given_latents)
            if self.loop
            else length_of(num_frames, sampling.chunk_size, given_latents, spec)
        )
        if not behind and length.num_chunks * sampling.chunk_size <= end_latents:
            raise OptionError(
                f"the end takes {end_latents} latents, as many as the film has: ask for more frames"
            )
        planned = self._directions(spec, settings, sampling, rate, num_frames)
        return FilmPlan(
            model=spec.name,
            loras=spec.loras,
            quantize=spec.quantize,
            tile=spec.tile,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            seed=self.seed,
            settings=settings,
            rate=rate,
            cost=make_plan(length, sampling, length.given_latents),
            latent_shape=(
                spec.latent_channels,
                latent_side("height", settings.height, spec),
                latent_side("width", settings.width, spec),
            ),
            given_frames=given_frames,
            end_frames=end_frames,
            end_latents=end_latents,
            loop=self.loop,
            behind=behind,
            notes=tuple(
                filter(None, (*self._notes(sampling, rate, length.num_frames), jumps_at_end(spec, met)))
            ),
            cues=self.cues,
            directions=planned,
            strength=strength,
            experts=experts,
            schedule=spec.schedule,
        )

    def _directions(
        self, spec: ModelSpec, settings: ModelDefaults, sampling: Sampling, rate: Fraction, num_frames: int
    ) -> tuple[Direction, ...]:
        """What the film follows from which latent on. OptionError for cues that it cannot."""
        if not spec.text_per_latent and any(cue.prompt for cue in self.cues):
            raise OptionError(
                f"{spec.name} reads one text for all latents that it sees at once: its prompt cannot change on the way"
            )
        if sampling.method in RENOISING and any(cue.seed is not None for cue in self.cues):
            raise OptionError(
                f"method {sampling.method} noises what is finished again: another seed would change what came before"
            )
        for place, cue in enumerate(self.cues, 1):
            if (end := cue.at + cue.blend) * rate >= num_frames:
                raise OptionError(
                    f"cue {place} holds from {number(end)} s on, and the film ends at {number(num_frames / rate)} s:"
                    " make it longer, or the cue earlier"
                )
        start = Direction(0, self.prompt, settings.guidance_scale, self.seed)
        return directions(start, self.cues, lambda seconds: latent_of(round(seconds * rate), spec))

    def sampling(self, spec: ModelSpec) -> Sampling:
        """How such a film is denoised with a model. OptionError if the options do not fit it or each other."""
        for name in OWN_SETTINGS.get(self.method, ()):
            if getattr(self, name) is not None:
                raise OptionError(f"method {self.method} sets {name} itself: leave it out")
        own, settings = Sampling(*spec.defaults.ladder), self._settings(spec)
        sampling = sampling_by(self.method, *settings.ladder, own.rungs * own.chunk_size)
        if self.method in OWN_START and (first := levels_of(settings, spec.schedule)[0]) < 0.999999:
            raise OptionError(
                f"method {self.method} starts from pure noise, and these noise levels begin at {first:g}"
            )
        if self.reencode_context and sampling.chunk_size % (spec.group_latents or 1):
            raise OptionError(
                "reencode_context needs chunks of whole groups: take a chunk_size that is a multiple of"
                f" {spec.group_latents}, not {sampling.chunk_size}"
            )
        check_tokens(sampling, spec)
        check_groups(sampling, spec)
        return replace(sampling, reencode_context=self.reencode_context, solver=self.solver)

    def _settings(self, spec: ModelSpec) -> ModelDefaults:
        wanted = {field.name: getattr(self, field.name) for field in fields(ModelDefaults)}
        given = {name: value for name, value in wanted.items() if value is not None}
        return with_levels(spec.defaults, given, spec.schedule)

    def _notes(self, sampling: Sampling, rate: Fraction, num_frames: int) -> Iterator[str]:
        seconds = DEFAULT_SECONDS if self.seconds is None else self.seconds
        if self.num_frames is None and (words := rounding(seconds, rate, num_frames)):
            yield words
        if self.loop and self.num_frames not in (None, num_frames):
            yield f"a loop has whole chunks: {lasting(num_frames, rate)}"
        if self.context_size == 0 and sampling.context_size:
            yield (
                f"method {self.method} cannot do without a context: it has {sampling.context_size} latents of it, a"
                " third of the model's window, not 0"
            )

    def _num_frames(self, rate: Fraction) -> int:
        if self.num_frames is None:
            return frames_in(DEFAULT_SECONDS if self.seconds is None else self.seconds, rate)
        if self.seconds is not None:
            raise OptionError("give the length in seconds or in frames, not both")
        return self.num_frames


def options_of(metadata: Mapping[str, Any]) -> FilmOptions:
    """The options of a film that says this of itself. OptionError for values that no film has."""
    own = next((names for name, names in OWN_SETTINGS.items() if name == metadata.get("method")), ())
    known = FilmOptions.model_fields.keys() - set(own)
    return FilmOptions(**{name: value for name, value in metadata.items() if name in known})
