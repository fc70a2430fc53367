"""Endless, seeded, captioned tracking shots: the camera follows a vehicle past scrolling scenery.

A `Shot` is six attributes and a seed. It knows its captions, in many phrasings, and renders any stretch of
itself: frame n is a function of (shot, n) alone. The drawing itself is in `paint.py`.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.worlds.attributes import Captioned, Phrases, Vocabulary, tidied
from longtake.worlds.sheet import write_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 128, 80, 24

# Every attribute's values, each with the words that captions use for it; the first phrase is the plain one.
VEHICLES: Phrases = {
    "car": ("car", "sedan", "automobile", "hatchback"),
    "bus": ("bus", "coach", "city bus"),
    "truck": ("truck", "lorry", "delivery truck"),
    "tractor": ("tractor", "farm tractor"),
    "train": ("train", "locomotive", "railway engine"),
    "sailboat": ("sailboat", "sailing boat", "boat", "yacht"),
}
COLOURS: Phrases = {
    "red": ("red", "bright red", "scarlet", "crimson"),
    "yellow": ("yellow", "bright yellow", "golden"),
    "green": ("green", "bright green", "emerald"),
    "blue": ("blue", "bright blue", "azure"),
    "purple": ("purple", "violet", "bright purple"),
    "white": ("white", "snow white", "ivory"),
}
LANDSCAPES: Phrases = {
    "mountains": ("snowy mountains", "snow-capped mountains", "alpine peaks", "high mountains"),
    "hills": ("green hills", "rolling hills", "grassy hills", "green meadows"),
    "desert": ("desert dunes", "sand dunes", "the desert", "yellow dunes"),
    "canyon": ("red canyon", "a red rock canyon", "red cliffs", "the canyon"),
    "forest": ("a pine forest", "the forest", "dark woods", "fir trees"),
    "city": ("a city skyline", "skyscrapers", "tall buildings", "the city"),
}
TIMES: Phrases = {
    "dawn": ("at dawn", "at sunrise", "at daybreak", "in the early morning"),
    "noon": ("at noon", "at midday", "in daylight", "during the day", "in the afternoon"),
    "sunset": ("at sunset", "at sundown", "in the golden hour", "as the sun sets"),
    "dusk": ("at dusk", "at twilight", "in the blue hour", "after sunset"),
    "night": ("at night", "at midnight", "in the dark of night", "by moonlight"),
}
WEATHERS: Phrases = {
    "clear": ("", "under a clear sky", "in clear weather"),
    "cloudy": ("under a cloudy sky", "under clouds", "in cloudy weather"),
    "rainy": ("in the rain", "in rainy weather", "through heavy rain"),
    "foggy": ("in fog", "in foggy weather", "through thick mist"),
}
SPEEDS: Phrases = {
    "slow": ("slowly", "at a slow pace", "unhurriedly"),
    "steady": ("", "steadily", "at a steady pace"),
    "fast": ("fast", "quickly", "at high speed"),
}
ATTRIBUTES: dict[str, Phrases] = {
    "vehicle": VEHICLES,
    "colour": COLOURS,
    "landscape": LANDSCAPES,
    "time": TIMES,
    "weather": WEATHERS,
    "speed": SPEEDS,
}

VOCABULARY = Vocabulary("a tracking shot", ATTRIBUTES)

_VERBS = {
    "road": ("driving", "rolling", "cruising", "travelling", "going"),
    "rail": ("rolling", "running", "travelling", "going"),
    "water": ("sailing", "gliding", "travelling", "going"),
}
_OPENINGS = (
    *("", "", "", "tracking shot of ", "a tracking shot of "),
    *("side view of ", "film of ", "the camera follows "),
)
_ORDERS = (
    "{opening}a {colour} {vehicle} {verb} {speed} past {landscape} {time} {weather}",
    "{opening}a {colour} {vehicle} {verb} past {landscape} {speed} {weather} {time}",
    "{opening}a {colour} {vehicle} {verb} past {landscape} {time} {weather} {speed}",
    "{time} {weather} , {opening}a {colour} {vehicle} {verb} {speed} past {landscape}",
    "{time} {opening}a {colour} {vehicle} {verb} {speed} {weather} past {landscape}",
    "{opening}a {colour} {vehicle} , {verb} {speed} , {landscape} , {time} , {weather}",
    "{colour} {vehicle} {landscape} {time} {weather} {speed}",
)


@dataclass(frozen=True)
class Shot(Captioned):
    """One endless shot. Attributes are keys of `ATTRIBUTES`; the seed places ridges, clouds and trees."""

    vehicle: str
    colour: str
    landscape: str
    time: str
    weather: str
    speed: str
    seed: int = 0

    def __post_init__(self) -> None:
        VOCABULARY.check(self.attributes)

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute name to value, without the seed."""
        return {name: getattr(self, name) for name in ATTRIBUTES}

    def attributes_at(self, frame: int) -> dict[str, str]:
        """The same in every frame."""
        return self.attributes

    @property
    def combination(self) -> str:
        """All attributes but speed."""
        return "/".join(astuple(self)[:5])

    @property
    def surface(self) -> str:
        """What the vehicle moves on: road, rail or water."""
        return {"train": "rail", "sailboat": "water"}.get(self.vehicle, "road")

    def caption(self, rng: random.Random | None = None) -> str:
        """Describe the shot in one of many phrasings, or plainly when no `rng` is given.

        Clear weather and steady speed may go unmentioned; everything else is always said.
        """
        pick = (lambda phrases: phrases[0]) if rng is None else rng.choice
        order, opening, verb = pick(_ORDERS), pick(_OPENINGS), pick(_VERBS[self.surface])
        words = {name: pick(values[getattr(self, name)]) for name, values in ATTRIBUTES.items()}
        text = order.format(opening=opening, verb=verb, **words)
        text = re.sub(r"\ba (?=azure|emerald|ivory)", "an ", text)
        return tidied(text)

    def render(
        self, first_frame: int, num_frames: int, width: int = WIDTH, height: int = HEIGHT
    ) -> NDArray[np.uint8]:
        """Frames `first_frame` … `first_frame + num_frames - 1` as (F, height, width, 3) uint8 RGB."""
        from longtake.worlds.tracking_shot.paint import Painter

        return Painter(self, width, height).film(first_frame, num_frames)


def random_shot(rng: random.Random, *, held_out: bool = False) -> Shot:
    """Draw attributes and a seed uniformly among the combinations on one side of the hold-out."""
    while True:
        values = {name: rng.choice(list(choices)) for name, choices in ATTRIBUTES.items()}
        shot = Shot(**values, seed=rng.getrandbits(31))
        if shot.held_out == held_out:
            return shot


def every_shot() -> Iterator[Shot]:
    """One of every combination of attributes."""
    return (Shot(**values, seed=0) for values in VOCABULARY.every())


def described(caption: str, seed: int = 0) -> Shot:
    """The shot that a caption tells of: `Shot.caption` read back. OptionError as of Vocabulary.told."""
    return Shot(**VOCABULARY.told(caption), seed=seed)


def every_caption_word() -> list[str]:
    """All words and marks that captions can contain, sorted: the vocabulary of the embedded model."""
    return VOCABULARY.words(*_OPENINGS, *itertools.chain(*_VERBS.values()), "a", "an", "past", ",")


def contact_sheet(path: Path, seed: int = 0, rows: int = 12, columns: int = 6, scale: int = 2) -> None:
    """Write a PNG of `rows` random shots, each at `columns` moments one second apart, its caption below."""
    rng = random.Random(seed)
    drawn = []
    for _ in range(rows):
        shot = random_shot(rng)
        words = [shot.caption(rng), *[""] * (columns - 1)]
        pictures = [
            shot.render(FPS * column, 1, WIDTH * scale, HEIGHT * scale)[0] for column in range(columns)
        ]
        drawn.append(list(zip(pictures, words, strict=True)))
    write_sheet(path, drawn)


assert [f.name for f in fields(Shot)][:6] == list(ATTRIBUTES)
