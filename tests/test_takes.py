"""One film to one file, without the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake import LongTake
from longtake.cues import Cue
from longtake.errors import OutputError, StateError
from longtake.models.base import VideoModel
from longtake.models.load import read_spec
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions, FilmPlan
from longtake.states import read_about, state_path
from longtake.takes import Take
from longtake.video import part_path, probe, read_frames
from packets import same_film

pytestmark = pytest.mark.slow

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
    assert same_film(again.path, take.path)
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


def film_of(model: VideoModel, **options: Any) -> FilmPlan:
    cues = (Cue(at=1, prompt="a blue bus"),)
    given = {"prompt": "a red car", "num_frames": 61, "fps": 8, "cues": cues, **SMALL, **options}
    return FilmOptions(**given).resolved(model.spec)


@pytest.mark.parametrize("solver", ["euler", "unipc", "renoise"])
@pytest.mark.parametrize("family", ["tubelet_folder", "wan_folder"])
def test_a_film_stopped_after_any_pass_goes_on_to_the_same_file(
    request: pytest.FixtureRequest, tmp_path: Path, family: str, solver: str
) -> None:
    """Guards resumption: after every pass a state, another process' worth of objects, and the same film at the end."""
    folder = request.getfixturevalue(family)
    model = LongTake.from_pretrained(folder)
    film = film_of(model.model, solver=solver)
    whole, path = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    Take(film, whole).shoot(model)
    take = Take(film, path)
    for passes in range(1, film.cost.passes):
        with pytest.raises(KeyboardInterrupt):
            take.shoot(model, stop=iter([False, True]).__next__)
        about = read_about(state_path(path))
        assert about.passes == passes and about.model == str(folder) and about.made.dtype == "float32"
        take = Take.resumed(path, read_spec(about.model))
    take.shoot(model)
    assert same_film(path, whole)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["film.mp4", "whole.mp4"]


def test_a_state_that_no_longer_fits_is_refused(
    tubelet_folder: Path, wan_folder: Path, tmp_path: Path
) -> None:
    """Guards against films that go on as others: another model, other weights, a damaged state, none."""
    path, model = tmp_path / "film.mp4", LongTake.from_pretrained(tubelet_folder)
    with pytest.raises(StateError, match="there is no state"):
        Take.resumed(path, model.model.spec)
    with pytest.raises(KeyboardInterrupt):
        Take(film_of(model.model), path).shoot(model, stop=lambda: True)
    with pytest.raises(StateError, match="was begun with model tubelet"):
        Take.resumed(path, read_spec(wan_folder))
    with pytest.raises(StateError, match="other weights"):
        Take.resumed(path, model.model.spec).shoot(LongTake(model.model))
    state = bytearray(state_path(path).read_bytes())
    state[-1] ^= 1
    state_path(path).write_bytes(state)
    with pytest.raises(StateError, match="damaged"):
        Take.resumed(path, model.model.spec).shoot(model)
    assert part_path(path).exists() or not path.exists()


def test_a_state_of_the_film_before_is_not_gone_on_from(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a place where one film was stopped and another begun: the second one's pictures behind the first one's
    state would be a film of neither."""
    path, model = tmp_path / "film.mp4", LongTake.from_pretrained(tubelet_folder)
    with pytest.raises(KeyboardInterrupt):
        Take(film_of(model.model), path).shoot(model, stop=iter([False] * 9 + [True]).__next__)

    def killed(frames: int) -> None:
        raise RuntimeError  # before its first state

    with pytest.raises(RuntimeError):
        Take(film_of(model.model, seed=2), path, overwrite=True).shoot(model, killed)
    with pytest.raises(StateError, match="there is no state"):
        Take.resumed(path, model.model.spec)
