"""Films as they were made for the paper's table: options by name. Imports no torch.

Source: Xie et al., "Progressive Autoregressive Video Diffusion Models" (PA-VDM), arXiv 2410.08151, Table 1, its rows
of Open-Sora v1.2; and the authors' released configurations, where these say more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from longtake.models.open_sora.spec import DEFAULTS
from longtake.models.records import PresetName


@dataclass(frozen=True)
class Preset:
    """Options of FilmOptions.

    one_by_one: whether chunks are made one by one, in as many steps as there are, where steps_per_chunk is not given.
    bfloat16_shift: whether the shift is rounded as the released scripts round it, which keep sizes and lengths in
    bfloat16. Its films begin with a clip.
    """

    options: Mapping[str, Any]
    one_by_one: bool = False
    bfloat16_shift: bool = False


OPTIONS = {name: value for name, value in asdict(DEFAULTS).items() if name != "shift"}
BASELINE = {name: value for name, value in OPTIONS.items() if name not in ("steps_per_chunk", "chunk_size")}
PRESETS: dict[PresetName, Preset] = {
    "pa-o-base": Preset(OPTIONS),
    "rn-o-base": Preset(BASELINE | {"method": "replacement"}),
    "rn-o-base-as-released": Preset(
        BASELINE | {"chunk_size": 10, "reencode_context": True},
        one_by_one=True,
        bfloat16_shift=True,
    ),
}
