"""States of half-made films as files: what is written comes back to the bit, and nothing else does."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from longtake.errors import OutputError, StateError
from longtake.models.base import RECENT
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions, FilmPlan
from longtake.provenance import Made
from longtake.shot import Shot
from longtake.states import HEADER, About, TakeState, read_about, read_state, write_state

HEADERS = 8_000  # bytes of a state that are no numbers, at most
OPTIONS: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1}


def about(passes: int, num_frames: int) -> About:
    film = {"prompt": "ein Löwe ☂", "seed": 2**63, "shift": 0.1}
    return About(
        film=film,
        model=None,
        lora=None,
        made=Made(model_sha256="0f", device="cpu", dtype="float32", wall_seconds=1.25),
        passes=passes,
        num_frames=num_frames,
        num_written=0,
    )


def plan(model: WanModel) -> FilmPlan:
    return FilmOptions(prompt="a red car", num_frames=40, solver="unipc", **OPTIONS).resolved(model.spec)


@pytest.fixture(scope="module")
def some(wan_model: WanModel) -> TakeState:
    """A state in the middle of a film of a model whose decoder remembers much, by a solver that does."""
    shot = Shot(wan_model, plan(wan_model))
    state, pictures = shot.begin()
    for _ in range(5):
        state, pictures = shot.advance(state)
    assert len(state.window.memory) == 3 and len(state.decoder) > 5 and len(pictures)
    return TakeState(state, pictures)


@pytest.fixture(scope="module")
def written(some: TakeState, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "a.state"
    write_state(path, some, about(some.shot.window.t, some.shot.num_frames))
    return path.read_bytes()


def test_a_state_comes_back_to_the_bit(some: TakeState, written: bytes, tmp_path: Path) -> None:
    """Guards every tensor, its dtype and its name, and all that the state belongs to."""
    path = tmp_path / "a.state"
    path.write_bytes(written)
    back, window = read_state(path), some.shot.window
    assert read_about(path) == about(window.t, some.shot.num_frames)
    assert (back.shot.num_frames, back.shot.window.t) == (some.shot.num_frames, window.t)
    assert back.num_written == some.num_written == some.shot.num_frames - len(some.pending)
    assert np.array_equal(back.pending, some.pending)
    tensors = zip(
        (*window.memory, window.clean), (*back.shot.window.memory, back.shot.window.clean), strict=True
    )
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in tensors)
    assert torch.equal(back.shot.window.noisy, window.noisy)
    assert back.shot.decoder.keys() == {RECENT} < some.shot.decoder.keys()
    assert torch.equal(back.shot.decoder[RECENT], some.shot.decoder[RECENT])


@pytest.mark.parametrize("wan", [True, False])
def test_a_plan_tells_how_large_its_states_are(
    cli: Callable[..., Any], wan: bool, wan_folder: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards the promise, which is made without weights, against the states of the film."""
    folder = wan_folder if wan else tubelet_folder
    film = ("--model", folder, "--size", "32x32", "--steps", "3", "--steps-per-chunk", "1", "--fps", "8")
    kept = ("--seconds", "3", "--keep-states", "1s")
    told = json.loads(cli("plan", *film, *kept, "--json").out)["state_bytes"]
    assert (
        f"states        {told / 1e6:.2f} MB each at most, one every 1 s: 4 at most"
        in cli("plan", *film, *kept).out
    )
    assert cli("generate", "a car", *film, *kept, "-o", "film.mp4").code == 0
    sizes = [path.stat().st_size for path in (tmp_path / "film.mp4.states").iterdir()]
    assert 1 < len(sizes) <= 4 and told / 2 < max(sizes) < told + HEADERS


def test_what_a_file_left_out_is_made_again_and_told(
    some: TakeState, written: bytes, wan_model: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the bar of what takes long, and the caches that come of it, to the bit."""
    told = []

    def track(items: Any, what: str, total: int | None = None) -> Any:
        told.append((what, total))
        return items

    monkeypatch.setattr("longtake.models.wan.codec.track", track)
    (tmp_path / "a.state").write_bytes(written)
    back = Shot(wan_model, plan(wan_model)).remembering(read_state(tmp_path / "a.state").shot)
    assert told == [("decoding the film's last latents again", some.shot.decoder[RECENT].shape[2])]
    assert back.decoder.keys() == some.shot.decoder.keys()
    assert all(torch.equal(x, some.shot.decoder[name]) for name, x in back.decoder.items())


@given(data=st.data())
def test_a_byte_that_is_wrong_is_found(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Guards against films that go on from damaged states: any byte, any cut."""
    path = tmp_path_factory.getbasetemp() / "damaged.state"
    place = data.draw(st.integers(0, len(written) - 1))
    damaged = bytearray(written)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    header = struct.unpack("<Q", written[:8])[0]
    path.write_bytes(damaged if data.draw(st.booleans()) else written[:place])
    try:
        back = read_state(path)
    except StateError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:  # white space, or the spelling of a number, in the header
        assert place < 8 + header and back.shot.num_frames


@given(content=st.binary(max_size=300))
def test_any_file_is_refused_in_a_line(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guards against tracebacks for files that are no states."""
    path = tmp_path_factory.getbasetemp() / "any.state"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"any\.state"):
        read_state(path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "no state of a film"),
        ({"schema": 3}, "schema 3, this longtake reads 2"),
        ({"schema": 2}, "no state, or damaged"),
        ([], "no state, or damaged"),
        ({}, "no state of a film"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, told: Any, message: str) -> None:
    """Guards states of other versions, and weights that are given in place of a state."""
    path = tmp_path / "a.state"
    metadata = None if told is None else {HEADER: json.dumps(told)}
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(StateError, match=message):
        read_about(path)


def test_a_state_that_is_not_there(tmp_path: Path) -> None:
    """Guards the reason."""
    with pytest.raises(StateError, match=r"there is no state .*gone\.state"):
        read_about(tmp_path / "gone.state")


def test_a_full_disk_leaves_the_state_before(
    some: TakeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what a film can be resumed from."""
    path, told = tmp_path / "a.state", about(some.shot.window.t, some.shot.num_frames)
    write_state(path, some, told)
    was = path.read_bytes()

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("longtake.states.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        write_state(path, some, told)
    assert path.read_bytes() == was and [p.name for p in tmp_path.iterdir()] == ["a.state"]
