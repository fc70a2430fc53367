"""Film of the length that a model was trained on, which is a frame or so too short for our windows: what is said, and
what becomes of it when that is followed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.families import WAN_2_1
from longtake.models.load import read_spec
from longtake.models.open_sora.spec import SPEC
from longtake.training.data import frames_needed, latents_needed, smaller_windows
from longtake.video import VideoWriter

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
WAN = ModelSpec("wan", 16, 8, 4, 1, 16, 512, WAN_2_1)


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def clips(folder: Path, *lengths: int) -> Path:
    """Captioned video files of 32x32 pixels at 16 frames a second."""
    folder.mkdir()
    for number, length in enumerate(lengths):
        (folder / f"{number}.txt").write_text("a red car")
        with VideoWriter(folder / f"{number}.mp4", 32, 32, 16, {}) as writer:
            rows = np.linspace(0, 150, 32).astype(np.uint8)[:, None, None]
            for i in range(length):
                writer.write(np.broadcast_to(rows + np.uint8(i), (1, 32, 32, 3)))
    return folder


@pytest.mark.parametrize(
    ("length", "way", "told"),
    [(81, "--context 3", "81"), (84, "--context 3", "81"), (49, "--steps-per-chunk 4 --context 3", "49")],
)
def test_the_way_that_is_shown_works(
    cli: Cli, wan_folder: Path, tmp_path: Path, length: int, way: str, told: str
) -> None:
    """Guards Wan's own 81 frames, and shorter clips: the refusal says frames and seconds at the model's rate, and the
    options that it names make it a run, in the same folder, and a model that is filmed with them."""
    film, run = clips(tmp_path / "film", length, length), tmp_path / "run"
    prepare = ("prepare", film, "-o", tmp_path / "data", "--model", wan_folder, "--size", "32x32")
    refused = cli(*prepare)
    assert (refused.code, refused.out) == (2, "")
    first, _, last = refused.err.splitlines()
    seconds = f"{length / 16:.3f}".rstrip("0")
    assert first == (
        f"skipped 0.mp4 at 0 s: the shot has {length} frames ({seconds} s at 16 fps), a training window takes 85"
    )
    assert last.endswith(
        "a training window takes 85 frames (5.312 s at 16 fps), the longest shot that is too short for it fills"
        f" {told}: take longer film, or windows of {told} frames with {way}"
    )
    options = way.split()
    assert cli(*prepare, *options).code == 0
    train = ("train", "--data", tmp_path / "data", "--model", wan_folder, "-o", run, "--steps", "1")
    again = cli(*train, "--sample-every", "0")
    assert again.code == 2 and again.err.count("\n") == 1 and again.err.endswith(f"with {way}\n")
    assert not run.exists()
    trained = cli(*train, "--sample-every", "0", "--batch-size", "1", *options)
    assert (trained.code, trained.err) == (0, "")
    assert read_spec(run / "model").defaults.context_size == int(re.findall(r"context (\d+)", way)[0])


def test_shots_that_less_context_would_take_are_told_of(cli: Cli, wan_folder: Path, tmp_path: Path) -> None:
    """Guards clips that fall out of a mixed folder by one latent: the way is said, and the longer ones are used."""
    film = clips(tmp_path / "film", 85, 81)
    made = cli("prepare", film, "-o", tmp_path / "data", "--model", wan_folder, "--size", "32x32")
    assert made.code == 0 and "1 clips, 1 shots, 22 latents, 5.312 s, 1 skipped" in made.out
    assert made.err.splitlines()[-1].endswith("or windows of 81 frames with --context 3")


OPEN_SORA = SPEC
SETTINGS = st.builds(
    lambda steps, per, size, context: (min(steps, per), steps, size, context),
    *(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(0, 9)),
)


@given(st.sampled_from([WAN, OPEN_SORA, replace(WAN, first_frames=4)]), SETTINGS, st.integers(0, 60))
def test_smaller_windows_fit(spec: ModelSpec, numbers: tuple[int, ...], length: int) -> None:
    """What is shown fits the clip, keeps a latent of context where there was one, and is no shorter than it must be;
    where nothing is shown, no ladder of two chunks would fit."""
    per, steps, size, context = numbers
    settings: ModelDefaults = replace(
        spec.defaults, num_inference_steps=steps, steps_per_chunk=per, chunk_size=size, context_size=context
    )
    smaller = smaller_windows(spec, settings, length)
    if smaller is None:
        shortest = replace(settings, steps_per_chunk=max(per, steps - 1), context_size=min(1, context))
        assert latents_needed(spec, shortest) > length
        return
    assert latents_needed(spec, smaller) <= length
    assert min(1, context) <= smaller.context_size <= context
    if latents_needed(spec, settings) <= length:
        assert smaller == settings
    elif smaller.context_size < context:
        assert latents_needed(spec, smaller) == length


def test_frames_of_whole_groups() -> None:
    """Guards film for an autoencoder of groups, 17 frames to 5 latents: a window of 33 latents takes 7 of them."""
    assert [frames_needed(OPEN_SORA, n) for n in (5, 33, 35)] == [17, 119, 119]
    assert [frames_needed(WAN, n) for n in (1, 21, 22)] == [1, 81, 85]
