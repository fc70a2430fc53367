"""What a film was made with: in its file from its first second on, compared in words, and never waited for."""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import longtake
from longtake import LongTake
from longtake.errors import StateError
from longtake.models import folder as model_folder
from longtake.models.load import read_spec
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions, FilmPlan
from longtake.provenance import MADE, WORDS, Made, differences, followed, made_by, made_in, unknown
from longtake.states import read_about, read_state, state_path, write_state
from longtake.takes import Take
from longtake.video import part_path, probe
from packets import same_film

TEXTS = st.none() | st.sampled_from(["1.0", "2.0"])
MADES = st.builds(
    Made,
    **{name: TEXTS for name in WORDS if name != "threads"},
    threads=st.none() | st.integers(1, 2),
    wall_seconds=st.none() | st.sampled_from([0.25, 2.0]),
)


@given(before=MADES, now=MADES)
def test_all_that_differs_is_said_once(before: Made, now: Made) -> None:
    """Guards the law of the notes: nothing where nothing differs, a line a field that does, and what was not said."""
    assert differences(before, before) == differences(now, now) == []
    known = [name for name in WORDS if getattr(before, name) is not None]
    assert len(differences(before, now)) == sum(getattr(before, n) != getattr(now, n) for n in known)
    assert len(unknown(before, now)) == sum(getattr(now, n) is not None for n in WORDS if n not in known)


@given(first=MADES, second=MADES, third=MADES)
def test_what_a_film_began_with_is_not_forgotten(first: Made, second: Made, third: Made) -> None:
    """Guards films that were stopped: the time of all, the last one's making, the first one's where it was other."""
    made = first.then(second).then(third)
    assert made.wall_seconds == sum(each.wall_seconds or 0 for each in (first, second, third))
    for name in WORDS:
        assert getattr(made, name) == getattr(third, name)
        told = [value for value in (getattr(each, name) for each in (first, second)) if value is not None]
        changed = first.then(second).earlier.get(name) or second.then(third).earlier.get(name)
        assert made.earlier.get(name) == changed
        assert made.earlier.get(name) in (None, *told)


@given(
    told=st.recursive(
        st.none() | st.text() | st.floats(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_a_file_says_is_read(told: Any) -> None:
    """Guards files of others: what is no such record says nothing."""
    assert isinstance(made_in({MADE: told}), Made) and made_in({}) == Made()
    assert followed({"prompt": "a", MADE: told}) == {"prompt": "a"}


def plan(spec: Any, num_frames: int = 40) -> FilmPlan:
    small = {"width": 32, "height": 32, "num_inference_steps": 2, "steps_per_chunk": 1, "fps": 8}
    return FilmOptions(prompt="a red car", num_frames=num_frames, **small).resolved(spec)


@pytest.mark.slow
def test_a_film_says_what_it_was_made_with(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the file, also of a film that is killed: the part says it while it grows. Two runs are one film."""
    model = LongTake.from_pretrained(tubelet_folder)
    take, said = Take(plan(model.model.spec), tmp_path / "film.mp4"), []

    def look(frames: int) -> None:
        if take.num_frames >= 24:
            said.append(made_in(probe(part_path(take.path)).metadata))

    take.shoot(model, look, state_every=0.0)
    made = made_in(probe(take.path).metadata)
    assert made == take.made and made.model_sha256 == model.weights and made.wall_seconds
    assert (made.longtake, made.device, made.dtype) == (longtake.__version__, "cpu", "float32")
    assert all(getattr(made, name) for name in WORDS)
    assert (
        differences(said[0], made) == []
        and said[0].wall_seconds
        and said[0].wall_seconds <= made.wall_seconds
    )
    Take(plan(model.model.spec), tmp_path / "again.mp4").shoot(model)
    assert same_film(take.path, tmp_path / "again.mp4")


@pytest.mark.slow
def test_no_frame_waits_for_the_hash(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the first frame of a model of many gigabytes: weights are read through beside the film, which says their
    hash when it is there, at its end at the latest."""
    filmed = Event()

    def slow(*given: Any) -> str:
        assert filmed.wait(60)
        return "0f"

    model = LongTake.from_pretrained(tubelet_folder)
    monkeypatch.setattr(model_folder, "weights_hash", slow)
    take, seen = Take(plan(model.model.spec), tmp_path / "film.mp4"), []

    def look(frames: int) -> None:
        seen.append(take.num_frames)
        if take.num_frames == 40:
            filmed.set()
        elif take.num_frames >= 24:
            made = made_in(probe(part_path(take.path)).metadata)
            assert made.model_sha256 is None and made.torch and not take.is_resumable

    take.shoot(model, look, state_every=0.0)
    assert seen[-1] == 40 and made_in(probe(take.path).metadata).model_sha256 == "0f"


@pytest.mark.slow
def test_a_film_that_goes_on_counts_all_its_time_and_says_what_was_other(
    tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards resumption: seconds add up, another torch is in the file, another device or precision is refused."""
    model, path = LongTake.from_pretrained(tubelet_folder), tmp_path / "film.mp4"
    with pytest.raises(KeyboardInterrupt):
        Take(plan(model.model.spec), path).shoot(model, stop=iter([False] * 4 + [True]).__next__)
    about, state = read_about(state_path(path)), read_state(state_path(path))

    def goes_on(**changed: Any) -> Take:
        made = about.made.model_copy(update=changed)
        write_state(state_path(path), state, about.model_copy(update={"made": made}))
        return Take.resumed(path, read_spec(tubelet_folder))

    for changed, why in (
        ({"device": "cuda"}, "was begun on cuda, and would go on on cpu"),
        ({"dtype": "bfloat16"}, "was begun in bfloat16, and would go on in float32"),
        ({"model_sha256": "0f"}, "other weights"),
    ):
        with pytest.raises(StateError, match=why):
            goes_on(**changed).shoot(model)
    take = goes_on(torch="1.0", wall_seconds=1000.0)
    take.shoot(model)
    made = made_in(probe(path).metadata)
    assert made.earlier == {"torch": "1.0"} and made.torch == made_by(model).torch
    assert made.wall_seconds and 1000 < made.wall_seconds < 1300


@pytest.mark.slow
def test_a_model_without_a_folder_has_no_hash(tubelet_model: WanModel, tmp_path: Path) -> None:
    """Guards models that were put together in Python: what is not known is not said."""
    model = LongTake(tubelet_model)
    Take(plan(model.model.spec, 8), tmp_path / "film.mp4").shoot(model)
    assert made_in(probe(tmp_path / "film.mp4").metadata).model_sha256 is None


@pytest.mark.slow
def test_what_a_film_grew_out_of_is_in_it(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards parents: of a longer film, of a branch, of a film behind another one and of one from a draft, by hash."""
    from longtake.cues import Cue
    from longtake.files import file_sha256
    from longtake.retakes import branched, continued, extended, finished

    model = LongTake.from_pretrained(tubelet_folder)
    film, spec = tmp_path / "film.mp4", model.model.spec
    Take(plan(spec), film, keep_every=1).shoot(model)
    grown: dict[str, Callable[[Path], Take]] = {
        "parent": lambda path: extended(film, path, spec, 1),
        "parent ": lambda path: branched(film, path, spec, Cue(at=3, prompt="a blue bus")),
        "continues": lambda path: continued(film, path, spec, 1),
        "draft": lambda path: finished(film, path, spec, scale=1.0, num_inference_steps=2, steps_per_chunk=1),
    }
    for name, made in grown.items():
        path = tmp_path / f"{name}.mp4"
        made(path).shoot(model)
        told = probe(path).metadata
        assert told[name.strip()] == {"name": "film.mp4", "sha256": file_sha256(film)}
        assert made_in(told).model_sha256 == model.weights
