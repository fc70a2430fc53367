"""Noise levels by hand and by name through the command line: filmed, told, repeated, grown and trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.models.load import read_spec
from longtake.training.options import TrainOptions
from longtake.video import probe, read_frames

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
SMALL = ("--size", "32x32", "--fps", "8")


def pictures(path: Path) -> np.ndarray:
    return np.stack(list(read_frames(path)))


def test_a_film_of_levels_is_told_repeated_and_grown(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards --sigmas and --solver renoise from the command to the file and back, and states in between."""
    levels = ("--sigmas", "1.0,0.9375,0.83,0.625", "--solver", "renoise", *SMALL, "--model", tubelet_folder)
    film = ("generate", "a red car", *levels)
    assert cli(*film, "--seconds", "4", "--keep-states", "1s", "-o", "film.mp4").code == 0
    told = probe("film.mp4").metadata
    assert told["sigmas"] == [1, 0.9375, 0.83, 0.625] and told["solver"] == "renoise" and "shift" not in told
    assert (told["num_inference_steps"], told["steps_per_chunk"]) == (4, 1)
    assert cli("generate", "--like", "film.mp4", "--model", tubelet_folder, "-o", "same.mp4").code == 0
    assert np.array_equal(pictures(tmp_path / "same.mp4"), pictures(tmp_path / "film.mp4"))
    assert cli(*film, "--seconds", "6", "-o", "whole.mp4").code == 0
    assert cli("extend", "film.mp4", "--seconds", "2", "-o", "longer.mp4").code == 0
    assert np.array_equal(pictures(tmp_path / "longer.mp4"), pictures(tmp_path / "whole.mp4"))
    like = ("generate", "--like", "film.mp4", "--model", tubelet_folder)
    assert cli(*like, "--shift", "2", "--solver", "euler", "-o", "shifted.mp4").code == 0
    assert probe("shifted.mp4").metadata["shift"] == 2 and "sigmas" not in probe("shifted.mp4").metadata
    assert cli(*like, "--sigmas", "1,0.5", "-o", "two.mp4").code == 0
    assert probe("two.mp4").metadata["num_inference_steps"] == 2


def test_plan_shows_levels(cli: Cli, tubelet_folder: Path) -> None:
    """Guards the words, the ladder and the JSON."""
    command = ("plan", "--sigmas", "lightx2v", "--model", tubelet_folder)
    out = cli(*command).out
    assert "levels 1 0.9375 0.8333 0.625" in out and len([x for x in out.splitlines() if "█" in x]) >= 3
    report = json.loads(cli(*command, "--json").out)
    assert report["sigmas"] == pytest.approx([1, 0.9375, 5 / 6, 0.625, 0])
    assert report["plan"]["sampling"]["num_inference_steps"] == 4
    refused = cli(*command, "--shift", "3")
    assert refused.code == 2 and "sigmas are the noise levels themselves" in refused.err
    refused = cli("plan", "--preset", "pa-o-base", "--sigmas", "1,0.5")
    assert refused.code == 2 and "preset pa-o-base has noise levels of its own" in refused.err


def test_a_folder_may_say_its_levels(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards levels in longtake.json: films take them, and training learns them."""
    folder = tmp_path / "model"
    folder.mkdir()
    for part in tubelet_folder.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "longtake.json").unlink()
    own = json.loads((tubelet_folder / "longtake.json").read_text()) | {"sigmas": [1, 0.9, 0.7, 0.4]}
    (folder / "longtake.json").write_text(json.dumps(own))
    assert cli("generate", "a red car", *SMALL, "--frames", "16", "--model", folder, "-o", "a.mp4").code == 0
    assert probe("a.mp4").metadata["sigmas"] == own["sigmas"]
    spec = read_spec(folder)
    assert TrainOptions().sampling(spec).sigmas == (1, 0.9, 0.7, 0.4)
    assert TrainOptions(shift=2.0).sampling(spec).sigmas is None
