"""What captions of flights say, and what they are read as."""

import random
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.worlds.flight.scene import (
    ATTRIBUTES,
    LEVEL,
    Scene,
    described,
    every_caption_word,
    random_scene,
)

any_scene = st.builds(
    lambda rng, side: random_scene(rng, held_out=side), st.randoms(use_true_random=False), st.booleans()
)


@given(any_scene, st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_captions_are_read_back(scene: Scene, rng: random.Random) -> None:
    """Every phrasing says the six attributes and no others, whatever stands around it."""
    for caption in (scene.caption(), scene.caption(rng), scene.caption(rng).upper().replace(" ", "\n ")):
        assert described(f"in 4K, {caption}.") == scene


@pytest.mark.parametrize(
    ("caption", "problem"),
    [
        ("", "one land, and '' tells of none"),
        ("a drone flight over green hills", "one time, .* none"),
        ("over green hills and a pine forest at noon", "one land, .* forest and hills"),
        ("over green hills at noon, climbing, descending", "one motion, .* climbing and sinking"),
        ("climbing high over green hills at noon", "climbing has no height"),
    ],
)
def test_what_is_no_caption(caption: str, problem: str) -> None:
    """Guards a judge of film against prompts that tell it nothing, or too much."""
    with pytest.raises(ValueError, match=problem):
        described(caption)


def test_captions_use_known_words_only() -> None:
    """A vocabulary of `every_caption_word` covers every phrasing, and holds no word in vain."""
    rng, known, used = random.Random(0), set(every_caption_word()), set[str]()
    for _ in range(6000):
        used |= set(random_scene(rng).caption(rng).replace(",", " , ").replace("-", " - ").split())
    assert used == known


def test_hold_out_is_a_tenth_and_never_drawn_for_training() -> None:
    """Evaluation prompts are combinations that training has not met; a speed is no combination of its own."""
    rng = random.Random(1)
    assert not any(random_scene(rng).held_out for _ in range(500))
    assert all(random_scene(rng, held_out=True).held_out for _ in range(50))
    free = [random_scene(rng, held_out=rng.random() < 0.1) for _ in range(50)]
    for scene in free:
        assert (
            len({Scene(**{**asdict(scene), "speed": speed}).held_out for speed in ATTRIBUTES["speed"]}) == 1
        )
    every = [
        Scene(land, time, weather, motion, height)
        for land in ATTRIBUTES["land"]
        for time in ATTRIBUTES["time"]
        for weather in ATTRIBUTES["weather"]
        for motion in ATTRIBUTES["motion"]
        for height in (ATTRIBUTES["height"] if motion in LEVEL else ["low"])
    ]
    assert len(every) == 960
    assert 0.08 < sum(scene.held_out for scene in every) / len(every) < 0.12


def test_every_value_is_held_out_in_some_combination_and_shown_in_others() -> None:
    """Guards a judge and a comparison that would never meet one of the values."""
    rng = random.Random(2)
    for side in (False, True):
        scenes = [asdict(random_scene(rng, held_out=side)) for _ in range(400)]
        for name, values in ATTRIBUTES.items():
            assert {scene[name] for scene in scenes} == set(values)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"land": "moon"}, "land 'moon' is not one of mountains, hills"),
        ({"motion": "climbing", "height": "high"}, "climbing has no height"),
    ],
)
def test_wrong_values_are_told(values: dict[str, str], problem: str) -> None:
    """A typing error in an attribute is a ValueError that lists what there is."""
    with pytest.raises(ValueError, match=problem):
        Scene(**{"land": "hills", "time": "noon", **values})
