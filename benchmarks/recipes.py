"""What the recipes take of a card, counted from the configurations of their models: memory, and work.

    python benchmarks/recipes.py                # those of recipes/*.yaml, one window at a time and several
    python benchmarks/recipes.py --pieces 4     # with so many windows at a time besides one

Nothing is downloaded, trained or measured: weights, optimizer and averages follow from the shapes of the network, what
a pass keeps for its gradient and the products of matrices from a pass on torch's meta device (training/trace.py). Hours
are those products by a rate; cards reach a part of what their data sheets say, so another rate gives other hours.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from longtake.models.places import open_model
from longtake.training.estimate import Estimate, estimate
from longtake.training.options import RunPlaces, TrainOptions

RECIPES = Path(__file__).parent.parent / "recipes"
RATE = 1e14  # FLOP a second
GB = 1e9

# What the published config.json of each part says, where it is not what the class begins with. By the model's name.
WAN = {"in_channels": 16, "out_channels": 16, "patch_size": [1, 2, 2], "ffn_dim": 8960, "num_layers": 30}
WAN |= {"num_attention_heads": 12, "attention_head_dim": 128, "text_dim": 4096}
LARGE_WAN = WAN | {"in_channels": 48, "out_channels": 48, "num_attention_heads": 24, "ffn_dim": 14336}
WAN_VAE = {"z_dim": 16, "latents_mean": [0.0] * 16, "latents_std": [1.0] * 16}
LARGE_VAE = {"z_dim": 48, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48, "scale_factor_spatial": 16}
LARGE_VAE |= {"base_dim": 160, "decoder_base_dim": 256, "is_residual": True, "patch_size": 2}
LARGE_VAE |= {"in_channels": 12, "out_channels": 12}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
UMT5 = ("UMT5EncoderModel", {"model_type": "umt5", "d_model": 4096, "vocab_size": 256384})
LTX_VAE = {
    "latent_channels": 128,
    "block_out_channels": [128, 256, 512, 1024, 2048],
    "layers_per_block": [4, 6, 6, 2, 2],
}
LTX_VAE |= {"decoder_block_out_channels": [256, 512, 1024], "decoder_layers_per_block": [5, 5, 5, 5]}
LTX_VAE |= {"spatio_temporal_scaling": [True] * 4, "decoder_spatio_temporal_scaling": [True] * 3}
LTX_VAE |= {"upsample_factor": [2, 2, 2], "spatial_compression_ratio": 32, "temporal_compression_ratio": 8}
T5_XXL = ("T5EncoderModel", {"model_type": "t5", "d_model": 4096, "vocab_size": 32128})
PUBLISHED: dict[str, dict[str, Any]] = {
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": {
        "transformer": ("WanTransformer3DModel", LARGE_WAN),
        "vae": ("AutoencoderKLWan", LARGE_VAE),
        "scheduler": ("UniPCMultistepScheduler", FLOW | {"flow_shift": 5.0}),
        "text_encoder": UMT5,
    },
    "Lightricks/LTX-Video-0.9.5": {
        "transformer": (
            "LTXVideoTransformer3DModel",
            {"in_channels": 128, "out_channels": 128, "num_layers": 28},
        ),
        "vae": ("AutoencoderKLLTXVideo", LTX_VAE),
        "scheduler": ("FlowMatchEulerDiscreteScheduler", {}),
        "text_encoder": T5_XXL,
    },
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": {
        "transformer": ("SkyReelsV2Transformer3DModel", WAN | {"inject_sample_info": True}),
        "vae": ("AutoencoderKLWan", WAN_VAE),
        "scheduler": ("UniPCMultistepScheduler", FLOW | {"flow_shift": 8.0}),
        "text_encoder": UMT5,
    },
}


def published(model: str, folder: Path) -> Path:
    """A folder with the JSON files of a model, as far as they say how large it is."""
    index: dict[str, Any] = {"_class_name": "Pipeline", "tokenizer": ["transformers", "T5TokenizerFast"]}
    for part, (name, config) in PUBLISHED[model].items():
        place = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"_class_name": name, **config} if part != "text_encoder" else config))
        index[part] = ["transformers" if part == "text_encoder" else "diffusers", name]
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def counted(recipe: Path, pieces: int) -> tuple[TrainOptions, Estimate]:
    """A recipe's options and its cost, with so many windows at a time."""
    told = yaml.safe_load(recipe.read_text())
    places = {name: told.pop(name) for name in RunPlaces.model_fields}
    told["accumulation"] = told["batch_size"] // pieces
    options = TrainOptions(**told)
    with TemporaryDirectory() as folder:
        model = open_model(published(places["model"], Path(folder) / "model"))
        return options, estimate(model, options, options.sampling(model.spec))


def rows(recipe: Path, pieces: list[int]) -> Iterator[str]:
    for count in pieces:
        options, cost = counted(recipe, count)
        held = {name: size / GB for name, size in cost.memory.items()}
        few = sum(size for name, size in held.items() if name not in ("weights", "activations"))
        hours = cost.flops_per_step * options.steps / RATE / 3600
        yield (
            f"| {recipe.stem} | {count} | {sum(held.values()):.1f} | {held['weights']:.1f} | {few:.1f} |"
            f" {held['activations']:.1f} | {cost.trained / 1e6:.0f} of {cost.parameters / 1e6:.0f} |"
            f" {cost.flops_per_step:.2e} | {hours:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pieces", type=int, default=4, help="Windows at a time, besides one.")
    pieces = [1, parser.parse_args().pieces]
    print(
        "| recipe | windows at a time | GB | weights | gradients, optimizer, average | activations | weights trained,"
        f" 10⁶ | FLOP a step | hours of {RATE / 1e12:g} TFLOP/s |"
    )
    print("|---" * 9 + "|")
    for recipe in sorted(RECIPES.glob("*.yaml")):
        for row in rows(recipe, pieces):
            print(row)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
