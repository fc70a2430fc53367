"""The conveyor: what it shows is what the network predicts, and showing it changes nothing."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from longtake import LongTake, preview
from longtake.errors import LongTakeWarning
from longtake.models.base import VideoModel
from longtake.models.load import load_encoders
from longtake.models.places import EMBEDDED, open_model
from longtake.models.wan.model import WanModel
from longtake.models.weights import weights_hash
from longtake.options import FilmOptions, FilmPlan
from longtake.plan import OWN_SETTINGS, Method
from longtake.preview import ColourMap, Conveyor, Preview, cached, colour_map, fitted
from longtake.shot import Shot
from longtake.takes import Take
from packets import same_film

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1}
METHODS: list[Method] = ["progressive", "replacement", "noisy-replacement", "restart", "fifo", "full-window"]


def film_of(model: VideoModel, **options: Any) -> FilmPlan:
    own = OWN_SETTINGS.get(options.get("method", "progressive"), ())
    given = {"prompt": "a red car", "num_frames": 30, **SMALL, **options}
    return FilmOptions(**{k: v for k, v in given.items() if k not in own}).resolved(model.spec)


def flat(channels: int) -> ColourMap:
    """A map that shows the mean of all channels, a point a latent."""
    return ColourMap(torch.cat([torch.full((channels, 3), 1 / channels), torch.zeros(1, 3)]))


@pytest.mark.parametrize("solver", ["euler", "unipc"])
def test_what_is_seen_is_what_the_solver_goes_by(wan_model: WanModel, solver: str) -> None:
    """x0 = x - sigma v: for Euler the velocity is that between two states, UniPC remembers the prediction itself."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def look(latents: Tensor, velocity: Tensor, sigma: Tensor, first: int) -> None:
        noisy, level = sigma > 0, sigma.view(-1, 1, 1)
        x0 = latents - level * velocity
        seen.append((latents[:, :, noisy].clone(), sigma[noisy], x0[:, :, noisy]))

    shot = Shot(wan_model, film_of(wan_model, solver=solver), look=look)
    state, _ = shot.begin()
    table = shot._sampler.sigmas
    for after, _ in shot.passes(state):
        x, sigma, x0 = seen[-1]
        there = after.window.noisy.shape[2]
        if solver == "unipc":
            assert torch.allclose(after.window.memory[1], x0[:, :, len(sigma) - there :], atol=1e-4)
            continue
        x, sigma, x0 = (
            x[:, :, len(sigma) - there :],
            sigma[len(sigma) - there :],
            x0[:, :, len(sigma) - there :],
        )
        then = torch.stack([table[(table - level).abs().argmin() + 1] for level in sigma]) if there else sigma
        v = (x - after.window.noisy) / (sigma - then).view(-1, 1, 1)
        assert torch.allclose(x - sigma.view(-1, 1, 1) * v, x0, atol=1e-3)
    assert seen


@pytest.mark.parametrize("method", METHODS)
def test_a_film_that_is_watched_is_the_same(wan_model: WanModel, tmp_path: Path, method: Method) -> None:
    """Guards the film's bytes, whatever the method, and what is shown: places in order, noise behind what is clean."""
    film, shown = film_of(wan_model, method=method), list[Conveyor]()
    look = Preview(flat(4), film, wan_model.spec, shown.append, every=0, share=float("inf"))
    for name, seen_by in (("plain.mp4", None), ("watched.mp4", look)):
        Take(film, tmp_path / name).shoot(LongTake(wan_model), look=seen_by)
    assert same_film(tmp_path / "plain.mp4", tmp_path / "watched.mp4")
    for each in shown:
        assert len(each.pictures) == len(each.sigmas) == len(each.seconds) <= film.cost.peak_window
        assert each.pictures.dtype == np.uint8 and each.pictures.shape[1:] == (4, 4, 3)
        assert each.sigmas == sorted(each.sigmas) and each.seconds == sorted(each.seconds)
        assert each.seconds[0] >= 0
    assert len(shown) >= film.cost.passes - 3 and shown[0].sigmas[-1] == 1


def test_an_end_is_shown_as_it_is_and_changes_nothing_when_watched(
    wan_model: WanModel, tmp_path: Path
) -> None:
    """Guards films that run into what is known: it is shown clean, behind what is not."""
    film, shown = film_of(wan_model, loop=True), list[Conveyor]()
    look = Preview(flat(4), film, wan_model.spec, shown.append, every=0, share=float("inf"))
    for name, seen_by in (("plain.mp4", None), ("watched.mp4", look)):
        Take(film, tmp_path / name).shoot(LongTake(wan_model), look=seen_by)
    assert same_film(tmp_path / "plain.mp4", tmp_path / "watched.mp4")
    assert all(len(each.pictures) <= film.cost.peak_window for each in shown)
    assert shown[-1].sigmas[-1] == 0 < max(shown[-1].sigmas)


def test_places_are_those_of_the_film(wan_model: WanModel) -> None:
    """A latent begins where those before it end; what comes before the film is not shown."""
    film, shown = film_of(wan_model, fps=16), list[Conveyor]()
    look = Preview(flat(4), film, wan_model.spec, shown.append)
    x = torch.zeros(1, 4, 4, 2, 2)
    look(x, x, torch.tensor([0, 0, 0.5, 1]), -1)
    assert shown[0].seconds == [0, 1 / 16, 5 / 16] and shown[0].sigmas == [0, 0.5, 1]


def test_showing_takes_its_share_of_the_time(wan_model: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the film's speed: what is slow to show is shown seldom, what is quick no more often than is seen."""
    now, shown = [100.0], list[float]()
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def look_for(seconds: float, cost: float) -> list[float]:
        shown.clear()
        look = Preview(flat(4), film_of(wan_model), wan_model.spec, lambda conveyor: show(cost), 0.25, 0.02)
        start, x = now[0], torch.zeros(1, 4, 1, 2, 2)
        while now[0] < start + seconds:
            look(x, x, torch.ones(1), 0)
            now[0] += 0.01
        return shown

    def show(cost: float) -> None:
        shown.append(now[0])
        now[0] += cost

    assert len(look_for(10, 0.0)) == pytest.approx(40, abs=2)
    assert len(look_for(60, 0.1)) == pytest.approx(12, abs=1)


def linear_model(detail: int = 4) -> Any:
    """A model whose latents are the points of a picture themselves, at a quarter of its size, in another order."""
    mix = torch.randn(3 * detail**2, 3 * detail**2, generator=torch.Generator().manual_seed(3))

    def push(frames: Tensor) -> Tensor:
        points = functional.avg_pool2d(frames[:, :, 0], 2)
        latents = torch.einsum("bchw,cd->bdhw", functional.pixel_unshuffle(points, detail), mix)
        return (latents / latents.std() + 0.5)[:, :, None].expand(-1, -1, 2, -1, -1)

    spec = SimpleNamespace(
        spatial_factor=2 * detail, temporal_factor=4, first_frames=1, group_latents=None, lookahead_latents=0,
        latent_channels=3 * detail**2, joined_latents=1,
    )  # fmt: skip
    return SimpleNamespace(spec=spec, device="cpu", encoder=lambda: SimpleNamespace(push=push, rest=list))


def test_the_map_gives_pictures_back_where_that_is_linear() -> None:
    """Guards the fit and the order of points: a gradient comes back as it was, but for the ridge."""
    model = linear_model()
    ramp = torch.linspace(-0.8, 0.8, 64).expand(64, 64)
    picture = torch.stack([ramp, ramp.T, -ramp])
    made = fitted(model)(model.encoder().push(picture[None, :, None])[0])
    wanted = (functional.avg_pool2d(picture, 2) + 1) * 127.5
    assert made.shape == (2, 32, 32, 3)
    assert np.abs(made[1] - wanted.permute(1, 2, 0).numpy()).mean() < 12


def test_a_map_is_fitted_once(
    tubelet_model: WanModel, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the cache: it is used, and what is damaged or another's is not; one that cannot be kept is told."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, owner = open_model(tubelet_folder), weights_hash(tubelet_folder, "vae")
    fits: list[VideoModel] = []

    def counted(model: VideoModel) -> ColourMap:
        fits.append(model)
        return fitted(model)

    monkeypatch.setattr(preview, "fitted", counted)
    first = colour_map(tubelet_model, folder)
    assert first.weights.shape == (5, 48) and len(fits) == 1
    assert torch.equal(colour_map(tubelet_model, folder).weights, first.weights) and len(fits) == 1
    cached(owner).write_bytes(cached(owner).read_bytes()[:-1])
    assert torch.equal(colour_map(tubelet_model, folder).weights, first.weights) and len(fits) == 2
    preview.write(first, cached(owner), "another's")
    colour_map(tubelet_model, folder)
    colour_map(tubelet_model, folder)
    assert len(fits) == 3
    monkeypatch.setenv("XDG_CACHE_HOME", str(cached(owner)))  # a file
    with pytest.warns(LongTakeWarning, match="anew each time"):
        colour_map(tubelet_model, folder)


def test_the_embedded_model_brings_its_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what is shipped: it is of the autoencoder beside it, and shows pictures as they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(preview, "fitted", None)
    model = load_encoders()
    colours = colour_map(model, open_model())
    picture = preview._discs(128, torch.Generator().manual_seed(9))
    latents = model.encoder().push(picture[None, :, None].expand(-1, -1, 4, -1, -1))
    made = colours(latents[0]).astype(np.float64)[0]
    wanted = (functional.avg_pool2d(picture, 2).permute(1, 2, 0).double().numpy() + 1) * 127.5
    assert np.sqrt(np.square(made - wanted).mean()) < 20 and not any(tmp_path.iterdir())
    assert (EMBEDDED / preview.FILE).stat().st_size < 10_000
    assert cast(Any, model).spec.latent_channels + 1 == len(colours.weights)
