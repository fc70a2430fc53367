"""What a comparison and an evaluation may be asked for, described and bounded here. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args

from pydantic import BeforeValidator, Field

from longtake.plan import Method
from longtake.values import Count, Options

DEFAULT_SEEDS, TABLE1_SEEDS = 3, 2


class Given(TypedDict, total=False):
    """Options of FilmOptions that variants differ in."""

    method: Method
    width: int
    height: int
    num_inference_steps: int
    chunk_size: int
    context_size: int


# The parts of progressive denoising that can be left out, each by the option that does it.
ABLATIONS: dict[str, Given] = {"no-context": {"context_size": 0}, "no-chunks": {"chunk_size": 1}}
METHODS: tuple[Method, ...] = get_args(Method)
COMPARED = (*METHODS, *ABLATIONS)


def _names(text: Any) -> Any:
    """Names between commas, in turn."""
    return tuple(name.strip() for name in text.split(",")) if text and isinstance(text, str) else text or ()


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
WeightsDir = Annotated[
    Path | None, Field(description="Weights of VBench's networks, to measure with these too.")
]
Judge = Annotated[Path | None, Field(description="Who reads films of a world, as judge trains it.")]


class CompareOptions(Options):
    """The options of a comparison, beside the model and how it films."""

    prompts: Path | None = Field(
        None,
        description="Prompts, one a line; # starts a comment. With a preset: lines of prompt||clip.",
    )
    preset: Literal["table1-open-sora"] | None = Field(
        None,
        description="Instead of methods: the paper's own comparison with Open-Sora v1.2. Clips to begin with lie in the"
        " folder of the prompts.",
    )
    world: str | None = Field(
        None, description="Instead of a file: prompts of a world that training never saw."
    )
    num_prompts: Count = Field(8, description="How many prompts of a world.")
    judge: Judge = None
    seeds: Count | None = Field(
        None,
        description=f"Films of each prompt; {DEFAULT_SEEDS} if not given, {TABLE1_SEEDS} with a preset.",
    )
    seconds: float = Field(60, description="Length of each film.")
    methods: Names = Field((), description=f"What to compare: {', '.join(COMPARED)}, or some of these.")
    weights_dir: WeightsDir = None
    equal_steps: bool = Field(False, description="At equal steps alone, not at equal cost as well.")


class EvaluateOptions(Options):
    """The options of an evaluation, beside the films."""

    prompts: Path | None = Field(None, description="Their prompts, one a line, in their order.")
    real: Path | None = Field(None, description="Folder of real film to compare them with.")
    clips: Path | None = Field(
        None, description="Also cut them into clips for VBench-Long's and FVD's own tools."
    )
    world: str | None = Field(
        None, description="What their prompts describe: read how much of it each film shows."
    )
    judge: Judge = None
    weights_dir: WeightsDir = None
