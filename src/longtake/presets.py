"""Films by name: options for the model that they are meant for, and what is added to a prompt. Imports no torch.

A family's presets are imported when one of them is asked for.
"""

from collections.abc import Mapping
from typing import Any

from longtake.errors import OptionError
from longtake.models.families import FAMILIES
from longtake.models.records import PresetName
from longtake.options import FilmOptions

ABOUT = {name: about for family in FAMILIES.values() for name, about in family.presets.items()}
SCORE = "aesthetic score:"


def added_to(prompt: str) -> str:
    """What every preset adds to a prompt: the benchmark's aesthetic score, unless it names one itself."""
    return f" {SCORE} 6.5." if prompt.strip() and SCORE not in prompt else ""


def preset_model(name: PresetName) -> str:
    """The model that a preset is meant for."""
    return next(f.converted.name for f in FAMILIES.values() if name in f.presets and f.converted)


def preset_options(
    name: PresetName, given: Mapping[str, Any], bfloat16_shift: bool = False
) -> dict[str, Any]:
    """The options of FilmOptions for a film by a preset; those given, `prompt` among them, hold before its own.

    The shift is that of the size and of the whole groups in the full window, at least one. bfloat16_shift: as the
    released script rounds it, 3.6875 for pa-o-base, in place of the exact one, 3.6860. A prompt that names no aesthetic
    score gets the benchmark's. OptionError for options out of their bounds.
    """
    from longtake.models.open_sora.presets import PRESETS
    from longtake.models.open_sora.shift import CHUNK_FRAMES, CHUNK_LATENTS, timestep_shift
    from longtake.models.open_sora.spec import SPEC

    preset = PRESETS[name]
    if "sigmas" in given:
        raise OptionError(f"preset {name} has noise levels of its own: leave out the preset, or sigmas")
    options = {**preset.options, **given}
    if preset.one_by_one:
        options.setdefault("steps_per_chunk", options["num_inference_steps"])
    options["prompt"] += added_to(options["prompt"])
    if "shift" not in options:
        groups = max(1, FilmOptions(**options).sampling(SPEC).window // CHUNK_LATENTS)
        rounded = bfloat16_shift or preset.bfloat16_shift
        size = options["height"], options["width"]
        options["shift"] = timestep_shift(*size, groups * CHUNK_FRAMES, rounded)
    return options
