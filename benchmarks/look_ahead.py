"""How far LTX's decoders look ahead: what their pictures lose if they do not wait for all that they depend on.

    python benchmarks/look_ahead.py

The published autoencoders, as deep as they are but a sixteenth as wide, with random weights: for each, the delay that
makes streaming equal to one shot, the numbers that a decoder keeps for it at 768x512 and full width, in millions, and
the difference from one shot of the pictures that a shorter delay would give, as a share of their standard deviation.
What trained weights lose can only be seen with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLLTXVideo

from longtake.models.ltx.layers import decoder_layers, delay_latents

CONFIGS = Path(__file__).parents[1] / "tests" / "data" / "configs"
NAMES = ("ltx-video-0.9.0", "ltx-video-0.9.1", "ltx-video-0.9.5", "ltx-2", "ltx-2.3")
LOOK_AHEADS = (0, 1, 2, 4, 6, 9, 13, 18, 24)
KINDS = {kind.__name__: kind for kind in (AutoencoderKLLTXVideo, AutoencoderKLLTX2Video)}
NARROWER, SIDE = 16, 2  # as many latents to a side
SHOWN = 2  # latents whose pictures are compared


@torch.no_grad()
def main() -> None:
    print("| autoencoder | delay in latents | kept, millions | " + " | ".join(map(str, LOOK_AHEADS)) + " |")
    print("|---" * (len(LOOK_AHEADS) + 3) + "|")
    for name in NAMES:
        torch.manual_seed(0)
        vae = narrow(json.loads((CONFIGS / f"{name}.json").read_text())["vae"])
        delay = delay_latents(vae)
        latents = torch.randn(1, vae.config.latent_channels, SHOWN + delay, SIDE, SIDE)
        whole = pictures(vae, latents)
        known = {n: pictures(vae, latents[:, :, : SHOWN + n]) for n in LOOK_AHEADS if n < delay}
        lost = {n: float((seen - whole).square().mean().sqrt() / whole.std()) for n, seen in known.items()}
        shares = " | ".join(f"{lost[n]:.1e}" if n in lost else "none" for n in LOOK_AHEADS)
        print(f"| {name} | {delay} | {kept(vae) / 1e6:.0f} | {shares} |", flush=True)


def kept(vae: Any) -> int:
    """The numbers that a decoder keeps between two latents, of frames of 768x512 pixels and at full width."""
    frames, count = torch.randn(1, vae.config.latent_channels, 2, SIDE, SIDE), 0
    for layer in decoder_layers(vae):
        count += layer.kept * frames[:, :, 0].numel()
        frames = layer.call(frames)
    return count * NARROWER * (512 // 32) * (768 // 32) // SIDE**2


def pictures(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The first frames of latents, with the same noise of layers that add some."""
    torch.manual_seed(1)
    frames: torch.Tensor = vae.decode(latents, torch.full((1,), 0.05)).sample
    return frames[:, :, : 8 * (SHOWN - 1) + 1]


def narrow(config: dict[str, Any]) -> Any:
    """The same layers, of fewer channels."""
    fewer = {
        "latent_channels": config["latent_channels"] // NARROWER,
        "block_out_channels": [width // NARROWER for width in config["block_out_channels"]],
        "decoder_block_out_channels": [width // NARROWER for width in config["decoder_block_out_channels"]],
    }
    return KINDS[config["_class_name"]].from_config({**config, **fewer}).eval()


if __name__ == "__main__":
    main()
