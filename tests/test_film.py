"""The whole way, for real: the embedded model, the command line, an mp4 on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.models.load import EMBEDDED, read_spec
from longtake.video import probe, read_frames

MEGABYTE = 1_000_000


def test_ten_seconds_through_the_command_line(tmp_path: Path) -> None:
    """`longtake generate` as a user calls it: exactly 240 frames at 24 a second, that move and are no noise."""
    film = tmp_path / "film.mp4"
    command = [sys.executable, "-m", "longtake", "generate", "a blue bus driving past green hills at noon"]
    done = subprocess.run([*command, "--seconds", "10", "-o", str(film)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "240 frames" in done.stdout
    info = probe(film)
    assert (info.num_frames, info.fps, info.width, info.height, info.codec) == (240, 24, 128, 80, "h264")
    assert info.metadata["prompt"] == "a blue bus driving past green hills at noon"
    frames = np.stack(list(read_frames(film))).astype(float)
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    assert 0.2 < np.median(steps) < 12
    assert not Path(f"{film}.part").exists()


def test_the_embedded_model_is_small_and_complete() -> None:
    """At most 40 MB, safetensors and JSON alone, plain classes but for the autoencoder."""
    files = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40 * MEGABYTE
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    spec = read_spec()
    assert (spec.temporal_factor, spec.first_frames, spec.spatial_factor) == (4, 4, 8)


def test_the_autoencoder_beats_principal_components() -> None:
    """On held-out renders, at the first frame and at the two hundredth, it keeps 30 dB and more than a PCA."""
    pytest.importorskip("skia", exc_type=ImportError)
    from longtake.evaluation.codec import codec_report, load_autoencoder

    report = codec_report(load_autoencoder(None), shots=20)
    for frame in (0, 200):
        assert report[f"autoencoder_db_at_frame_{frame}"] >= 30
        assert report[f"autoencoder_db_at_frame_{frame}"] > report[f"pca_db_at_frame_{frame}"]
