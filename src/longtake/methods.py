"""Progressive denoising and the methods it is compared with: samplers over one velocity, one noise, one ladder.

A sampler is a method and all that a film is made from. What changes while the film is made is a Window, a value,
whatever the method. plan.py says, without torch, what each makes of a film's settings and what it costs;
docs/algorithm.md, in words.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from longtake.ladder import Ladder
from longtake.noise import check_table
from longtake.plan import OWN_START, Method, Sampling
from longtake.progressive import Window, advance
from longtake.samplers import AGAIN, Noise, Reencode, Sampler, behind, last, noised
from longtake.solvers import Fresh, Velocity, euler


class Reencoded(Sampler):
    """Chunks one by one, each behind the end of the film so far as the autoencoder makes it of its own frames."""

    @property
    def open_until(self) -> int:
        return self.end - 1  # the last chunk becomes no context

    def advance(self, window: Window) -> tuple[Window, Tensor | None]:
        assert self.reencode is not None
        window, chunk = super().advance(window)
        if chunk is None or window.t == self.end:
            return window, chunk
        return replace(window, clean=last(self.reencode(chunk), self.sampling.context_size)), chunk


class NoisyReplacement(Sampler):
    """Clips behind a context that is noised, at every step, to the clip's own level: the network sees one level
    ("RW" in PA-VDM, arXiv 2410.08151, §4).

    A context latent keeps one noise, so that it moves on a straight line as the clip's latents do.
    """

    def climb(self, window: Window, ladder: Ladder, start: int = 0) -> tuple[Window, Tensor | None]:
        level = self.sigmas[ladder.steps(window.t)[0]]
        clean, count = window.clean, window.clean.shape[2]
        first = ladder.chunks(window.t).start * ladder.chunk_size - count
        again = self.again(first, count) if count else clean

        def at_one_level(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
            at_level = noised(clean, again, level.expand(count))
            latents = torch.cat([at_level, latents[:, :, count:]], dim=2)
            return self.velocity(latents, level.expand(latents.shape[2]), first)

        return Sampler.climb(replace(self, velocity=at_one_level), window, ladder, start)


class Restart(Sampler):
    """A window of the model's size is finished on a ladder, then a new one starts from its last clean latents, as the
    long films of SkyReels-V2 (arXiv 2504.13074) do: a list of ladders.

    Theirs counts the context as part of the window, encodes it anew and advises noise of sigma 0.02 on it; ours takes
    the latents as they are. The last window is as short as the film needs.
    """

    @property
    def end(self) -> int:
        return sum(ladder.passes for ladder in self.sampling.runs(self.num_chunks))

    @property
    def open_until(self) -> int:
        runs = self.sampling.runs(self.num_chunks)
        return sum(ladder.passes for ladder in runs if ladder.num_chunks == self.sampling.chunks_per_run)

    def advance(self, window: Window) -> tuple[Window, Tensor | None]:
        whole = self.sampling.ladder(self.sampling.chunks_per_run)
        run, t = divmod(window.t, whole.passes)
        start = run * whole.num_chunks
        ladder = replace(whole, num_chunks=min(whole.num_chunks, self.num_chunks - start))
        after, chunk = self.climb(replace(window, t=t), ladder, start)
        return replace(after, t=window.t + 1), chunk


class OwnStart(Sampler):
    """A method whose window begins as a clip of `clip_size` latents, made from noise alone at one level, and is full
    from then on. Until the clip is there the window is that of the clip."""

    @property
    def clip_size(self) -> int:
        raise NotImplementedError

    @property
    def open_until(self) -> int:
        return self.end  # noise enters to the end

    def advance(self, window: Window) -> tuple[Window, Tensor | None]:
        S = self.sampling.num_inference_steps
        if window.t >= S:
            return self.advance_full(window)
        ladder = Ladder(S, S, self.clip_size, 1)
        window, clip = advance(
            window, ladder, self.sigmas, self.velocity, lambda k: self.noise(0, self.clip_size)
        )
        return (window if clip is None else self.full(clip)), None

    def full(self, clip: Tensor) -> Window:
        """The window, t = S, that the clip (B, C, clip_size, H, W) becomes."""
        raise NotImplementedError

    def advance_full(self, window: Window) -> tuple[Window, Tensor | None]:
        raise NotImplementedError


class Fifo(OwnStart):
    """FIFO-Diffusion (Kim et al., arXiv 2405.11473): a queue of S latents, each one step noisier than the one before.

    All step at once, the first leaves clean, noise enters at the end (diagonal denoising, §3.1). The network sees the
    queue through windows of its own size (latent partitioning, §3.2), of which only the noisier half moves, so that
    every latent has cleaner ones before it (lookahead denoising, §3.3): in front of the queue stand finished latents.
    As in the authors' code the queue starts as a clip, noised to its levels; where it is longer than the clip, repeats
    of the clip's first latent come before the film and are dropped. A shorter queue starts as a clip of its length.
    """

    @property
    def clip_size(self) -> int:
        return min(self.sampling.num_inference_steps, self.sampling.model_window)

    @property
    def dropped(self) -> int:
        return self.sampling.num_inference_steps - self.clip_size

    @property
    def end(self) -> int:
        return self.sampling.num_inference_steps + self.dropped + self.num_chunks

    @property
    def steps(self) -> Tensor:
        return torch.arange(self.sampling.num_inference_steps - 1, -1, -1)

    def full(self, clip: Tensor) -> Window:
        S, dropped = self.sampling.num_inference_steps, self.dropped
        start = torch.cat([clip[:, :, :1].expand(-1, -1, dropped, -1, -1), clip], dim=2)
        queue = noised(start, self.again(-dropped, S), self.sigmas[self.steps])
        clean = clip[:, :, :1].expand(-1, -1, self.sampling.context_size, -1, -1)
        return Window(S, clean, queue)

    @torch.no_grad()
    def advance_full(self, window: Window) -> tuple[Window, Tensor | None]:
        S, looked_at, size = len(self.steps), self.sampling.context_size, self.sampling.model_window
        oldest = window.t - S - self.dropped
        level = torch.cat([self.sigmas.new_zeros(looked_at), self.sigmas[self.steps]])
        latents, first = torch.cat([window.clean, window.noisy], dim=2), oldest - looked_at
        moved = [
            self.velocity(latents[:, :, i : i + size], level[i : i + size], first + i)[:, :, looked_at:]
            for i in range(0, S, size - looked_at)
        ]
        queue, _ = euler(window.noisy, torch.cat(moved, dim=2), self.sigmas, self.steps, (), oldest)
        chunk = queue[:, :, :1].clone()
        clean = last(torch.cat([window.clean, chunk], dim=2), looked_at)
        queue = torch.cat([queue[:, :, 1:], self.noise(oldest + S, 1)], dim=2)
        return Window(window.t + 1, clean, queue), None if oldest < 0 else chunk


class FullWindow(OwnStart):
    """Progressive denoising without variable length: it starts from a full window, made as a clip and noised to the
    ladder, and ends with one, whose rest is thrown away.

    The passes in which the window would have grown are not made: along the straight line from noise to the clip, the
    velocity is known.
    """

    @property
    def clip_size(self) -> int:
        return self.sampling.rungs * self.sampling.chunk_size

    @property
    def ladder(self) -> Ladder:
        return self.sampling.ladder(self.num_chunks + self.sampling.rungs - 1)

    @property
    def end(self) -> int:
        S, passes = self.sampling.num_inference_steps, self.sampling.ladder(self.num_chunks).passes
        return S + passes - self.sampling.growing_passes

    def full(self, clip: Tensor) -> Window:
        again = self.again(0, self.clip_size)
        known = replace(
            self,
            velocity=lambda latents, sigma, first: (again - clip)[:, :, : first + latents.shape[2]],
            noise=lambda first, count: again[:, :, first : first + count],
        )
        window = behind(clip[:, :, :0])
        for _ in range(self.sampling.growing_passes):
            window, _ = known.climb(window, self.ladder)
        return replace(window, t=self.sampling.num_inference_steps)

    def advance_full(self, window: Window) -> tuple[Window, Tensor | None]:
        before = self.sampling.num_inference_steps - self.sampling.growing_passes
        entering = replace(
            self,
            noise=lambda first, count: self.noise(first + AGAIN * (first < self.clip_size), count),
        )
        after, chunk = entering.climb(replace(window, t=window.t - before), self.ladder)
        return replace(after, t=window.t + 1), chunk


def sampler(
    sampling: Sampling,
    velocity: Velocity,
    noise: Noise,
    sigmas: Tensor,
    num_chunks: int,
    reencode: Reencode | None = None,
    first_level: float = 1,
    fresh: Fresh | None = None,
) -> Sampler:
    """The sampler of a method, as Sampler describes it. OptionError unless sigmas fall strictly to 0, from
    first_level: what noise gives, 1 for the methods of OWN_START. fresh: none is needed where that is 1 and the solver
    is not renoise."""
    assert first_level == 1 or sampling.method not in OWN_START, "it starts from pure noise"
    assert fresh or (first_level == 1 and sampling.solver != "renoise")
    check_table(sigmas, first_level)
    assert len(sigmas) == sampling.num_inference_steps + 1
    kind = Reencoded if sampling.reencode_context else SAMPLERS[sampling.method]
    again = fresh or (lambda first, rungs: noise(first, len(rungs)))
    device = noise(0, sampling.chunk_size).device
    return kind(sampling, velocity, noise, sigmas.to(device), num_chunks, again, reencode)


def denoise(
    sampling: Sampling,
    velocity: Velocity,
    noise: Noise,
    sigmas: Tensor,
    num_chunks: int,
    context: Tensor | None = None,
    reencode: Reencode | None = None,
    fresh: Fresh | None = None,
) -> Generator[Tensor, None, None]:
    """A film's chunks in order, each (B, C, sampling.chunk_size, H, W), by the method of `sampling`; arguments as for
    `sampler` and its `begin`."""
    assert context is None or sampling.method not in OWN_START
    how = sampler(sampling, velocity, noise, sigmas, num_chunks, reencode, fresh=fresh)
    return _chunks(how, how.begin(context))


def _chunks(how: Sampler, window: Window) -> Generator[Tensor, None, None]:
    end = how.end
    while window.t < end:
        window, chunk = how.advance(window)
        if chunk is not None:
            yield chunk


SAMPLERS: dict[Method, type[Sampler]] = {
    "progressive": Sampler,
    "replacement": Sampler,
    "noisy-replacement": NoisyReplacement,
    "chunk-by-chunk": Sampler,
    "restart": Restart,
    "fifo": Fifo,
    "full-window": FullWindow,
}
