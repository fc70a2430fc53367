"""The card that people have, from the command line: what fits, and how a film is put on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longtake.cli.models import card_in_words, card_json
from longtake.memory import GIB, Footprint, PartBytes
from longtake.models.card.placement import OFFLOADS
from longtake.video import probe

Cli = Callable[..., Any]
OPTIONS = ("--size", "48x32", "--frames", "5", "--steps", "2", "--steps-per-chunk", "2", "--chunk-size", "1")


def test_models_say_what_they_need(cli: Cli) -> None:
    """Guards what is asked of a model before it is fetched, for programs and for people."""
    rows: list[dict[str, Any]] = json.loads(cli("models", "--json").out)
    assert all(row["licence"] and row["trained_on"] and row["expect"] for row in rows)
    wan = next(row for row in rows if row["name"] == "Wan-AI/Wan2.1-T2V-14B-Diffusers")
    assert list(wan["peak_gib"]) == list(OFFLOADS) and wan["weights_gib"] > 30
    text = cli("models").out
    assert "weights 37.5 GiB in bfloat16; on the card by --offload: none 47.5" in text
    assert "Apache-2.0; trained on unequal levels" in text
    assert "weights 31.4 GiB in bfloat16; memory on the card is not counted" in text


def test_plan_says_what_fits(cli: Cli, wan_folder: Path) -> None:
    """Guards a card that is large enough, and one that is too small for all."""
    asked = "plan", "--model", wan_folder, "--size", "480x320", "--card"
    large, small = (cli(*asked, card) for card in ("80", "1.001"))
    assert "80 GiB     do with --offload none; 1 GiB is left free" in large.out
    assert "are too few for any of them: take a smaller --size" in small.out
    found = json.loads(cli(*asked, "80", "--json").out)["card"]
    assert found["fits"] == [{"quantize": None, "offload": "none"}]
    assert set(found["peak_gib"]) == {"bfloat16", "fp8", "int8", "nf4"}
    peaks = list(found["peak_gib"]["bfloat16"].values())
    assert peaks == sorted(peaks, reverse=True)
    assert "card" not in json.loads(cli(*asked[:-1], "--json").out)
    tiled = json.loads(cli(*asked, "80", "--tile", "--json").out)["card"]
    assert tiled["decoding_gib"] < found["decoding_gib"]


def test_advice() -> None:
    """Guards advice that costs more than it must: quantised weights are named where more of them can stay."""
    none = PartBytes(0, 0, 0, 0)

    def taking(text: float, network: float) -> Footprint:
        parts = (PartBytes(round(gib * GIB), GIB // 2, 0, 0) for gib in (text, network))
        return Footprint((next(parts),), (next(parts),), none, 8 * GIB, 5 * GIB, 2 * GIB)

    found: Any = {None: taking(10, 26), "fp8": taking(10, 13), "int8": taking(7, 13), "nf4": taking(5, 7)}
    assert card_in_words(found, 24).endswith(
        "\n24 GiB     do with --offload group, or --offload text --quantize fp8, or --offload none --quantize nf4;"
        " 1 GiB is left free for CUDA and its libraries"
    )
    assert card_json(found, 48)["fits"] == [{"quantize": None, "offload": "none"}]


@pytest.mark.slow
def test_a_film_says_how_it_was_put_there(cli: Cli, wan_folder: Path, tmp_path: Path) -> None:
    """Guards films that are filmed once more: quantize and tile are what they follow from, the rest what they were made
    with."""
    model = "--model", wan_folder
    asked = "--quantize", "fp8", "--tile", "--attention", "_native_math"
    film = "generate", "a red car", *model, *OPTIONS, *asked
    assert cli(*film, "-o", "a.mp4").code == 0
    told = probe(tmp_path / "a.mp4").metadata
    assert told["quantize"] == "fp8" and told["tile"] is True
    assert (told["made"]["attention"], told["made"]["blocks"]) == ("_native_math", "eager")
    again = cli("generate", "--like", "a.mp4", *model, "-o", "b.mp4")
    assert (again.code, again.err) == (0, "")
    like = probe(tmp_path / "b.mp4").metadata
    assert like["quantize"] == "fp8" and like["tile"] is True
    plain = cli("generate", "a red car", *model, *OPTIONS, "-o", "c.mp4")
    assert plain.code == 0 and not {"quantize", "tile"} & probe(tmp_path / "c.mp4").metadata.keys()


def test_what_cannot_be_is_a_line(cli: Cli, wan_folder: Path) -> None:
    """Guards options of cards on a processor, and names that there are not."""
    film = "generate", "a red car", "--model", wan_folder, *OPTIONS, "-o", "a.mp4"
    for option, match in (
        (("--offload", "group"), "cpu has one memory alone"),
        (("--quantize", "gguf"), "take fp8, int8 or nf4"),
        (("--attention", "flush"), "did you mean flash?"),
    ):
        result = cli(*film, *option)
        assert result.code == 2 and match in result.err and result.err.count("\n") == 1
