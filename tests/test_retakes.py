"""Films that grow out of films: longer ones are those that had been as long from the start, branches leave the rest."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake import LongTake
from longtake.cues import Cue
from longtake.errors import OptionError, StateError
from longtake.options import FilmOptions
from longtake.plan import OWN_SETTINGS, Method
from longtake.retakes import branched, continued, extended, kept_states, retaken
from longtake.seams import seam_at
from longtake.states import states_folder
from longtake.takes import Take
from longtake.video import Pictures, probe, read_frames

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1, "fps": 8}


def film(model: LongTake, path: Path, keep: float | None = 1.0, **options: Any) -> Path:
    given = {"prompt": "a red car", "num_frames": 45, **SMALL, **options}
    own = OWN_SETTINGS.get(given.get("method", "progressive"), ())
    plan = FilmOptions(**{name: value for name, value in given.items() if name not in own})
    Take(plan.resolved(model.model.spec), path, keep_every=keep).shoot(model)
    return path


def pictures(path: Path) -> Pictures:
    return np.stack(list(read_frames(path)))


@pytest.mark.parametrize("family", ["tubelet_folder", "wan_folder"])
@pytest.mark.parametrize("method", ["progressive", "restart", "chunk-by-chunk", "fifo", "full-window"])
def test_a_film_that_is_extended_is_one_that_was_as_long(
    request: pytest.FixtureRequest, tmp_path: Path, family: str, method: Method
) -> None:
    """Guards the window before the drain: equal pictures, twice over, and the old film as it was."""
    model = LongTake.from_pretrained(request.getfixturevalue(family))
    old = film(model, tmp_path / "old.mp4", method=method)
    was, spec = old.read_bytes(), model.model.spec
    extended(old, tmp_path / "longer.mp4", spec, 3).shoot(model)
    extended(tmp_path / "longer.mp4", tmp_path / "longest.mp4", spec, 2.5).shoot(model)
    whole = film(model, tmp_path / "whole.mp4", keep=None, method=method, num_frames=45 + 24 + 20)
    assert np.array_equal(pictures(tmp_path / "longest.mp4"), pictures(whole))
    assert old.read_bytes() == was
    assert probe(tmp_path / "longest.mp4").metadata["parent"]["name"] == "longer.mp4"


def test_a_film_goes_on_under_another_prompt(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards that the prompt of an extension is a cue at the old end, as if it had been said at first."""
    model = LongTake.from_pretrained(tubelet_folder)
    old = film(model, tmp_path / "old.mp4", num_frames=48)
    extended(old, tmp_path / "longer.mp4", model.model.spec, 3, "a blue bus").shoot(model)
    cues = (Cue(at=6, prompt="a blue bus"),)
    whole = film(model, tmp_path / "whole.mp4", keep=None, num_frames=72, cues=cues)
    assert np.array_equal(pictures(tmp_path / "longer.mp4"), pictures(whole))


@pytest.mark.parametrize("change", [{"prompt": "a blue bus"}, {"seed": 7}])
def test_a_branch_leaves_what_came_before(wan_folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    """Guards the pictures until the branch, to the bit, and that another film comes after."""
    model, at = LongTake.from_pretrained(wan_folder), 3.25
    old = film(model, tmp_path / "old.mp4", num_frames=64)
    branched(old, tmp_path / "new.mp4", model.model.spec, Cue(at=at, **change)).shoot(model)
    before, after = pictures(old), pictures(tmp_path / "new.mp4")
    assert len(before) == len(after) == 64
    turn = next(frame for frame in range(64) if not np.array_equal(before[frame], after[frame]))
    assert round(at * 8) <= turn < 64
    assert probe(tmp_path / "new.mp4").metadata["cues"] == [{"at": at, **change}]


def test_a_branch_that_changes_nothing_is_the_film(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the state at the branch: the film that goes on under its own seed is itself."""
    model = LongTake.from_pretrained(tubelet_folder)
    old = film(model, tmp_path / "old.mp4", num_frames=64)
    take = branched(old, tmp_path / "new.mp4", model.model.spec, Cue(at=4.5, seed=0))
    with pytest.raises(KeyboardInterrupt):
        take.shoot(model, stop=iter([False, True]).__next__)
    Take.resumed(tmp_path / "new.mp4", model.model.spec).shoot(model)
    assert np.array_equal(pictures(tmp_path / "new.mp4"), pictures(old))


def test_states_are_kept_as_often_as_asked(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the number of states, and that the last one is from before the drain."""
    model = LongTake.from_pretrained(tubelet_folder)
    kept = [about.num_frames for _, about in kept_states(film(model, tmp_path / "a.mp4", 2.0, num_frames=80))]
    assert kept == [16, 32, 48, 64, 72]
    assert not states_folder(film(model, tmp_path / "b.mp4", None)).exists()


def test_what_cannot_grow_says_so(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards films without states, branches before the first one or behind the end."""
    model = LongTake.from_pretrained(tubelet_folder)
    spec, path = model.model.spec, tmp_path / "new.mp4"
    plain, kept = film(model, tmp_path / "plain.mp4", None), film(model, tmp_path / "kept.mp4", 2.0)
    with pytest.raises(StateError, match="there is no film"):
        extended(tmp_path / "gone.mp4", path, spec, 3)
    with pytest.raises(StateError, match=r"no states were kept of .*--keep-states"):
        extended(plain, path, spec, 3)
    with pytest.raises(StateError, match=r"from 2 s: branch later"):
        branched(kept, path, spec, Cue(at=1, seed=3))
    with pytest.raises(OptionError, match="the film ends at"):
        branched(kept, path, spec, Cue(at=60, seed=3))
    assert not path.exists()


@pytest.mark.parametrize(
    ("family", "solver"), [("tubelet_folder", "euler"), ("wan_folder", "euler"), ("tubelet_folder", "unipc")]
)
def test_a_section_is_filmed_anew(
    request: pytest.FixtureRequest, tmp_path: Path, family: str, solver: str
) -> None:
    """Guards what is kept on both sides: pictures before the section, and behind it packets, at their places."""
    model = LongTake.from_pretrained(request.getfixturevalue(family))
    old = film(model, tmp_path / "old.mp4", num_frames=69, solver=solver)
    take = retaken(old, tmp_path / "new.mp4", model.model.spec, Cue(at=3, seed=5), 5.5)
    take.shoot(model)
    new, was, end = pictures(tmp_path / "new.mp4"), pictures(old), take.film.length.num_frames
    assert 44 <= end < 52 and new.shape == was.shape
    assert np.array_equal(new[:24], was[:24]) and np.array_equal(new[56:], was[56:])
    assert not np.array_equal(new[24:end], was[24:end])
    assert np.abs(new[end:56].astype(int) - was[end:56]).mean() < 4  # encoded again
    assert take.seam == seam_at(tmp_path / "new.mp4", end)
    told = probe(tmp_path / "new.mp4").metadata
    assert told["num_frames"] == 69 and told["retake"] == {"from": 24, "to": end}
    assert not states_folder(tmp_path / "new.mp4").exists() and not take.is_resumable
    with pytest.raises(OptionError, match="end it earlier, or branch"):
        retaken(old, tmp_path / "late.mp4", model.model.spec, Cue(at=3, seed=5), 8.4)
    with pytest.raises(OptionError, match="end it later"):
        retaken(old, tmp_path / "none.mp4", model.model.spec, Cue(at=3, seed=5), 2)


def test_anybodys_film_goes_on(wan_folder: Path, tmp_path: Path) -> None:
    """Guards films without states: ours are copied, others encoded again, and the new pictures follow the last."""
    import av

    model = LongTake.from_pretrained(wan_folder)
    spec, old = model.model.spec, film(model, tmp_path / "old.mp4", keep=None, num_frames=45)
    foreign = tmp_path / "foreign.mkv"
    with av.open(foreign, "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for picture in pictures(old):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for path, copied in ((old, 40), (foreign, 0)):
        take = continued(path, tmp_path / "new.mp4", spec, 2, "a blue bus", 2, overwrite=True)
        take.shoot(model)
        assert f"{copied} of its 45 pictures were copied" in take.notes[-1]
        new, was = pictures(tmp_path / "new.mp4"), pictures(path)
        assert take.seam == seam_at(tmp_path / "new.mp4", 45) and take.met == "the film before it"
        assert len(new) == 45 + 16 and np.array_equal(new[:copied], was[:copied])
        assert np.abs(new[:45].astype(int) - was).mean() < 4
        assert probe(tmp_path / "new.mp4").metadata["num_frames"] == 61
    with pytest.raises(OptionError, match="give a PROMPT"):
        continued(foreign, tmp_path / "new.mp4", spec, 2)


def test_states_of_the_film_before_are_passed_over(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a film that was filmed over: it does not go on as the one before, and its own states are found among
    that one's."""
    model = LongTake.from_pretrained(tubelet_folder)
    film(model, tmp_path / "film.mp4", 1.0)
    film(model, tmp_path / "other.mp4", None, seed=5).replace(tmp_path / "film.mp4")
    with pytest.raises(StateError, match=r"no states were kept of .*film\.mp4"):
        extended(tmp_path / "film.mp4", tmp_path / "longer.mp4", model.model.spec, 3)
    again = film(model, tmp_path / "again.mp4", 4.0, seed=5)
    for path, _ in kept_states(again):
        path.replace(states_folder(tmp_path / "film.mp4") / path.name)
    assert {about.film["seed"] for _, about in kept_states(tmp_path / "film.mp4")} == {5}
