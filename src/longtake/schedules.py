"""Tables of noise levels as numbers, without torch: by formula, as models were trained, and by hand.

A table falls strictly from its first level, 1 or a little less, to 0, and 0 is left out here. A level is flow sigma:
x = (1 - sigma) * data + sigma * noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from longtake.errors import OptionError
from longtake.models.base import Level, ModelDefaults

EDM_MOST, EDM_LEAST, EDM_RHO = 80.0, 0.002, 7.0
LTX_LEAST, QUADRATIC_FROM = 0.1, 0.025
TRAIN_STEPS, LEAST_BETA, MOST_BETA = 1000, 0.00085, 0.012


@dataclass(frozen=True)
class Schedule:
    """A formula of a table: levels(num_inference_steps, shift). takes_shift: whether shift changes it."""

    levels: Callable[[int, float], list[float]]
    takes_shift: bool = True


@dataclass(frozen=True)
class Table:
    """The levels that few-step weights were trained for, a line about these, and where the levels are written."""

    sigmas: tuple[float, ...]
    about: str
    source: str


def flow(num_inference_steps: int, shift: float) -> list[float]:
    """Even u from 1 warped to shift * u / (1 + (shift - 1) * u)."""
    shares = (1 - i / num_inference_steps for i in range(num_inference_steps))
    return [shift * u / (1 + (shift - 1) * u) for u in shares]


def kandinsky(num_inference_steps: int, shift: float) -> list[float]:
    """Even levels from 1 to the least of 1000 that are shifted, shifted again: what FlowMatchEulerDiscreteScheduler of
    diffusers takes where it is told a number of steps alone, as by the pipeline of Kandinsky 5."""
    least, gaps = shift / (TRAIN_STEPS + shift - 1), max(1, num_inference_steps - 1)
    shares = (1 - i / gaps * (1 - least) for i in range(num_inference_steps))
    return [shift * u / (1 + (shift - 1) * u) for u in shares]


def karras(
    num_inference_steps: int, shift: float = 1, most: float = EDM_MOST, least: float = EDM_LEAST
) -> list[float]:
    """The levels of EDM from `most` down to `least`, even in their seventh root, as flow sigmas s / (1 + s).

    From 80, those of Cosmos Predict 2, they begin at 80/81; 2.5 has them from 200 down to 0.01. shift plays no part.
    Source: Karras et al., arXiv 2206.00364, eq. 5. diffusers' pipelines of Cosmos Predict 2 stay at 0.002 in their last
    step and so drop what the network says there; here it goes to 0.
    """
    first, last = most ** (1 / EDM_RHO), least ** (1 / EDM_RHO)
    gaps = max(1, num_inference_steps - 1)
    edm = [(first + i / gaps * (last - first)) ** EDM_RHO for i in range(num_inference_steps)]
    return [s / (1 + s) for s in edm]


@cache
def cogvideox_levels(snr_shift_scale: float) -> tuple[float, ...]:
    """The flow sigma of each of CogVideoX's discrete timesteps 0 to 999, which rises to 1.

    snr_shift_scale: 3 for CogVideoX-2B, 1 for the others. Betas whose roots are even from 0.00085 to 0.012; the signal
    to noise divided by the scale; then stretched so that nothing of the signal is left at the end (Lin et al., arXiv
    2305.08891, algorithm 1), as diffusers' CogVideoXDDIMScheduler does with rescale_betas_zero_snr.
    """
    first, last = LEAST_BETA**0.5, MOST_BETA**0.5
    alphas = (1 - (first + i / (TRAIN_STEPS - 1) * (last - first)) ** 2 for i in range(TRAIN_STEPS))
    kept = accumulate(alphas, lambda product, alpha: product * alpha)
    roots = [(a / (snr_shift_scale + (1 - snr_shift_scale) * a)) ** 0.5 for a in kept]
    signal = [(root - roots[-1]) * roots[0] / (roots[0] - roots[-1]) for root in roots]
    noise = [math.sqrt(1 - root**2) for root in signal]
    return tuple(n / (s + n) for s, n in zip(signal, noise, strict=True))


def cogvideox(num_inference_steps: int, shift: float) -> list[float]:
    """The levels of CogVideoX, at even distances in its timesteps, counted from the last ("trailing"). shift: its
    snr_shift_scale. OptionError for more steps than it has timesteps.

    Where the steps do not divide 1000, diffusers' CogVideoXDDIMScheduler steps to a timestep beside the next one of its
    list; here each step ends where the next begins.
    """
    if num_inference_steps > TRAIN_STEPS:
        raise OptionError(f"num_inference_steps must be at most {TRAIN_STEPS}, got {num_inference_steps}")
    levels = cogvideox_levels(shift)
    return [
        levels[round(TRAIN_STEPS - i * TRAIN_STEPS / num_inference_steps) - 1]
        for i in range(num_inference_steps)
    ]


def ltx(num_inference_steps: int, shift: float) -> list[float]:
    """Those of flow, stretched so that the last one is 0.1, as diffusers' scheduler does with shift_terminal: LTX-Video
    0.9.0 and 0.9.1, and LTX-2."""
    noise = flow(num_inference_steps, shift)
    return [1 - (1 - u) * (1 - LTX_LEAST) / (1 - noise[-1]) if u < 1 else 1.0 for u in noise]


def linear_quadratic(num_inference_steps: int, shift: float = 1) -> list[float]:
    """Half of the steps, in even ones, from 1 to 0.975, the others on a parabola from there to 0: LTX-Video 0.9.5 and
    later. Shift plays no part. Source: the pipeline of LTX-Video, of Mochi's authors."""
    S, even = num_inference_steps, num_inference_steps // 2
    if S == 1:
        return [1.0]
    slope, rest = QUADRATIC_FROM / even, S - even
    bend = (1 - QUADRATIC_FROM - slope * rest) / rest**2
    return [
        1 - slope * i if i < even else 1 - QUADRATIC_FROM - slope * (i - even) - bend * (i - even) ** 2
        for i in range(S)
    ]


SCHEDULES = {
    "flow": Schedule(flow),
    "kandinsky": Schedule(kandinsky),
    "karras": Schedule(karras, False),
    "cogvideox": Schedule(cogvideox),
    "ltx": Schedule(ltx),
    "linear-quadratic": Schedule(linear_quadratic, False),
    "karras-200": Schedule(partial(karras, most=200.0, least=0.01), False),
}

TABLES = {
    "lightx2v": Table(
        tuple(flow(4, 5.0)),
        "Wan 2.1 in four steps without guidance: lightx2v's distilled weights and LoRAs, Self-Forcing",
        "configs/distill/wan21/wan_t2v_distill_lora_4step_cfg.json in ModelTC/LightX2V: timesteps 1000, 750, 500, 250,"
        " shift 5",
    ),
    "causvid": Table(
        (1.0, 0.757, 0.522),
        "Wan 2.1 in three steps without guidance: CausVid, FastWan",
        "configs/wan_causal_dmd.yaml of CausVid, and fastvideo/configs/pipelines/wan.py in hao-ai-lab/FastVideo:"
        " timesteps 1000, 757, 522, shifted already",
    ),
    "turbo": Table(
        tuple(s / (1 + s) for s in (EDM_MOST, math.tan(1.5), math.tan(1.4), math.tan(1.0))),
        "Wan 2.1 in four steps without guidance: TurboDiffusion",
        "turbodiffusion/inference/wan2.1_t2v_infer.py in thu-ml/TurboDiffusion: sigma_max 80, then the angles 1.5, 1.4,"
        " 1.0 whose tangents are levels of EDM",
    ),
    "ltx": Table(
        (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875),
        "LTX-2, and LTX-Video from 0.9.7 on, in eight steps without guidance: their distilled weights and LoRAs",
        "DISTILLED_SIGMA_VALUES in diffusers.pipelines.ltx2.utils, of Lightricks/LTX-2",
    ),
}


def levels_of(settings: ModelDefaults, schedule: str) -> Sequence[float]:
    """The levels that a film by these settings passes through, 0 left out: their own, or those of the model's
    schedule, a key of SCHEDULES."""
    if settings.sigmas is not None:
        return settings.sigmas
    return SCHEDULES[schedule].levels(settings.num_inference_steps, settings.shift)


def takes_shift(settings: ModelDefaults, schedule: str) -> bool:
    """Whether shift is part of what these levels follow from."""
    return settings.sigmas is None and SCHEDULES[schedule].takes_shift


def with_levels(own: ModelDefaults, given: dict[str, Any], schedule: str) -> ModelDefaults:
    """A model's own settings with those that are given, of the fields of ModelDefaults, in their place.

    Levels that are given count the steps, and finish a chunk after each; so many latents make a chunk that the window
    holds as many as by the model's own settings. Where steps or a shift are given, the model's own levels are not kept.
    OptionError for both at once, and for a shift that changes nothing.
    """
    sigmas = given.get("sigmas")
    if "shift" in given and not SCHEDULES[schedule].takes_shift:
        raise OptionError(f"the noise levels of this model ({schedule}) have no shift: leave it out")
    if sigmas is None:
        mine: dict[str, Any] = {"sigmas": None} if {"shift", "num_inference_steps"} & given.keys() else {}
        return ModelDefaults(**vars(own) | mine | given)
    if "shift" in given:
        raise OptionError(
            "sigmas are the noise levels themselves, which shift would warp: leave out one of them"
        )
    S = len(sigmas)
    if given.get("num_inference_steps", S) != S:
        raise OptionError(
            f"sigmas of {S} levels are {S} steps: leave out num_inference_steps, or give {S},"
            f" not {given['num_inference_steps']}"
        )
    latents = -(-own.num_inference_steps // own.steps_per_chunk) * own.chunk_size
    rungs = -(-S // given.get("steps_per_chunk", 1))
    mine = {"num_inference_steps": S, "steps_per_chunk": 1, "chunk_size": -(-latents // rungs)}
    return ModelDefaults(**vars(own) | mine | given)


def steps_from(strength: float, levels: Sequence[float]) -> int:
    """The steps from noise level `strength`, in (0, 1), down to 0 by a table's own levels: one to each that is lower,
    and one to 0. A level that is nearly `strength` takes none."""
    return 1 + sum(level < 0.999 * strength for level in levels[1:])


def _read(sigmas: Any) -> Any:
    """Levels of what is written as 1.0,0.9375,0.83,0.625, or of the name of a table; anything else as it is."""
    if not isinstance(sigmas, str):
        return _checked(sigmas)
    if sigmas.strip() in TABLES:
        return TABLES[sigmas.strip()].sigmas
    try:
        levels = [float(part) for part in sigmas.split(",")]
    except ValueError:
        names = ", ".join(TABLES)
        raise PydanticCustomError("sigmas", f"must be numbers such as 1,0.9,0.5, or one of {names}") from None
    return _checked(levels)


def _checked(sigmas: Any) -> Any:
    """The same, if they fall as they must, or are no levels at all."""
    if isinstance(sigmas, (list, tuple)) and all(type(level) in (int, float) for level in sigmas):
        bounded = (1.0, *sigmas, 0.0)
        falls = all(a > b for a, b in pairwise(bounded[1:])) and bounded[0] >= bounded[1]
        if not falls:
            raise PydanticCustomError("sigmas", "must fall at every step, from 1 or less to more than 0")
    return sigmas


Sigmas = Annotated[tuple[Level, ...], BeforeValidator(_read), Field(min_length=1)]
