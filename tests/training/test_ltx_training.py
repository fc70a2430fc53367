"""Training LTX's tiny relatives: film prepared by a decoder that looks ahead, a loss that falls, a LoRA that fits."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.cli import main
from longtake.models.load import load_transformer
from longtake.training.data import MANIFEST, Manifest, read_stored
from longtake.training.prepare import prepare
from longtake.video import VideoWriter
from ltx_folders import save_ltx, save_ltx2

pytestmark = pytest.mark.slow

QUICK = (
    "--batch-size",
    "4",
    "--warmup",
    "0",
    "--schedule",
    "constant",
    "--ema",
    "0",
    "--level",
    "0",
    "--start",
    "0",
)
SAMPLING = ("--num-inference-steps", "4", "--steps-per-chunk", "2", "--context-size", "1")


@pytest.fixture(scope="module", params=["LTX-Video", "LTX-2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    return save_ltx(place) if request.param == "LTX-Video" else save_ltx2(place)


@pytest.fixture(scope="module")
def prepared(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two captioned films of 57 frames: 8 latents each."""
    source, data = tmp_path_factory.mktemp("film"), tmp_path_factory.mktemp("prepared") / "data"
    for name, caption in (("one", "a red car"), ("two", "a blue bus driving past")):
        (source / f"{name}.txt").write_text(caption)
        with VideoWriter(source / f"{name}.mp4", 64, 64, 24, {}) as writer:
            rows = np.linspace(0, 150, 64).astype(np.uint8)[:, None, None]
            for i in range(57):
                writer.write(np.broadcast_to(rows + np.uint8(i), (1, 64, 64, 3)))
    prepare(source, data, folder, width=64, height=64, min_latents=4, say=lambda line: None)
    assert [clip.num_latents for clip in read_stored(data / MANIFEST, Manifest).clips] == [8, 8]
    return data


@pytest.mark.parametrize("rank", [(), ("--lora-rank", "2")])
def test_training_learns(
    folder: Path,
    prepared: Path,
    rank: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Whole and as a LoRA: the loss falls, and the result films."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def cli(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert not exit_.value.code, capsys.readouterr().err

    cli(
        *("train", "--model", folder, "--data", prepared, "-o", "run", *QUICK, *SAMPLING, *rank),
        *("--steps", "30", "--lr", "3e-3", "--save-every", "30"),
    )
    losses = [json.loads(line)["loss"] for line in Path("run/losses.jsonl").read_text().splitlines()]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6]), losses
    model = (folder, "--lora", "run") if rank else ("run/model",)
    cli("generate", "a red car", "--size", "64x64", "--frames", "9", "-o", "film.mp4", "--model", *model)
    if not rank:
        assert list(load_transformer("run/model").state_dict()) == list(load_transformer(folder).state_dict())
