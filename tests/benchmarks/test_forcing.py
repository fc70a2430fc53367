"""The comparison with diffusers' own diffusion-forcing pipeline: the work that is told is the work that is done."""

from argparse import Namespace

import pytest

import forcing

pytestmark = pytest.mark.slow


def test_both_sides_do_the_work_that_is_told() -> None:
    """Guards the ratios: 45 latents in two steps, counted as the network sees them, and every ratio in the table."""
    args = Namespace(layers=1, heads=1, frames=177, steps=2, pairs=1, latents=True)
    rows = forcing.run(args)["rows"]
    seen = {name: row[0][2] for name, row in rows.items()}
    # Two rows of guidance: two calls of theirs, one of ours. Theirs: two windows, of 25 latents each, which share 5.
    assert seen["synchronous, latents"] == 2 * 2 * (25 + 25)
    # Every latent is seen in two passes.
    assert seen["without context, latents"] == 2 * 2 * 45
    lines = forcing.table(rows).splitlines()
    assert len([line for line in lines if "1." in line or "0." in line]) >= len(forcing.THEIRS) * len(
        forcing.OURS
    )
