"""Ends, loops and retakes, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import Result

pytestmark = pytest.mark.slow

TINY = ("--size", "32x32", "--steps", "3", "--steps-per-chunk", "1", "--fps", "8", "--json")


def photo(path: Path) -> Path:
    with av.open(path, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "rgb24"
        picture = np.full((32, 64, 3), 200, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_films_begin_and_end_as_they_are_told(
    cli: Callable[..., Result], tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards the way of photos, of --fit and of --loop to the film, and of what is said of them."""
    picture, model = photo(tmp_path / "photo.png"), ("--model", tubelet_folder)
    given = ("--start", picture, "--end", picture, "--fit", "pad", "--context", "1")
    made = cli("generate", "a red car", *model, *TINY, "--frames", "40", *given, "-o", "a.mp4")
    assert made.code == 0 and made.err.count("padded with black") == 2
    assert "begins with the photo held still for 0.5 s, 4 frames" in made.err
    told = json.loads(made.out)["options"]
    assert told["start"]["photo"] and told["end"]["name"] == "photo.png"
    again = cli("generate", "--like", "a.mp4", *model, "-o", "b.mp4")
    assert again.code == 2 and "starts with photo.png: give it with --start" in again.err
    loop = cli("generate", "a red car", *model, *TINY, "--frames", "43", "--loop", "-o", "loop.mp4")
    assert loop.code == 0 and "a loop has whole chunks: 44 frames" in loop.err
    assert json.loads(loop.out)["options"]["loop"] is True
    refused = cli("plan", *model, *TINY, "--method", "restart", "--loop")
    assert refused.code == 2 and "method progressive" in refused.err


def test_a_section_is_retaken_and_anybodys_film_goes_on(
    cli: Callable[..., Result], tubelet_folder: Path
) -> None:
    """Guards the options of the commands, and that the jump is said."""
    cli(
        *("generate", "a red car", "--model", tubelet_folder, *TINY, "--frames", "64"),
        *("--keep-states", "1s", "-o", "old.mp4"),
    )
    section = ("--from", "3s", "--to", "5s")
    made = cli("retake", "old.mp4", "a blue bus", *section, "-o", "new.mp4", "--json")
    assert made.code == 0 and "new.mp4 meets the film behind the section it changes" in made.err
    assert json.loads(made.out)["num_frames"] == 64 and json.loads(made.out)["seam"]["score"] > 0
    longer = ("--seconds", "1", "--context", "1", "--model", tubelet_folder)
    more = cli("extend", "new.mp4", *longer, "-o", "longer.mp4", "--json")
    assert more.code == 0 and "64 of its 64 pictures were copied" in more.err
    assert json.loads(more.out)["num_frames"] == 72
    stateless = cli("extend", "new.mp4", *longer, "--keep-states", "1s", "-o", "c.mp4")
    assert stateless.code == 2 and "leave out --keep-states" in stateless.err
    other = cli("extend", "old.mp4", *longer, "-o", "c.mp4")
    assert other.code == 2 and "leave out --model and --context" in other.err
    assert cli("generate", "--like", "new.mp4", "-o", "b.mp4").code == 2
