"""The recipes on tiny networks of the same kind: what their files say trains, and the loss falls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from conftest import save_folder, tiny_text_encoder
from longtake.models.places import open_model
from longtake.training.options import RunPlaces, TrainOptions
from longtake.training.trainer import Trainer
from ltx_folders import save_ltx
from waves import Waves

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
CHANNELS = 8


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal results against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture(scope="module")
def wan_5b_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Wan 2.2 TI2V-5B's, but tiny: pictures in patches, residual, 16 × 16 pixels a latent."""
    torch.manual_seed(4)
    vae = AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        is_residual=True,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=16,
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )
    network = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=16,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=64,
    )
    encoder = tiny_text_encoder(UMT5Config, UMT5EncoderModel)
    place = tmp_path_factory.mktemp("wan-5b")
    return save_folder(place, ["diffusers", "AutoencoderKLWan"], encoder, vae, end=True, transformer=network)


@pytest.fixture(scope="module")
def ltx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ltx(tmp_path_factory.mktemp("ltx"))


@pytest.fixture
def tiny(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """The tiny folder of the kind of model that a recipe is for."""
    kinds = {
        "wan2.2-ti2v-5b": "wan_5b_folder",
        "skyreels-v2-1.3b": "skyreels_folder",
        "ltx-video": "ltx_folder",
    }

    def folder(recipe: str) -> Path:
        place: Path = request.getfixturevalue(kinds[recipe])
        return place

    return folder


def told(recipe: Path) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load(recipe.read_text())
    return options


@pytest.mark.parametrize("rank", [4, None])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_learns(recipe: Path, rank: int | None, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Guards each file: its windows, its mixture of chunks and its precision. The loss on the same windows is lower
    after ten steps, as a LoRA and as a whole."""
    folder = open_model(tiny(recipe.stem))
    given = {name: value for name, value in told(recipe).items() if name not in RunPlaces.model_fields}
    quick = {"steps": 10, "warmup": 0, "lr": 2e-2, "lora_rank": rank, "save_every": 10, "sample_every": 0}
    options = TrainOptions(**{**given, **quick, "schedule": "constant", "accumulation": 2})
    trainer = Trainer(folder, Waves(folder, options.sampling(folder.spec)), tmp_path / "run", options)
    fixed = [trainer.objective.draw(1000 + i) for i in range(6)]
    assert len({batch.window.chunk_size for batch in fixed}) > 1

    def loss() -> float:
        """The mean over the same noisy latents."""
        with torch.no_grad():
            found = [trainer.objective.errors(trainer.velocity, batch) for batch in fixed]
        return float(torch.cat([errors[noisy] for errors, noisy in found]).mean())

    before = loss()
    for _ in trainer.steps():
        pass
    assert loss() < 0.97 * before
    assert trainer.result.name == ("lora" if rank else "model") and trainer.result.is_dir()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_command_reads_it(
    recipe: Path, cli: Callable[..., Any], tiny: Callable[[str], Path], captioned_film: Path
) -> None:
    """Guards every name in the file, and that what is given holds before it."""
    given = ("--config", recipe, "--model", tiny(recipe.stem), "--data", "film", "--steps", "7")
    result = cli("train", *given, "--dry-run")
    assert result.code == 0, result.err
    assert "GB a process" in result.out and "; 7 steps are " in result.out
