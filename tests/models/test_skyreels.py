"""The SkyReels-V2 adapter on a tiny real network: against diffusers' own, to a film, and trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SkyReelsV2Transformer3DModel
from torch import Tensor

from longtake import LongTake
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.text import Text
from longtake.models.wan.skyreels import SkyReelsModel
from longtake.video import VideoWriter
from portable import close, rounding

pytestmark = pytest.mark.slow

TEXT_WIDTH = 16
SMALL = ("--num-inference-steps", "4", "--steps-per-chunk", "2", "--chunk-size", "1", "--context-size", "1")

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(skyreels_folder: Path) -> SkyReelsModel:
    model = load_model(skyreels_folder)
    assert isinstance(model, SkyReelsModel)
    return model


@pytest.fixture(scope="module")
def stock(skyreels_folder: Path) -> SkyReelsV2Transformer3DModel:
    return SkyReelsV2Transformer3DModel.from_pretrained(skyreels_folder, subfolder="transformer")


def window(batch: int, frames: int) -> tuple[Tensor, Text]:
    """Latents (B, 4, F, 4, 6) and text of five tokens."""
    return torch.randn(batch, 4, frames, 4, 6), Text.of_zero_padded(torch.randn(batch, 5, TEXT_WIDTH))


@torch.no_grad()
def test_a_text_a_latent(model: SkyReelsModel) -> None:
    """Equal texts, one a latent, are as one text; another text moves the latent that it is told of more than others."""
    latents, text = window(1, 3)
    sigma, each = torch.tensor([0.9, 0.53125, 0.1]), Text.a_latent([text] * 3)
    one = model.velocity(latents, sigma, text)
    close(model.velocity(latents, sigma, each), one, allowed(model, latents, text))
    each.states[:, 2] = torch.randn(1, 5, TEXT_WIDTH)
    moved = (model.velocity(latents, sigma, each) - one).abs().amax((0, 1, 3, 4))
    assert moved[2] > 2 * moved[:2].max()
    assert model.spec.text_per_latent


def allowed(model: SkyReelsModel, latents: Tensor, text: Text) -> float:
    """What rounding may move a velocity by."""
    sigma = torch.tensor([0.9, 0.53125, 0.1])
    return rounding(
        lambda: model.velocity(latents, sigma, text), model.transformer, latents, sigma, text.states
    )


@pytest.mark.parametrize("fps", [16, 24])
@torch.no_grad()
def test_one_level_is_the_clip_model(
    model: SkyReelsModel, stock: SkyReelsV2Transformer3DModel, fps: int
) -> None:
    """Guards time, sign and frame rate: with one level in all frames the answer is that of a timestep a clip."""
    latents, text = window(2, 3)
    tolerance = allowed(model, latents, text)
    for level in (1.0, 0.53125, 0.0):
        ours = model.velocity(latents, torch.full((3,), level), text, fps)
        time = torch.full((2,), 1000 * level)
        (theirs,) = stock(latents, time, text.states, fps=[int(fps == 24)] * 2, return_dict=False)
        close(ours, theirs, tolerance)


@torch.no_grad()
def test_every_frame_has_its_own_level(model: SkyReelsModel, stock: SkyReelsV2Transformer3DModel) -> None:
    """Guards levels that go to another frame, or all to all: equal to diffusion forcing as diffusers has it, which
    takes one row at a time of a network that is told the frame rate."""
    latents, text = window(2, 3)
    sigma = torch.tensor([[0.0, 0.4, 1.0], [0.2, 0.6, 0.8]])
    ours = model.velocity(latents, sigma, text)
    tolerance = allowed(model, latents, text)
    for i in range(2):
        rows = (tensor[i : i + 1] for tensor in (latents, 1000 * sigma, text.states))
        (theirs,) = stock(*rows, enable_diffusion_forcing=True, fps=[1], return_dict=False)
        close(ours[i : i + 1], theirs, tolerance)
    other = model.velocity(latents, sigma + torch.tensor([0.0, 0.0, 0.1]), text)
    assert (other - ours).abs().amax(dim=(0, 1, 3, 4))[2] > 10 * tolerance


def test_a_film_of_it(model: SkyReelsModel, skyreels_folder: Path) -> None:
    """Guards defaults for folders of the hub, which hold no longtake.json, and the whole way to pictures."""
    defaults = read_spec(skyreels_folder).defaults
    assert (defaults.width, defaults.height, defaults.fps, defaults.shift) == (960, 544, 24, 8.0)
    rungs = -(-defaults.num_inference_steps // defaults.steps_per_chunk)
    assert defaults.chunk_size * rungs + defaults.context_size == 25
    small: dict[str, Any] = {
        "num_inference_steps": 4,
        "steps_per_chunk": 2,
        "chunk_size": 1,
        "context_size": 1,
    }
    film = LongTake(model).generate("a red car", num_frames=21, width=32, height=32, **small)
    assert film.shape == (21, 32, 32, 3) and film.std() > 0


def test_it_learns(cli: Cli, skyreels_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards `prepare`, `train` whole and as a LoRA, and `generate` with what came of it."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "one.txt").write_text("a red car")
    with VideoWriter(tmp_path / "film" / "one.mp4", 32, 32, 24, {}) as writer:
        for i in range(129):
            writer.write(np.full((1, 32, 32, 3), i, np.uint8))
    data = ("--model", skyreels_folder, "--size", "32x32")
    code, _, err = cli("prepare", "film", "-o", "data", *data)
    assert code == 0, err
    quick = ("--steps", "2", "--batch-size", "2", "--warmup", "0", *SMALL)
    for run, more in (("whole", ()), ("added", ("--lora-rank", "2"))):
        code, _, err = cli("train", "--model", skyreels_folder, "--data", "data", "-o", run, *quick, *more)
        assert code == 0, err
    trained = load_transformer(tmp_path / "whole" / "model")
    assert isinstance(trained, SkyReelsV2Transformer3DModel)
    before = load_transformer(skyreels_folder)
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), before.parameters(), strict=True)]
    assert all(moved)
    films = list[dict[str, Any]]()
    for options in (("--model", "whole/model"), ("--model", skyreels_folder, "--lora", "added")):
        code, out, err = cli(
            "generate", "a red car", *options, "--frames", "9", "--json", "-o", f"{len(films)}.mp4"
        )
        assert code == 0, err
        films.append(json.loads(out))
    assert all(film["num_frames"] == 9 and film["options"]["width"] == 32 for film in films)
