"""What is compared with what: the methods, our own parts left out one by one, and what all their films share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from longtake.errors import OptionError
from longtake.evaluation.measures.base import Joints
from longtake.evaluation.options import ABLATIONS, COMPARED, METHODS, Given
from longtake.evaluation.world import World
from longtake.frames import frames_of
from longtake.given import decoded_frames
from longtake.models.base import Loras, ModelSpec
from longtake.models.card.placement import Placement
from longtake.models.folder import ModelFolder
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.models.records import PresetName
from longtake.options import FilmOptions, FilmPlan
from longtake.plan import OWN_SETTINGS
from longtake.presets import preset_options

REAL = "real film"
OURS = "progressive"  # what the others are compared with
EQUAL_COST = ", equal cost"


@dataclass(frozen=True)
class Variant:
    """What is compared: a name, and the options of FilmOptions that make it, or the preset that has them."""

    name: str
    options: Given = field(default_factory=Given)
    preset: PresetName | None = None


# The rows of Open-Sora v1.2 in the paper's Table 1: on equal terms, and as its authors ran the baseline.
TABLE1 = [
    Variant(OURS, preset="pa-o-base"),
    Variant("replacement", preset="rn-o-base"),
    Variant("replacement, as released", preset="rn-o-base-as-released"),
]


@dataclass(frozen=True)
class Setting:
    """What all films of a comparison share. `model` and `lora` are named as for read_spec. `clips`: the folder of
    the clips that films begin with; `fit_start` as in read_start. `world`: that of the prompts, if any; `judge`: a file
    with who reads its films, as for check_judge. `placement`: how the model is put on a card."""

    seconds: float
    model: str | None = None
    lora: Loras = None
    device: str = "cpu"
    dtype: str | None = None
    weights_dir: Path | None = None
    clips: Path | None = None
    fit_start: bool = False
    world: World | None = None
    judge: Path | None = None
    placement: Placement = field(default_factory=Placement)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: other processes read it themselves."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def folder(self) -> ModelFolder:
        return open_model(self.model)

    @cached_property
    def spec(self) -> ModelSpec:
        return read_spec(self.folder, self.lora, self.placement)

    def options(self, variant: Variant, prompt: str = "any", seed: int = 0) -> FilmOptions:
        given = {"prompt": prompt, "seconds": self.seconds, "seed": seed, **variant.options}
        return FilmOptions(**(preset_options(variant.preset, given) if variant.preset else given))

    def film(self, variant: Variant, prompt: str = "any", seed: int = 0, from_clip: bool = False) -> FilmPlan:
        """OptionError if the model cannot make it."""
        return self.options(variant, prompt, seed).resolved(self.spec, from_clip)


def joints_of(film: FilmPlan, spec: ModelSpec) -> Joints:
    """Where the pieces of a film meet. Its shifts are where a chunk begins, or a window where its method starts windows
    anew; those of a clip that it begins with are one piece. Latents that reach into one another begin at no one frame:
    of theirs the phase is left open."""
    sampling, length = film.cost.sampling, film.length
    piece = sampling.chunk_size * (sampling.chunks_per_run if sampling.method == "restart" else 1)
    given, end = length.given_latents, length.given_latents + length.num_latent_frames
    return Joints(
        shifts=frozenset(decoded_frames(latents, spec) for latents in range(given or piece, end, piece)),
        latents=None
        if spec.lookahead_latents
        else frozenset(_first_frame(latent, spec) for latent in range(1, end)),
        latent_frames=spec.temporal_factor,
        patch=spec.alignment,
    )


def _first_frame(latent: int, spec: ModelSpec) -> int:
    """The frame that a latent begins with, those inside of a group too."""
    inside = latent % (spec.group_latents or latent + 1)
    own = frames_of(inside, temporal_factor=spec.temporal_factor, first_frames=spec.first_frames)
    return decoded_frames(latent - inside, spec) + own


def variants_of(
    names: Sequence[str], setting: Setting, equal_cost: bool = True
) -> tuple[list[Variant], list[str]]:
    """Methods and ablations by name, with `equal_cost` each that costs otherwise than progressive denoising also at its
    cost; and, in words, what is left out. OptionError for a name that there is not, or what cannot be filmed."""
    spec = setting.spec
    budget = setting.film(Variant(OURS)).cost.latent_evaluations
    variants, notes = list[Variant](), list[str]()
    for name in names:
        if name not in COMPARED:
            raise OptionError(f"there is no method {name}: choose among {', '.join(COMPARED)}")
        if name in ABLATIONS and ABLATIONS[name].items() <= asdict(spec.defaults).items():
            notes.append(f"{name} is left out: {spec.name} is filmed so anyway")
            continue
        variant = Variant(name, ABLATIONS.get(name) or Given(method=next(m for m in METHODS if m == name)))
        variants.append(variant)
        steps = equal_cost_steps(setting.options(variant), spec, budget)
        if equal_cost and steps != spec.defaults.num_inference_steps:
            variants.append(Variant(name + EQUAL_COST, {**variant.options, "num_inference_steps": steps}))
    return variants, notes


def equal_cost_steps(options: FilmOptions, spec: ModelSpec, budget: int) -> int:
    """The num_inference_steps at which a film costs as nearly `budget` latent evaluations as it can; of two, the fewer.

    Everything else stays as `options` say, steps_per_chunk and so the least number of steps included.
    """

    def cost(steps: int) -> int:
        film = options.model_copy(update={"num_inference_steps": steps}).resolved(spec)
        return film.cost.latent_evaluations

    own = "steps_per_chunk" in OWN_SETTINGS.get(options.method, ())
    least = 1 if own else options.steps_per_chunk or spec.defaults.steps_per_chunk
    enough = next(steps for steps in count(least) if cost(steps) >= budget)
    return min(range(max(least, enough - 1), enough + 1), key=lambda steps: abs(cost(steps) - budget))
