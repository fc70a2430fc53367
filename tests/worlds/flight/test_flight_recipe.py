"""The recipe of the flight model, on tiny settings: resumable to the bit, and complete at its end."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.errors import OutputError
from longtake.models.load import read_spec
from longtake.pipeline import LongTake
from longtake.training.loss import Window
from longtake.worlds.flight import clips as flight_clips
from longtake.worlds.flight import recipe as flight
from longtake.worlds.flight.clips import Clip, Drawing, FlightClips
from longtake.worlds.flight.flight import Change, Flight
from longtake.worlds.flight.recipe import FlightRecipe
from longtake.worlds.flight.scene import Scene, described
from tiny import checkpoint, interrupting, lapped_autoencoder

pytestmark = pytest.mark.slow

DAY, NIGHT = Scene("dunes", "noon"), Scene("dunes", "night", motion="left")
TINY = FlightRecipe(
    steps=4, latents_per_step=22, save_every=2, layers=1, heads=1, distil_steps=2, distil_batch=2
)


def clips() -> FlightClips:
    """Four clips of noise, in two of which day becomes night."""
    latents = torch.randn(4, 8, 14, 2, 2, generator=torch.Generator().manual_seed(0)).half()
    turned = Clip(Flight(DAY, 1, (Change(20, NIGHT, 12),)), 0, 14)
    kept = Clip(Flight(NIGHT, 1), 0, 14)
    shown = [kept, kept, turned, turned]
    return FlightClips(latents, [c.scenes() for c in shown], np.stack([c.changing() for c in shown]))


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_filmmaker_resumes_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped and went on ends with the bytes of one that never was, and its folder is a model."""
    monkeypatch.setattr(flight, "STRIP", lambda take, picture: None)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = TINY.train_filmmaker(whole, lapped_autoencoder(), clips())
    with interrupting(3), pytest.raises(KeyboardInterrupt):
        TINY.train_filmmaker(parts, lapped_autoencoder(), clips())
    TINY.train_filmmaker(parts, lapped_autoencoder(), clips())
    assert checkpoint(whole / "filmmaker", 4) == checkpoint(parts / "filmmaker", 4)
    assert (whole / "losses.jsonl").read_text() == (parts / "losses.jsonl").read_text()
    further = replace(TINY, steps=1, lr=0.0, muon_lr=0.0)
    shutil.copytree(model, tmp_path / "further" / "start")
    same = further.train_filmmaker(tmp_path / "further", lapped_autoencoder(), clips())
    for part in ("transformer/diffusion_pytorch_model", "text_encoder/model"):
        assert (model / f"{part}.safetensors").read_bytes() == (same / f"{part}.safetensors").read_bytes()
    spec = read_spec(model)
    assert (spec.prediction, spec.first_frames, spec.lookahead_latents) == ("sample", 2, 1)
    film = LongTake.from_pretrained(model).generate("dunes at night", num_frames=30, width=32, height=32)
    assert film.shape == (30, 32, 32, 3)


def test_each_latent_has_its_own_caption() -> None:
    """The caption of a latent is that of its first frame; a batch that sees a change has a text a latent."""
    film = clips()
    window = Window("steady", 0, tuple(reversed(range(8))), (0, 0), 1)
    generator = torch.Generator().manual_seed(0)
    latents, captions, index = film.batch(window, 6, generator, 0.0, changing=True)
    assert latents.shape == (6, 8, 8, 2, 2) and index.shape == (6, 8)
    told = [[described(captions[i].replace("[UNK]", "")).time for i in row] for row in index.tolist()]
    assert all(row == sorted(row, key=["noon", "night"].index) for row in told)  # no night becomes day
    assert any(len(set(row)) == 2 for row in told)
    _, captions, index = film.batch(window, 6, generator, 0.0, changing=False)
    assert index.tolist() == [1, 2, 3, 4, 5, 6] and len(captions) == 7
    _, captions, index = film.batch(window, 6, generator, 1.0, changing=True)
    assert captions == [""] and (index == 0).all()


def test_windows_of_one_scene_see_no_change_under_way() -> None:
    """Day becomes night over frames 20 to 31, latents 5 to 7 of two clips: windows either see that or do not."""
    film = clips()
    calm, changing = film.places(4, False), film.places(4, True)
    assert [start for clip, start in calm.tolist() if clip == 2] == [0, 1, 8, 9, 10]
    assert [start for clip, start in changing.tolist() if clip == 2] == [2, 3, 4, 5, 6, 7]
    assert not (changing[:, 0] < 2).any()


def test_no_clip_shows_what_is_held_out() -> None:
    """Neither a clip nor its mirror image, before or after a change; the clips of a group share a land, which they
    begin with, and follow from the seed."""
    drawing = Drawing(groups=40, together=16, latents=16, seed=1)
    drawn, every = drawing.clips(0), drawing.every
    assert drawn == drawing.clips(0) != drawing.clips(1) and len(every) == 640
    assert len({clip.flight.scene.land for clip in drawn}) == 1
    for mirrored in (False, True):
        assert not any(scene.held_out for clip in every for scene in clip.scenes(mirrored))
    assert 0.2 < np.mean([bool(clip.changing().any()) for clip in every]) < 0.4
    turning = next(clip for clip in every if clip.scenes()[0].motion == "left")
    assert turning.scenes(mirrored=True)[0].motion == "right"


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_the_whole_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing to a model, and what is done is not done again; another recipe's folder is refused.

    Here a thread does the work of the processes, which take longer to begin than that work does."""
    monkeypatch.setattr(flight, "STRIP", lambda take, picture: None)
    monkeypatch.setattr(flight_clips, "processes", lambda method: ThreadPoolExecutor(1))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    tiny = replace(TINY, groups=1, together=3, latents=11, vae_groups=1, vae_steps=2, steps=2, seed=2)
    model = tiny.train(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    assert replace(tiny, save_every=1).train(tmp_path) == model
    assert read_spec(model).defaults.num_inference_steps == 4
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    with pytest.raises(OutputError, match="its seed is 2, not 3"):
        replace(tiny, seed=3).train(tmp_path)
