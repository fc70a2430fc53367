"""The recipe of the embedded model, on tiny data: resumable to the bit, and complete at its end."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from longtake.errors import OutputError
from longtake.models.load import read_spec
from longtake.models.tubelet import AutoencoderTubelet
from longtake.pipeline import LongTake
from longtake.training import default, pictures, trainer
from longtake.training.autoencoder import train_autoencoder
from longtake.training.checkpoint import NAME, restore, save
from longtake.training.default import Recipe, train_filmmaker
from longtake.training.filmmaker import MAX_TOKENS, build_tokenizer
from longtake.training.finish import FINISH, finish
from longtake.training.footage import footage
from longtake.training.loss import Shares
from longtake.training.muon import Muon, orthogonalise
from longtake.training.schedule import trapezoid
from longtake.worlds.tracking_shot.shot import Shot, every_caption_word

pytestmark = pytest.mark.slow

SHOTS = [Shot("car", "red", "hills", "noon", "clear", "steady", seed=i) for i in range(3)]


def weights(folder: Path) -> bytes:
    return (folder / NAME).read_bytes()


def tiny_footage() -> tuple[AutoencoderTubelet, torch.Tensor]:
    """An untrained autoencoder, and the latents of a clip for each of SHOTS."""
    vae = AutoencoderTubelet(encoder_width=16, decoder_width=16)
    vae.register_to_config(latents_mean=[0.0] * 32, latents_std=[1.0] * 32)
    latents = torch.randn(3, 32, 14, 2, 2, generator=torch.Generator().manual_seed(0)).half()
    return vae, latents


@contextmanager
def told_at_once(stop: Callable[[], None]) -> Iterator[None]:
    """Work that is told to stop as it begins."""
    stop()
    yield


def restored_step(folder: Path) -> int:
    return restore(folder, {})


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_filmmaker_resumes_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped in its fourth of four steps and went on ends with the bytes of one that never was, and
    tells of each step once."""
    monkeypatch.setattr(pictures, "draw_strips", lambda model, picture: None)
    vae, latents = tiny_footage()
    recipe = Recipe(steps=4, latents_per_step=22, save_every=2, layers=1, heads=1)
    train_filmmaker(tmp_path / "whole", recipe, vae, latents, SHOTS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(default, "_step", stopping_at(3))
        train_filmmaker(tmp_path / "parts", recipe, vae, latents, SHOTS)
    with pytest.raises(KeyboardInterrupt):  # told to stop, it ends the step, the third, and keeps it
        train_filmmaker(tmp_path / "parts", recipe, vae, latents, SHOTS, gently=told_at_once)
    assert restored_step(tmp_path / "parts" / "filmmaker") == 3
    model = train_filmmaker(tmp_path / "parts", recipe, vae, latents, SHOTS)
    assert weights(tmp_path / "whole" / "filmmaker") == weights(tmp_path / "parts" / "filmmaker")
    logs = [(tmp_path / run / "losses.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 4
    assert read_spec(model).latent_channels == 32


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_filmmaker_begins_with_another_runs_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards comparisons that begin alike: at a learning rate of 0 the model comes out as the one it began with."""
    monkeypatch.setattr(pictures, "draw_strips", lambda model, picture: None)
    vae, latents = tiny_footage()
    small = Recipe(steps=1, latents_per_step=22, layers=1, heads=1)
    first = train_filmmaker(tmp_path / "first", small, vae, latents, SHOTS)
    still = replace(small, lr=0.0, muon_lr=0.0, seed=2)
    second = train_filmmaker(tmp_path / "second", still, vae, latents, SHOTS, start=tmp_path / "first")
    third = train_filmmaker(tmp_path / "third", still, vae, latents, SHOTS)
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    assert (first / file).read_bytes() == (second / file).read_bytes() != (third / file).read_bytes()


@pytest.mark.filterwarnings("ignore:Matplotlib")
def test_the_trainer_finishes_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the recipe's end: the network learns on, and is filmed as before whatever context it met, in the strips
    too; done is done, but for another model."""
    monkeypatch.setattr(pictures, "draw_strips", lambda model, picture: None)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    vae, latents = tiny_footage()
    tiny = Recipe(steps=1, latents_per_step=22, layers=1, heads=1)
    model = train_filmmaker(tmp_path, tiny, vae, latents, SHOTS)
    options = FINISH.model_copy(update={"steps": 2, "batch_size": 2, "sample_every": 1})
    strips: list[int] = []

    def draw(take: LongTake, prompts: tuple[str, ...], picture: Path) -> None:
        strips.append(take.model.spec.defaults.context_size)
        picture.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(picture)

    monkeypatch.setattr(trainer, "draw_strip", draw)
    result = finish(model, tmp_path / "finish", latents, SHOTS, options)
    file = Path("transformer/diffusion_pytorch_model.safetensors")
    learnt = (result / file).read_bytes()
    assert learnt != (model / file).read_bytes()
    assert read_spec(result).defaults == tiny.sampling and strips == [0, 0]
    assert finish(model, tmp_path / "finish", latents, SHOTS, options) == result
    assert (result / file).read_bytes() == learnt
    shutil.copyfile(result / file, model / file)
    with pytest.raises(OutputError, match=r"finish is another run: its weights is .*, or delete it"):
        finish(model, tmp_path / "finish", latents, SHOTS, options)


def test_another_recipes_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a run whose learning rate had fallen against being gone on with for more steps, or for anything else."""
    monkeypatch.setattr(default, "footage", Mock(side_effect=KeyboardInterrupt))
    train = partial(default.train_default, tmp_path)
    for same in (Recipe(), Recipe(device="meta", save_every=9)):
        with pytest.raises(KeyboardInterrupt):
            train(same)
    for other, words in (
        (Recipe(steps=9), "its steps is 2080, not 9"),
        (Recipe(shares=Shares()), "its shares is .* give another folder"),
    ):
        with pytest.raises(OutputError, match=words):
            train(other)


def stopping_at(last: int) -> Callable[..., tuple[str, float]]:
    """The trainer's step, until a person presses Ctrl-C at step `last`."""
    take = default._step

    def step(*arguments: Any) -> tuple[str, float]:
        if arguments[-1] == last:
            raise KeyboardInterrupt
        return take(*arguments)

    return step


def test_autoencoder_learns_and_resumes(tmp_path: Path) -> None:
    """Steps that are done are not done again, and the error falls below the start's."""
    pixels, shots = footage(tmp_path / "footage", clips=3, frames=8, seed=0)
    assert len(shots) == 3 and pixels.shape[:2] == (3, 8)
    torch.manual_seed(0)
    vae = AutoencoderTubelet(z_dim=8, encoder_width=32, decoder_width=32, encoder_blocks=1, decoder_blocks=1)
    train_autoencoder(vae, pixels, 4, tmp_path / "vae", batch=2)
    again = AutoencoderTubelet(
        z_dim=8, encoder_width=32, decoder_width=32, encoder_blocks=1, decoder_blocks=1
    )
    train_autoencoder(again, pixels, 4, tmp_path / "vae", batch=2)
    for a, b in zip(vae.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_other_footage_is_not_overwritten(tmp_path: Path) -> None:
    """A folder of other footage is an error that says so."""
    footage(tmp_path, clips=1, frames=4, seed=0)
    with pytest.raises(ValueError, match="other footage"):
        footage(tmp_path, clips=2, frames=4, seed=0)


def test_checkpoint_of_an_optimizer(tmp_path: Path) -> None:
    """Momenta come back exactly; an empty folder restores nothing and says step 0."""
    layer = torch.nn.Linear(3, 2)
    adam = torch.optim.AdamW(layer.parameters())
    assert restore(tmp_path, {"adam": adam}) == 0
    layer(torch.ones(1, 3)).sum().backward()
    adam.step()
    save(tmp_path, {"layer": layer, "adam": adam}, 7)
    fresh = torch.nn.Linear(3, 2)
    other = torch.optim.AdamW(fresh.parameters())
    assert restore(tmp_path, {"layer": fresh, "adam": other}) == 7
    assert torch.equal(fresh.weight, layer.weight)
    assert torch.equal(other.state[fresh.weight]["exp_avg"], adam.state[layer.weight]["exp_avg"])


def test_tokenizer_splits_as_captions_are_written() -> None:
    """Case does not matter, the end is marked, a foreign word becomes [UNK], and the limit is the model's."""
    tokenizer = build_tokenizer(every_caption_word())
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("A RED zeppelin, at dawn").input_ids)
    assert tokens == ["a", "red", "[UNK]", ",", "at", "dawn", "[EOS]"]
    assert tokenizer.model_max_length == MAX_TOKENS


def test_orthogonalise() -> None:
    """Muon's iteration brings all singular values near 1, whichever side is longer."""
    for shape in ((6, 20), (20, 6)):
        values = torch.linalg.svdvals(
            orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        )
        assert values.min() > 0.6 and values.max() < 1.3


@pytest.mark.parametrize(("shape", "scale"), [((20, 5), 2.0), ((5, 20), 1.0)])
def test_muon_steps_further_where_a_matrix_is_tall(shape: tuple[int, int], scale: float) -> None:
    """Guards the length of a step: lr, times the root of rows to columns where there are more rows."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = gradient
    Muon([weight], lr=0.1, momentum=0.0).step()
    torch.testing.assert_close(weight.detach(), -0.1 * scale * orthogonalise(gradient))


def test_trapezoid() -> None:
    """Rises, holds, and ends near 0."""
    assert trapezoid(0, 100, 10) == pytest.approx(0.1)
    assert trapezoid(50, 100, 10) == 1
    assert trapezoid(99, 100, 10) == pytest.approx(1 / 30)
