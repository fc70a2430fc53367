"""Captions and the hold-out, as worlds share them."""

import pytest

from longtake.errors import OptionError
from longtake.worlds.attributes import Captioned, Vocabulary, held_out_prompts
from longtake.worlds.flight.scene import every_scene, random_scene
from longtake.worlds.tracking_shot.shot import every_shot, random_shot

WORDS = Vocabulary(
    "a boat", {"sail": {"red": ("red", "deep red"), "none": ("",)}, "sea": {"calm": ("calm",)}}
)


def test_captions_are_read_back() -> None:
    """Longer phrases first, what may go unsaid, other words passed over; two values or none are refused."""
    assert WORDS.told("A Deep  red boat at calm sea") == {"sail": "red", "sea": "calm"}
    assert WORDS.told("calm") == {"sail": "none", "sea": "calm"}
    with pytest.raises(OptionError, match="a boat has one sea, and 'a red boat' tells of none"):
        WORDS.told("a red boat")
    with pytest.raises(OptionError, match="sail 'blue' is not one of red, none"):
        WORDS.check({"sail": "blue", "sea": "calm"})
    assert WORDS.words("of", ",") == [",", "calm", "deep", "of", "red"]


def test_prompts_are_held_out_and_distinct() -> None:
    """No combination twice, none that training has seen."""
    shots = held_out_prompts(24, every_shot(), lambda rng: random_shot(rng, held_out=True))
    scenes = held_out_prompts(24, every_scene(), lambda rng: random_scene(rng, held_out=True))
    for prompts in (shots, scenes):
        shown: list[Captioned] = [one for _, one in prompts]
        assert all(one.held_out for one in shown) and len({one.combination for one in shown}) == 24


def test_all_there_are_can_be_asked_for() -> None:
    """Guards the count that a refusal names: 420 of 4,320 tracking shots, and as many flights as are held out."""
    shots = {shot.combination: shot for shot in every_shot()}
    assert (len(shots), sum(shot.held_out for shot in shots.values())) == (4320, 420)
    known = len({scene.combination for scene in every_scene() if scene.held_out})
    assert len(held_out_prompts(known, every_scene(), lambda rng: random_scene(rng, held_out=True))) == known
