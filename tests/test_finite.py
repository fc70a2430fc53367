"""Numbers that are not finite stop a film, and what feeds and measures one, at once and in one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from longtake import LongTake
from longtake.errors import NumberError
from longtake.evaluation.films import measure_film
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.vbench.pictures import Viewer
from longtake.finite import is_finite, require_finite
from longtake.models.open_sora.folder import convert_open_sora
from longtake.models.text import Text
from longtake.models.wan.model import WanModel
from longtake.pictures import to_uint8
from longtake.pipeline import LongTake as Pipeline

PROMPT = "a red car"
SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1}
VALUES = (torch.nan, torch.inf, -torch.inf)


def failing(velocity: Callable[..., Tensor], at_pass: int, place: int, value: float) -> Callable[..., Tensor]:
    """The velocity, which at one pass has a number that is not finite in one latent of the window."""
    passes = iter(range(10**6))

    def spoilt(latents: Tensor, sigma: Tensor, text: Text, fps: float) -> Tensor:
        v = velocity(latents, sigma, text, fps).clone()
        if next(passes) == at_pass:
            v[0, 1, place, 0, 0] = value
        return v

    return spoilt


@settings(deadline=None)
@given(
    st.lists(st.floats(width=16), max_size=6),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_finite_is_what_numpy_calls_so(numbers: list[float], dtype: torch.dtype) -> None:
    """Guards the quick test, by the least and the greatest, for any numbers of any type; whole numbers are finite."""
    tensor = torch.tensor(numbers, dtype=dtype)
    assert is_finite(tensor) == np.isfinite(np.array(numbers)).all() == is_finite(tensor.view(-1, 1))
    assert is_finite(torch.tensor([3]))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    ("at_pass", "place", "latent", "second"), [(0, 0, 0, "0.00"), (2, 1, 1, "0.17"), (6, 2, 6, "1.00")]
)
def test_a_film_stops_at_the_pass(
    tubelet_model: WanModel,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    at_pass: int,
    place: int,
    latent: int,
    second: str,
) -> None:
    """Guards the latent's index and second, by its place in a window that slides: 24 fps, 4 frames a latent, 3 steps.
    At pass 6 the window begins with latent 4."""
    monkeypatch.setattr(tubelet_model, "velocity", failing(tubelet_model.velocity, at_pass, place, value))
    film = LongTake(tubelet_model).stream(PROMPT, num_frames=60, context_size=0, **SMALL)
    filmed = list[Any]()
    where = rf"of latent {latent} of the film, at second {second}, that are not finite"
    with pytest.raises(NumberError, match=where) as e:
        filmed.extend(film)
    assert len(filmed) == max(0, at_pass - 2) and "try bfloat16" in str(e.value) and "\n" not in str(e.value)


def test_places_count_what_was_given(wan_model: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the index of a film that begins with a clip, and seconds where the first latent is one frame."""
    monkeypatch.setattr(wan_model, "velocity", failing(wan_model.velocity, 0, 3, torch.nan))
    start = np.zeros((9, 32, 32, 3), np.uint8)
    options = SMALL | {"num_inference_steps": 4, "context_size": 3}
    with pytest.raises(NumberError, match=r"latent 3 of the film, at second 0\.56"):  # 9 frames at 16 fps
        list(LongTake(wan_model).stream(PROMPT, num_frames=40, start=start, **options))


def test_what_a_network_makes_of_clean_latents_does_not_matter(
    tubelet_model: WanModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a false alarm: a velocity at noise level 0 is thrown away."""
    velocity = tubelet_model.velocity

    def spoilt(latents: Tensor, sigma: Tensor, text: Text, fps: float) -> Tensor:
        return velocity(latents, sigma, text, fps).masked_fill((sigma == 0).view(-1, 1, 1), torch.nan)

    take = LongTake(tubelet_model)
    wanted = take.generate(PROMPT, num_frames=20, context_size=2, **SMALL)
    monkeypatch.setattr(tubelet_model, "velocity", spoilt)
    assert np.array_equal(take.generate(PROMPT, num_frames=20, context_size=2, **SMALL), wanted)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["tubelet_model", "wan_model"])
def test_pictures_that_are_not_finite_stop_a_film(
    request: pytest.FixtureRequest, name: str, value: float
) -> None:
    """Guards against black, and against the white that an infinite number would be clamped to; nothing is yielded."""
    model = request.getfixturevalue(name)
    last = [m for m in model.vae.decoder.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))][-1]
    film = LongTake(model).stream(PROMPT, num_frames=13, **SMALL)
    with (
        filled_with(last, value),
        pytest.raises(NumberError, match=r"picture 0 of the film, at second 0\.00"),
    ):
        next(film)


@contextmanager
def filled_with(layer: nn.Module, value: float) -> Iterator[None]:
    """A layer whose last parameter is all of a value for a while."""
    parameter = list(layer.parameters())[-1]
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.fill_(value)
    try:
        yield
    finally:
        parameter.data.copy_(before)


def test_no_picture_is_made_of_what_is_not_finite() -> None:
    """Guards the last door: NaN cast to a whole number is 0, black."""
    for value in VALUES:
        frames = torch.zeros(1, 3, 1, 2, 2)
        frames[0, 0, 0, 1, 1] = value
        with pytest.raises(NumberError, match="what is to become pictures"):
            to_uint8(frames)


def test_prompts_and_starts_that_are_not_finite(tubelet_model: WanModel) -> None:
    """Guards the text encoder, which overflows first in float16, and the frames that a film begins with."""
    take = LongTake(tubelet_model)
    norm = tubelet_model.text_encoder.parts["text_encoder"].encoder.final_layer_norm
    words = r"the text encoder makes of the prompt .* try bfloat16 or float32"
    with filled_with(norm, torch.inf), pytest.raises(NumberError, match=words):
        take.stream(PROMPT, num_frames=4)
    first = next(m for m in tubelet_model.vae.encoder.modules() if isinstance(m, nn.Conv2d))
    start = np.zeros((8, 32, 32, 3), np.uint8)
    film = take.stream(PROMPT, num_frames=40, start=start, context_size=2, **SMALL)
    with filled_with(first, torch.nan), pytest.raises(NumberError, match="the autoencoder makes of pictures"):
        next(film)


def test_the_command_keeps_what_is_filmed(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards one line that names the latent and where the film so far is, which plays; and the file's exit code."""
    load = Pipeline.from_pretrained.__func__  # type: ignore[attr-defined]

    def from_pretrained(cls: Any, *arguments: Any, **placement: Any) -> LongTake:
        take: LongTake = load(cls, *arguments, **placement)
        velocity = failing(take.model.velocity, 10, 2, torch.nan)
        monkeypatch.setattr(take.model, "velocity", velocity)
        return take

    monkeypatch.setattr(Pipeline, "from_pretrained", classmethod(from_pretrained))
    options = ("--frames", 60, "--size", "32x32", "--steps", 3, "--steps-per-chunk", 1, "-o", "film.mp4")
    code, out, err = cli("generate", PROMPT, "--model", tubelet_folder, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert (
        "error: the network makes numbers of latent 9 of the film, at second 1.50, that are not finite" in err
    )
    assert err.rstrip().endswith("32 frames (1.333 s) are in film.mp4.part")
    assert not (tmp_path / "film.mp4").exists()
    with av.open(str(tmp_path / "film.mp4.part")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 32


def test_a_conversion_stops(open_sora_original: Path, tmp_path: Path) -> None:
    """Guards against a model folder of numbers that are none: the tensor is named, and there is no model."""
    network = tmp_path / "network.safetensors"
    tensors = load_file(open_sora_original / "network.safetensors")
    tensors["final_layer.linear.bias"][0] = torch.inf
    save_file(tensors, network)
    vae, t5 = (str(open_sora_original / name) for name in ("vae", "t5"))
    with pytest.raises(NumberError, match=r"final_layer\.linear\.bias are not finite"):
        convert_open_sora(str(network), vae, tmp_path / "model", t5)
    assert not (tmp_path / "model" / "model_index.json").exists()


def test_a_measurement_stops() -> None:
    """Guards against a table that lacks a number, unsaid: NaN there means that there is nothing to measure."""
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    viewer = Viewer(nn.Identity(), lambda batch: batch / 0, torch.device("cpu"))
    with pytest.raises(NumberError, match="a network that measures makes of pictures"):
        viewer(frames)

    class Infinite(PictureStatistics):
        def totals(self) -> dict[str, float]:
            return {"luma": np.inf}

    film = (np.zeros((48, 8, 8, 3), np.uint8) for _ in range(1))
    with pytest.raises(NumberError, match="a measure makes infinite numbers"):
        measure_film(film, Fraction(24), [Infinite()])


def test_a_tensor_is_itself_where_it_is_finite() -> None:
    """Guards a check that costs no copy."""
    tensor = torch.ones(3)
    assert require_finite(tensor, "x") is tensor
