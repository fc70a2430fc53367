"""The rendered world: deterministic, endless, and true to its captions."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from longtake.worlds.tracking_shot.shot import (
    ATTRIBUTES,
    HEIGHT,
    WIDTH,
    Shot,
    contact_sheet,
    described,
    every_caption_word,
    random_shot,
)

SHOT = Shot("car", "red", "mountains", "dawn", "clear", "steady", seed=3)
any_shot = st.builds(
    Shot, *(st.sampled_from(list(values)) for values in ATTRIBUTES.values()), st.integers(0, 2**31)
)


@given(any_shot, st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_any_shot_renders_anywhere(shot: Shot, frame: int) -> None:
    """Every combination draws, at any place of its endless length, and not a blank picture."""
    (picture,) = shot.render(frame, 1)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    assert picture.std() > 3


def test_a_frame_depends_on_its_number_alone() -> None:
    """A stretch rendered in pieces equals the stretch rendered at once."""
    whole = SHOT.render(100, 6)
    pieces = [SHOT.render(100 + n, 1) for n in range(6)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_the_camera_moves_and_the_vehicle_stays() -> None:
    """Scenery scrolls past a vehicle that keeps its place: the middle of the body hardly changes."""
    a, b = SHOT.render(0, 1)[0].astype(int), SHOT.render(40, 1)[0].astype(int)
    assert np.abs(a - b).mean() > 2
    body = (slice(62, 66), slice(50, 70))
    assert np.abs(a[body] - b[body]).mean() < 12


@pytest.mark.parametrize("attribute", [name for name in ATTRIBUTES if name != "speed"])
def test_every_attribute_shows(attribute: str) -> None:
    """Changing one attribute changes the picture, for each of its values."""
    shots = [replace(SHOT, **{attribute: value}) for value in ATTRIBUTES[attribute]]  # type: ignore[arg-type]
    pictures = [shot.render(0, 1)[0].astype(int) for shot in shots]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(picture - other).max() > 40


def test_captions_use_known_words_only() -> None:
    """The vocabulary of the embedded model covers every phrasing."""
    known = set(every_caption_word())
    rng = random.Random(0)
    for _ in range(2000):
        words = random_shot(rng).caption(rng).replace(",", " , ").replace("-", " - ").lower().split()
        assert set(words) <= known


def test_captions_tell_shots_apart() -> None:
    """The plain caption of every combination of vehicle, colour, landscape, time and weather is its own."""
    rng = random.Random(1)
    by_caption: dict[str, dict[str, str]] = {}
    for _ in range(3000):
        shot = random_shot(rng)
        assert by_caption.setdefault(shot.caption(), shot.attributes) == shot.attributes


@given(any_shot, st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_captions_are_read_back(shot: Shot, rng: random.Random) -> None:
    """Every phrasing says the six attributes and no others, whatever stands around it."""
    for caption in (shot.caption(), shot.caption(rng), shot.caption(rng).upper().replace(" ", "\n ")):
        assert described(f"in 4K, {caption}.") == replace(shot, seed=0)


@pytest.mark.parametrize(
    ("caption", "problem"),
    [
        ("", "one vehicle, and '' tells of none"),
        ("a red car past the city one day", "one time, .* none"),
        ("a red car and a blue car past the city at noon", "one colour, .* blue and red"),
        ("a red carriage past the city at noon", "one vehicle, .* none"),
    ],
)
def test_what_is_no_caption(caption: str, problem: str) -> None:
    """Guards a judge of film against prompts that tell it nothing, or too much."""
    with pytest.raises(ValueError, match=problem):
        described(caption)


def test_hold_out_is_a_tenth_and_never_drawn_for_training() -> None:
    """Evaluation prompts are combinations that training has not met."""
    rng = random.Random(2)
    assert not any(random_shot(rng).held_out for _ in range(500))
    assert all(random_shot(rng, held_out=True).held_out for _ in range(20))
    free = [
        Shot(**{name: rng.choice(list(values)) for name, values in ATTRIBUTES.items()}, seed=0)
        for _ in range(4000)
    ]
    assert 0.07 < sum(shot.held_out for shot in free) / len(free) < 0.13


def test_wrong_attribute_names_the_choices() -> None:
    """A typing error in an attribute is a ValueError that lists what there is."""
    with pytest.raises(ValueError, match="car, bus, truck"):
        Shot("spaceship", "red", "mountains", "dawn", "clear", "steady")


def test_contact_sheet(tmp_path: Path) -> None:
    """The sheet is a readable PNG of the size its rows and columns ask for."""
    contact_sheet(tmp_path / "sheet.png", rows=2, columns=3, scale=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * WIDTH, 2 * (HEIGHT + 12))
