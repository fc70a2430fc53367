"""CogVideoX, HunyuanVideo and Kandinsky 5 at their real sizes, without their numbers."""

import json
from pathlib import Path

import pytest
import torch

from longtake.models.configs import checked
from longtake.models.families import AUTOENCODERS, FAMILIES
from longtake.models.records import imported

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
PARAMETERS = {
    "cogvideox-2b": 1_693_783_872,
    "cogvideox-5b": 5_570_283_072,
    "cogvideox1.5-5b": 5_570_676_352,
    "hunyuan-video": 12_821_012_544,
    "hunyuan-video-1.5-480p": 8_326_608_160,
    "hunyuan-video-1.5-720p": 8_326_608_160,
    "kandinsky-5-lite": 2_007_702_848,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_published_configurations(name: str) -> None:
    """Each is a model of its family, has settings of its own, as many parameters as its line tells, and takes a
    timestep a frame."""
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    classes = {part: config[part]["_class_name"] for part in ("transformer", "vae", "scheduler")}
    family, record = FAMILIES[classes["transformer"]], AUTOENCODERS[classes["vae"]]
    network = checked(family.config, config["transformer"], name)
    latents = checked(record.config, config["vae"], name).latents
    scheduler = checked(family.schedulers[classes["scheduler"]], config["scheduler"], name)
    assert (network.refusal, network.unfit(scheduler)) == (None, None)
    assert network.latent_channels == latents.channels
    place = (classes["vae"], latents.spatial_factor)
    defaults = family.defaults[(*place, network.variant) if network.variant else place]
    assert defaults.shift == scheduler.given_shift(classes["scheduler"])
    assert defaults.width % (latents.spatial_factor * network.patch) == 0
    assert defaults.height % (latents.spatial_factor * network.patch) == 0
    with torch.device("meta"):
        transformer = imported(family.code).from_config(config["transformer"])
        imported(record.code).from_config(config["vae"])
    count = sum(parameter.numel() for parameter in transformer.parameters())
    assert count == PARAMETERS[name]
    assert any(f"{count / 1e9:.1f} billion" in line for line in family.hub.values())
    assert imported(family.adapter).prepared(transformer) is transformer


WINDOWS = {
    ("CogVideoX", ""): 13,
    ("CogVideoX", "turned"): 13,
    ("CogVideoX", "joined"): 22,
    ("HunyuanVideo", ""): 33,
    ("HunyuanVideo15", ""): 31,
    ("HunyuanVideo15", "720p"): 31,
    ("Kandinsky5", ""): 31,
}


@pytest.mark.parametrize(("name", "variant"), WINDOWS)
def test_windows_are_as_long_as_clips(name: str, variant: str) -> None:
    """A full window has as many latents as the clips that a model was trained on."""
    family = FAMILIES[f"{name}Transformer3DModel"]
    own = [each for place, each in family.defaults.items() if place[2:] == ((variant,) if variant else ())]
    (defaults,) = own
    rungs = -(-defaults.num_inference_steps // defaults.steps_per_chunk)
    assert defaults.context_size + rungs * defaults.chunk_size == WINDOWS[name, variant]
