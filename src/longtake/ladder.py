"""The one formula: at pass t, chunk k has taken t - k * M of its S steps; it is in the window while that is in [0, S).

Start-up and drain are this rule too. Planning, sampling and training all ask here which chunks a pass sees, and how
noisy they are. It imports the standard library alone; docs/algorithm.md explains it.
"""

from dataclasses import dataclass

from longtake.errors import OptionError


@dataclass(frozen=True)
class Ladder:
    """N chunks of C latents, of S steps each, M passes from one finished chunk to the next, behind at most X clean
    latents. M need not divide S. OptionError for numbers out of range."""

    num_steps: int
    steps_per_chunk: int
    chunk_size: int
    num_chunks: int
    context_size: int = 0

    def __post_init__(self) -> None:
        steps, least = self.steps_per_chunk, min(self.num_chunks, self.chunk_size, self.context_size + 1)
        if not 1 <= steps <= self.num_steps or least < 1:
            raise OptionError(
                f"steps_per_chunk must lie in 1 to num_steps, sizes must not be negative: {self}"
            )

    @property
    def passes(self) -> int:
        """The passes of the whole film."""
        return (self.num_chunks - 1) * self.steps_per_chunk + self.num_steps

    def rungs(self, phase: int = 0) -> range:
        """The steps that a full window's chunks have taken, the oldest first, before a pass t with t % M = phase."""
        return range(phase, self.num_steps, self.steps_per_chunk)[::-1]

    def chunks(self, t: int) -> range:
        """The chunks that pass t denoises, the oldest first."""
        oldest = max(0, (t - self.num_steps) // self.steps_per_chunk + 1)
        return range(oldest, min(t // self.steps_per_chunk, self.num_chunks - 1) + 1)

    def steps(self, t: int) -> list[int]:
        """The steps that each latent of these chunks has taken before pass t."""
        return [t - k * self.steps_per_chunk for k in self.chunks(t) for _ in range(self.chunk_size)]

    def enters(self, t: int) -> int | None:
        """The chunk that enters as noise before pass t, if one does."""
        k, rest = divmod(t, self.steps_per_chunk)
        return k if not rest and k < self.num_chunks else None

    def leaves(self, t: int) -> bool:
        """Whether the oldest chunk is clean after pass t."""
        return self.steps(t)[0] == self.num_steps - 1
