"""Muon: steps of matrices whose singular values are alike."""

import pytest
import torch

from longtake.training.muon import Muon, orthogonalise


def test_orthogonalise() -> None:
    """Muon's iteration brings all singular values near 1, whichever side is longer."""
    for shape in ((6, 20), (20, 6)):
        values = torch.linalg.svdvals(
            orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        )
        assert values.min() > 0.6 and values.max() < 1.3


@pytest.mark.parametrize(("shape", "scale"), [((20, 5), 2.0), ((5, 20), 1.0)])
def test_muon_steps_further_where_a_matrix_is_tall(shape: tuple[int, int], scale: float) -> None:
    """Guards the length of a step: lr, times the root of rows to columns where there are more rows."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = gradient
    Muon([weight], lr=0.1, momentum=0.0).step()
    torch.testing.assert_close(weight.detach(), -0.1 * scale * orthogonalise(gradient))
