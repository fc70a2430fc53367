"""Films that are finished from drafts: what they keep, that they are the same twice, and how little they hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from longtake import LongTake
from longtake.cues import Cue
from longtake.drafts import EncodedDraft, draft_options, enlarged
from longtake.errors import LongTakeError, OptionError, StateError
from longtake.models.base import VideoModel
from longtake.noise import check_table, sigma_table, tail
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_tensor, to_uint8
from longtake.retakes import finished
from longtake.schedules import flow, steps_from
from longtake.shot import Shot
from longtake.states import read_about, state_path
from longtake.takes import Take
from longtake.video import Pictures, VideoWriter, probe, read_frames
from packets import same_film

pytestmark = pytest.mark.slow

FAMILIES = ("tubelet_folder", "wan_folder")
STEPS: dict[str, Any] = {"num_inference_steps": 6, "steps_per_chunk": 1, "chunk_size": 1}


def draft_of(path: Path, num_frames: int = 33, **told: Any) -> Path:
    """Soft shapes that move, 32x32 at 8 frames a second."""
    rows, columns = np.mgrid[:32, :32]
    told = {"prompt": "a red car", "negative_prompt": "", "seed": 0} | told
    with VideoWriter(path, 32, 32, 8, told) as writer:
        for t in range(num_frames):
            light = 128 + 90 * np.sin((rows + 2 * t) / 5) * np.cos((columns - t) / 7)
            writer.write(np.repeat(light[..., None], 3, axis=-1).astype(np.uint8)[None])
    return path


def pictures(path: Path) -> Pictures:
    return np.stack(list(read_frames(path)))


def plan_of(draft: Path, model: VideoModel, strength: float = 0.5) -> FilmPlan:
    return draft_options(probe(draft), 2, **STEPS).resolved(model.spec, strength=strength)


def tensors_in(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def round_trip(draft: Path, model: VideoModel, film: FilmPlan) -> Pictures:
    """The draft at the film's size, encoded and decoded at once."""
    more = film.length.num_latent_frames * 4 + 8
    frames = np.stack([frame for frame, _ in zip(enlarged(draft, film), range(more), strict=False)])
    latents = model.encoder().push(to_tensor(frames[None]))[:, :, : film.length.num_latent_frames]
    return to_uint8(model.decoder().push(latents))[0, : film.length.num_frames]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_strength_leaves_what_the_autoencoder_makes_of_the_draft(
    request: pytest.FixtureRequest, tmp_path: Path, family: str
) -> None:
    """Guards the place of every latent: picture for picture the round trip of the draft at its new size."""
    model = LongTake.from_pretrained(request.getfixturevalue(family))
    draft = draft_of(tmp_path / "draft.mp4")
    film = plan_of(draft, model.model, 1e-6)
    shot = Shot(model.model, film, draft=EncodedDraft(draft, model.model, film))
    made = np.concatenate(list(shot.pictures()))
    want = round_trip(draft, model.model, film)
    assert made.shape == want.shape == (33, 64, 64, 3)
    assert np.abs(made.astype(int) - want).max() <= 1
    assert film.cost.sampling.num_inference_steps == 1


def test_strength_takes_a_film_away_from_its_draft(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the noise: the more of it, the less is left; and the seed is what it depends on."""
    model, draft = LongTake.from_pretrained(tubelet_folder), draft_of(tmp_path / "draft.mp4")
    want = round_trip(draft, model.model, plan_of(draft, model.model)).astype(float)

    def made(strength: float, seed: int = 0) -> Pictures:
        path = tmp_path / f"{strength}.{seed}.mp4"
        options = {**STEPS, "seed": seed, "overwrite": True}
        finished(draft, path, model.model.spec, strength, **options).shoot(model)
        return pictures(path)

    apart = [np.abs(made(strength) - want).mean() for strength in (0.01, 0.3, 0.6)]
    assert apart[0] < apart[1] < apart[2]
    assert not np.array_equal(made(0.3), made(0.3, seed=1))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_longer_draft_begins_like_a_shorter_one(
    request: pytest.FixtureRequest, tmp_path: Path, family: str
) -> None:
    """Guards streams: until the shorter one's window drains, nothing knows how long the draft is."""
    model = LongTake.from_pretrained(request.getfixturevalue(family))
    whole = 32 + model.model.spec.first_frames % 4  # whole latents: the last picture fills none
    short, long = (draft_of(tmp_path / f"{name}.mp4", n) for name, n in (("short", whole), ("long", 45)))
    for draft in (short, long):
        finished(draft, tmp_path / f"{draft.stem}.large.mp4", model.model.spec, 0.5, **STEPS).shoot(model)
    film = plan_of(short, model.model)
    shot = Shot(model.model, film, draft=EncodedDraft(short, model.model, film))
    state, _ = shot.begin()
    same = 0
    while shot.is_open(state):
        same = state.num_frames
        state, _ = shot.advance(state)
    a, b = (pictures(tmp_path / f"{name}.large.mp4") for name in ("short", "long"))
    assert same >= 16 and np.array_equal(a[: same // 8 * 8], b[: same // 8 * 8])


@pytest.mark.parametrize("solver", ["euler", "unipc", "renoise"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_finish_stopped_after_any_pass_goes_on_to_the_same_file(
    request: pytest.FixtureRequest, tmp_path: Path, family: str, solver: str
) -> None:
    """Guards resumption: the draft is read on from where it was, its encoder as it was; twice, the same bytes."""
    folder = request.getfixturevalue(family)
    model, draft = LongTake.from_pretrained(folder), draft_of(tmp_path / "draft.mp4")
    spec, options = model.model.spec, {**STEPS, "solver": solver}
    finished(draft, tmp_path / "whole.mp4", spec, 0.5, **options).shoot(model)
    path = tmp_path / "film.mp4"
    take = finished(draft, path, spec, 0.5, **options)
    for passes in range(1, take.film.cost.passes):
        with pytest.raises(KeyboardInterrupt):
            take.shoot(model, stop=iter([False, True]).__next__)
        about = read_about(state_path(path))
        assert about.passes == passes and about.draft == str(draft.resolve())
        kept = [name for name in tensors_in(state_path(path)) if name.startswith("draft.encoder.")]
        assert kept == (["draft.encoder.pictures"] if family == "wan_folder" else ["draft.encoder.waiting"])
        take = Take.resumed(path, spec)
    take.shoot(model)
    assert same_film(path, tmp_path / "whole.mp4")
    told = probe(path).metadata
    assert told["strength"] == 0.5 and told["draft"]["name"] == "draft.mp4" and told["width"] == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_held_does_not_grow_with_the_draft(
    request: pytest.FixtureRequest, tmp_path: Path, family: str
) -> None:
    """Guards memory: the latents in the window, those that wait and the encoder's state are as many at any length."""
    model = LongTake.from_pretrained(request.getfixturevalue(family)).model

    def most(num_frames: int) -> tuple[int, int]:
        draft = draft_of(tmp_path / f"{num_frames}.mp4", num_frames)
        film = plan_of(draft, model)
        shot, held, waiting = Shot(model, film, draft=EncodedDraft(draft, model, film)), 0, 0
        for state, _ in shot.passes(shot.begin()[0]):
            window = state.window
            tensors = [window.clean, window.noisy, *window.memory, *state.draft.values()]
            held = max(held, sum(x.untyped_storage().nbytes() for x in tensors))
            waiting = max(waiting, state.draft["ready"].shape[2])
        return held, waiting

    few, many = most(21), most(53)
    assert few == many and few[1] <= 1


def test_a_film_follows_what_its_draft_does(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards prompt, seed, guidance and cues of the draft; its sampling is the model's or the user's."""
    model = LongTake.from_pretrained(tubelet_folder)
    cues = (Cue(at=2, prompt="a blue bus"),)
    options = FilmOptions(
        prompt="a red car", num_frames=33, fps=8, width=32, height=32, seed=5, guidance_scale=2, cues=cues
    )
    Take(options.resolved(model.model.spec), tmp_path / "draft.mp4").shoot(model)
    film = finished(tmp_path / "draft.mp4", tmp_path / "large.mp4", model.model.spec, 0.3).film
    assert (film.prompt, film.seed, film.cues, film.settings.guidance_scale) == ("a red car", 5, cues, 2)
    assert (film.settings.width, film.settings.height, film.rate, film.length.num_frames) == (64, 64, 8, 33)
    assert film.settings.num_inference_steps == model.model.spec.defaults.num_inference_steps
    other = finished(
        tmp_path / "draft.mp4", tmp_path / "large.mp4", model.model.spec, width=64, height=48, prompt="a bus"
    )
    assert other.film.prompt == "a bus" and any("cropped" in note for note in other.film.notes)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"strength": 0}, "strength lies between"),
        ({"strength": 1}, "strength lies between"),
        ({"strength": float("nan")}, "strength lies between"),
        ({"method": "restart"}, "progressive"),
        ({"scale": 1.1}, "does not fit"),
        ({"scale": 1e9}, "less than or equal"),
        ({"prompt": " "}, "prompt is empty"),
        ({"loop": True, "num_inference_steps": 8, "steps_per_chunk": 1}, "runs into no end"),
    ],
)
def test_what_cannot_be_finished_is_refused(
    tubelet_model: VideoModel, tmp_path: Path, options: dict[str, Any], wrong: str
) -> None:
    """Guards one line for each, before anything is written."""
    draft = draft_of(tmp_path / "draft.mp4", 9)
    with pytest.raises(OptionError, match=wrong):
        finished(draft, tmp_path / "large.mp4", tubelet_model.spec, **options)
    assert list(tmp_path.iterdir()) == [draft]


def test_drafts_that_are_no_good(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards drafts of others without a prompt, damaged ones, and those that change before the film goes on."""
    model = LongTake.from_pretrained(tubelet_folder)
    spec, path = model.model.spec, tmp_path / "large.mp4"
    with VideoWriter(tmp_path / "others.mp4", 32, 32, 8, {}) as writer:
        writer.write(np.zeros((9, 32, 32, 3), np.uint8))
    with pytest.raises(OptionError, match="give a prompt"):
        finished(tmp_path / "others.mp4", path, spec)
    assert finished(tmp_path / "others.mp4", path, spec, prompt="a bus").film.prompt == "a bus"
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(LongTakeError, match="cannot be read"):
        finished(tmp_path / "text.mp4", path, spec)
    draft = draft_of(tmp_path / "draft.mp4")
    with pytest.raises(KeyboardInterrupt):
        finished(draft, path, spec, **STEPS).shoot(model, stop=lambda: True)
    draft_of(tmp_path / "another.mp4", 34).replace(draft)
    with pytest.raises(StateError, match="another film by now"):
        Take.resumed(path, spec)
    draft.unlink()
    with pytest.raises(StateError, match="is gone"):
        Take.resumed(path, spec)
    with pytest.raises(OptionError, match="strength"):
        Shot(model.model, plan_of(draft_of(draft), model.model))


def test_a_table_ends_as_the_models_own() -> None:
    """Guards the levels that the network sees: its own below the strength, which no step is wasted before."""
    table = sigma_table(8, 2.0)
    for strength in (1e-6, 0.05, 0.3, 0.4, 0.45, 0.6, 0.999):
        own = [level for level in table.tolist()[1:] if level < 0.999 * strength]
        steps = steps_from(strength, flow(8, 2.0))
        levels = tail(table, strength, steps)
        check_table(levels, strength)
        assert levels.tolist() == pytest.approx([strength, *own], rel=1e-6)
    with pytest.raises(OptionError, match="from 1 to 0"):
        check_table(levels)


@pytest.mark.slow
def test_finish_on_the_command_line(cli: Callable[..., Any], tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the command: size or scale, what is told, and that a finished film is not filmed `--like`."""
    draft = draft_of(tmp_path / "draft.mp4", 17)
    made = cli("finish", draft, "-o", "a.mp4", "--strength", "0.4", "--model", tubelet_folder)
    assert made.code == 0 and "17 frames" in made.out
    made = cli(
        "finish", draft, "-o", "b.mp4", "--strength", "0.4", "--model", tubelet_folder, "--size", "64x64"
    )
    assert made.code == 0
    assert same_film(tmp_path / "a.mp4", tmp_path / "b.mp4")
    refused = cli("generate", "--like", "a.mp4", "-o", "c.mp4", "--model", tubelet_folder)
    assert refused.code == 2 and "longtake finish" in refused.err
    assert "cropped" in cli("finish", draft, "-o", "d.mp4", "--model", tubelet_folder, "--size", "64x48").err
    assert cli("finish", draft, "-o", "e.mp4", "--model", tubelet_folder, "--size", "big").code != 0
    assert cli("finish", "gone.mp4", "-o", "e.mp4", "--model", tubelet_folder).code == 2
