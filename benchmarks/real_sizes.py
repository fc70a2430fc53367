"""How fast the real models film on this machine, and in how much memory: their true sizes, random weights.

    python benchmarks/real_sizes.py --compile --output sizes.json    # on a CUDA device, in less than four minutes
    python benchmarks/real_sizes.py --offload group sequential       # the same time again, in less than eight
    python benchmarks/real_sizes.py --dry-run                        # weights and operations alone, on any machine
    python benchmarks/real_sizes.py --tiny --seconds 2               # the same code on tiny networks, on the CPU

Nothing is downloaded. Each model is built without numbers and filled on the device, in the precisions that load_model
gives it; there is no text encoder, a prompt is random states of full length. Each model has about --seconds for this:

passes: the network over the steady window of the model's own settings, with guidance; the median of those there is time
  for, after a first one. Where windows between two chunks differ, each is timed.
film: from noise to uint8 pictures in main memory, by the package's sampler and streaming decoder. Windows are those of
  the model's own settings, but a latent takes one step, so that a minute is affordable: memory knows no steps. The peak
  is that of the first 10 s and then, counted anew, that of the rest: of 60 s, or of what there is time for. Decoding is
  timed here, by the chunks of the model's own settings, copies to main memory included.
compile: a pass over the full window with the network's blocks compiled, if time is left.
offload: a pass over the full window with the network's blocks, or its layers, in main memory until they work, and the
  peak on the card; for as long as --seconds again.

Frames a second: those of a chunk by the seconds of its passes alone, and of its passes and its decoding. Shares are of
what a large bfloat16 matrix product reaches in the same run; torch counts the operations, attention included. Films of
random weights are noise, and as much work. Memory is without the text encoder, which leaves a card when it has read the
prompts.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel, WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longtake.files import write_text
from longtake.frames import frames_in
from longtake.given import decoded_frames
from longtake.guidance import guided_velocity
from longtake.methods import denoise
from longtake.models.adapter import Adapter
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.card.offload import place
from longtake.models.card.placement import Offload
from longtake.models.device import resolve_dtype
from longtake.models.families import SKYREELS_V2, WAN_2_1, WAN_2_2
from longtake.models.load import adapter
from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
from longtake.models.open_sora.spec import SPEC as OPEN_SORA_SPEC
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel
from longtake.models.records import T5
from longtake.models.text import Text
from longtake.noise import chunk_noise, sigma_table
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_uint8
from longtake.progressive import Velocity

GIB, TERA = 2**30, 1e12
FIRST_SECONDS, ALL_SECONDS = 10, 60
MOST_PASSES = 12
FOR_PASSES, FOR_COMPILING = 0.2, 0.35  # of a model's seconds: for passes at most, and kept for compiling

Row = dict[str, Any]
Stage = Callable[[], Row]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """A model by its description, and by the classes and configurations of its network and its autoencoder."""

    spec: ModelSpec
    network: type[Any]
    network_config: Config
    vae: type[Any]
    vae_config: Config


def wan_spec(name: str, channels: int, factor: int, defaults: ModelDefaults) -> ModelSpec:
    return ModelSpec(name, channels, factor, 4, 1, 2 * factor, T5.most_tokens, defaults)


def normalised(channels: int) -> dict[str, Any]:
    return dict(z_dim=channels, latents_mean=[0.0] * channels, latents_std=[1.0] * channels)


# What the published config.json of each part says, but for the statistics of Wan 2.2's latents.
WAN, SKYREELS, WAN_VAE = WanTransformer3DModel, SkyReelsV2Transformer3DModel, AutoencoderKLWan
OPEN_SORA, OPEN_SORA_VAE = OpenSoraTransformer3DModel, AutoencoderOpenSora
SMALL_WAN = dict(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30, text_dim=4096)
LARGE_WAN = SMALL_WAN | dict(num_attention_heads=24, ffn_dim=14336, in_channels=48, out_channels=48)
LARGE_VAE = normalised(48) | dict(base_dim=160, decoder_base_dim=256, is_residual=True, patch_size=2)
LARGE_VAE |= dict(in_channels=12, out_channels=12, scale_factor_spatial=16)
TOLD_FPS = SMALL_WAN | dict(inject_sample_info=True)
FAMILIES = {
    "wan-2.1": Family(wan_spec("Wan 2.1 1.3B", 16, 8, WAN_2_1), WAN, SMALL_WAN, WAN_VAE, {}),
    "wan-2.2": Family(wan_spec("Wan 2.2 5B", 48, 16, WAN_2_2), WAN, LARGE_WAN, WAN_VAE, LARGE_VAE),
    "skyreels": Family(wan_spec("SkyReels-V2 1.3B", 16, 8, SKYREELS_V2), SKYREELS, TOLD_FPS, WAN_VAE, {}),
    "open-sora": Family(
        replace(OPEN_SORA_SPEC, name="Open-Sora v1.2"),
        OPEN_SORA,
        {"caption_channels": 4096},
        OPEN_SORA_VAE,
        {},
    ),
}

TINY_WAN = dict(num_attention_heads=2, attention_head_dim=12, ffn_dim=48, num_layers=2, text_dim=16)
TINY_WAN |= dict(in_channels=4, out_channels=4, freq_dim=32)
TINY_WAN_VAE = dict(base_dim=8, decoder_base_dim=8, dim_mult=[1] * 4, num_res_blocks=1) | normalised(4)
TINY_OPEN_SORA = dict(num_attention_heads=2, attention_head_dim=12, num_layers=1, caption_channels=16)
TINY_OPEN_SORA_VAE = dict(block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4)
TINY_OPEN_SORA_VAE |= dict(temporal_width=8, temporal_layers_per_block=1, temporal_norm_num_groups=2)
TINY: dict[type[Any], Config] = {WAN: TINY_WAN, SKYREELS: TINY_WAN, WAN_VAE: TINY_WAN_VAE}
TINY |= {OPEN_SORA: TINY_OPEN_SORA, OPEN_SORA_VAE: TINY_OPEN_SORA_VAE}


def tiny(family: Family) -> Family:
    """The same classes, windows and steps; few weights, prompts of 12 tokens, 64 × 32 pixels."""
    defaults = replace(family.spec.defaults, width=64, height=32)
    return replace(
        family,
        spec=replace(family.spec, latent_channels=4, max_prompt_tokens=12, defaults=defaults),
        network_config={**family.network_config, **TINY[family.network]},
        vae_config={**family.vae_config, **TINY[family.vae]},
    )


class Card:
    """A device, its clock and its memory; only CUDA counts the latter."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.counts = device, device.type == "cuda"

    def seconds(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """How long work takes, to its end on the device, and what it gives."""
        wait = partial(torch.cuda.synchronize, self.device) if self.counts else lambda: None
        wait()
        start = time.perf_counter()
        result = work()
        wait()
        return time.perf_counter() - start, result

    def memory(self, when: str) -> Row:
        """GiB now, and at the peak since it was last asked for."""
        if not self.counts:
            return {}
        peak, held = torch.cuda.max_memory_allocated(self.device), torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return {f"peak_gib_{when}": peak / GIB, f"held_gib_{when}": held / GIB}

    def cleared(self, when: str) -> Row:
        """The same without what nobody holds."""
        gc.collect()
        if self.counts:
            torch.cuda.empty_cache()
        return self.memory(when)

    def about(self) -> Row:
        """What it is, and TFLOP/s of a large product of bfloat16 matrices of random numbers."""
        side, many = (8192, 50) if self.counts else (256, 3)
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        for _ in range(2):
            seconds, _ = self.seconds(lambda: [(a @ b).shape for _ in range(many)])
        found = torch.cuda.get_device_properties(self.device) if self.counts else None
        row = {"card": found.name if found else "CPU", "gib": found.total_memory / GIB if found else None}
        versions = {"torch": torch.__version__, "diffusers": diffusers.__version__}
        return row | versions | {"matrix_tflops": 2 * many * side**3 / seconds / TERA}


def without_numbers(family: Family, dtype: torch.dtype) -> Adapter:
    """The model on the meta device, in the precisions that from_pretrained gives it, without a text encoder."""
    with torch.device("meta"):
        network, vae = family.network(**family.network_config), family.vae(**family.vae_config)
    for part in (network, vae):
        nn.Module.to(part, dtype).requires_grad_(False).eval()
        for name, parameter in part.named_parameters():
            if set(name.split(".")) & set(getattr(part, "_keep_in_fp32_modules", None) or ()):
                parameter.data = parameter.data.float()
    return adapter(family.network.__name__)(family.spec, None, network, vae)  # type: ignore[arg-type]


def fill(model: Adapter, device: torch.device) -> None:
    """Give it random numbers on a device, of sizes with which signals keep theirs from layer to layer."""
    for part in (model.transformer, model.vae):
        part.to_empty(device=device)
        for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
            if tensor.ndim > 1:
                tensor.normal_(0, tensor[0].numel() ** -0.5)
            else:
                tensor.fill_(float(name.endswith("weight")))
    rope = getattr(model.transformer, "rope", None)
    if rope is not None:  # its tables are float32, and in no file
        tables = type(rope)(rope.attention_head_dim, rope.patch_size, rope.max_seq_len)
        for name, table in tables.named_buffers():
            setattr(rope, name, table.to(device))


def guided(model: Adapter, family: Family, film: FilmPlan) -> Velocity:
    """The network as the sampler calls it, with two prompts of as many tokens as there may be."""
    config = family.network_config
    width = config.get("text_dim") or config["caption_channels"]
    shape = 1, family.spec.max_prompt_tokens, width
    text, nothing = (
        Text.of_zero_padded(torch.randn(shape, device=model.device, dtype=model.dtype)) for _ in range(2)
    )
    network = partial(model.velocity, fps=float(film.rate))
    return guided_velocity(network, [text], [nothing], film.settings.guidance_scale)


def windows(film: FilmPlan) -> Counter[int]:
    """Of the passes between two chunks, in the midst of a film: how many see how many noisy chunks."""
    S, M = film.settings.num_inference_steps, film.settings.steps_per_chunk
    return Counter(len(range(t, S, M)) for t in range(M))


def one_pass(velocity: Velocity, film: FilmPlan, chunks: int, device: torch.device) -> Callable[[], Tensor]:
    """A pass over a window of so many noisy chunks and all of its context."""
    settings = film.settings
    levels = sigma_table(settings.num_inference_steps, settings.shift)
    noisy = levels[torch.arange(chunks - 1, -1, -1) * settings.steps_per_chunk]
    sigma = torch.cat([torch.zeros(settings.context_size), noisy.repeat_interleave(settings.chunk_size)])
    channels, height, width = film.latent_shape
    latents = torch.randn(1, channels, len(sigma), height, width, device=device)
    return partial(velocity, latents, sigma.to(device), 0)


def counted(model: Adapter, velocity: Velocity, film: FilmPlan) -> Row:
    """Numbers and bytes of network and autoencoder, and the operations of a pass over the full window."""
    weights = {"network": [*model.transformer.parameters()], "autoencoder": [*model.vae.parameters()]}
    row: Row = {f"{name}_parameters": sum(p.numel() for p in part) for name, part in weights.items()}
    row["weights_gib"] = sum(p.nbytes for part in weights.values() for p in part) / GIB
    row["window"] = film.cost.sampling.window
    with FlopCounterMode(display=False) as counter:
        one_pass(velocity, film, max(windows(film)), model.device)()
    return row | {"tflop": counter.get_total_flops() / TERA}


@torch.inference_mode()
def timed(run: Callable[[], Any], card: Card, until: float) -> tuple[float, float]:
    """Seconds of a first pass, and the median of those that there is time for, of one at least."""
    first, *seconds = (card.seconds(run)[0] for _ in range(2))
    while len(seconds) < MOST_PASSES and time.monotonic() + seconds[-1] < until:
        seconds.append(card.seconds(run)[0])
    return first, statistics.median(seconds)


def passes(velocity: Velocity, film: FilmPlan, card: Card, until: float) -> Row:
    """Seconds of a pass over the full window, and of all passes between two chunks."""
    often = windows(film)
    runs = {n: one_pass(velocity, film, n, card.device) for n in sorted(often)[::-1]}
    seconds = {n: timed(run, card, until)[1] for n, run in runs.items()}
    return {
        "pass_seconds": seconds[max(often)],
        "chunk_seconds": sum(often[n] * seconds[n] for n in often),
        "passes_per_chunk": often.total(),
    }


@torch.inference_mode()
def filmed(model: Adapter, velocity: Velocity, film: FilmPlan, card: Card, until: float, end: float) -> Row:
    """A film of one step a latent: seconds to decode a chunk, and memory. It ends at `until`, or where its first
    seconds are not there by then, at `end`."""
    size, steps = film.settings.chunk_size, {"num_inference_steps": 1, "steps_per_chunk": 1}
    quick = FilmOptions(prompt="noise", seconds=ALL_SECONDS, chunk_size=max(windows(film)) * size, **steps)
    plan, shape = quick.resolved(model.spec).cost, film.latent_shape
    chunks = denoise(
        plan.sampling,
        velocity,
        lambda first, count: chunk_noise([0], first, count, shape).to(card.device),
        sigma_table(1, film.settings.shift),
        plan.length.num_chunks,
    )
    decoder, frames, seconds, row = model.decoder(), 0, list[float](), Row()
    card.cleared("")
    for latents in (part for chunk in chunks for part in chunk.split(size, dim=2)):
        taken, pictures = card.seconds(lambda: to_uint8(decoder.push(latents)))  # noqa: B023
        frames += pictures.shape[1]
        seconds.append(taken)
        if "first_frames" not in row and frames >= frames_in(FIRST_SECONDS, film.rate):
            row = {"first_frames": frames, **card.memory("first")}
        if time.monotonic() > (until if row else end):
            break
    usual = statistics.median(seconds[2:] or seconds)  # the first two meet other shapes
    return row | {"decode_seconds": usual, "frames_filmed": frames, **card.memory("rest")}


def compiled(model: Any, velocity: Velocity, film: FilmPlan, card: Card, until: float, backend: str) -> Row:
    """Seconds of a pass over the full window with compiled blocks, and of the first, which compiles them."""
    torch.compiler.reset()
    model.transformer.compile_repeated_blocks(backend=backend)
    try:
        first, usual = timed(one_pass(velocity, film, max(windows(film)), card.device), card, until)
    finally:
        torch.compiler.reset()  # or it keeps the weights
        for module in model.transformer.modules():
            module._compiled_call_impl = None
    return {"compile_seconds": first, "compiled_pass_seconds": usual}


def offloaded(
    model: Adapter, velocity: Velocity, film: FilmPlan, card: Card, seconds: float, offload: Offload
) -> Row:
    """Seconds of a pass over the full window with a network that leaves the card by blocks or layers, and the peak."""
    model.transformer.to("cpu")
    card.cleared("")
    place([], [model.transformer], model.vae, card.device, offload)
    run = one_pass(velocity, film, max(windows(film)), card.device)
    try:
        _, usual = timed(run, card, time.monotonic() + seconds)
        peak = card.memory("")
    finally:
        for module in model.transformer.modules():
            if registry := getattr(module, "_diffusers_hook", None):
                for name in [*registry.hooks]:
                    registry.remove_hook(name, recurse=False)
    return {f"{offload}_pass_seconds": usual} | {f"{offload}_{key}": value for key, value in peak.items()}


def stages(family: Family, card: Card, args: argparse.Namespace, longest: float) -> Iterator[Stage]:
    """What is to be found out of a model, in order. longest: seconds that it has taken to compile one."""
    end = time.monotonic() + args.seconds
    film = FilmOptions(prompt="noise", seconds=ALL_SECONDS).resolved(family.spec)
    model = without_numbers(family, resolve_dtype(None, "cuda" if args.dry_run else card.device))
    yield partial(counted, model, guided(model, family, film), film)
    yield partial(card.cleared, "before")
    if args.dry_run:
        return
    fill(model, card.device)
    velocity = guided(model, family, film)
    yield partial(passes, velocity, film, card, time.monotonic() + args.seconds * FOR_PASSES)
    kept = args.seconds * FOR_COMPILING if args.compile else 0
    yield partial(filmed, model, velocity, film, card, end - kept, end)
    left = max(0, end - time.monotonic())
    if args.compile and left <= longest:
        yield lambda: {"skipped": f"not compiled: {left:.0f} s of {args.seconds:g} s were left"}
    elif args.compile:
        yield partial(compiled, model, velocity, film, card, end, "eager" if args.tiny else "inductor")
    for offload in args.offload:
        share = args.seconds / len(args.offload)
        yield partial(offloaded, model, velocity, film, card, share, offload)


def measured(todo: Iterator[Stage]) -> Iterator[Row]:
    """What each stage finds out, or the first line of what goes wrong in it; the others go on."""
    for number in count():
        try:
            if (stage := next(todo, None)) is None:
                return
            found = stage()
        except Exception as error:  # of any kind, as cards have many
            found = {f"failed_{number}": (str(error).strip() or repr(error)).splitlines()[0][:200]}
        yield found


def rates(row: Row, spec: ModelSpec, matrix_tflops: float) -> Row:
    """What follows from the seconds of a row."""
    size, found = spec.defaults.chunk_size, Row()
    frames = decoded_frames(2 * size, spec) - decoded_frames(size, spec)
    for kind in ("", "compiled_"):
        if "tflop" in row and (seconds := row.get(f"{kind}pass_seconds")):
            found[f"{kind}share"] = row["tflop"] / seconds / matrix_tflops
    if seconds := row.get("chunk_seconds"):
        found["passes/s"] = row["passes_per_chunk"] / seconds
        found["frames/s_undecoded"] = frames / seconds
        if "decode_seconds" in row:
            found["frames/s"] = frames / (seconds + row["decode_seconds"])
    return found


# Keys of a row, and how their values are written.
COLUMNS = """
    network_parameters:.3e autoencoder_parameters:.3e weights_gib:.2f window: tflop:.0f pass_seconds:.3f share:.0%
    passes/s:.3f frames/s_undecoded:.2f decode_seconds:.3f frames/s:.2f frames_filmed: held_gib_before:.2f
    peak_gib_first:.2f held_gib_first:.2f peak_gib_rest:.2f held_gib_rest:.2f
    compiled_pass_seconds:.3f compiled_share:.0% compile_seconds:.0f
    group_pass_seconds:.3f group_peak_gib_:.2f sequential_pass_seconds:.3f sequential_peak_gib_:.2f
""".split()  # noqa: SIM905
FORMATS = dict(column.split(":") for column in COLUMNS)


def line(row: Row) -> str:
    """A row of the table, with – for what is not known, and at its end what went wrong."""
    cells = [format(row[key], form) if key in row else "–" for key, form in FORMATS.items()]
    notes = [str(text) for key, text in row.items() if key.startswith(("failed", "skipped"))]
    return f"| {' | '.join([row['model'], *cells, '; '.join(notes)])} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seconds", type=float, default=45, help="for each model, with building it")
    parser.add_argument("--compile", action="store_true", help="also time passes with compiled blocks")
    parser.add_argument(
        "--offload", nargs="+", choices=("group", "sequential"), default=[], help="also time passes so"
    )
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, on the CPU")
    parser.add_argument("--dry-run", action="store_true", help="weights and operations alone")
    args = parser.parse_args()
    torch.manual_seed(0)
    card = Card(torch.device("cpu" if args.tiny or args.dry_run else args.device))
    about, rows = card.about(), list[Row]()
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    titles = ["model", *(key.replace("_", " ") for key in FORMATS), "notes"]
    print(f"| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|", flush=True)
    for key in args.families:
        family = tiny(FAMILIES[key]) if args.tiny else FAMILIES[key]
        spec, begun = family.spec, time.monotonic()
        longest = max((row.get("compile_seconds", 0) for row in rows), default=0)
        rows.append(row := {"model": f"{spec.name} {spec.defaults.height}×{spec.defaults.width}"})
        for found in measured(stages(family, card, args, longest)):
            row |= found
            row |= rates(row, spec, about["matrix_tflops"])
            print(f"{time.monotonic() - begun:.0f} s: {found}", file=sys.stderr, flush=True)
            if args.output:
                write_text(args.output, json.dumps({**about, "rows": rows}, indent=1))
        print(line(row), flush=True)


if __name__ == "__main__":
    main()
