"""Prepared film as batches: what a window may hold, what decides it, and film that was prepared for something else."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from longtake.errors import DataError
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.load import read_spec
from longtake.models.wan.model import WanModel
from longtake.training.data import MANIFEST, PreparedFilm, caption_path, hashes, latents_needed
from longtake.training.loss import Shares, Window, draw_window
from longtake.training.prepare import prepare
from longtake.video import VideoWriter
from longtake.worlds.tracking_shot.shot import random_shot

pytestmark = pytest.mark.slow

CAPTIONS = {"a": "a red car at night", "b": "a bus", "c": "snowy mountains at dawn"}
FRAMES = {"a": 49, "b": 29, "c": 17}
SAMPLING: dict[str, Any] = {
    "num_inference_steps": 4,
    "steps_per_chunk": 2,
    "chunk_size": 1,
    "context_size": 2,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captioned films of 12, 7 and 4 latents of four frames."""
    folder = tmp_path_factory.mktemp("film")
    for seed, (name, count) in enumerate(FRAMES.items()):
        with VideoWriter(folder / f"{name}.mp4", 128, 80, 24, {}) as writer:
            writer.write(random_shot(random.Random(seed)).render(0, count))
        (folder / f"{name}.txt").write_text(CAPTIONS[name])
    return folder


@pytest.fixture(scope="module", params=["tubelet", "wan"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model_folder(kind: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(source, folder, model_folder, width=48, height=32, fps=24, min_latents=3)
    return folder


@pytest.fixture(scope="module")
def spec(model_folder: Path) -> ModelSpec:
    spec = read_spec(model_folder)
    return replace(spec, defaults=replace(spec.defaults, **SAMPLING))


@pytest.fixture(scope="module")
def film(prepared: Path, model_folder: Path, spec: ModelSpec) -> PreparedFilm:
    return PreparedFilm(prepared, spec, hashes(model_folder), spec.defaults)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def places(film: PreparedFilm, batch: Tensor) -> list[tuple[str, int]]:
    """From which clip each window (C, F, H, W) of a batch comes, and from which latent on."""
    found = []
    for window in batch:
        for clip in film.clips:
            with safe_open(film.folder / clip.shard, framework="pt") as file:
                whole = file.get_tensor("latents").float().transpose(0, 1)
            width = window.shape[1]
            found += [
                (clip.name[0], start)
                for start in range(clip.num_latents - width + 1)
                if torch.equal(window, whole[:, start : start + width])
            ]
    return found


def test_a_batch_is_a_function_of_the_generator(film: PreparedFilm) -> None:
    """Guards resuming: the same generator gives the same batch, another another, and nothing else is drawn from."""
    window = Window("steady", 1, (2, 0), (-0.4, 0.4), 1)
    state = torch.get_rng_state()
    first, again, other = (film.batch(window, 5, seeded(seed), 0.5) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1].states, again[1].states)
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (5, 4, 3, 4, 6) and first[1].states.shape == (5, 12, 16)
    assert first[0].dtype == first[1].states.dtype == torch.float32


def test_every_place_is_equally_likely(film: PreparedFilm, kind: str) -> None:
    """Guards against clips that are seen too often, and against windows with a first latent of one frame in them."""
    seen = Counter(places(film, film.batch(Window("steady", 2, (0,), (0, 0), 1), 900, seeded(0), 0)[0]))
    first = int(kind == "wan")
    long_enough = {clip.name[0]: clip.num_latents for clip in film.clips}
    everywhere = {(name, start) for name, count in long_enough.items() for start in range(first, count - 2)}
    assert set(seen) == everywhere and sum(seen.values()) == 900
    assert max(seen.values()) < 2 * 900 / len(everywhere) and min(seen.values()) > 0.4 * 900 / len(everywhere)


@pytest.mark.parametrize(
    "window",
    [
        Window("start", 0, (1, 0), (0, 0), 1),
        Window("extend", 1, (0,), (0, 0), 1),
        Window("level", 0, (0, 0), (0, 4), 1),
    ],
    ids=lambda window: window.kind,
)
def test_some_windows_begin_a_film_whose_first_latent_is_a_picture(
    film: PreparedFilm, kind: str, window: Window
) -> None:
    """Guards what autoencoders of 4k + 1 frames make of a film's beginning: a start, a clip that is gone on from, and
    the model's own clips have its first latent, and so must these windows."""
    seen = Counter(places(film, film.batch(window, 300, seeded(1), 0)[0]))
    starts = {start for _, start in seen}
    assert starts == {0} if kind == "wan" else len(starts) > 8
    assert {name for name, _ in seen} == {clip.name[0] for clip in film.clips}


def test_captions_come_with_their_clips_and_are_dropped(
    film: PreparedFilm, kind: str, request: pytest.FixtureRequest
) -> None:
    """Guards the pairing of film and text, the zeros behind it, and guidance's share of empty captions."""
    model: WanModel = request.getfixturevalue(f"{kind}_model")
    window = Window("level", 0, (0, 0), (0, 4), 1)
    latents, text = film.batch(window, 40, seeded(2), 0.25)
    states = {name: model.encode_prompt([caption]).zero_padded()[0] for name, caption in CAPTIONS.items()}
    empty = model.encode_prompt([""]).zero_padded()[0]
    dropped = 0
    for (name, _), row in zip(places(film, latents), text.zero_padded(), strict=True):
        assert torch.equal(row, states[name]) or torch.equal(row, empty)
        dropped += int(torch.equal(row, empty))
    assert 4 <= dropped <= 17
    assert torch.equal(film.batch(window, 40, seeded(2), 0.25)[0], film.batch(window, 40, seeded(2), 1.0)[0])
    assert all(torch.equal(row, empty) for row in film.batch(window, 9, seeded(2), 1.0)[1].zero_padded())


def test_every_window_of_the_sampler_finds_a_place(film: PreparedFilm, spec: ModelSpec) -> None:
    """Guards `latents_needed` against the windows that are really drawn, the longest of every kind among them."""
    generator, longest = seeded(0), 0
    for _ in range(200):
        window = draw_window(generator, spec.defaults, Shares(still=0.2))
        assert film.batch(window, 1, generator, 0.1)[0].shape[2] == window.num_latents
        longest = max(longest, window.num_latents)
    assert film.needed == latents_needed(spec, spec.defaults)
    assert film.needed == longest + (spec.first_frames == 1) == 4 + (spec.first_frames == 1)


def sampling(spec: ModelSpec, **changes: Any) -> ModelDefaults:
    return replace(spec.defaults, **changes)


def test_clips_that_are_too_short_are_left_out_and_counted(
    prepared: Path, model_folder: Path, spec: ModelSpec, film: PreparedFilm
) -> None:
    """Guards both ends: some clips too short is a number to tell, all too short an error with what is needed."""
    wide = PreparedFilm(prepared, spec, hashes(model_folder), sampling(spec, context_size=6))
    assert [clip.name for clip in wide.clips] == ["a.mp4"] and (len(wide), wide.left_out) == (1, 2)
    assert wide.num_latents == wide.clips[0].num_latents and film.num_latents > wide.num_latents
    with pytest.raises(
        DataError,
        match=r"no shot in .* takes 16[89] frames \(7(\.042)? s at 24 fps\), the longest .* fills 4[89]: take longer"
        r" film, or windows of 4[89] frames with --steps-per-chunk 8$",
    ) as error:
        PreparedFilm(prepared, spec, hashes(model_folder), sampling(spec, num_inference_steps=80))
    assert "\n" not in str(error.value)


def test_film_for_another_model_is_refused(
    prepared: Path, model_folder: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    """Guards against latents of another autoencoder and text of another encoder, by what is in the files."""
    own = hashes(model_folder)
    for part, word in (("vae", "autoencoder"), ("text_encoder", "text encoder")):
        with pytest.raises(DataError, match=f"prepared with the {word} of") as error:
            PreparedFilm(prepared, spec, own | {part: "0"}, spec.defaults)
        assert "\n" not in str(error.value)
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"another")
    (copy / "vae" / "notes.md").write_text("a card")
    assert hashes(copy) == own
    for name, part in (("vae/config.json", "vae"), ("tokenizer/tokenizer.json", "text_encoder")):
        (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
        assert hashes(copy)[part] != own[part]


def test_damaged_folders_are_one_line(
    prepared: Path, model_folder: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    """Guards each thing that can be wrong with a folder before a step is taken."""

    def opened(folder: Path) -> PreparedFilm:
        return PreparedFilm(folder, spec, hashes(model_folder), spec.defaults)

    def changed(**changes: object) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(prepared, folder)
        stored: Mapping[str, object] = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**stored, **changes}))
        return folder

    incomplete, silent, unguided = changed(), changed(), changed()
    next((incomplete / "shards").glob("*0.safetensors")).unlink()
    caption_path(silent, CAPTIONS["b"]).unlink()
    caption_path(unguided, "").unlink()
    for folder, words in [
        (tmp_path / "none", "is missing: make it with longtake prepare"),
        (changed(format=2), "damaged or of another version"),
        (changed(clips=3), "damaged or of another version"),
        (changed(complete=False), "is not finished: run longtake prepare again"),
        *((folder, "is missing: run longtake prepare again") for folder in (incomplete, silent, unguided)),
    ]:
        with pytest.raises(DataError, match=words) as error:
            opened(folder)
        assert "\n" not in str(error.value)


def test_batches_read_slices(film: PreparedFilm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards memory over large data sets: of a shard, the latents of the window are read and no more."""
    read = []

    class Slices:
        def __init__(self, path: Path, framework: str) -> None:
            self.file = safe_open(path, framework=framework)

        def __enter__(self) -> "Slices":
            return self

        def __exit__(self, *error: object) -> None: ...

        def get_slice(self, name: str) -> "Slices":
            self.slice = self.file.get_slice(name)
            return self

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> Tensor:
            assert name == "text"
            return self.file.get_tensor(name)

        def __getitem__(self, rows: slice) -> Tensor:
            read.append(rows.stop - rows.start)
            return self.slice[rows]

    monkeypatch.setattr("longtake.training.data.safe_open", Slices)
    film.batch(Window("steady", 1, (0,), (0, 0), 1), 6, seeded(0), 0)
    assert read == [2] * 6


def test_sides_of_latents_are_as_the_manifest_says(film: PreparedFilm) -> None:
    """Guards height against width."""
    latents = film.batch(Window("still", 0, (0,), (0, 4), 1), 2, seeded(0), 0)[0]
    assert latents.shape[3:] == (film.manifest.height // 8, film.manifest.width // 8)
    assert np.isfinite(latents.numpy()).all()
