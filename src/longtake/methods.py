"""Progressive denoising and the methods it is compared with: samplers over one velocity, one noise, one ladder.

plan.py says, without torch, what each makes of a film's settings and what it costs; docs/algorithm.md, in words.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable, Generator
from itertools import islice

import torch
from torch import Tensor

from longtake.plan import OWN_START, Method, Sampling
from longtake.progressive import Velocity, euler_step, progressive_denoise

Noise = Callable[[int, int], Tensor]
Chunks = Generator[Tensor, None, None]
Reencode = Callable[[Tensor], Tensor]

# Where a finished latent is noised again, its noise is that of the place so far ahead, which no film reaches. The
# noise that it was made of will not do: the two are alike, and would add up where they should mix.
AGAIN = 2**40


def denoise(
    sampling: Sampling,
    velocity: Velocity,
    noise: Noise,
    sigmas: Tensor,
    num_chunks: int,
    context: Tensor | None = None,
    reencode: Reencode | None = None,
) -> Chunks:
    """A film's chunks in order, each (B, C, sampling.chunk_size, H, W), by the method of `sampling`.

    velocity: as for `progressive_denoise`; `first` is negative for latents that come before the film.
    noise(first, count): pure noise (B, C, count, H, W) of the latents first, first + 1, …, a function of the index.
    sigmas: (S+1,) float32, falling strictly from 1 to 0, S being sampling.num_inference_steps.
    context: clean latents (B, C, any F, H, W) that come before the first chunk, for methods that can begin so.
    reencode: what a chunk goes through, frames and back, before it becomes context, if sampling says so.
    """
    assert len(sigmas) == sampling.num_inference_steps + 1
    assert context is None or sampling.method not in OWN_START
    if sampling.reencode_context:
        assert reencode is not None
        return reencoded(sampling, velocity, noise, sigmas, num_chunks, context, reencode)
    return SAMPLERS[sampling.method](sampling, velocity, noise, sigmas, num_chunks, context)


def progressive(
    s: Sampling, velocity: Velocity, noise: Noise, sigmas: Tensor, num_chunks: int, context: Tensor | None
) -> Chunks:
    """The heart. A clip for a chunk makes it replacement ("RN" in PA-VDM, arXiv 2410.08151, §4), and half a window
    behind the other half, chunk by chunk."""
    return _run(s, velocity, noise, sigmas, 0, num_chunks, context)


def reencoded(
    s: Sampling,
    velocity: Velocity,
    noise: Noise,
    sigmas: Tensor,
    num_chunks: int,
    context: Tensor | None,
    reencode: Reencode,
) -> Chunks:
    """Chunks one by one, each behind the end of the film so far as the autoencoder makes it of its own frames."""
    for k in range(num_chunks):
        for chunk in _run(s, velocity, noise, sigmas, k, 1, context):
            yield chunk
            context = _last(reencode(chunk), s.context_size)


@torch.no_grad()
def noisy_replacement(
    s: Sampling, velocity: Velocity, noise: Noise, sigmas: Tensor, num_chunks: int, context: Tensor | None
) -> Chunks:
    """Clips behind a context that is noised, at every step, to the clip's own level: the network sees one level
    ("RW" in PA-VDM, arXiv 2410.08151, §4).

    A context latent keeps one noise, so that it moves on a straight line as the clip's latents do.
    """
    size = s.chunk_size
    clean = _beginning(context, noise, s.context_size)
    again = noise(AGAIN - clean.shape[2], 1 + clean.shape[2])[:, :, :-1]
    sigmas = sigmas.to(clean.device)
    for first in range(0, num_chunks * size, size):
        latents, num_clean = noise(first, size), clean.shape[2]
        for step in range(s.num_inference_steps):
            level = sigmas[step].expand(num_clean + size)
            window = torch.cat([_noised(clean, again, level[:num_clean]), latents], dim=2)
            v = velocity(window, level, first - num_clean)
            latents = euler_step(latents, v[:, :, num_clean:], sigmas, torch.full((size,), step), first)
        yield latents.clone()
        clean = _last(torch.cat([clean, latents], dim=2), s.context_size)
        again = _last(torch.cat([again, noise(AGAIN + first, size)], dim=2), s.context_size)


def restart(
    s: Sampling, velocity: Velocity, noise: Noise, sigmas: Tensor, num_chunks: int, context: Tensor | None
) -> Chunks:
    """A window of the model's size is finished on the ladder, then a new one starts from its last clean latents, as the
    long films of SkyReels-V2 (arXiv 2504.13074) do.

    Theirs counts the context as part of the window, encodes it anew and advises noise of sigma 0.02 on it; ours takes
    the latents as they are. The last window is as short as the film needs.
    """
    clean = _beginning(context, noise, s.context_size)
    for start in range(0, num_chunks, s.chunks_per_run):
        chunks = min(s.chunks_per_run, num_chunks - start)
        for chunk in _run(s, velocity, noise, sigmas, start, chunks, clean if clean.shape[2] else None):
            clean = _last(torch.cat([clean, chunk], dim=2), s.context_size)
            yield chunk


@torch.no_grad()
def fifo(
    s: Sampling, velocity: Velocity, noise: Noise, sigmas: Tensor, num_chunks: int, context: None
) -> Chunks:
    """FIFO-Diffusion (Kim et al., arXiv 2405.11473): a queue of S latents, each one step noisier than the one before.

    All step at once, the first leaves clean, noise enters at the end (diagonal denoising, §3.1). The network sees the
    queue through windows of its own size (latent partitioning, §3.2), of which only the noisier half moves, so that
    every latent has cleaner ones before it (lookahead denoising, §3.3): in front of the queue stand finished latents.
    As in the authors' code the queue starts as a clip, noised to its levels; where it is longer than the clip, repeats
    of the clip's first latent come before the film and are dropped. A shorter queue starts as a clip of its length.
    """
    S, looked_at, window = s.num_inference_steps, s.context_size, s.model_window
    clip_size = min(S, window)
    dropped = S - clip_size
    clip = _clip(velocity, noise, sigmas, clip_size)
    sigmas = sigmas.to(clip.device)
    steps = torch.arange(S - 1, -1, -1)
    level = torch.cat([sigmas.new_zeros(looked_at), sigmas[steps]])
    start = torch.cat([clip[:, :, :1].expand(-1, -1, dropped, -1, -1), clip], dim=2)
    queue = _noised(start, noise(AGAIN - dropped, S), sigmas[steps])
    clean = clip[:, :, :1].expand(-1, -1, looked_at, -1, -1)

    for oldest in range(-dropped, num_chunks):
        latents, first = torch.cat([clean, queue], dim=2), oldest - looked_at
        moved = [
            velocity(latents[:, :, i : i + window], level[i : i + window], first + i)[:, :, looked_at:]
            for i in range(0, S, window - looked_at)
        ]
        queue = euler_step(queue, torch.cat(moved, dim=2), sigmas, steps, oldest)
        chunk = queue[:, :, :1].clone()
        if oldest >= 0:
            yield chunk
        clean = _last(torch.cat([clean, chunk], dim=2), looked_at)
        queue = torch.cat([queue[:, :, 1:], noise(oldest + S, 1)], dim=2)


def full_window(
    s: Sampling, velocity: Velocity, noise: Noise, sigmas: Tensor, num_chunks: int, context: None
) -> Chunks:
    """Progressive denoising without variable length: it starts from a full window, made as a clip and noised to the
    ladder, and ends with one, whose rest is thrown away.

    The passes in which the window would have grown are not made: along the straight line from noise to the clip, the
    velocity is known.
    """
    rungs, size = s.rungs, s.chunk_size
    clip = _clip(velocity, noise, sigmas, rungs * size)
    again = noise(AGAIN, rungs * size)

    def known_at_first(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        end = first + latents.shape[2]
        return velocity(latents, sigma, first) if end >= rungs * size else (again - clip)[:, :, :end]

    def entering(k: int) -> Tensor:
        return again[:, :, k * size : (k + 1) * size] if k < rungs else noise(k * size, size)

    film = progressive_denoise(
        known_at_first, entering, sigmas, num_chunks + rungs - 1, s.steps_per_chunk, None, s.context_size
    )
    yield from islice(film, num_chunks)


SAMPLERS: dict[Method, Callable[..., Chunks]] = {
    "progressive": progressive,
    "replacement": progressive,
    "noisy-replacement": noisy_replacement,
    "chunk-by-chunk": progressive,
    "restart": restart,
    "fifo": fifo,
    "full-window": full_window,
}


def _run(
    s: Sampling,
    velocity: Velocity,
    noise: Noise,
    sigmas: Tensor,
    start: int,
    num_chunks: int,
    context: Tensor | None,
) -> Chunks:
    """Progressive denoising of chunks start, start + 1, … of a film behind `context`."""
    size = s.chunk_size
    return progressive_denoise(
        lambda latents, sigma, first: velocity(latents, sigma, start * size + first),
        lambda k: noise((start + k) * size, size),
        sigmas,
        num_chunks,
        s.steps_per_chunk,
        context,
        s.context_size,
    )


def _clip(velocity: Velocity, noise: Noise, sigmas: Tensor, count: int) -> Tensor:
    """The first `count` latents, made from noise alone at one level."""
    return next(progressive_denoise(velocity, lambda k: noise(0, count), sigmas, 1, len(sigmas) - 1))


def _noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Latents (B, C, F, H, W) brought to levels sigma (F,)."""
    level = sigma.view(-1, 1, 1)
    return ((1 - level) * clean + level * noise).to(clean.dtype)


def _beginning(context: Tensor | None, noise: Noise, context_size: int) -> Tensor:
    """What stands clean before the first chunk, (B, C, F, H, W); F is 0 without a context."""
    latents = noise(0, 1)
    return latents[:, :, :0] if context is None else _last(context.to(latents), context_size)


def _last(latents: Tensor, count: int) -> Tensor:
    return latents[:, :, max(0, latents.shape[2] - count) :]
