"""Films that begin with a clip: what is read of it, what is refused, and what becomes of it."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from longtake import LongTake
from longtake.errors import LongTakeError, OptionError
from longtake.models.base import VideoModel
from longtake.models.open_sora.model import OpenSoraModel
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_tensor, to_uint8
from longtake.start import read_start
from longtake.video import Fit, VideoWriter, read_frames

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 4, "steps_per_chunk": 2}
PROMPT = "a red car"


def clip(path: Path, num_frames: int, width: int = 32, height: int = 32, fps: Fraction | int = 24) -> Path:
    """A film whose picture i is grey of level 8 i up to white, its right half black."""
    with VideoWriter(path, width, height, fps, {}) as writer:
        for i in range(num_frames):
            picture = np.full((1, height, width, 3), min(8 * i, 255), np.uint8)
            picture[:, :, width // 2 :] = 0
            writer.write(picture)
    return path


@pytest.fixture
def film(open_sora_model: OpenSoraModel) -> FilmPlan:
    """A film of Open-Sora that begins with 17 frames of 32x32 at 24 fps."""
    return FilmOptions(prompt=PROMPT, num_frames=30, **SMALL).resolved(open_sora_model.spec, from_clip=True)


def test_the_first_frames_are_read(film: FilmPlan, tmp_path: Path) -> None:
    """Guards count and order; a clip of exactly as many frames will do."""
    for count in (17, 30):
        path = clip(tmp_path / f"{count}.mp4", count)
        pictures = read_start(path, film)
        assert pictures.shape == (17, 32, 32, 3) and pictures.dtype == np.uint8
        assert np.array_equal(pictures, np.stack(list(read_frames(path))[:17]))


def test_another_size_or_rate_is_resampled_on_request(film: FilmPlan, tmp_path: Path) -> None:
    """Guards clips that are scaled, cropped or sped up unasked."""
    for path in (
        clip(tmp_path / "large.mp4", 17, 96, 64),
        clip(tmp_path / "slow.mp4", 9, fps=12),
    ):
        with pytest.raises(OptionError, match="the film 32x32 at 24 fps: give --fit crop"):
            read_start(path, film)
        assert read_start(path, film, fit="crop").shape == (17, 32, 32, 3)
    slow = read_start(tmp_path / "slow.mp4", film, fit="crop")[:, :, :16].mean(axis=(1, 2, 3))
    assert np.abs(slow - np.arange(17) // 2 * 8).max() < 4


def test_rates_equal_up_to_rounding_are_equal(open_sora_model: OpenSoraModel, tmp_path: Path) -> None:
    """Guards 59.9401 frames a second, refused where 59.9401 are wanted, and clips that begin at an hour."""
    options = FilmOptions(prompt=PROMPT, num_frames=30, fps=59.94, **SMALL)
    film = options.resolved(open_sora_model.spec, from_clip=True)
    rate = Fraction(60000, 1001)
    for base in (Fraction(1, 1000), Fraction(1, 90_000)):
        path = tmp_path / f"{base.denominator}.mkv"
        with av.open(path, "w") as container:
            stream = container.add_stream("ffv1", rate=rate)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
            stream.codec_context.time_base = base
            for i in range(20):
                picture = np.full((32, 32, 3), 8 * i, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")
                frame.time_base, frame.pts = base, round((3600 + i / rate) / base)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert read_start(path, film)[:, 0, 0, 0].tolist() == [8 * i for i in range(17)]


def test_a_clip_of_varying_rate_is_resampled_on_request(film: FilmPlan, tmp_path: Path) -> None:
    """Guards phones' clips: on average at the film's rate is not at it; what is shown is what is seen at each tick."""
    path = tmp_path / "varying.mkv"
    times = [k * 1000 // 24 for k in range(36) if k not in (5, 6, 20)]
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 7 * i, np.uint8), "rgb24").reformat(
                format="bgr0"
            )
            frame.time_base, frame.pts = Fraction(1, 1000), time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(
        OptionError, match="at a varying rate, about 24 fps, the film 32x32 at 24 fps: give --fit crop"
    ):
        read_start(path, film)
    shown = read_start(path, film, fit="crop")[:, 0, 0, 0] // 7
    assert shown.tolist() == [0, 1, 2, 3, 4, 4, 4, *range(5, 15)]


@pytest.mark.parametrize("fit", [None, "crop"])
def test_bad_clips_are_one_line(film: FilmPlan, tmp_path: Path, fit: Fit | None) -> None:
    """Guards clips that are too short, cut off, missing or no film."""
    short, cut, no_film = clip(tmp_path / "short.mp4", 16), tmp_path / "cut.mp4", tmp_path / "no.mp4"
    cut.write_bytes(clip(tmp_path / "whole.mp4", 60).read_bytes()[:-2000])
    no_film.write_bytes(b"no film")
    for path, message in (
        (
            short,
            "short.mp4 lasts 0.667 s, 16 frames at the film's 24 fps; the film begins with the first 0.708 s of a clip,"
            " 17 such frames, as many as its context holds: take a longer clip",
        ),
        (cut, "cut.mp4"),
        (no_film, "no.mp4 cannot be read as a video file[^;]*$"),
        (tmp_path / "none.mp4", "no clip .*none.mp4"),
        (tmp_path, "no clip"),
    ):
        with pytest.raises(LongTakeError, match=message) as error:
            read_start(path, film, fit)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("fit", [None, "crop"])
def test_another_kind_of_video_is_told_what_is_taken(film: FilmPlan, tmp_path: Path, fit: Fit | None) -> None:
    """Guards kinds that some other program calls video."""
    (tmp_path / "clip.swf").write_bytes(b"FWS\x06 no film")
    with pytest.raises(
        LongTakeError, match=r"clip.swf .*; films begin with mp4, mov, mkv or webm: convert it to one"
    ):
        read_start(tmp_path / "clip.swf", film, fit)


def test_photos_that_cannot_be_read_are_one_line(film: FilmPlan, tmp_path: Path) -> None:
    """Guards photos in tiles, of which FFmpeg shows one, and what is no photo at all."""
    for name, message in (("IMG_1.HEIC", "of a kind that is not read: make a png"), ("a.png", "as a photo")):
        (tmp_path / name).write_bytes(b"a photo")
        with pytest.raises(LongTakeError, match=message) as error:
            read_start(tmp_path / name, film)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["tubelet_model", "wan_model", "open_sora_model"])
@pytest.mark.parametrize("method", ["progressive", "noisy-replacement", "restart"])
def test_any_model_begins_with_a_clip(kind: str, method: str, request: pytest.FixtureRequest) -> None:
    """Guards that the film begins with the clip as the autoencoder makes it, and that what follows depends on it."""
    model: VideoModel = request.getfixturevalue(kind)
    take, options = LongTake(model), {**SMALL, "num_frames": 30, "method": method}
    if method.endswith("replacement"):
        del options["steps_per_chunk"]
    given = FilmOptions(prompt=PROMPT, **options).resolved(model.spec, from_clip=True).given_frames
    starts = np.random.default_rng(0).integers(0, 256, (2, given, 32, 32, 3), np.uint8)
    films = [take.generate(PROMPT, start=start, **options) for start in starts]
    assert all(film.shape == (30, 32, 32, 3) for film in films)
    for film, start in zip(films, starts, strict=True):
        again = model.decoder().push(model.encoder().push(to_tensor(start[None])))
        assert np.abs(film[:given].astype(int) - to_uint8(again)[0]).max() <= 1
    assert not np.array_equal(films[0][given:], films[1][given:])


def test_noise_goes_on_where_the_clip_ends(
    open_sora_model: OpenSoraModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the place of the first latent that is made: behind those that are given."""
    places: list[int] = []

    def recorded(seed: int, index: int, shape: tuple[int, int, int], *rung: int) -> torch.Tensor:
        places.append(index)
        return torch.zeros(shape)

    monkeypatch.setattr("longtake.shot.latent_noise", recorded)
    start = np.zeros((17, 32, 32, 3), np.uint8)
    LongTake(open_sora_model).generate(PROMPT, start=start, num_frames=51, **SMALL)
    assert sorted(set(places)) == list(range(5, 15))


def test_context_is_encoded_anew_on_request(open_sora_model: OpenSoraModel) -> None:
    """Guards the released baseline's way: each chunk behind what the autoencoder makes of the film's own frames."""
    take, start = LongTake(open_sora_model), np.zeros((17, 32, 32, 3), np.uint8)
    options = {**SMALL, "steps_per_chunk": 4, "num_frames": 51}
    plain, anew = (
        take.generate(PROMPT, start=start, reencode_context=reencode, **options) for reencode in (False, True)
    )
    assert np.array_equal(anew[:34], plain[:34])
    assert not np.array_equal(anew[34:], plain[34:])


def test_pictures_of_another_shape_are_refused(open_sora_model: OpenSoraModel) -> None:
    """Guards Python's way in: too few pictures, or others than the film's."""
    take = LongTake(open_sora_model)
    for shape in ((16, 32, 32, 3), (17, 32, 40, 3)):
        with pytest.raises(OptionError, match=r"begins with pictures of shape \(17, 32, 32, 3\), not"):
            take.stream(PROMPT, start=np.zeros(shape, np.uint8), num_frames=30, **SMALL)


def test_methods_with_a_start_of_their_own(open_sora_model: OpenSoraModel) -> None:
    """Guards methods that would drop the clip."""
    for method in ("fifo", "full-window"):
        with pytest.raises(OptionError, match="makes its own start"):
            FilmOptions(prompt=PROMPT, method=method).resolved(open_sora_model.spec, from_clip=True)
