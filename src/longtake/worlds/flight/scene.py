"""What a flight shows at one moment, and the captions that say so, in many phrasings, read back as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from longtake.errors import OptionError
from longtake.worlds.attributes import Captioned, Phrases, Vocabulary, tidied

# Every attribute's values, each with the words that captions use for it; the first phrase is the plain one, and an
# empty one may go unsaid.
LANDS: Phrases = {
    "mountains": ("snowy mountains", "snow-capped peaks", "alpine mountains", "snowy summits"),
    "hills": ("green hills", "rolling hills", "grassy hills", "green meadows"),
    "dunes": ("desert dunes", "sand dunes", "the desert", "a sea of sand"),
    "canyon": ("a red canyon", "red rocks", "red mesas", "a canyon of red rock"),
    "islands": ("tropical islands", "green islands", "islands in the sea", "an archipelago"),
    "forest": ("a pine forest", "endless forest", "dark woods", "fir trees"),
    "frozen": ("a frozen plain", "arctic snowfields", "ice and snow", "the white tundra"),
    "lakes": ("mountain lakes", "lakes between mountains", "alpine lakes", "a land of lakes"),
}
TIMES: Phrases = {
    "dawn": ("at dawn", "at sunrise", "at daybreak", "in the early morning"),
    "noon": ("at noon", "at midday", "in daylight", "during the day"),
    "sunset": ("at sunset", "at sundown", "in the golden hour", "as the sun sets"),
    "dusk": ("at dusk", "at twilight", "in the blue hour", "after sunset"),
    "night": ("at night", "at midnight", "in the dead of night", "by moonlight"),
}
WEATHERS: Phrases = {
    "clear": ("", "under a clear sky", "in clear weather"),
    "cloudy": ("under a cloudy sky", "under clouds", "in cloudy weather"),
    "foggy": ("in fog", "in foggy weather", "through thick mist"),
}
MOTIONS: Phrases = {
    "straight": ("", "straight ahead", "straight on"),
    "left": ("turning left", "banking left", "in a left turn"),
    "right": ("turning right", "banking right", "in a right turn"),
    "climbing": ("climbing", "rising", "gaining height"),
    "sinking": ("descending", "sinking", "losing height"),
}
HEIGHTS: Phrases = {
    "low": ("", "low", "close to the ground", "at low altitude"),
    "high": ("high", "high up", "at high altitude"),
}
SPEEDS: Phrases = {
    "slow": ("slowly", "at a slow pace", "unhurriedly"),
    "steady": ("", "steadily", "at a steady pace"),
    "fast": ("fast", "quickly", "at high speed"),
}
ATTRIBUTES: dict[str, Phrases] = {
    "land": LANDS,
    "time": TIMES,
    "weather": WEATHERS,
    "motion": MOTIONS,
    "height": HEIGHTS,
    "speed": SPEEDS,
}
LEVEL = (
    "straight",
    "left",
    "right",
)  # motions that keep a height; the others leave it unsaid, and it is "low"

_OPENINGS = (
    "a drone flight",
    "a drone flying",
    "drone film",
    "flying",
    "aerial view",
    "the camera flies",
    "an aerial shot",
)
_ORDERS = (
    "{opening} {height} over {land} {speed} , {motion} , {time} {weather}",
    "{opening} {speed} {height} over {land} {time} {weather} , {motion}",
    "{opening} , {motion} {speed} , {height} over {land} {time} {weather}",
    "{time} {weather} , {opening} {height} over {land} {speed} , {motion}",
    "{opening} over {land} , {weather} , {time} , {height} , {motion} , {speed}",
    "{land} {time} {weather} , {motion} {height} {speed}",
)
VOCABULARY = Vocabulary("a flight", ATTRIBUTES)


@dataclass(frozen=True)
class Scene(Captioned):
    """One value of each attribute, keys of ATTRIBUTES. The height of a climb or a descent changes, and counts as low.

    OptionError for other values."""

    land: str
    time: str
    weather: str = "clear"
    motion: str = "straight"
    height: str = "low"
    speed: str = "steady"

    def __post_init__(self) -> None:
        VOCABULARY.check(asdict(self))
        if self.motion not in LEVEL and self.height != "low":
            raise OptionError(f"a flight that is {self.motion} has no height: leave {self.height!r} out")

    def caption(self, rng: random.Random | None = None) -> str:
        """One of many phrasings, or the plain one without an `rng`."""
        pick = (lambda phrases: phrases[0]) if rng is None else rng.choice
        words = {name: pick(ATTRIBUTES[name][value]) for name, value in asdict(self).items()}
        if self.motion not in LEVEL:
            words["height"] = ""
        text = pick(_ORDERS).format(opening=pick(_OPENINGS), **words)
        return tidied(text)

    @property
    def shown(self) -> dict[str, str]:
        """What can be seen: no speed, and no height of a scene that does not keep it."""
        unseen = {"speed"} if self.motion in LEVEL else {"speed", "height"}
        return {name: value for name, value in asdict(self).items() if name not in unseen}

    @property
    def combination(self) -> str:
        """All attributes but speed; left is as right, since a film may be mirrored."""
        turn = "turning" if self.motion in ("left", "right") else self.motion
        return "/".join([self.land, self.time, self.weather, turn, self.height])


def every_scene() -> Iterator[Scene]:
    """One of every combination of attributes."""
    for values in VOCABULARY.every():
        if values["motion"] in LEVEL or values["height"] == "low":
            yield Scene(**values)


def random_scene(rng: random.Random, *, held_out: bool = False) -> Scene:
    """A scene on one side of the hold-out, every value of every attribute as likely as its others."""
    while True:
        values = {name: rng.choice(list(choices)) for name, choices in ATTRIBUTES.items()}
        if values["motion"] not in LEVEL:
            values["height"] = "low"
        scene = Scene(**values)
        if scene.held_out == held_out:
            return scene


def described(caption: str) -> Scene:
    """The scene that a caption tells of: `Scene.caption` read back. OptionError as of Vocabulary.told."""
    return Scene(**VOCABULARY.told(caption))


def every_caption_word() -> list[str]:
    """All words and marks that captions can contain, sorted."""
    return VOCABULARY.words(*_OPENINGS, "over", ",")
