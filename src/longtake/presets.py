"""Films as they were made for the paper's table: options by name. Imports no torch.

Source: Xie et al., "Progressive Autoregressive Video Diffusion Models" (PA-VDM), arXiv 2410.08151, Table 1, its rows
of Open-Sora v1.2; and the authors' released configurations, where these say more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from longtake.models.open_sora.shift import CHUNK_FRAMES, CHUNK_LATENTS, timestep_shift
from longtake.models.open_sora.spec import DEFAULTS, NAME, open_sora_spec
from longtake.options import FilmOptions

PresetName = Literal["pa-o-base", "rn-o-base", "rn-o-base-as-released"]

SCORE = "aesthetic score:"


@dataclass(frozen=True)
class Preset:
    """Options of FilmOptions, for the model that they are meant for.

    one_by_one: whether chunks are made one by one, in as many steps as there are, where steps_per_chunk is not given.
    bfloat16_shift: whether the shift is rounded as the released scripts round it, which keep sizes and lengths in
    bfloat16. Its films begin with a clip.
    """

    about: str
    options: Mapping[str, Any]
    one_by_one: bool = False
    bfloat16_shift: bool = False
    model: str = NAME


OPTIONS = {name: value for name, value in asdict(DEFAULTS).items() if name != "shift"}
BASELINE = {name: value for name, value in OPTIONS.items() if name not in ("steps_per_chunk", "chunk_size")}
PRESETS: dict[PresetName, Preset] = {
    "pa-o-base": Preset("progressive denoising, training-free", OPTIONS),
    "rn-o-base": Preset(
        "replacement with clean context, its windows as long as those of pa-o-base",
        BASELINE | {"method": "replacement"},
    ),
    "rn-o-base-as-released": Preset(
        "replacement with windows of 15 latents and context that was decoded and encoded",
        BASELINE | {"chunk_size": 10, "reencode_context": True},
        one_by_one=True,
        bfloat16_shift=True,
    ),
}


def added_to(prompt: str) -> str:
    """What every preset adds to a prompt: the benchmark's aesthetic score, unless it names one itself."""
    return f" {SCORE} 6.5." if prompt.strip() and SCORE not in prompt else ""


def preset_options(
    name: PresetName, given: Mapping[str, Any], bfloat16_shift: bool = False
) -> dict[str, Any]:
    """The options of FilmOptions for a film by a preset; those given, `prompt` among them, hold before its own.

    The shift is that of the size and of the whole groups in the full window, at least one. bfloat16_shift: as the
    released script rounds it, 3.6875 for pa-o-base, in place of the exact one, 3.6860. A prompt that names no aesthetic
    score gets the benchmark's. OptionError for options out of their bounds.
    """
    preset = PRESETS[name]
    options = {**preset.options, **given}
    if preset.one_by_one:
        options.setdefault("steps_per_chunk", options["num_inference_steps"])
    options["prompt"] += added_to(options["prompt"])
    if "shift" not in options:
        window = FilmOptions(**options).sampling(open_sora_spec()).window
        options["shift"] = timestep_shift(
            options["height"],
            options["width"],
            max(1, window // CHUNK_LATENTS) * CHUNK_FRAMES,
            bfloat16_shift or preset.bfloat16_shift,
        )
    return options
