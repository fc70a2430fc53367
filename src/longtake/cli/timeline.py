"""A film's cues against its passes, in words and as a picture."""

from collections.abc import Sequence
from typing import Any

from longtake.frames import number
from longtake.options import FilmPlan

WIDTH = 60  # of the picture, in characters


def cue_rows(film: FilmPlan) -> list[dict[str, Any]]:
    """What each cue of a film says, and how it comes to hold.

    latent: the first that follows it. first_pass: the pass, from 1, at which that latent enters as noise; last_pass:
    the one after which it is clean; both None for methods that make their own start. blend_latents: those over which
    it takes the place of what was told before.
    """
    rows = []
    for cue, direction in zip(film.cues, film.directions[1:], strict=True):
        made = max(0, direction.first - film.length.given_latents)
        passes = film.cost.sampling.passes_of(made // film.cost.sampling.chunk_size)
        first, last = (None, None) if passes is None else (passes[0] + 1, passes[1])
        row = {"latent": direction.first, "first_pass": first, "last_pass": last}
        rows.append({**cue.model_dump(exclude_none=True), **row, "blend_latents": direction.blend})
    return rows


def timeline_picture(film: FilmPlan) -> str:
    """The film's length as a bar with its cues, by number, and their blends, light; then a line for each cue."""
    rows = cue_rows(film)
    seconds = film.length.num_frames / film.rate
    bar = ["█"] * WIDTH

    def column(second: float) -> int:
        return min(WIDTH - 1, int(second / seconds * WIDTH))

    for place, row in enumerate(rows, 1):
        first, end = column(row["at"]), column(row["at"] + row["blend"])
        bar[first : end + 1] = [str(place)[-1], *"░" * (end - first)]
    ends = f"0 s  {''.join(bar)}  {number(seconds)} s"
    return "\n".join([ends, *(_line(place, row) for place, row in enumerate(rows, 1))])


def _line(place: int, row: dict[str, Any]) -> str:
    when = f"{place:>3}  from {number(row['at'])} s, latent {row['latent']:,}"
    if row["first_pass"] is not None:
        when += f": enters as noise at pass {row['first_pass']:,}, clean after pass {row['last_pass']:,}"
    if row["blend_latents"]:
        when += f"; blends over {number(row['blend'])} s, {row['blend_latents']} latents"
    return f"{when}; {_changes(row)}"


def _changes(row: dict[str, Any]) -> str:
    names: Sequence[str] = ("guidance_scale", "seed")
    prompt = [f'"{row["prompt"]}"'] if "prompt" in row else []
    return ", ".join([*prompt, *(f"{name} {row[name]:g}" for name in names if name in row)])
