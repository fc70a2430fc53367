"""Whole progressive runs of the reference, from its noise to its final latents, by our heart and our network.

C channels, F latent frames, H W latent height and width, L text tokens, T text width
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from filming import chunks_of
from longtake.guidance import guided_velocity
from longtake.models.open_sora.shift import timestep_shift
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel, velocity
from longtake.models.text import Text
from longtake.noise import sigma_table
from portable import close, rounding

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
CHUNK, STEPS_PER_CHUNK, GUIDANCE, FPS = 5, 5, 7.0, 24.0


class Run(NamedTuple):
    """A recorded run: its steps S, all its chunks, and what the network and the shift are told."""

    steps: int
    chunks: int
    height: int
    width: int
    num_frames: int

    def sigmas(self) -> Tensor:
        return sigma_table(self.steps, timestep_shift(self.height, self.width, self.num_frames))


SMALL = Run(steps=15, chunks=6, height=48, width=64, num_frames=68)
ONE_WINDOW = Run(steps=30, chunks=7, height=240, width=424, num_frames=119)
EXTENSION = ONE_WINDOW._replace(chunks=6)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(DATA / "open_sora" / "e2e_sampler.safetensors")


def film(
    network: OpenSoraTransformer3DModel, golden: dict[str, Tensor], run: Run, sigmas: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The final latents (1, 4, F, H, W), and what each pass saw: its window, and the timesteps (F,).

    The empty caption is masked as the prompt is, which cuts it to the prompt's tokens.
    """
    used = golden["y_mask"][0] == 1
    text, null_text = map(Text.of_zero_padded, (golden["y"][:, 0, used], network.null_caption[None, used]))
    passes = []

    def conditioned(latents: Tensor, sigma: Tensor, captions: Text) -> Tensor:
        timestep = sigma * 1000
        passes.append((latents[:1], timestep))
        fps = torch.tensor([FPS])
        both = timestep.expand(len(latents), -1)
        return velocity(network(latents, both, captions.states, None, fps, run.height, run.width).sample)

    chunks = chunks_of(
        guided_velocity(conditioned, [text], [null_text], GUIDANCE),
        lambda k: golden["noise"][k : k + 1],
        sigmas,
        run.chunks - 1,
        STEPS_PER_CHUNK,
        context=golden["cond_chunk"],
        context_size=CHUNK,
    )
    return torch.cat([golden["cond_chunk"], *chunks], dim=2), passes


@pytest.fixture(scope="module")
def tolerance(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]) -> float:
    """What rounding may move the latents of a whole run by, which a wrong guidance or level moves by 0.01 and more."""
    sigmas, given = SMALL.sigmas(), [golden["noise"], golden["cond_chunk"], golden["y"]]
    allowed = rounding(lambda: film(stdit3, golden, SMALL, sigmas)[0], stdit3, sigmas, given, makers=2)
    assert allowed < 2e-3
    return allowed


def test_first_pass(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]) -> None:
    """Prompt and empty caption as one batch of two, which one mask serves."""
    window, timestep = golden["e1.pass0.z_in"], golden["e1.pass0.t"]

    @torch.no_grad()
    def sample() -> Tensor:
        return stdit3(
            window.expand(2, -1, -1, -1, -1),
            timestep.expand(2, -1),
            torch.cat([golden["y"][:, 0], stdit3.null_caption[None]]),
            golden["y_mask"],
            torch.tensor([FPS]),
            48,
            64,
        ).sample

    tolerance = rounding(sample, stdit3, window, timestep, golden["y"])
    close(sample(), golden["e1.pass0.model_out_cond_uncond"], tolerance)


def test_small_run_on_the_recorded_ladder(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tolerance: float
) -> None:
    """35 passes, guided by 7: windows and timesteps on the way, then the final latents."""
    levels = json.loads((DATA / "schedules.json").read_text())["small"]["levels"]
    latents, passes = film(stdit3, golden, SMALL, torch.tensor(levels).flip(0) / 1000)
    assert len(passes) == 35
    for i in (0, 5, 12):
        window, timestep = passes[i]
        torch.testing.assert_close(timestep, golden[f"e1.pass{i}.t"][0], atol=2e-4, rtol=0)
        close(window, golden[f"e1.pass{i}.z_in"], tolerance)
    close(latents, golden["e1.final_latents"], tolerance)


def test_small_run(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tolerance: float) -> None:
    """The same on our own ladder, which differs in the last digits of float32 alone."""
    latents, _ = film(stdit3, golden, SMALL, SMALL.sigmas())
    close(latents, golden["e1.final_latents"], tolerance)


def test_film_shorter_than_the_window(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tolerance: float
) -> None:
    """The rule continued where the reference returns its first chunk alone; the paper's ladder and window."""
    latents, passes = film(stdit3, golden, EXTENSION, EXTENSION.sigmas())
    assert len(passes) == 50
    close(latents, golden["e3_extension.final_latents"], tolerance)


def test_paper_run_of_one_window(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tolerance: float
) -> None:
    """The paper's settings, untouched reference: 55 passes. Its latents are recorded as spreads and a maximum."""
    latents, passes = film(stdit3, golden, ONE_WINDOW, ONE_WINDOW.sigmas())
    assert len(passes) == 55
    chunks = latents.split(CHUNK, dim=2)
    spreads = [0.8131225, 3.5198488, 3.5654728, 3.4716864, 3.4525893, 3.4955232, 3.5047264]
    assert [chunk.std().item() for chunk in chunks] == pytest.approx(spreads, abs=tolerance)
    assert latents.abs().max().item() == pytest.approx(9.8756647, abs=tolerance)
