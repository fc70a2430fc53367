"""Films that run into what is known: what is seen of it, what comes out, and who cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from filming import nothing_of
from longtake import LongTake
from longtake.cues import Cue
from longtake.ends import Toward
from longtake.errors import OptionError, StateError
from longtake.methods import Sampler
from longtake.models.base import Ends, VideoModel
from longtake.models.load import read_spec
from longtake.noise import chunk_noise, sigma_table
from longtake.options import FilmOptions
from longtake.pictures import to_tensor, to_uint8
from longtake.plan import Sampling, Solver
from longtake.retakes import branched, extended
from longtake.seams import seam_at
from longtake.shot import Shot
from longtake.start import read_given
from longtake.takes import Take
from longtake.video import read_frames
from test_start import clip

pytestmark = pytest.mark.slow

PROMPT, SHAPE = "a red car", (2, 3, 3)
SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 4, "steps_per_chunk": 2}


def toward(
    known: Tensor,
    behind: bool,
    seen: list[tuple[int, list[float], Tensor]],
    sampling: Sampling,
    sigmas: Tensor,
) -> Tensor:
    """The latents of a film of six chunks of one latent, four of them at once, in the precision of `known`."""

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        seen.append((first, sigma.tolist(), latents))
        return latents * 0.5 + latents.mean()

    plain = Sampler(
        sampling,
        velocity,
        lambda first, count: chunk_noise([3], first, count, SHAPE).to(known),
        sigmas,
        6,
        lambda first, rungs: torch.cat([chunk_noise([4 + int(r)], first, 1, SHAPE) for r in rungs], dim=2),
    )
    how = Toward.of(plain, known, behind)
    window, film = how.begin(), nothing_of(SHAPE).to(known)
    while window.t < how.end:
        window, chunk = how.advance(window)
        film = film if chunk is None else torch.cat([film, chunk], dim=2)
    return film


@pytest.mark.parametrize("solver", ["euler", "unipc"])
@pytest.mark.parametrize("behind", [True, False])
def test_the_end_is_seen_clean_and_comes_out_as_it_is(behind: bool, solver: Solver) -> None:
    """Guards the place of the end, its noise level, and that nothing is asked where all is known."""
    known, seen = torch.randn(1, 2, 3, 3, 3), list[tuple[int, list[float], Tensor]]()
    film = toward(known, behind, seen, Sampling(4, 1, 1, 0, solver=solver), sigma_table(4, 2.0))
    first = 6 if behind else 3
    assert film.shape[2] == 6 and (behind or torch.allclose(film[:, :, 3:], known, atol=1e-5))
    assert len(seen) == first - 1 + 4
    for at, sigma, latents in seen:
        assert len(sigma) <= 4
        for place, level in enumerate(sigma, at):
            assert (level == 0) == (place >= first)
            if place >= first:
                assert torch.equal(latents[:, :, place - at], known[:, :, place - first])
    assert seen[-1][0] == first - 1 and len(seen[-1][1]) == 4


@pytest.mark.parametrize("behind", [True, False])
def test_unipc_toward_an_end_is_a_scheduler_a_latent(behind: bool) -> None:
    """Against diffusers' own schedulers, one for each latent that is made, in a loop that knows the end: float64."""
    known, S, count = torch.randn(1, 2, 3, 3, 3, dtype=torch.float64), 4, 6 if behind else 3
    schedulers = [
        UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0)
        for _ in range(count)
    ]
    for scheduler in schedulers:
        scheduler.set_timesteps(S)
        scheduler.sigmas = scheduler.sigmas.double()
    made = [chunk_noise([3], place, 1, SHAPE).double() for place in range(count)]
    for t in range(count - 1 + S):
        inside = range(max(0, t - S + 1), min(t + 1, count + known.shape[2]))
        clean = known[:, :, : max(0, inside.stop - count)]
        seen = torch.cat([*made[inside.start : inside.stop], clean], dim=2)
        velocity = seen * 0.5 + seen.mean()
        for place in inside[: count - inside.start]:
            v, scheduler = velocity[:, :, place - inside.start, None], schedulers[place]
            made[place] = scheduler.step(v, scheduler.timesteps[t - place], made[place]).prev_sample
    film = toward(known, behind, [], Sampling(S, 1, 1, 0, solver="unipc"), schedulers[0].sigmas)
    torch.testing.assert_close(film[:, :, :count], torch.cat(made, dim=2), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", ["tubelet_model", "wan_model"])
def test_a_film_ends_with_what_it_is_given(kind: str, request: pytest.FixtureRequest) -> None:
    """Guards that the end follows the film through one decoder, and that what comes before depends on it."""
    model: VideoModel = request.getfixturevalue(kind)
    take, options = LongTake(model), {**SMALL, "num_frames": 44}
    plan = FilmOptions(prompt=PROMPT, **options).resolved(model.spec, end="clip")
    rng = np.random.default_rng(0)
    plain = take.generate(PROMPT, **options)
    for count in (plan.end_frames, 1):
        end = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
        film = take.generate(PROMPT, end=end, **options)
        assert film.shape == plain.shape
        length = plan.length.num_latent_frames - plan.end_latents
        made = model.spec.first_frames + (length - 1) * model.spec.temporal_factor
        assert np.array_equal(film[: made - 20], plain[: made - 20])
        assert not np.array_equal(film[:made], plain[:made])
    if kind == "tubelet_model":
        still = to_tensor(np.repeat(end, 4, axis=0)[None])
        wanted = to_uint8(model.decoder().push(model.encoder().push(still)))[0]
        assert np.abs(film[-4:].astype(int) - wanted[-4:]).max() <= 1


@pytest.mark.parametrize("kind", ["tubelet_model", "wan_model"])
def test_a_loop_runs_into_its_own_beginning(kind: str, request: pytest.FixtureRequest) -> None:
    """Guards whole chunks, and what stands behind the film: its first latents, where these are of their frames."""
    model: VideoModel = request.getfixturevalue(kind)
    options = {**SMALL, "num_frames": 50}
    film = FilmOptions(prompt=PROMPT, loop=True, **options).resolved(model.spec)
    assert film.length.surplus_frames == 0 and film.length.num_frames >= 50
    assert any("a loop has whole chunks" in note for note in film.notes) == (film.length.num_frames != 50)
    shot = Shot(model, film)
    state, pictures = shot.begin()
    states = list(shot.passes(state))
    end = states[-1][0].end
    assert end is not None and end.shape[2] == film.end_latents + 1
    made = np.concatenate([pictures, *(portion for _, portion in states)])
    assert len(made) == film.length.num_frames
    plain = LongTake(model).generate(PROMPT, **{**options, "num_frames": len(made)})
    assert np.array_equal(made[:24], plain[:24]) and not np.array_equal(made[-12:], plain[-12:])
    if kind == "tubelet_model":
        again = to_uint8(model.decoder().push(end[:, :, 1:]))[0]
        assert np.array_equal(again, made[: len(again)])


@pytest.mark.parametrize("solver", ["euler", "unipc"])
def test_a_film_with_an_end_goes_on_where_it_was_stopped(
    tubelet_folder: Path, tmp_path: Path, solver: Solver
) -> None:
    """Guards that the state holds the end, a loop's and a clip's, and the place where the film meets it."""
    model, options = LongTake.from_pretrained(tubelet_folder), {**SMALL, "solver": solver}
    end, plan = clip(tmp_path / "end.mp4", 30), FilmOptions(prompt=PROMPT, num_frames=72, **options)
    for film, given in (
        (plan.resolved(model.model.spec, end="clip"), end),
        (plan.model_copy(update={"loop": True}).resolved(model.model.spec), None),
    ):
        whole, path = tmp_path / "whole.mp4", tmp_path / "stopped.mp4"
        Take(film, whole, end=given, overwrite=True).shoot(model)
        with pytest.raises(KeyboardInterrupt):
            stop = iter([False] * 30 + [True]).__next__
            Take(film, path, end=given, overwrite=True).shoot(model, stop=stop)
        take = Take.resumed(path, model.model.spec)
        take.shoot(model)
        assert all(map(np.array_equal, read_frames(path), read_frames(whole)))
        met = ("its beginning", 0) if given is None else ("its end", 72 - film.end_frames)
        assert (take.met, take.seam) == (met[0], seam_at(whole, met[1]))


def test_photos_are_fitted_and_held(wan_model: VideoModel, tubelet_model: VideoModel, tmp_path: Path) -> None:
    """Guards how many frames a photo is, how it is fitted, and that both is said."""
    import av

    picture = np.zeros((20, 64, 3), np.uint8)
    picture[:, 16:48] = 255
    with av.open(tmp_path / "photo.png", "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 20, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    for model, held in ((wan_model, 1), (tubelet_model, 4)):
        film = FilmOptions(prompt=PROMPT, num_frames=30, context_size=2, **SMALL).resolved(
            model.spec, from_clip=True, photo=True
        )
        shown = {
            fit: read_given(tmp_path / "photo.png", film, film.given_frames, fit)
            for fit in ("crop", "pad", "scale")
        }
        assert all(len(pictures) == held for pictures, _ in shown.values())
        assert shown["crop"][0].min() == 255 and shown["pad"][0][:, :11].max() == 0
        assert shown["scale"][0][0, :, :4].max() < 20 and shown["scale"][0][0, :, 12:20].min() > 235
        notes = shown["pad"][1]
        assert "is 64x20, the film 32x32: it is scaled to fit into that, and padded" in notes[0]
        assert len(notes) == 1 + (held > 1) and (held == 1 or "held still for" in notes[1])


@pytest.mark.parametrize(
    ("options", "end", "message"),
    [
        ({"method": "restart"}, "clip", "that takes method progressive"),
        ({"steps_per_chunk": 4}, "photo", "fewer steps_per_chunk"),
        ({"loop": True}, "photo", "not both"),
        ({"num_frames": 4}, "photo", "ask for 5 or more"),
        ({"loop": True, "num_frames": 16}, None, "longer than two windows: ask for"),
    ],
)
def test_ends_that_cannot_be(
    tubelet_model: VideoModel, options: dict[str, Any], end: Any, message: str
) -> None:
    """Guards methods that would not see the end, and films that have no room for it."""
    given = {**SMALL, "num_frames": 60, **options}
    with pytest.raises(OptionError, match=message):
        FilmOptions(prompt=PROMPT, **given).resolved(tubelet_model.spec, end=end)


def test_what_would_drop_an_end_is_refused(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards against films that are extended or branch, and silently end with something else."""
    model = LongTake.from_pretrained(tubelet_folder)
    options = FilmOptions(prompt=PROMPT, num_frames=64, fps=8, **SMALL)
    end = clip(tmp_path / "end.mp4", 40, width=32, height=32)
    film = options.resolved(model.model.spec, end="clip")
    Take(film, tmp_path / "film.mp4", end=end, fit="crop", keep_every=1.0).shoot(model)
    with pytest.raises(StateError, match=r"film\.mp4 runs into end\.mp4: film it without --end"):
        extended(tmp_path / "film.mp4", tmp_path / "longer.mp4", model.model.spec, 3)
    with pytest.raises(StateError, match=r"runs into end\.mp4"):
        branched(tmp_path / "film.mp4", tmp_path / "other.mp4", model.model.spec, Cue(at=4, seed=3))
    assert not (tmp_path / "longer.mp4").exists() and not (tmp_path / "other.mp4").exists()


@pytest.mark.parametrize("levels", [(1, 0.9, 0.7, 0.3), (0.95, 0.7, 0.3, 0.1)])
@pytest.mark.parametrize("solver", ["renoise", "unipc"])
def test_an_end_comes_out_by_any_steps(levels: tuple[float, ...], solver: Solver) -> None:
    """Guards ends where noise is drawn anew, and where it enters at less than 1."""

    def fresh(first: int, rungs: Tensor) -> Tensor:
        drawn = [chunk_noise([4 + int(rung)], first + i, 1, SHAPE) for i, rung in enumerate(rungs)]
        return torch.cat(drawn, dim=2)

    plain = Sampler(
        Sampling(4, 1, 1, 0, solver=solver),
        lambda latents, sigma, first: latents * 0.5 + latents.mean(),
        lambda first, count: levels[0] * chunk_noise([3], first, count, SHAPE),
        torch.tensor([*levels, 0.0]),
        6,
        fresh,
    )
    known = torch.randn(1, 2, 3, 3, 3)
    how = Toward.of(plain, known, False)
    window, film = how.begin(), nothing_of(SHAPE)
    while window.t < how.end:
        window, chunk = how.advance(window)
        film = film if chunk is None else torch.cat([film, chunk], dim=2)
    assert film.isfinite().all()
    torch.testing.assert_close(film[:, :, 3:], known, atol=1e-4, rtol=0)


def test_a_model_that_jumps_says_so(tubelet_model: VideoModel) -> None:
    """Guards the note, with its numbers, of ends that a model was measured not to hold; and silence of the others."""
    options = FilmOptions(prompt=PROMPT, num_frames=60, **SMALL)
    spec = replace(
        tubelet_model.spec, name="m", ends=Ends(films=16, loop=8.9, clip=9.7, photo=3, largest=4.9)
    )
    for end, note in (
        (None, ()),
        ("photo", ()),
        ("clip", ("m jumps where a film meets a clip: 9.7 times as much as in the median, 4.9 times",)),
        ("behind", ("m jumps where a film meets a clip",)),
    ):
        notes = options.resolved(spec, end=end).notes  # type: ignore[arg-type]
        assert len(notes) == len(note) and all(map(str.startswith, notes, note))
        assert options.resolved(tubelet_model.spec, end=end).notes == ()  # type: ignore[arg-type]
    (loops,) = options.model_copy(update={"loop": True}).resolved(spec).notes
    assert "meets its own beginning: 8.9 times" in loops and "the mean of 16 films" in loops
    assert read_spec().ends is not None
