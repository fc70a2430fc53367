"""What is asked of a world, which draws film and knows what it shows: prompts, real film of them, and a judge.

Worlds stand above evaluation, which is handed one. N frames of H × W pixels, B looks, C channels, 3 a frame of a look.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from longtake.errors import OptionError, OutputError
from longtake.evaluation.measures.base import Frames
from longtake.files import beside

if TYPE_CHECKING:
    from longtake.training.recipe import Recipe

JUDGE = "classifier.safetensors"  # the judge of a run, in its folder


class Rendered(Protocol):
    """Endless film: a frozen dataclass of what it shows. Another seed makes other film that shows the same."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int: ...

    def attributes_at(self, frame: int) -> Mapping[str, str]:
        """The value of every attribute that can be seen in a frame."""
        ...

    def render(self, first: int, count: int, width: int, height: int, /) -> Frames:
        """Frames first … first + count - 1, (N, H, W, 3), RGB."""
        ...


class Judge(Protocol):
    """Reads attributes off looks at a film, which are (B, H, W, C), of the world's first size."""

    def read(self, looks: Frames) -> dict[str, str]:
        """What these looks, taken together, most likely show. NumberError if no finite numbers come of them."""
        ...

    def read_right(self, count: int) -> dict[str, float]:
        """Of each attribute, the share that is read right of `count` looks at renders of held-out combinations."""
        ...


@dataclass(frozen=True)
class World:
    """A world. Its functions are those of modules, so that it is pickled by their names.

    name: what users call it. sizes: width and height of the films that are read; the first is that of looks and, unless
    another is asked for, of renders. fps: frames a second. attributes: what the judge reads. looks: what it looks at in
    every second, the numbers of the frames of each look. quick_judge: whether it is trained within minutes, and so
    without being asked for.

    prompts(count): captions of combinations of attributes that training never sees, all different, and what each
    describes; fewer are the first of more. OptionError if there are not so many.
    described(caption, seed): a caption read back. OptionError if it says too little, or two things of one attribute.
    drawn(seed, num_frames): film drawn by chance, and its captions, each with the frame from which on it holds.
    sheet(path, seed): writes a contact sheet, a PNG.
    editions(): the recipe of the world's model, by how large it is.
    judge(file): the judge in a file, trained first if it is not there. ModelError for a file that holds none.
    """

    name: str
    sizes: tuple[tuple[int, int], ...]
    fps: int
    attributes: tuple[str, ...]
    looks: tuple[tuple[int, ...], ...]
    quick_judge: bool
    editions: Callable[[], Mapping[str, Recipe]]
    prompts: Callable[[int], Sequence[tuple[str, Rendered]]]
    described: Callable[[str, int], Rendered]
    drawn: Callable[[int, int], tuple[Rendered, list[tuple[int, str]]]]
    sheet: Callable[[Path, int], None]
    judge: Callable[[Path], Judge]


class Judged(NamedTuple):
    """Who reads a film, and what it should show."""

    world: World
    judge: Judge
    shot: Rendered


def sizes_of(world: World) -> str:
    """The sizes of films that are read, in words."""
    return " or ".join(f"{width}x{height}" for width, height in world.sizes)


def check_judge(run: Path, world: World, given: Path | None) -> None:
    """OptionError or ModelError if films of a run have no judge: neither one `given`, nor the run's own, nor one that
    is trained within minutes. OutputError if the run has another than is given."""
    own = run / JUDGE
    if given is None:
        if not own.exists() and not world.quick_judge:
            raise OptionError(
                f"films of the {world.name} world need a judge: longtake judge {world.name} FILE trains one, then give"
                " --judge FILE"
            )
    elif not os.path.isfile(given):
        raise OptionError(f"there is no judge {given}: longtake judge {world.name} {given} trains one")
    elif own.exists() and own.read_bytes() != given.read_bytes():
        raise OutputError(f"{run} has another judge than {given}: leave --judge out, or give a new folder")
    for file in (given, own):
        if file is not None and file.exists():
            world.judge(file)


def judge_of(run: Path, world: World, given: Path | None = None) -> Judge:
    """The judge of a run, put there first: a copy of the one `given`, or, without one, it is trained."""
    own = run / JUDGE
    if given is not None and not own.exists():
        with beside(own) as part:
            part.write_bytes(given.read_bytes())
    return world.judge(own)
