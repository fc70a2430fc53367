"""The Open-Sora adapter: what the network is told of prompts, sizes and frame rates.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

import pytest
import torch
from torch import Tensor

from longtake.errors import OptionError
from longtake.models.load import load_encoders, load_model
from longtake.models.open_sora.caption import clean_caption
from longtake.models.open_sora.model import OpenSoraModel
from longtake.models.open_sora.transformer import velocity
from portable import close, rounding

SIGMA = torch.tensor([0.0, 0.3, 1.0])


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(1, 4, 3, 5, 6)


def test_prompts(open_sora_model: OpenSoraModel) -> None:
    """Guards the tokenizer read off spiece.model, the zeros behind a prompt, and what is unknown."""
    assert open_sora_model.text_encoder.tokenizer("a red  car").input_ids == [4, 5, 7, 1]
    text = open_sora_model.encode_prompt(["A red car!", "a bus"])
    assert text.states.shape == (2, 8, 32)
    assert text.mask.sum(dim=-1).tolist() == [5, 3]
    assert open_sora_model.unknown_words("a red giraffe") == ["giraffe"]
    with pytest.raises(OptionError, match="10 tokens long, open-sora takes 8"):
        open_sora_model.encode_prompt(["a red car driving past a blue bus car"])


def test_the_empty_prompt_is_the_learned_one(
    open_sora_model: OpenSoraModel, open_sora_folder: object
) -> None:
    """Guards the raw caption of the checkpoint, all of it, with and without the network's weights."""
    null = open_sora_model.transformer.null_caption
    assert torch.equal(open_sora_model.encode_prompt(["", "a car"]).states[0], null)
    assert torch.equal(load_encoders(str(open_sora_folder)).encode_prompt([""]).states[0], null)


def test_only_tokens_are_seen(open_sora_model: OpenSoraModel, latents: Tensor) -> None:
    """Guards the mask: a prompt with nothing behind it is a prompt that is cut; so is the empty caption beside it."""
    text = open_sora_model.encode_prompt(["a red car"])
    null = text.emptied(open_sora_model.encode_prompt([""]))
    network = open_sora_model.transformer
    tolerance = rounding(
        lambda: open_sora_model.velocity(latents, SIGMA, text), network, latents, text.states
    )
    assert tolerance < 5e-4
    for told in (text, null):
        whole, cut = (open_sora_model.velocity(latents, SIGMA, t) for t in (told, told[:, :4]))
        close(whole, cut, tolerance)
    full = open_sora_model.velocity(latents, SIGMA, open_sora_model.encode_prompt([""]))
    assert not torch.allclose(full, open_sora_model.velocity(latents, SIGMA, null), atol=1e-3)


def test_what_the_network_is_told(open_sora_model: OpenSoraModel, latents: Tensor) -> None:
    """Guards timesteps, sign, the announced size, and the film's frame rate, which is the model's if none is said."""
    text = open_sora_model.encode_prompt(["a car"])
    with torch.no_grad():
        expected = {
            fps: velocity(
                open_sora_model.transformer(
                    latents, SIGMA[None] * 1000, text.states[:, :3], None, torch.tensor([fps]), 40, 48
                ).sample
            )
            for fps in (24.0, 12.5)
        }
    tolerance = rounding(
        lambda: open_sora_model.velocity(latents, SIGMA, text),
        open_sora_model.transformer,
        latents,
        text.states,
    )
    assert (expected[24.0] - expected[12.5]).abs().max() > 10 * tolerance
    for fps, given in ((24.0, {}), (24.0, {"fps": 24.0}), (12.5, {"fps": 12.5})):
        told = open_sora_model.velocity(latents, SIGMA, text, **given)
        close(told, expected[fps], tolerance)


def test_half_precision(open_sora_folder: object) -> None:
    """Guards bfloat16 weights, beside those that must stay float32, and the dtypes of what comes out."""
    model = load_model(str(open_sora_folder), dtype="bfloat16")
    assert isinstance(model, OpenSoraModel) and model.dtype == torch.bfloat16
    assert model.transformer.time_embedding.linear_1.weight.dtype == torch.float32
    latents, text = torch.randn(1, 4, 5, 4, 4), model.encode_prompt(["a red car"])
    assert model.velocity(latents, torch.linspace(0, 1, 5), text).dtype == torch.float32
    assert model.decoder().push(latents).shape == (1, 3, 17, 32, 32)


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("A Red Car,driving  past!", "a red car, driving past!"),
        ("waves (big) & [small] *wild*  aesthetic score: 6.5.", "waves big small wild aesthetic score: 6.5."),
        ("“quoted” it’s — well…", '"quoted" it\'s - well…'),
        ("a 1950s TV, 4k, 1920x1080, h2o, b747 #1", "a 1950s tv, 4k, ,"),
        ("mother-in-law", "mother-in-law"),
        ("one-two-three-four-five", "one two three four five"),
        ("see https://a.com/b <b>bold</b> @me &amp;c 漢字", "see bold c"),
        ("'all of it'", "all of it"),
        ("fast and slow:", "fast and slow"),
        ("one .. two . three", "one two three"),
        ("...", ""),
    ],
)
def test_captions_are_cleaned(prompt: str, cleaned: str) -> None:
    """Guards the rules one by one; on the 40 prompts of the paper's benchmark they gave what the released ones do."""
    assert clean_caption(prompt) == cleaned
