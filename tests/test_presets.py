"""Presets: the paper's settings, their cost, and what a user may still say."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from unittest.mock import Mock

import pytest

from longtake.errors import OptionError
from longtake.models.open_sora.presets import PRESETS
from longtake.models.open_sora.shift import timestep_shift
from longtake.models.open_sora.spec import DEFAULTS, SPEC
from longtake.models.records import PresetName
from longtake.options import FilmOptions, FilmPlan
from longtake.presets import preset_options

Cli = Callable[..., tuple[int, str, str]]


def film(name: PresetName, from_clip: bool = True, bfloat16_shift: bool = False, **given: Any) -> FilmPlan:
    options = preset_options(name, {"prompt": "a red car"} | given, bfloat16_shift)
    return FilmOptions(**options).resolved(SPEC, from_clip)


def test_progressive_denoising_as_in_the_paper() -> None:
    """A minute: 445 passes, 425 latents, 1,445 frames cut to 1,440, 14,825 latent-frame evaluations; its settings."""
    made = film("pa-o-base")
    plan, length, settings = made.cost, made.length, made.settings
    assert (plan.passes, plan.latent_evaluations, plan.peak_window) == (445, 14_825, 35)
    assert (length.given_latents + length.num_latent_frames, made.given_frames) == (425, 17)
    assert (length.num_frames + length.surplus_frames, length.num_frames) == (1445, 1440)
    assert (settings.width, settings.height, settings.fps) == (424, 240, 24)
    assert (settings.num_inference_steps, settings.steps_per_chunk) == (30, 5)
    assert (settings.chunk_size, settings.context_size, settings.guidance_scale) == (5, 5, 7.0)
    assert settings.shift == DEFAULTS.shift == pytest.approx(3.6859772, abs=1e-6)
    assert made.latent_shape == (4, 30, 53)


def test_its_baselines() -> None:
    """Replacement with windows of 35 latents and the same shift; as released with 15, which costs 18,900."""
    equal, released = film("rn-o-base"), film("rn-o-base-as-released")
    assert (equal.cost.passes, equal.cost.latent_evaluations, equal.cost.peak_window) == (420, 14_700, 35)
    assert equal.settings.shift == film("pa-o-base").settings.shift
    assert equal.metadata["method"] == "replacement" and "reencode_context" not in equal.metadata
    assert (released.cost.latent_evaluations, released.cost.peak_window) == (18_900, 15)
    assert released.length.num_chunks == 42 and released.length.surplus_frames == 5
    assert released.settings.shift == timestep_shift(240, 424, 51, bfloat16=True) == 2.421875
    assert released.metadata["reencode_context"] is True


def test_every_preset_is_a_film() -> None:
    """Guards a preset that is named but not there, and one that its model cannot make, with and without a clip."""
    assert set(PRESETS) == set(get_args(PresetName))
    for name in PRESETS:
        for from_clip in (True, False):
            made = film(name, from_clip)
            assert bool(made.length.given_latents) == from_clip
            assert made.length.given_latents + made.length.num_latent_frames >= 425


@pytest.mark.parametrize("steps", [20, 50])
def test_the_released_baseline_takes_any_steps(steps: int) -> None:
    """Guards chunks one by one at other steps than the preset's 30, where it said 30 passes a chunk."""
    made = film("rn-o-base-as-released", num_inference_steps=steps)
    assert (made.cost.sampling.steps_per_chunk, made.cost.passes) == (steps, 42 * steps)
    with pytest.raises(OptionError, match="one by one"):
        film("rn-o-base-as-released", num_inference_steps=steps, steps_per_chunk=10)


def test_the_shift_as_released_and_of_another_size() -> None:
    """Guards the bfloat16 shift, the size that is given, and a shift that is given itself."""
    assert film("pa-o-base", bfloat16_shift=True).settings.shift == 3.6875
    assert film("pa-o-base", width=640, height=360).settings.shift == timestep_shift(360, 640, 119)
    assert film("pa-o-base", shift=2.0).settings.shift == 2.0


@pytest.mark.parametrize(
    ("name", "given", "frames"),
    [
        ("pa-o-base", {"num_inference_steps": 60}, 221),
        ("pa-o-base", {"chunk_size": 10}, 221),
        ("pa-o-base", {"steps_per_chunk": 3}, 187),
        ("pa-o-base", {"context_size": 9}, 119),
        ("pa-o-base", {"context_size": 1, "chunk_size": 1, "steps_per_chunk": 30}, 17),
        ("pa-o-base", {"num_inference_steps": 60, "method": "restart"}, 119),
        ("rn-o-base", {"num_inference_steps": 60}, 119),
        ("rn-o-base", {"context_size": 10}, 136),
        ("rn-o-base-as-released", {"chunk_size": 20}, 85),
    ],
)
def test_the_shift_follows_the_window(name: PresetName, given: dict[str, Any], frames: int) -> None:
    """Guards options that change the window while the shift stays that of 119 frames, or of 51: whole groups count."""
    bfloat16 = PRESETS[name].bfloat16_shift
    assert film(name, **given).settings.shift == timestep_shift(240, 424, frames, bfloat16)


def test_the_score_is_appended_once() -> None:
    """Guards the suffix of the benchmark, and prompts that bring their own."""
    assert film("pa-o-base").prompt == "a red car aesthetic score: 6.5."
    own = "a red car aesthetic score: 5.0."
    assert film("pa-o-base", prompt=own).prompt == own


def test_what_is_added_to_a_prompt_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against words that nobody wrote: planning and filming say what the preset adds, once, on stderr, and
    nothing where nothing is added."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    told = 'note: preset pa-o-base adds " aesthetic score: 6.5." to'
    code, out, err = cli("plan", "--preset", "pa-o-base")
    assert (code, err) == (0, f"{told} a prompt that names no score\n") and "note" not in out
    monkeypatch.setattr("longtake.models.parts.import_code", Mock(side_effect=OptionError("no further")))
    command = ("generate", "--preset", "pa-o-base", "--start", "text", "--frames", "17", "-o", "film.mp4")
    assert cli(*command, "a red car")[2] == f"{told} the prompt\nerror: no further\n"
    assert cli(*command, "a red car, aesthetic score: 5.0.")[2] == "error: no further\n"


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    """Guards against a film of the score alone."""
    with pytest.raises(OptionError, match="prompt is empty"):
        film("pa-o-base", prompt=prompt)


def test_reencoding_needs_chunks_one_by_one() -> None:
    """Guards context that would be encoded anew while its latents are still in the window."""
    with pytest.raises(OptionError, match="one by one"):
        film("pa-o-base", reencode_context=True)


@pytest.mark.parametrize("chunk_size", [3, 7])
def test_reencoding_needs_whole_groups(chunk_size: int) -> None:
    """Guards context that is lost, or is not the film's end: the autoencoder makes nothing of part of a group."""
    with pytest.raises(OptionError, match=f"chunk_size that is a multiple of 5, not {chunk_size}"):
        film("rn-o-base-as-released", chunk_size=chunk_size)


PLAN = """
import sys
from longtake.models.load import read_spec
from longtake.presets import ABOUT
read_spec("open-sora-v1.2")
sys.exit(any(name in sys.modules for name in ("torch", "diffusers", "transformers", "av")))
"""


def test_presets_need_no_torch() -> None:
    """Guards the quick command line."""
    subprocess.run([sys.executable, "-c", PLAN], check=True)


def test_plan_needs_no_weights(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards `longtake plan --preset`, its words and its JSON, where nothing is on the disk."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    plan = ("plan", "--preset", "pa-o-base", "--seconds", "60")
    code, out, _ = cli(*plan)
    assert code == 0
    for words in (
        "445 passes",
        "425 latents",
        "1,445 frames cut to 1,440",
        "14,825 latent-frame evaluations",
        "17 given, then 17 after 30 passes",
        "shift 3.68598",
    ):
        assert words in out
    assert len(out.split("\n\n")[1].splitlines()) == 7
    report = json.loads(cli(*plan, "--bfloat16-shift", "--json")[1])
    assert report["settings"]["shift"] == 3.6875 and report["plan"]["passes"] == 445
    text = cli(*plan, "--start", "text")[1]
    assert "450 passes" in text and "425 latents in 85 chunks" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("generate", "a", "--preset", "pa-o-base"),
            "begins with a clip: give --start CLIP, or --start text",
        ),
        (("generate", "a", "--preset", "pa-o"), "pa-o"),
        (("plan", "--bfloat16-shift"), "--bfloat16-shift needs a preset"),
        (("plan", "--preset", "pa-o-base", "--method", "fifo"), "sets steps_per_chunk itself"),
        (("plan", "--start", "clip.mp4"), "needs a context_size of 1 or more"),
        (
            ("plan", "--preset", "pa-o-base", "--frames", "17"),
            "begins with 17 frames (0.708 s at 24 fps) of the clip, as many as its context holds, and 17 frames were"
            " asked for: ask for 18 or more",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Guards presets that are told something that does not go with them."""
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "") and words in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
