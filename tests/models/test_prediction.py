"""Networks that predict the sample: the velocity that they mean.

B batch, C channels, F latent frames, H W latent height and width
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from longtake.models.load import load_model, read_spec
from longtake.models.prediction import AS_VELOCITY
from longtake.models.text import Text
from longtake.training.loss import frame_errors


def test_a_perfect_sample_means_the_true_velocity() -> None:
    """x = (1 - sigma) data + sigma noise, so (x - data) / sigma = noise - data; context has none."""
    data, noise = torch.randn(2, 2, 3, 4, 2, 2, dtype=torch.float64).unbind()
    sigma = torch.tensor([[0.0, 0.2, 0.6, 1.0], [0.0, 0.0, 0.9, 0.1]], dtype=torch.float64)
    level = sigma[:, None, :, None, None]
    x = (1 - level) * data + level * noise
    wanted = (noise - data).where(level > 0, torch.zeros(()))
    torch.testing.assert_close(AS_VELOCITY["sample"](data, x, sigma).double(), wanted, rtol=0, atol=1e-5)
    assert AS_VELOCITY["flow_prediction"](data, x, sigma) is data


def test_errors_below_the_least_sigma_count_as_they_would_there() -> None:
    """A sample that is off by one everywhere has a velocity that is off by 1 / sigma: 25 at the least sigma, 0.2, and
    what is below counts as 25 too."""
    data, noise = torch.zeros(1, 3, 4, 2, 2), torch.randn(1, 3, 4, 2, 2)
    sigma = torch.tensor([[0.05, 0.1, 0.2, 0.5]])

    def off_by_one(x: torch.Tensor, sigma: torch.Tensor, text: Text) -> torch.Tensor:
        return AS_VELOCITY["sample"](data + 1, x, sigma)

    errors, noisy = frame_errors(
        off_by_one, data, Text.of_zero_padded(torch.zeros(1, 1, 1)), sigma, noise, least=0.2
    )
    torch.testing.assert_close(errors, torch.tensor([[25.0, 25.0, 25.0, 4.0]]), rtol=1e-4, atol=0)
    assert noisy.all()


@torch.no_grad()
def test_a_folder_says_what_its_network_predicts(tubelet_folder: Path, tmp_path: Path) -> None:
    """By its scheduler's prediction_type, as in diffusers; the same weights then mean another velocity."""
    folder = Path(shutil.copytree(tubelet_folder, tmp_path / "model"))
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "prediction_type": "sample"}))
    assert (read_spec(tubelet_folder).prediction, read_spec(folder).prediction) == (
        "flow_prediction",
        "sample",
    )
    flow, sample = load_model(tubelet_folder), load_model(folder)
    spec = flow.spec
    x, sigma = torch.randn(1, spec.latent_channels, 3, 4, 4), torch.tensor([0.25, 0.5, 1.0])
    text = flow.encode_prompt(["a car"])
    predicted = flow.velocity(x, sigma, text)
    assert sample.velocity(x, sigma, text) == pytest.approx(
        (x - predicted) / sigma[:, None, None], rel=1e-4, abs=1e-4
    )
