"""Whole films of Open-Sora: the reference's recorded runs through LongTake, and the command line's from end to end."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from longtake import LongTake
from longtake.cli import main
from longtake.models.open_sora.model import OpenSoraModel
from longtake.models.open_sora.shift import timestep_shift
from longtake.models.text import Text
from longtake.options import FilmOptions
from longtake.pictures import to_tensor, to_uint8
from longtake.shot import Shot
from longtake.video import VideoWriter, probe, read_frames

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data" / "open_sora"


class Run(NamedTuple):
    """A recorded run: its steps, all its chunks, and the size and window that the network and the shift are told."""

    steps: int
    chunks: int
    height: int
    width: int
    num_frames: int


SMALL = Run(15, 6, 48, 64, 68)
ONE_WINDOW = Run(30, 7, 240, 424, 119)
NEAR = 2e-3  # test_end_to_end.py: rounding moves less; a wrong sign, mask, guidance or ladder more than 0.01


class Recorded:
    """A codec that gives the recorded latents, and keeps what it is given."""

    def __init__(self, given: Tensor) -> None:
        self.given, self.seen = given, list[Tensor]()

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass

    def rest(self) -> tuple[Tensor, ...]:
        return ()

    def push(self, tensor: Tensor) -> Tensor:
        if tensor.shape[1] == 3:
            return self.given
        self.seen.append(tensor)
        return tensor.new_zeros(1, 3, 17, 48, 64)


@pytest.fixture
def film(open_sora_model: OpenSoraModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], Tensor]:
    """Films a recorded run with its noise, its prompt and its first latents: the latents that are decoded."""
    golden = load_file(DATA / "e2e_sampler.safetensors")
    text, noise = Text(golden["y"][:, 0], golden["y_mask"].bool()), golden["noise"]
    codec, empty = Recorded(golden["cond_chunk"]), open_sora_model.encode_prompt([""])

    def recorded_noise(first: int, count: int) -> Tensor:
        assert first % 5 == 0 and count == 5
        return noise[first // 5 :][:1]

    def recorded_text(prompts: list[str], negative: bool = False) -> Text:
        return text if prompts[0] else empty

    monkeypatch.setattr(open_sora_model, "encode_prompt", recorded_text)
    monkeypatch.setattr(open_sora_model, "encoder", lambda: codec)
    monkeypatch.setattr(open_sora_model, "decoder", lambda: codec)

    def run(run: Run) -> Tensor:
        def announce(module: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            assert arguments[5:] == (48, 64)
            return (*arguments[:5], run.height, run.width)

        with open_sora_model.transformer.register_forward_pre_hook(announce):
            options = FilmOptions(
                prompt="recorded",
                num_frames=17 * run.chunks,
                width=64,
                height=48,
                num_inference_steps=run.steps,
                shift=timestep_shift(run.height, run.width, run.num_frames),
            )
            shot = Shot(open_sora_model, options.resolved(open_sora_model.spec, True), recorded_noise)
            pictures = np.concatenate(list(shot.pictures(np.zeros((17, 48, 64, 3), np.uint8))))
        assert len(pictures) == 17 * run.chunks
        return torch.cat(codec.seen, dim=2)

    return run


def test_a_small_run_is_the_references(film: Callable[[Run], Tensor]) -> None:
    """Guards everything between a prompt's states and the latents that are decoded: sign, mask, guidance, ladder."""
    golden = load_file(DATA / "e2e_sampler.safetensors")
    torch.testing.assert_close(film(SMALL), golden["e1.final_latents"], atol=NEAR, rtol=0)


def test_the_papers_ladder(film: Callable[[Run], Tensor]) -> None:
    """A run of one window with the paper's settings, which is recorded as the spread of each chunk."""
    latents = film(ONE_WINDOW)
    spreads = [0.8131225, 3.5198488, 3.5654728, 3.4716864, 3.4525893, 3.4955232, 3.5047264]
    assert [chunk.std().item() for chunk in latents.split(5, dim=2)] == pytest.approx(spreads, abs=NEAR)
    assert latents.abs().max().item() == pytest.approx(9.8756647, abs=NEAR)


def test_a_film_shorter_than_the_window(film: Callable[[Run], Tensor]) -> None:
    """The rule continued where the reference returns its first chunk alone."""
    golden = load_file(DATA / "e2e_sampler.safetensors")
    latents = film(ONE_WINDOW._replace(chunks=6))
    torch.testing.assert_close(latents, golden["e3_extension.final_latents"], atol=NEAR, rtol=0)


def test_the_command_line_from_weights_to_film(
    open_sora_original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the whole way: original weights, converted, filmed by a preset from a clip and from text, read back."""

    def longtake(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        output = capsys.readouterr()
        assert not exit_.value.code, output.err
        return output.out

    monkeypatch.chdir(tmp_path)
    with VideoWriter("clip.mp4", 64, 48, 24, {}) as writer:
        for i in range(20):
            writer.write(np.full((1, 48, 64, 3), 12 * i, np.uint8))
    original = [open_sora_original / name for name in ("network.safetensors", "vae", "t5")]
    longtake("convert", "open-sora", *original[:2], "--text-encoder", original[2], "-o", "model")
    film = ("generate", "a car", "--model", "model", "--preset", "pa-o-base", "--frames", "40")
    small = ("--size", "64x48", "--steps", "6", "--steps-per-chunk", "3", "--json")
    begun = json.loads(longtake(*film, *small, "--start", "clip.mp4", "-o", "begun.mp4"))
    told = json.loads(longtake(*film, *small, "--start", "text", "-o", "told.mp4"))
    assert begun["options"]["prompt"] == told["options"]["prompt"] == "a car aesthetic score: 6.5."
    assert begun["options"]["shift"] == timestep_shift(48, 64, 51) and "start" not in told["options"]
    clip = np.stack(list(read_frames("clip.mp4")))[:17]
    digest = hashlib.sha256(clip.tobytes()).hexdigest()
    assert probe("begun.mp4").metadata["start"] == {"name": "clip.mp4", "sha256": digest}
    films = [np.stack(list(read_frames(f"{name}.mp4"))) for name in ("begun", "told")]
    assert all(pictures.shape == (40, 48, 64, 3) for pictures in films)
    take = LongTake.from_pretrained("model")
    frames = take.model.decoder().push(take.model.encoder().push(to_tensor(clip[None])))
    grey = [pictures[:17].mean(axis=3).ravel() for pictures in (to_uint8(frames)[0], *films)]
    alike = np.corrcoef(grey)[0]
    assert alike[1] > 0.8 > 0.5 > alike[2], alike
