"""The recipe of the embedded model, on tiny data: resumable to the bit, and complete at its end."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from longtake.errors import OutputError
from longtake.models.load import read_spec
from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.pipeline import LongTake
from longtake.training import trainer
from longtake.training.loss import Shares
from longtake.worlds.tracking_shot import recipe as tracking_shot
from longtake.worlds.tracking_shot.footage import footage
from longtake.worlds.tracking_shot.recipe import FINISH, TrackingShotRecipe, finish
from longtake.worlds.tracking_shot.shot import Shot
from tiny import checkpoint, interrupting

pytestmark = pytest.mark.slow

TINY = TrackingShotRecipe(steps=1, latents_per_step=22, layers=1, heads=1)
SHOTS = [Shot("car", "red", "hills", "noon", "clear", "steady", seed=i) for i in range(3)]


def tiny_footage() -> tuple[AutoencoderTubelet, torch.Tensor]:
    """An untrained autoencoder, and the latents of a clip for each of SHOTS."""
    vae = AutoencoderTubelet(encoder_width=16, decoder_width=16)
    vae.register_to_config(latents_mean=[0.0] * 32, latents_std=[1.0] * 32)
    latents = torch.randn(3, 32, 14, 2, 2, generator=torch.Generator().manual_seed(0)).half()
    return vae, latents


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_filmmaker_resumes_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped in its fourth of four steps and went on ends with the bytes of one that never was, and
    tells of each step once."""
    monkeypatch.setattr(tracking_shot, "draw_strip", lambda take, picture, prompts: None)
    vae, latents = tiny_footage()
    recipe = replace(TINY, steps=4, save_every=2)
    recipe.train_filmmaker(tmp_path / "whole", vae, latents, SHOTS)
    with interrupting(3), pytest.raises(KeyboardInterrupt):
        recipe.train_filmmaker(tmp_path / "parts", vae, latents, SHOTS)
    model = recipe.train_filmmaker(tmp_path / "parts", vae, latents, SHOTS)
    assert checkpoint(tmp_path / "whole" / "filmmaker", 4) == checkpoint(tmp_path / "parts" / "filmmaker", 4)
    logs = [(tmp_path / run / "losses.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 4
    assert read_spec(model).latent_channels == 32


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_filmmaker_begins_with_another_models_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards comparisons that begin alike: at a learning rate of 0 the model comes out as the one it began with."""
    monkeypatch.setattr(tracking_shot, "draw_strip", lambda take, picture, prompts: None)
    vae, latents = tiny_footage()
    first = TINY.train_filmmaker(tmp_path / "first", vae, latents, SHOTS)
    still = replace(TINY, lr=0.0, muon_lr=0.0, seed=2)
    second = still.train_filmmaker(tmp_path / "second", vae, latents, SHOTS, start=first)
    third = still.train_filmmaker(tmp_path / "third", vae, latents, SHOTS)
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    assert (first / file).read_bytes() == (second / file).read_bytes() != (third / file).read_bytes()


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_the_trainer_finishes_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the recipe's end: the network learns on, and is filmed as before whatever context it met, in the strips
    too; done is done, but for another model."""
    monkeypatch.setattr(tracking_shot, "draw_strip", lambda take, picture, prompts: None)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    vae, latents = tiny_footage()
    model = TINY.train_filmmaker(tmp_path, vae, latents, SHOTS)
    options = FINISH.model_copy(update={"steps": 2, "batch_size": 2, "sample_every": 1})
    strips: list[int] = []

    def draw(take: LongTake, picture: Path, prompts: tuple[str, ...]) -> None:
        strips.append(take.model.spec.defaults.context_size)
        picture.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(picture)

    monkeypatch.setattr(trainer, "draw_strip", draw)
    result = finish(model, tmp_path / "finish", latents, SHOTS, options)
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    learnt = (result / file).read_bytes()
    assert learnt != (model / file).read_bytes()
    assert read_spec(result).defaults == TINY.sampling and strips == [0, 0]
    assert finish(model, tmp_path / "finish", latents, SHOTS, options) == result
    assert (result / file).read_bytes() == learnt
    shutil.copyfile(result / file, model / file)
    with pytest.raises(OutputError, match=r"finish is another run: its weights is .*, or delete it"):
        finish(model, tmp_path / "finish", latents, SHOTS, options)


def test_another_recipes_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a run whose learning rate had fallen against being gone on with for more steps, or for anything else."""
    monkeypatch.setattr(tracking_shot, "footage", Mock(side_effect=KeyboardInterrupt))
    for same in (TrackingShotRecipe(), TrackingShotRecipe(device="meta", save_every=9)):
        with pytest.raises(KeyboardInterrupt):
            same.train(tmp_path)
    for other, words in (
        (TrackingShotRecipe(steps=9), "its steps is 2080, not 9"),
        (TrackingShotRecipe(shares=Shares()), "its shares is .* give another folder"),
    ):
        with pytest.raises(OutputError, match=words):
            other.train(tmp_path)


def test_other_footage_is_not_overwritten(tmp_path: Path) -> None:
    """A folder of other footage is an error that says so."""
    footage(tmp_path, clips=1, frames=4, seed=0)
    with pytest.raises(ValueError, match="other footage"):
        footage(tmp_path, clips=2, frames=4, seed=0)
