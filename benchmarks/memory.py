"""What films of models take of a card, by their JSON files alone, as `longtake models` tells it; and what a modulation
a frame saves.

    python benchmarks/memory.py tests/data/configs/wan2.1-t2v-14b.json Wan-AI/Wan2.2-TI2V-5B-Diffusers
    python benchmarks/memory.py --modulation
    python benchmarks/memory.py --tile tests/data/configs/wan2.2-ti2v-5b.json

The first prints the fields weights_gib and peak_gib of HubModel for each model: a file of tests/data/configs, a folder
or a name on the hub, of which the JSON files alone are fetched. Of a network that asks for numbers on its way it prints
the first alone. The second prints the peak of a pass over one block of a Wan 14B, 21 latents of 480 x 832 pixels, one
row, weights not counted: of diffusers' own, with a timestep for each token, and of ours, with one for each latent
frame. The third prints what decoding a chunk takes with and without --tile, weights not counted, and the most that a
card holds. Nothing is computed: tensors have no numbers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import WanTransformer3DModel

from longtake.errors import LongTakeError
from longtake.memory import GIB, Footprint, footprint
from longtake.models.card.empty import empty_encoders, empty_model, in_precision
from longtake.models.card.placement import OFFLOADS, Placement
from longtake.models.card.tally import Tally, nbytes
from longtake.models.folder import ModelFolder
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.models.wan.model import per_frame_timesteps
from longtake.options import FilmOptions

FRAMES, HEIGHT, WIDTH, TOKENS = 21, 60, 104, 512
WAN_14B = dict(num_attention_heads=40, attention_head_dim=128, ffn_dim=13824, num_layers=1, text_dim=4096)


def fields(folder: ModelFolder) -> str:
    """The two fields of HubModel, as they are written, or the first alone, and why."""
    try:
        found = taken_by(folder, Placement())
    except LongTakeError as error:
        model = empty_model(folder, torch.bfloat16)
        parts = [*empty_encoders(folder, torch.bfloat16), *model.networks, model.vae]
        return f"weights_gib={sum(map(nbytes, parts)) / GIB:.1f},  # {error}"
    peaks = ", ".join(f'"{offload}": {found.on_card(offload) / GIB:.1f}' for offload in OFFLOADS)
    return f"weights_gib={found.weights / GIB:.1f},\npeak_gib={{{peaks}}},"


def taken_by(folder: ModelFolder, placement: Placement) -> Footprint:
    """What a film of a model takes, by the model's own defaults."""
    return footprint(folder, FilmOptions(prompt="x").resolved(read_spec(folder, placement=placement)))


def decoding(folder: ModelFolder) -> str:
    """What decoding a chunk holds at most, what the decoder remembers, and the most on a card by the way to offload: of
    whole pictures, and of tiles."""
    lines = list[str]()
    for name, tile in (("whole pictures", False), ("tiles", True)):
        found = taken_by(folder, Placement(tile=tile))
        peaks = ", ".join(f"{offload} {found.on_card(offload) / GIB:.1f}" for offload in OFFLOADS)
        held = f"{found.decoding / GIB:.2f} GiB, remembers {found.remembered / GIB:.2f}"
        lines.append(f"{name}: decoding {held}; on the card: {peaks}")
    return "\n".join(lines)


@torch.inference_mode()
def block_peak(a_frame: bool) -> int:
    """Bytes at the peak of a pass over one block, beside its weights."""
    with torch.device("meta"):
        network = in_precision(WanTransformer3DModel(**WAN_14B), torch.bfloat16)
        latents = torch.zeros(1, 16, FRAMES, HEIGHT, WIDTH, dtype=torch.bfloat16)
        text = torch.zeros(1, TOKENS, 4096, dtype=torch.bfloat16)
        times = torch.zeros(1, FRAMES)
    if a_frame:
        per_frame_timesteps(network)
    else:
        times = times.repeat_interleave(HEIGHT * WIDTH // 4, dim=1)
    with Tally() as tally:
        network(latents, times, text, return_dict=False)
    return tally.peak


def main() -> None:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from published import model_folder

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="files of tests/data/configs, folders, or names on the hub")
    parser.add_argument("--modulation", action="store_true", help="a timestep a token against one a frame")
    parser.add_argument(
        "--tile", action="store_true", help="decoding of tiles against that of whole pictures"
    )
    args = parser.parse_args()
    for model in args.models:
        with TemporaryDirectory() as made:
            is_config = model.endswith(".json")
            folder = model_folder(Path(model), Path(made)) if is_config else open_model(model)
            print(f"{model}\n{decoding(folder) if args.tile else fields(folder)}", flush=True)
    if args.modulation:
        for name, a_frame in (
            ("a timestep a token, diffusers", False),
            ("a timestep a frame, longtake", True),
        ):
            print(f"{name}: {block_peak(a_frame) / GIB:.2f} GiB")


if __name__ == "__main__":
    main()
