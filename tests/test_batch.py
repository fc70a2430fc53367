"""Files of films: what a line asks for, what is refused, and what is left to do of a film."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.batch import KEYS, is_unsure, is_whole, left_to_do, read_batch
from longtake.errors import LongTakeError, OptionError, OutputError
from longtake.models.base import ModelSpec
from longtake.models.load import load_model, read_spec
from longtake.models.places import open_model
from longtake.pipeline import LongTake
from longtake.states import state_path
from longtake.video import VideoWriter, part_path
from packets import packets

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 2, "steps_per_chunk": 1, "fps": 8}


@pytest.fixture(scope="module")
def spec(tubelet_folder: Path) -> ModelSpec:
    return read_spec(open_model(tubelet_folder))


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)
CARS = st.dictionaries(st.sampled_from(KEYS), JSONS, max_size=3).map(lambda told: {"prompt": "a car", **told})
LINES = st.text(max_size=40).map(str.encode) | (JSONS | CARS).map(lambda told: json.dumps(told).encode())


@given(lines=st.lists(st.binary(max_size=40) | LINES, max_size=3))
def test_any_file_is_read_or_refused_in_a_line(
    lines: list[bytes], spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Guards the parser: never a traceback, and a name is always that of a file in the folder."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        films = read_batch(path, spec)
    except OptionError as error:
        assert "\n" not in str(error) and str(error).startswith("any.jsonl")
    else:
        assert films and len({film.name for film in films}) == len(films)
        assert all(Path(film.name).name == film.name and film.name.endswith(".mp4") for film in films)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "prompts.jsonl holds no film"),
        (("", {"prompt": "a car", "sede": 3}), "line 2: there is no option sede; did you mean seed?"),
        (({"prompt": "a car"}, "{", {"seed": 1}), "line 2: is no JSON: Expecting property name"),
        (("[", {"prompt": "a"}, {"seed": 1}), "at character 2; nor can 3 be filmed"),
        (('["a car"]',), "line 1: it must map names to values"),
        (
            ({"prompt": "a car", "cues": [{"at": 1, "promt": "b"}]},),
            "cue 1: there is no option promt; did you",
        ),
        (({"prompt": "a", "name": "../x"},), "line 1: name '../x' is no name of a file"),
        (
            ({"prompt": "a", "name": "x"}, {"prompt": "b", "name": "X.mp4"}),
            "line 2: X.mp4 is the film of line 1",
        ),
        (({"prompt": "a"}, {"prompt": "a"}), "is the film of line 1 too"),
        (({"prompt": "a", "width": 33},), "line 1: width 33 does not fit"),
        (({"prompt": "a", "start": 3},), "line 1: start 3 is no name of a clip or a photo"),
        (
            ({"prompt": "a", "end": "a.mp4", "fit": "crup"},),
            "line 1: fit is crop, pad, scale, not 'crup'; did you",
        ),
        (
            ({"prompt": "a", "start": "a.mp4", "context_size": 0},),
            "line 1: a film that begins with a clip needs",
        ),
    ],
)
def test_a_line_that_cannot_be_filmed_is_named(
    lines: tuple[Any, ...], message: str, spec: ModelSpec, tmp_path: Path
) -> None:
    """Guards numbers of lines, and the nearest right key."""
    with pytest.raises(OptionError) as error:
        read_batch(written(tmp_path, *lines), spec)
    assert message in str(error.value)


def test_what_a_line_says_holds_before_what_holds_for_all(spec: ModelSpec, tmp_path: Path) -> None:
    """Guards precedence, of either way to give a length too, and names that no other line and no order changes."""
    lines = [
        {"prompt": "a car", "name": "x"},
        {"prompt": "a car", "seed": 4, "num_frames": 9},
        {"prompt": "A car!"},
    ]
    films = read_batch(written(tmp_path, *lines), spec, {"seed": 3, "seconds": 2, "fps": 8})
    assert [film.film.seed for film in films] == [3, 4, 3]
    assert [film.film.length.num_frames for film in films] == [16, 9, 16]
    names = [film.name for film in films]
    assert names[0] == "x.mp4" and names[1] != names[2]
    assert all(name.startswith("a-car-") and name.endswith(".mp4") for name in names[1:])
    again = read_batch(written(tmp_path, *lines[:0:-1]), spec, {"seed": 3, "seconds": 2, "fps": 8})
    assert [film.name for film in again] == names[:0:-1]


@pytest.mark.slow
def test_a_film_is_whole_goes_on_or_is_another(tubelet_folder: Path, spec: ModelSpec, tmp_path: Path) -> None:
    """Guards films against being made twice, and against one that takes the place of another unasked."""
    lines = [
        {"prompt": "a red car", "seconds": 3, "name": "x"},
        {"prompt": "a red car", "seconds": 2, "name": "x"},
    ]
    (one,), (other,) = (read_batch(written(tmp_path, line), spec, SMALL) for line in lines)
    model = LongTake(load_model(tubelet_folder))
    first = left_to_do(one, tmp_path, spec)
    assert first is not None and not first.is_begun and not is_whole(one, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.shoot(model, stop=lambda: first.num_frames > 8)
    path = tmp_path / "x.mp4"
    with pytest.raises(OutputError, match=r"x\.mp4\.part is another film"):
        left_to_do(other, tmp_path, spec)
    begun = left_to_do(one, tmp_path, spec)
    assert begun is not None and begun.is_begun
    state_path(path).rename(tmp_path / "state")  # as if it had been killed before it had one
    anew = left_to_do(one, tmp_path, spec)
    assert anew is not None and not anew.is_begun and part_path(path).exists()
    anew.shoot(model)
    whole = packets(path)
    assert is_whole(one, tmp_path) and left_to_do(one, tmp_path, spec) is None
    with pytest.raises(LongTakeError, match="is another film"):
        left_to_do(other, tmp_path, spec)
    replacing = left_to_do(other, tmp_path, spec, overwrite=True)
    assert replacing is not None
    replacing.shoot(model)
    assert packets(path) != whole and is_whole(other, tmp_path)


def test_weights_that_changed_are_noticed(tubelet_folder: Path, spec: ModelSpec, tmp_path: Path) -> None:
    """Guards films of a model that was trained on under its name, whole and half made: they are filmed again, and it is
    said. One that does not say its weights, as those of before, is left, and that is known."""
    (ordered,) = read_batch(
        written(tmp_path, {"prompt": "a red car", "seconds": 3, "name": "x"}), spec, SMALL
    )
    other = shutil.copytree(tubelet_folder, tmp_path / "model" / tubelet_folder.name)
    (other / "vae" / "config.json").write_text((other / "vae" / "config.json").read_text() + "\n")
    old, new = LongTake.from_pretrained(tubelet_folder), LongTake.from_pretrained(other)
    first, films = left_to_do(ordered, tmp_path, spec, old.folder), []
    assert first is not None and first.notes == ()
    with pytest.raises(KeyboardInterrupt):
        first.shoot(old, stop=lambda: first.num_frames > 8)
    for model in (new, old, new):
        take = left_to_do(ordered, tmp_path, spec, model.folder)
        assert take is not None and not take.is_begun
        assert take.notes == (
            f"it was made with other weights than {spec.name} has now, and is filmed again",
        )
        take.shoot(model)
        films.append(packets(tmp_path / "x.mp4"))
        assert is_whole(ordered, tmp_path, model.folder) and not is_unsure(ordered, tmp_path)
    assert films[0] == films[1] == films[2]  # the configuration is written otherwise, and means the same
    with VideoWriter(tmp_path / "x.mp4", 32, 32, 8, ordered.film.metadata, overwrite=True) as writer:
        writer.write(np.zeros((24, 32, 32, 3), np.uint8))
    assert is_whole(ordered, tmp_path, old.folder) and is_unsure(ordered, tmp_path)
