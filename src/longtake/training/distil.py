"""Ladder distillation: one step of a model's sampling learns to go where several went before, by plain regression.

A window x stands on the ladder of the result, the student, each latent frame at a place p, in steps taken. The teacher,
the model as it was, takes it to p + 1 in `micro_steps` guided Euler steps, on the whole window and through its own
table of noise levels, between its entries a straight line; the student's is every micro_steps-th entry of it. What the
student learns is the velocity that gets there at once, u* = (y - x) / (sigma(p + 1) - sigma(p)). Sampler, velocity and
model folder stay what they are. Source: StreamDiT (Kodaira et al., arXiv 2507.03745), which distils its own ladder so.

A share of the windows is the student's own film, so that it learns from its own mistakes too. Such a window stands on
the rungs, as in sampling, without jitter. It is what the sampler's rule makes in a few passes, with the weights of that
moment, of the window as it stood before them: chunks that had entered are a clip's latents, noised to the levels that
they had then; chunks that had not are pure noise, and enter in their pass. As many passes as the oldest chunk has taken
steps begin with pure noise, so that nothing in the window is the clip's. The text is the clip's always, and the context
is the clip's own latents before the window, clean or roughened as in the rest of the batch. A film that rolled on from
step to step would be nearer to a long film, but would be state: this way a batch is a function of options, step and
weights, so a run goes on to the bit from any checkpoint, with any number of processes. Windows of one level are no
windows of a rolling film, and are never its own.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from longtake import progressive
from longtake.guidance import guided_velocity
from longtake.ladder import Ladder
from longtake.models.base import ModelSpec
from longtake.models.load import load_transformer, read_spec
from longtake.models.places import Model
from longtake.models.text import Text
from longtake.noise import film_table
from longtake.training.batches import Batch, Footage, draw_batch, with_own_context
from longtake.training.loss import Velocity, draw_places, errors_of, least_sigma, levels, noised
from longtake.training.objectives import velocity_of
from longtake.training.options import DistilOptions

ROLLING = ("steady", "start", "extend", "drain")  # the windows that a film passes through
OWN_STREAM = 2**40  # seeds of draws that training on film does not make


@dataclass(frozen=True)
class OwnBatch(Batch):
    """A batch of which the windows `own_film` (B,), bool, are to be filmed by the student in `passes` passes."""

    own_film: Tensor
    passes: int


class Distilling:
    """A teacher's steps, several at once; see above."""

    def __init__(self, teacher: Velocity, spec: ModelSpec, film: Footage, options: DistilOptions) -> None:
        """teacher: the velocity of the model that `spec` describes, before guidance. film: opened with
        options.sampling(spec)."""
        self.teacher, self.film, self.options = teacher, film, options
        self.null_text, self.guidance_scale = film.null_text, spec.defaults.guidance_scale
        self.micro_steps = options.micro_steps(spec)
        self.table = film_table(replace(spec.defaults, shift=film.sampling.shift), spec.schedule)
        self.least = least_sigma(spec.prediction, self.sigmas)
        self.claims = {"teacher_steps": len(self.table) - 1, "teacher_guidance_scale": self.guidance_scale}

    @property
    def sigmas(self) -> Tensor:
        """The student's table (S+1,)."""
        return self.table[:: self.micro_steps]

    def draw(self, step: int) -> Batch:
        """The batch of a step; real windows lie anywhere on the ladder, by the run's jitter."""
        options = self.options
        batch = draw_batch(self.film, options, self.sigmas, step)
        generator = torch.Generator().manual_seed(OWN_STREAM + options.seed * 1_000_003 + step)
        share = options.own_film * min(1.0, step / max(1.0, options.own_ramp * options.steps))
        own = torch.rand(options.batch_size, generator=generator) < share
        own &= batch.window.kind in ROLLING
        passes = 1 + int(torch.randint(options.own_passes, (), generator=generator))
        on_rungs = draw_places(
            replace(batch.window, offset=(0, 0)), options.batch_size, len(self.sigmas) - 1, generator
        )
        place = torch.where(own[:, None], on_rungs, batch.place)
        sigma = levels(place * self.micro_steps, self.table)
        oldest = batch.window.steps[0]
        return OwnBatch(
            **{**vars(batch), "place": place, "sigma": sigma},
            own_film=own,
            passes=min(passes, oldest) if own.any() else 0,
        )

    def errors(self, velocity: Velocity, piece: Batch) -> tuple[Tensor, Tensor]:
        piece = with_own_context(velocity, piece)
        latents = self.window(velocity, piece)
        target = self.target(latents, piece.place, piece.text)
        return errors_of(velocity(latents, piece.sigma, piece.text), target, piece.sigma, self.least)

    @torch.no_grad()
    def target(self, latents: Tensor, place: Tensor, text: Text) -> Tensor:
        """u* (B, C, F, H, W) for noisy latents at places (B, F): the mean of the teacher's velocities over its steps,
        each as long as it takes them. 0 where a frame is clean already."""
        null_text = text.emptied(self.null_text.to(latents.device))
        guided = guided_velocity(_for_rows(self.teacher), [text], [null_text], self.guidance_scale)
        table, first = self.table.to(place.device), place * self.micro_steps
        last = (first + self.micro_steps).clamp_max(len(table) - 1)
        way = torch.linspace(0, 1, self.micro_steps + 1).tolist()
        stops = [levels(torch.lerp(first, last, share), table) for share in way]
        moved = torch.zeros_like(latents)
        for now, then in pairwise(stops):
            gap = (then - now)[:, None, :, None, None]
            moved = moved + gap * guided(latents + moved, now, 0)
        whole = (stops[-1] - stops[0])[:, None, :, None, None]
        return torch.where(whole < 0, moved / whole, 0)

    @torch.no_grad()
    def window(self, velocity: Velocity, piece: Batch) -> Tensor:
        """The noisy latents (B, C, F, H, W) of a piece: noised film, and the student's own."""
        latents = noised(piece.latents, piece.noise, piece.sigma)
        assert isinstance(piece, OwnBatch)
        if piece.passes:
            rows = piece.own_film.argsort(descending=True, stable=True)[: max(1, int(piece.own_film.sum()))]
            filmed = self.filmed(velocity, piece, rows)
            latents[rows] = torch.where(piece.own_film[rows].view(-1, 1, 1, 1, 1), filmed, latents[rows])
        return latents

    def filmed(self, velocity: Velocity, piece: OwnBatch, rows: Tensor) -> Tensor:
        """Some of the windows (rows, C, F, H, W), as the student films them in piece.passes passes."""
        size, context = piece.window.chunk_size, piece.window.context
        clean, film = piece.latents[rows].tensor_split([context], dim=2)
        noise, text = piece.noise[rows, :, context:], piece.text[rows]
        sigmas = self.sigmas.to(piece.sigma.device)
        per_chunk = self.film.sampling.steps_per_chunk
        ladder = Ladder(len(sigmas) - 1, per_chunk, size, len(piece.window.steps), context)
        t = piece.window.steps[0] - piece.passes
        taken = torch.tensor(
            [step + 1 for step in ladder.steps(t - 1)], dtype=torch.long
        )  # by those that are in
        started = sigmas[taken].expand(len(rows), -1)
        state = progressive.Window(
            t, clean, noised(film[:, :, : len(taken)], noise[:, :, : len(taken)], started)
        )

        def student(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
            told = text.of_latents(latents.shape[2])
            return velocity(latents, sigma.expand(len(rows), -1), told).float()

        for _ in range(piece.passes):
            state, _ = progressive.advance(
                state, ladder, sigmas, student, lambda k: noise[:, :, k * size : (k + 1) * size]
            )
        return torch.cat([clean, state.noisy, noise[:, :, state.noisy.shape[2] :]], dim=2)


def distilling(model: Model, film: Footage, options: DistilOptions, device: torch.device) -> Distilling:
    """The objective for a model's folder. Its teacher is a second copy of the network, whole in each process, whatever
    is trained and however it is sharded."""
    spec = read_spec(model)
    network = load_transformer(model, options.dtype)
    network.requires_grad_(False).to(device)
    kind, fps = type(network).__name__, film.sampling.fps
    teacher = velocity_of(network, kind, spec.prediction, fps, device, options.bf16)
    return Distilling(teacher, spec, film, options)


def _for_rows(velocity: Velocity) -> Velocity:
    """The velocity for windows whose levels (B, F) hold for twice as many rows too, as guidance asks for."""
    return lambda latents, sigma, text: velocity(latents, sigma.repeat(len(latents) // len(sigma), 1), text)
