"""How soon a film shows what a cue says, and whether the rest stays: read by a world's judge.

    python benchmarks/cues.py RUN --cues 48 --seconds 12 --at 4

Each cue changes one attribute: it goes from one prompt of the world to another that differs in that one, both of
combinations that training never saw. Its film is made twice, the cue at once and blended over --blend seconds, from the
same noise; beside them stand renders that cut from the one to the other at that second: the most that a judge can see.
RUN keeps what was read of each film, and pictures of it, so a run that was stopped goes on. Intervals are over cues; a
cue that is never seen counts as one that takes forever. The embedded model was trained with one text a clip.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from longtake.cues import Cue
from longtake.errors import OptionError
from longtake.evaluation.drift import Interval, bootstrap, resampled
from longtake.evaluation.films import made_with
from longtake.evaluation.measures.base import Frames
from longtake.evaluation.world import JUDGE, Judge, Rendered, World
from longtake.files import beside, write_text
from longtake.frames import number
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.runs import claim
from longtake.worlds import WorldName, load_world

ROWS = ("at once", "blended", "renders that cut")
ENDS = 4.0  # seconds before the cue, and at the film's end, that are compared
BETWEEN = 2  # seconds between two pictures that are kept

Readings = list[dict[str, str]]


class Change(NamedTuple):
    """A cue: the captions before and behind it, what they describe, and the attribute that differs."""

    attribute: str
    before: str
    behind: str
    shot: Rendered
    other: Rendered


class Seen(NamedTuple):
    """What was read of a film: at `times[i]`, in seconds, begins the second whose looks were read as `read[i]`."""

    times: list[float]
    read: Readings


@dataclass(frozen=True)
class Numbers:
    """What a film says of its cue. seconds: until the change is seen, infinite if it never is. new_before, new: the
    shares of the seconds that show what the cue says, before it and at the end. kept_before, kept: the shares of what
    the cue does not name that are read as told."""

    seconds: float
    new_before: float
    new: float
    kept_before: float
    kept: float


def changes_of(world: World, prompts: int, count: int) -> list[Change]:
    """`count` changes among so many prompts of a world, each prompt in one of them, attributes in turn as long as there
    are some. OptionError if there are fewer."""
    found: dict[str, list[Change]] = {name: [] for name in world.attributes}
    for (before, shot), (behind, other) in combinations(world.prompts(prompts), 2):
        shown, wanted = shot.attributes_at(0), other.attributes_at(0)
        differ = [name for name in shown if shown[name] != wanted[name]]
        if len(differ) == 1 and differ[0] in found:
            found[differ[0]].append(Change(differ[0], before, behind, shot, other))
    chosen, told = list[Change](), set[str]()
    while len(chosen) < count and any(found.values()):
        for waiting in found.values():
            while waiting:
                change = waiting.pop(0)
                if not told & {change.before, change.behind}:
                    told |= {change.before, change.behind}
                    chosen.append(change)
                    break
    if len(chosen) < count:
        raise OptionError(f"{prompts} prompts hold {len(chosen)} changes of one attribute: ask for no more")
    return chosen[:count]


def film_of(model: LongTake, change: Change, seconds: float, at: float, blend: float, seed: int) -> Frames:
    """A film of the model that follows the cue."""
    cue = Cue(at=at, prompt=change.behind, blend=blend)
    return model.generate(change.before, seconds, seed=seed, cues=(cue,))


def renders_of(world: World, change: Change, seconds: float, at: float) -> Frames:
    """Renders of the same place that cut from what is told before the cue to what is told behind it."""
    first, count = round(at * world.fps), round(seconds * world.fps)
    behind = world.described(change.behind, change.shot.seed)
    size = world.sizes[0]
    cut = [change.shot.render(0, first, *size), behind.render(first, count - first, *size)]
    return np.concatenate(cut)


def seen(film: Frames, world: World, judge: Judge) -> Seen:
    """What the judge reads of every second of looks, one beginning with each look."""
    looks = [
        [second + frame for frame in look]
        for second in range(0, len(film) - world.fps + 1, world.fps)
        for look in world.looks
    ]
    stacked = np.stack([np.concatenate([film[frame] for frame in look], axis=-1) for look in looks])
    together = len(world.looks)
    starts = range(len(looks) - together + 1)
    return Seen(
        [looks[start][0] / world.fps for start in starts],
        [judge.read(stacked[start : start + together]) for start in starts],
    )


def numbers_of(change: Change, film: Seen, at: float) -> Numbers:
    """A film in numbers; it reads as of what is told before the cue until it, and of what is told behind it after."""
    new, told = change.other.attributes_at(0)[change.attribute], change.shot.attributes_at(0)
    times, end = np.array(film.times), film.times[-1]
    is_new = np.array([read[change.attribute] == new for read in film.read])
    others = [name for name in film.read[0] if name != change.attribute]
    kept = np.array([np.mean([read[name] == told[name] for name in others]) for read in film.read])
    before, last = (at - ENDS <= times) & (times <= at - 1), times > end - ENDS
    late = times[is_new & (times >= at)]
    return Numbers(
        float(late[0] - at) if len(late) else np.inf,
        float(is_new[before].mean()),
        float(is_new[last].mean()),
        float(kept[before].mean()),
        float(kept[last].mean()),
    )


def quantile(values: Sequence[float], share: float) -> Interval:
    """A quantile of values, some of which may be infinite, and its 95 % interval over them drawn with replacement."""
    order = np.sort(np.array(values))
    counts = np.cumsum(resampled(len(order), 2000)[:, np.argsort(values)], axis=1)
    drawn = order[(counts >= share * len(order)).argmax(1)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return Interval(np.quantile(order, share, method="inverted_cdf"), low, high)


def table(rows: Mapping[str, Sequence[Numbers]]) -> str:
    """A row for each way to make the films, in Markdown."""
    head = (
        "seen at all",
        "seconds, median",
        "seconds, p90",
        "shown before",
        "shown at the end",
        "kept before",
        "kept − before",
    )
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, films in rows.items():
        delays = [film.seconds for film in films]
        shares = [
            bootstrap(np.isfinite(delays)),
            bootstrap([film.new_before for film in films]),
            bootstrap([film.new for film in films]),
            bootstrap([film.kept_before for film in films]),
            bootstrap([film.kept - film.kept_before for film in films]),
        ]
        cells = [_cell(each, 100, ".0f", " %") for each in shares]
        times = [_cell(quantile(delays, share), 1, ".1f", " s") for share in (0.5, 0.9)]
        lines.append(f"| {' | '.join([name, cells[0], *times, *cells[1:]])} |")
    return "\n".join(lines)


def by_attribute(changes: Sequence[Change], rows: Mapping[str, Sequence[Numbers]]) -> str:
    """Of each attribute how many cues were seen, and the median of the seconds they took, in Markdown."""
    lines = [f"| changed | cues | {' | '.join(rows)} |", "|---" * (len(rows) + 2) + "|"]
    for name in dict.fromkeys(change.attribute for change in changes):
        chosen = [place for place, change in enumerate(changes) if change.attribute == name]
        cells = []
        for films in rows.values():
            delays = [films[place].seconds for place in chosen]
            median = float(np.quantile(delays, 0.5, method="inverted_cdf"))
            cells.append(f"{int(np.isfinite(delays).sum())} seen, {_number(median, '.1f', ' s')}")
        lines.append(f"| {' | '.join([name, str(len(chosen)), *cells])} |")
    return "\n".join(lines)


def _cell(each: Interval, scale: float, form: str, unit: str) -> str:
    low, high = (_number(float(bound) * scale, form) for bound in (each.low, each.high))
    return f"{_number(float(each.value) * scale, form, unit)} [{low}, {high}]"


def _number(value: float, form: str, unit: str = "") -> str:
    return f"{value:{form}}{unit}" if np.isfinite(value) else "never"


def pictured(film: Frames, at: float, fps: int) -> Frames:
    """Pictures of a film side by side, one of them of the cue's second."""
    frames = range(round((at % BETWEEN) * fps), len(film), BETWEEN * fps)
    return np.concatenate([film[frame] for frame in frames], axis=1)


def sheet(folder: Path, place: int, path: Path) -> None:
    """Write the pictures of one cue's films, a row each, as a JPEG."""
    rows = [np.array(Image.open(folder / f"{place:03d}-{row}.png")) for row in range(len(ROWS))]
    Image.fromarray(np.concatenate(rows)).save(path, "JPEG", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--world", type=WorldName, choices=list(WorldName), default=WorldName.tracking_shot)
    parser.add_argument("--model", help="a folder; the embedded model if not given")
    parser.add_argument(
        "--judge", type=Path, help="the world's judge; RUN's own, trained first, if not given"
    )
    for name, default in (("cues", 48), ("prompts", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, length in (("seconds", 12.0), ("at", 4.0), ("blend", 4.0)):
        parser.add_argument(f"--{name}", type=float, default=length)
    parser.add_argument(
        "--sheet", nargs=2, metavar=("CUE", "JPG"), help="write pictures of a cue, by its number, alone"
    )
    given = parser.parse_args()
    if given.sheet:
        return sheet(given.run, int(given.sheet[0]), Path(given.sheet[1]))
    if not 2 <= given.at <= given.seconds - given.blend - 1:
        parser.error("a cue needs two seconds before it, and one after its blend")
    config = {name: getattr(given, name) for name in ("world", "model", "prompts", "seconds", "at", "blend")}
    claim(given.run, config)
    world, seconds, at = load_world(given.world), given.seconds, given.at
    judge = world.judge(given.judge or given.run / JUDGE)
    model, changes = LongTake.from_pretrained(given.model), changes_of(world, given.prompts, given.cues)
    rows: dict[str, list[Numbers]] = {name: [] for name in ROWS}
    for place, change in enumerate(track(changes, "cues")):
        films: tuple[Callable[[], Frames], ...] = (
            partial(film_of, model, change, seconds, at, 0, place),
            partial(film_of, model, change, seconds, at, given.blend, place),
            partial(renders_of, world, change, seconds, at),
        )
        for number_of_row, (row, make) in enumerate(zip(ROWS, films, strict=True)):
            path = given.run / f"{place:03d}-{number_of_row}.json"
            if not path.exists():
                film = make()
                with beside(path.with_suffix(".png")) as part:
                    Image.fromarray(pictured(film, at, world.fps)).save(part, "PNG")
                write_text(path, json.dumps(seen(film, world, judge)._asdict()) + "\n")
            found = Seen(**json.loads(path.read_text(encoding="utf-8")))
            rows[row].append(numbers_of(change, found, at))
    print(
        f"{len(changes)} cues at {number(at)} s of films of {number(seconds)} s, blended over {number(given.blend)} s,"
        f" seeds 0 to {len(changes) - 1}; {made_with()['machine']}\n\n{table(rows)}\n\n{by_attribute(changes, rows)}"
    )


if __name__ == "__main__":
    main()
