"""How long SkyReels-V2 films by progressive denoising, beside diffusers' own pipeline for it: one network, one length.

    python benchmarks/forcing.py [--layers 4] [--heads 2] [--frames 257] [--steps 30] [--pairs 3] [--latents]

The network has random weights, the pictures are noise: the work is that of real ones. Every way of filming takes the
same steps with the same solver, UniPC of order 2, and guidance. diffusers' SkyReelsV2DiffusionForcingPipeline films
windows of 25 latents, of which 5 are known from the one before: synchronously, all at one noise level, or
asynchronously, block behind block. Ours has 20 noisy latents behind 5 clean ones, or 25 noisy ones alone. The ways take
turns; ratios are of runs in the same turn, theirs by ours, so that more than 1 says that ours is quicker. `counted` is
the ratio of latents that the network sees, per latent of film. `over bare calls` is the time of our film by that of its
calls of the network alone.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
)
from torch import Tensor

from longtake.frames import film_length
from longtake.guidance import guided_velocity
from longtake.methods import denoise
from longtake.models.base import ModelSpec
from longtake.models.families import SKYREELS_V2
from longtake.models.t5 import T5PromptEncoder
from longtake.models.text import Text
from longtake.models.wan.skyreels import SkyReelsModel
from longtake.noise import chunk_noise, sigma_table
from longtake.plan import Sampling

HEIGHT, WIDTH, CHANNELS, TEXT, TOKENS = 64, 128, 16, 64, 32
WINDOW, KNOWN = 25, 5  # latents
SHIFT, GUIDANCE = 8.0, 6.0
# Of ours: steps_per_chunk and chunk_size of every 30 steps, and the context.
OURS = {"with context": (3, 2, KNOWN), "without context": (6, 5, 0)}
# Of theirs: what the pipeline is told beyond the length.
THEIRS: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "asynchronous": {"ar_step": 5, "causal_block_size": 5},
}


class Counted:
    """A network that is called, with the seconds and the latents of its calls."""

    def __init__(self, network: Any) -> None:
        self.forward, self.seconds, self.latents = network.forward, 0.0, 0
        network.forward = self

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        result = self.forward(hidden_states, *args, **kwargs)
        self.seconds += time.perf_counter() - begun
        self.latents += hidden_states.shape[0] * hidden_states.shape[2]
        return result

    def taken(self) -> tuple[float, int]:
        """Seconds and latents since it was last asked."""
        taken, self.seconds, self.latents = (self.seconds, self.latents), 0.0, 0
        return taken


def network(layers: int, heads: int) -> Any:
    torch.manual_seed(0)
    made = SkyReelsV2Transformer3DModel(
        num_attention_heads=heads,
        attention_head_dim=128,
        ffn_dim=heads * 512,
        num_layers=layers,
        text_dim=TEXT,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
    )
    return made.eval().requires_grad_(False)


def autoencoder() -> Any:
    torch.manual_seed(1)
    statistics = dict(latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS)
    made = AutoencoderKLWan(base_dim=8, z_dim=CHANNELS, num_res_blocks=1, **statistics)
    return made.eval().requires_grad_(False)


def scheduler() -> Any:
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT, num_train_timesteps=1000
    )


def theirs(made: Any, vae: Any, args: argparse.Namespace) -> dict[str, Callable[[bool], Any]]:
    """Their ways, each a function of whether it decodes."""
    pipe = SkyReelsV2DiffusionForcingPipeline(None, None, made, vae, scheduler())
    pipe.set_progress_bar_config(disable=True)
    text = torch.randn(1, TOKENS, TEXT)

    def film(decode: bool, **told: Any) -> Any:
        return pipe(
            prompt=None,
            prompt_embeds=text,
            negative_prompt_embeds=torch.zeros_like(text),
            height=HEIGHT,
            width=WIDTH,
            num_frames=args.frames,
            num_inference_steps=args.steps,
            guidance_scale=GUIDANCE,
            overlap_history=1 + 4 * (KNOWN - 1),
            base_num_frames=1 + 4 * (WINDOW - 1),
            addnoise_condition=0,
            output_type="np" if decode else "latent",
            **told,
        ).frames

    return {name: partial(film, **told) for name, told in THEIRS.items()}


def ours(made: Any, vae: Any, args: argparse.Namespace) -> dict[str, Callable[[bool], Any]]:
    """Our ways, each a function of whether it decodes."""
    spec = ModelSpec("SkyReels-V2", CHANNELS, 8, 4, 1, 16, TOKENS, SKYREELS_V2)
    model = SkyReelsModel(spec, T5PromptEncoder(spec, {"tokenizer": None}), made, vae)
    states = torch.randn(1, TOKENS, TEXT)
    text, null = (Text.of_zero_padded(states) for states in (states, torch.zeros_like(states)))
    velocity = guided_velocity(model.velocity, [text], [null], GUIDANCE)

    def film(decode: bool, steps_per_chunk: int, chunk_size: int, context: int) -> Any:
        sampling = Sampling(args.steps, steps_per_chunk, chunk_size, context, solver="unipc")
        length = film_length(args.frames, temporal_factor=4, first_frames=1, chunk_size=chunk_size)
        decoder, shape = model.decoder(), (CHANNELS, HEIGHT // 8, WIDTH // 8)
        chunks = denoise(
            sampling,
            velocity,
            lambda first, count: chunk_noise([0], first, count, shape),
            sigma_table(args.steps, SHIFT),
            length.num_chunks,
        )
        return [decoder.push(chunk) if decode else chunk for chunk in chunks]

    ways: dict[str, Callable[[bool], Any]] = {}
    for name, (per_chunk, size, context) in OURS.items():
        scaled = max(1, round(per_chunk * args.steps / 30))
        ways[name] = partial(film, steps_per_chunk=scaled, chunk_size=size, context=context)
    return ways


@torch.inference_mode()
def run(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds, network seconds and latents of every way, decoded and not, turn by turn."""
    first, vae = network(args.layers, args.heads), autoencoder()
    second = network(args.layers, args.heads)  # ours is changed in place
    sides = [(Counted(first), theirs(first, vae, args)), (Counted(second), ours(second, vae, args))]
    rows: dict[str, list[tuple[float, float, int]]] = {}
    for turn in range(args.pairs + 1):
        for decode in (False,) if args.latents else (False, True):
            for counter, ways in sides:
                for name, film in ways.items():
                    begun = time.perf_counter()
                    film(decode)
                    taken = time.perf_counter() - begun
                    called = counter.taken()
                    if turn:  # the first warms up
                        rows.setdefault(f"{name}, {'decoded' if decode else 'latents'}", []).append(
                            (taken, *called)
                        )
                    print(f"turn {turn} {name} {decode} {taken:.1f} s", flush=True)
    return {"args": vars(args) | {"json": None}, "rows": rows}


def table(rows: dict[str, list[tuple[float, float, int]]]) -> str:
    """The ratios, theirs by ours, the median of all turns with the least and the largest."""
    lines = ["| theirs | ours | counted | latents | decoded |", "|---|---|---|---|---|"]
    for their in THEIRS:
        for our in OURS:
            cells = []
            for kind in ("latents", "decoded"):
                if f"{their}, {kind}" not in rows:
                    cells.append("–")
                    continue
                pairs = zip(rows[f"{their}, {kind}"], rows[f"{our}, {kind}"], strict=True)
                ratios = sorted(a[0] / b[0] for a, b in pairs)
                cells.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
            counted = rows[f"{their}, latents"][0][2] / rows[f"{our}, latents"][0][2]
            lines.append(f"| {their} | {our} | {counted:.2f} | {cells[0]} | {cells[1]} |")
    for our in OURS:
        over = median(taken / bare for taken, bare, _ in rows[f"{our}, latents"])
        lines.append(f"\n{our}: {over:.3f} over bare calls")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=2, help="of 128 each")
    parser.add_argument("--frames", type=int, default=257)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--latents", action="store_true", help="leave decoding out")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = run(args)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, default=str))
    print(table(result["rows"]))


if __name__ == "__main__":
    main()
