"""One film to one file, without the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake import LongTake
from longtake.errors import OutputError
from longtake.models.wan import WanModel
from longtake.options import FilmOptions
from longtake.takes import Take
from longtake.video import probe, read_frames

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "steps_per_chunk": 1}


def test_a_script_of_five_lines(tubelet_model: WanModel, tmp_path: Path) -> None:
    """The file holds the film that `generate` gives, every portion is told, and its metadata say what it is."""
    model = LongTake(tubelet_model)
    film = FilmOptions(prompt="a red car", num_frames=14, **SMALL).resolved(model.model.spec)
    take, told = Take(film, tmp_path / "car.mp4"), list[int]()
    speed = take.shoot(model, told.append)
    assert sum(told) == take.num_frames == 14 and speed.frames_per_second > 0
    assert probe(take.path).num_frames == 14 and take.metadata["prompt"] == "a red car"
    filmed = np.stack(list(read_frames(take.path)))
    again = Take(film, tmp_path / "again.mp4")
    again.shoot(model)
    assert again.path.read_bytes() == take.path.read_bytes()
    assert filmed.shape == (14, 32, 32, 3)


def test_what_is_left_of_a_film_that_was_stopped(tubelet_model: WanModel, tmp_path: Path) -> None:
    """What hears of the portions may end the film: what was written stays, and is told."""
    model = LongTake(tubelet_model)
    film = FilmOptions(prompt="a red car", num_frames=40, **SMALL).resolved(model.model.spec)
    take = Take(film, tmp_path / "car.mp4")
    assert take.left == "nothing was written"

    def stop(frames: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take.shoot(model, stop)
    assert 0 < take.num_frames < 40
    assert take.left.startswith(f"{take.num_frames} frames (") and take.left.endswith("car.mp4.part")
    assert not take.path.exists()


def test_a_place_that_is_taken(tubelet_model: WanModel, tmp_path: Path) -> None:
    """A file that is there is no take's, before anything is filmed."""
    film = FilmOptions(prompt="a red car", num_frames=14, **SMALL).resolved(tubelet_model.spec)
    (tmp_path / "car.mp4").write_text("mine")
    with pytest.raises(OutputError, match=r"car\.mp4"):
        Take(film, tmp_path / "car.mp4")
