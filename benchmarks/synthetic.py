"""Films that drift in known ways, to try measures on: renders of the tracking-shot world, spoilt.

A drift that grows does so evenly from the first frame to the last; one that happens, happens in the middle.

N frames, H W height and width in pixels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluation import record
from longtake.evaluation.drift import start_end_contrast
from longtake.evaluation.measures.base import Frames
from longtake.evaluation.world import Rendered
from longtake.worlds.tracking_shot.shot import FPS, LANDSCAPES, VEHICLES, Shot

Floats = NDArray[np.float32]

Drift = Callable[[Frames, Shot], Frames]
Key = tuple[str, str]  # the name of a curve or total, and which of the two
Numbers = Mapping[Key, float]

BRIGHTER = 0.5  # at the end, of a value
BLUR = 1 / 40  # standard deviation at the end, of the height
NOISE = 12  # standard deviation at the end, in grey levels
DISSOLVE = 2 * FPS  # frames in which one identity becomes another
LOOP = 5 * FPS  # frames that come back
WINDOW = 2 * FPS  # frames between two seams
PATCH, GRID = 16, 4  # pixels, and grey levels at the end, between patches of a grid
LATENT, STILLNESS = 4, 0.7  # frames, and at the end how much of a latent's motion is left out inside of it
VIEW = FPS  # frames in which one view of a place becomes another
ZOOM = 4  # times as large at the end
SKIPPED = 4  # frames of motion that a seam leaves out
CAUGHT = 0.75  # the share of spoilt films that a number must tell from stable ones


def exposure_creep(film: Frames, shot: Shot) -> Frames:
    """Ever brighter, to half as much again."""
    return _pictures(film * (1 + BRIGHTER * _rising(film)))


def progressive_blur(film: Frames, shot: Shot) -> Frames:
    """Ever softer."""
    widths = BLUR * film.shape[1] * _rising(film).ravel() + 1e-3
    return np.stack(
        [cv2.GaussianBlur(picture, (0, 0), width) for picture, width in zip(film, widths, strict=True)]
    )


def growing_noise(film: Frames, shot: Shot) -> Frames:
    """Ever more grain, new in each frame."""
    grain = np.random.default_rng(shot.seed).standard_normal(film.shape, np.float32)
    return _pictures(film + NOISE * _rising(film) * grain)


def freezing(film: Frames, shot: Shot) -> Frames:
    """Stands still from the middle on."""
    middle = len(film) // 2
    return film[np.minimum(np.arange(len(film)), middle)]


def hard_cut(film: Frames, shot: Shot) -> Frames:
    """From the middle on another shot, of the same time and weather."""
    middle = len(film) // 2
    return np.concatenate([film[:middle], _other(film, shot)[middle:]])


def identity_swap(film: Frames, shot: Shot) -> Frames:
    """The vehicle and the landscape turn into others in the middle, within two seconds; each picture keeps its luma."""
    other = _other(film, shot).astype(np.float32)
    other *= film.mean((1, 2, 3), keepdims=True) / other.mean((1, 2, 3), keepdims=True)
    middle = len(film) // 2
    share = (
        ((np.arange(len(film)) - middle) / DISSOLVE + 0.5).clip(0, 1).astype(np.float32)[:, None, None, None]
    )
    return _pictures((1 - share) * film + share * other)


def looping(film: Frames, shot: Shot) -> Frames:
    """From the middle on the last five seconds come again and again; their end dissolves into their beginning."""
    middle, blend = len(film) // 2, FPS // 2
    loop = film[middle - LOOP : middle].astype(np.float32)
    share = np.linspace(0, 1, blend, dtype=np.float32)[:, None, None, None]
    loop[-blend:] = (1 - share) * loop[-blend:] + share * film[middle - LOOP - blend : middle - LOOP]
    again = np.arange(len(film) - middle + LOOP) % LOOP
    return np.concatenate([film[: middle - LOOP], _pictures(loop)[again]])


def seams(film: Frames, shot: Shot) -> Frames:
    """Every two seconds the motion jumps ahead by four frames."""
    height, width = film.shape[1:3]
    starts = range(0, len(film), WINDOW)
    return np.concatenate(
        [
            shot.render(start + SKIPPED * number, min(WINDOW, len(film) - start), width, height)
            for number, start in enumerate(starts)
        ]
    )


def growing_grid(film: Frames, shot: Shot) -> Frames:
    """Ever more of a faint chequerboard: every other patch brighter, the rest darker."""
    rows, columns = (np.arange(side) // PATCH for side in film.shape[1:3])
    board = np.where((rows[:, None] + columns) % 2, 0.5, -0.5).astype(np.float32)[None, ..., None]
    return _pictures(film + GRID * _rising(film) * board)


def growing_beat(film: Frames, shot: Shot) -> Frames:
    """Ever more of a jerk every fourth frame: the four are blended with their mean."""
    latents = np.arange(len(film)) // LATENT
    middles = np.stack(
        [film[latents == latent].mean(0, dtype=np.float32) for latent in range(latents[-1] + 1)]
    )
    share = STILLNESS * _rising(film)
    return _pictures((1 - share) * film + share * middles[latents])


def other_views(film: Frames, shot: Rendered) -> Frames:
    """From the middle on every second fades to another moment of the shot, each going on as it would: things move and
    never come. What differs from the shot's mean picture keeps its variance, so that nothing else is told."""
    count, (height, width) = len(film), film.shape[1:3]
    middle, mean = count // 2, film.mean(0, dtype=np.float32)
    faded = film.copy()
    for number, start in enumerate(range(middle, count, VIEW)):
        length = min(VIEW, count - start)
        turn = np.linspace(0, np.pi / 2, VIEW, dtype=np.float32)[:length, None, None, None]
        here, there = (
            film[start : start + length]
            if view == 0
            else shot.render(start + view * count, length, width, height)
            for view in (number, number + 1)
        )
        faded[start : start + length] = _pictures(
            mean + np.cos(turn) * (here - mean) + np.sin(turn) * (there - mean)
        )
    return faded


def creeping_zoom(film: Frames, shot: Shot) -> Frames:
    """Ever nearer, and ever faster, about the middle of the picture, to four times the size."""
    height, width = film.shape[1:3]
    middle, sizes = ((width - 1) / 2, (height - 1) / 2), ZOOM ** _rising(film).ravel() ** 2
    return np.stack(
        [
            cv2.warpAffine(picture, cv2.getRotationMatrix2D(middle, 0, float(size)), (width, height))
            for picture, size in zip(film, sizes, strict=True)
        ]
    ).astype(np.uint8)


DRIFTS: Mapping[str, Drift] = {
    drift.__name__.replace("_", " "): drift
    for drift in (
        exposure_creep,
        progressive_blur,
        growing_noise,
        freezing,
        hard_cut,
        identity_swap,
        looping,
        seams,
        growing_grid,
        growing_beat,
        other_views,
        creeping_zoom,
    )
}


def numbers(film: record.Numbers) -> Numbers:
    """What was measured of a film: the start–end contrast of each of its curves, and each of its totals."""
    contrasts = {name: start_end_contrast(np.array(curve, float)) for name, curve in film.curves.items()}
    return {
        **{(name, "start–end"): float(contrast) for name, contrast in contrasts.items()},
        **{(name, "total"): float(np.array(total, float)) for name, total in film.totals.items()},
    }


def caught(drifted: Sequence[Numbers], stable: Sequence[Numbers]) -> set[Key]:
    """The numbers that catch a drift: in at least three of four drifted films they lie outside the range of the stable
    ones, widened by half its width on either side."""
    keys = list(stable[0])
    usual, found = (np.array([[film[key] for key in keys] for film in films]) for films in (stable, drifted))
    low, high = usual.min(0), usual.max(0)
    outside = np.abs(found - (low + high) / 2) > high - low
    return {key for key, share in zip(keys, outside.mean(0), strict=True) if share >= CAUGHT}


def _rising(film: Frames) -> Floats:
    """From 0 at the first frame to 1 at the last, (N, 1, 1, 1)."""
    return np.linspace(0, 1, len(film), dtype=np.float32)[:, None, None, None]


def _other(film: Frames, shot: Shot) -> Frames:
    """A film of another vehicle in another landscape, all else equal."""
    vehicles, landscapes = list(VEHICLES), list(LANDSCAPES)
    other = replace(
        shot,
        vehicle=vehicles[vehicles.index(shot.vehicle) - 1],
        landscape=landscapes[landscapes.index(shot.landscape) - 1],
    )
    return other.render(0, len(film), film.shape[2], film.shape[1])


def _pictures(values: Floats) -> Frames:
    return values.clip(0, 255).round().astype(np.uint8)
