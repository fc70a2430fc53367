"""Timelines: what is read, what is refused, and that a cue reaches the latents of its second and no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from longtake import LongTake
from longtake.cues import Cue, Direction, read_script, stages
from longtake.errors import OptionError
from longtake.given import latent_of
from longtake.models.text import Text
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1, "fps": 8}
FIELDS = list(FilmOptions.model_fields)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20),
        ("20s", 20),
        ("1m20s", 80),
        ("1h5m", 3900),
        ("1:20", 80),
        ("1:02:03.5", 3723.5),
        ("2 min", 120),
        ("0.5 s", 0.5),
    ],
)
def test_seconds_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """Guards every form that docs and messages use."""
    assert Cue(at=text, seed=1).at == seconds


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.lists(st.integers())))
def test_anything_else_is_refused_in_a_line(value: Any) -> None:
    """Guards times against tracebacks, and against ones that are negative or endless."""
    try:
        cue = Cue(at=value, seed=1)
    except OptionError as error:
        assert "\n" not in str(error) and str(error).startswith("at ")
    else:
        assert 0 <= cue.at < float("inf")


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


CONTENTS = (
    st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | JSONS.map(lambda x: repr(x).encode())
)


@given(content=CONTENTS)
def test_any_script_is_read_or_refused_in_a_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Guards the parser: never a traceback."""
    path = tmp_path_factory.getbasetemp() / "take.yaml"
    path.write_bytes(content)
    try:
        FilmOptions(**{"prompt": "a car", **read_script(path, FIELDS)})
    except OptionError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "must map names to values"),
        ("promt: a car", "there is no option promt; did you mean prompt?"),
        ("cues: 20s", "cues must be a list"),
        ("cues: [20s]", "cue 1 must map names to values"),
        ("cues: [{at: 2s, promt: x}]", "cue 1: there is no option promt; did you mean prompt?"),
        ("cues: [{at: 2s, seed: 1}, {prompt: x}]", "cue 2: at is missing"),
        ("cues: [{at: soon, seed: 1}]", "cue 1: at should be a valid number"),
        ("prompt: [", r"take\.yaml, line 1 is no YAML"),
        ("prompt: \x00", "is no YAML"),
    ],
)
def test_what_is_wrong_with_a_script_is_named(tmp_path: Path, text: str, message: str) -> None:
    """Guards the file, the cue and the nearest right name in every message."""
    path = tmp_path / "take.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=message) as caught:
        read_script(path, FIELDS)
    assert "take.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_script_is_a_film(tmp_path: Path) -> None:
    """Guards that a script says what options and cues say."""
    path = tmp_path / "take.yaml"
    path.write_text(
        "prompt: a car\nseconds: 60\ncues:\n- {at: 20s, prompt: a bus, blend: 5s}\n- at: 1:00\n  seed: 3\n"
    )
    cues = (Cue(at=20, prompt="a bus", blend=5), Cue(at=60, seed=3))
    assert FilmOptions(**read_script(path, FIELDS)) == FilmOptions(prompt="a car", seconds=60, cues=cues)


@pytest.mark.parametrize(
    ("cues", "message"),
    [
        ([{"at": 2}], "cue 1 changes nothing"),
        ([{"at": 2, "prompt": " "}], "the prompt of cue 1 is empty"),
        ([{"at": 5, "seed": 1}], "cue 1 holds from 5 s on, and the film ends at 5 s"),
        ([{"at": 3, "seed": 1, "blend": 2}], "cue 1 holds from 5 s on, and the film ends at 5 s"),
        ([{"at": 3, "seed": 1}, {"at": 1, "seed": 2}], "cue 2, at 1 s, comes after a later one"),
        ([{"at": 2.8, "seed": 1}, {"at": 3, "seed": 2}], "cue 2, at 3 s, is in one latent with"),
        ([{"at": 0, "seed": 1}], "cue 1, at 0 s, is in one latent with"),
        ([{"at": 1, "prompt": "x", "blend": 2}, {"at": 2, "seed": 2}], "cue 2, at 2 s, comes while"),
    ],
)
def test_cues_that_do_not_fit(wan_model: WanModel, cues: list[dict[str, Any]], message: str) -> None:
    """Guards order, ends, and cues that nothing would come of."""
    options = FilmOptions(prompt="a car", seconds=5, cues=tuple(Cue(**cue) for cue in cues), **SMALL)
    with pytest.raises(OptionError, match=message):
        options.resolved(wan_model.spec)


def test_a_model_or_a_method_that_cannot_says_so(wan_model: WanModel, open_sora_model: Any) -> None:
    """Guards against cues that would be ignored, or change what came before them."""
    prompt, seed = (Cue(at=2, prompt="a bus"),), (Cue(at=2, seed=1),)
    with pytest.raises(OptionError, match="reads one text"):
        FilmOptions(prompt="a car", seconds=5, cues=prompt).resolved(open_sora_model.spec)
    assert FilmOptions(prompt="a car", seconds=5, cues=seed).resolved(open_sora_model.spec).cues == seed
    with pytest.raises(OptionError, match="method fifo noises what is finished again"):
        FilmOptions(prompt="a car", seconds=5, cues=seed, method="fifo").resolved(wan_model.spec)


def test_a_blend_goes_in_even_steps() -> None:
    """The text of two prompts, and their guidance, latent by latent; the seed at once."""
    found = stages([Direction(0, "a", 1.0, 7), Direction(4, "b", 5.0, 8, blend=3), Direction(9, "b", 5.0, 9)])
    assert [stage.first for stage in found] == [0, 4, 5, 6, 7, 9]
    assert [stage.told for stage in found[:4]] == [
        ("a", "a", 1),
        ("a", "b", 0.25),
        ("a", "b", 0.5),
        ("a", "b", 0.75),
    ]
    assert {stage.told for stage in found[4:]} == {("b", "b", 1)}
    assert [stage.guidance_scale for stage in found] == [1, 2, 3, 4, 5, 5]
    assert [stage.seed for stage in found] == [7, 8, 8, 8, 8, 9]


def told(monkeypatch: pytest.MonkeyPatch, model: WanModel, **options: Any) -> dict[int, set[bytes]]:
    """What each latent of a film was told at all its passes: the texts of the prompt's row."""
    found: dict[int, set[bytes]] = {}
    velocity, firsts = model.velocity, iter(range(10**6))

    def recorded(latents: Tensor, sigma: Tensor, text: Text, fps: float) -> Tensor:
        first = max(0, next(firsts) - SMALL["num_inference_steps"] + 1)
        rows = text.states[0] if text.per_latent else text.states[0].expand(latents.shape[2], -1, -1)
        for place, row in enumerate(rows, first):
            found.setdefault(place, set()).add(row.numpy().tobytes())
        return velocity(latents, sigma, text, fps)

    with monkeypatch.context() as patch:
        patch.setattr(model, "velocity", recorded)
        LongTake(model).generate("a red car", **options)
    return found


@pytest.mark.parametrize("family", ["tubelet_model", "wan_model"])
def test_a_cue_holds_from_the_latent_of_its_second_on(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Guards against cues that come a window early or late: each latent follows one text in all its passes."""
    model = request.getfixturevalue(family)
    options = {"seconds": 8, "context_size": 0, "chunk_size": 1, **SMALL}
    a, b = (
        model.encode_prompt([prompt]).states[0].numpy().tobytes() for prompt in ("a red car", "a blue bus")
    )
    found = told(monkeypatch, model, cues=(Cue(at=3, prompt="a blue bus"),), **options)
    turn = latent_of(24, model.spec)
    assert len(found) == latent_of(63, model.spec) + 1 > turn > 0
    assert all(texts == {a if place < turn else b} for place, texts in found.items())


def test_a_latent_holds_the_picture_of_its_second(wan_model: WanModel, tubelet_model: WanModel) -> None:
    """Guards the arithmetic for autoencoders of 4k + 1 and of 4k frames."""
    assert [latent_of(frame, wan_model.spec) for frame in range(10)] == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert [latent_of(frame, tubelet_model.spec) for frame in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_a_cue_that_says_what_holds_changes_nothing(wan_model: WanModel) -> None:
    """Guards equal texts: to the bit the film without a cue."""
    take, options = LongTake(wan_model), {"num_frames": 21, **SMALL}
    same = (Cue(at=1, prompt="a red car", blend=0.5),)
    assert np.array_equal(
        take.generate("a red car", **options), take.generate("a red car", cues=same, **options)
    )


@pytest.mark.parametrize(
    "change",
    [{"seed": 9}, {"prompt": "a blue bus"}, {"guidance_scale": 1.0}, {"prompt": "a blue bus", "blend": 0.5}],
)
def test_what_is_finished_before_a_cue_comes_into_view_stays(
    tubelet_model: WanModel, change: dict[str, Any]
) -> None:
    """Guards the film before the cue, to the bit, and that something comes of the cue."""
    take, options = LongTake(tubelet_model), {"num_frames": 48, "guidance_scale": 3.0, **SMALL}
    plain = take.generate("a red car", **options)
    film = take.generate("a red car", cues=(Cue(at=4, **change),), **options)
    seen = 32 - 4 * (SMALL["num_inference_steps"] - 1) * 2
    assert np.array_equal(film[:seen], plain[:seen]) and not np.array_equal(film[32:], plain[32:])


def test_another_seed_is_another_films_noise(tubelet_model: WanModel) -> None:
    """Guards seeds on a timeline with films whose chunks know nothing of one another: each half is its seed's."""
    options = {"num_frames": 32, **SMALL, "steps_per_chunk": 3, "chunk_size": 2, "context_size": 0}
    take = LongTake(tubelet_model)
    a, b = (take.generate("a red car", seed=seed, **options) for seed in (1, 2))
    film = take.generate("a red car", seed=1, cues=(Cue(at=2, seed=2),), **options)
    assert np.array_equal(film[:16], a[:16]) and np.array_equal(film[16:], b[16:])


def test_a_film_says_its_cues(wan_model: WanModel) -> None:
    """Guards the file's own words: what was asked, and no more."""
    cues = (Cue(at="0:03", prompt="a bus"),)
    film = FilmOptions(prompt="a car", seconds=5, cues=cues, **SMALL).resolved(wan_model.spec)
    assert film.metadata["cues"] == [{"at": 3.0, "prompt": "a bus"}]
    assert "cues" not in FilmOptions(prompt="a car", seconds=5, **SMALL).resolved(wan_model.spec).metadata
