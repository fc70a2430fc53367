"""CogVideoX, HunyuanVideo and Kandinsky 5 from folders on disk: films as their pipelines make them; what is refused.

B batch, C channels, F latent frames, H W latent height and width
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ClassifierFreeGuidance,
    CogVideoXPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideoPipeline,
    Kandinsky5T2VPipeline,
)
from torch import Tensor

from joint_folders import DEFAULTS, FOLDERS
from longtake.errors import ModelError, OptionError
from longtake.models.joint.hunyuan_text import CLOSING, HunyuanVideo15PromptEncoder, HunyuanVideoPromptEncoder
from longtake.models.joint.kandinsky_text import KandinskyPromptEncoder
from longtake.models.load import load_model, read_spec
from longtake.options import FilmOptions
from longtake.shot import Shot
from longtake.video import VideoWriter, probe

pytestmark = pytest.mark.slow

PROMPT, TOKENS = 'a red car "at dawn"', 12
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
Given = dict[str, Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model, made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = FOLDERS[name](tmp_path_factory.mktemp("joint") / name)
        return made[name]

    return folder


def cogvideox(folder: Path) -> tuple[Any, Given]:
    pipeline = CogVideoXPipeline.from_pretrained(folder)
    return pipeline, {"max_sequence_length": TOKENS, "guidance_scale": DEFAULTS["guidance_scale"]}


def hunyuan(folder: Path) -> tuple[Any, Given]:
    pipeline = HunyuanVideoPipeline.from_pretrained(folder)
    kind = HunyuanVideoPromptEncoder
    crop = len(pipeline.tokenizer(kind.before, verbose=False).input_ids)
    template = {"template": f"{kind.before}{{}}{kind.after}", "crop_start": crop}
    return pipeline, {"prompt_template": template, "max_sequence_length": TOKENS}


def hunyuan15(folder: Path) -> tuple[Any, Given]:
    guider = ClassifierFreeGuidance(guidance_scale=DEFAULTS["guidance_scale"])
    pipeline = HunyuanVideo15Pipeline.from_pretrained(folder, guider=guider)
    before = HunyuanVideo15PromptEncoder.before
    pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer(before, verbose=False).input_ids)
    pipeline.tokenizer_max_length, pipeline.tokenizer.chat_template = TOKENS + CLOSING, CHAT
    return pipeline, {}


def kandinsky(folder: Path) -> tuple[Any, Given]:
    pipeline = Kandinsky5T2VPipeline.from_pretrained(folder)
    before = KandinskyPromptEncoder.before
    pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer(before, verbose=False).input_ids)
    words = pipeline.tokenizer
    pipeline.tokenizer = lambda text, images, videos, **given: words(text, **given)
    return pipeline, {"negative_prompt": "", "guidance_scale": 2.0, "max_sequence_length": TOKENS}


PIPELINES = {
    "CogVideoX-2B": cogvideox,
    "CogVideoX-5B": cogvideox,
    "CogVideoX1.5-5B": cogvideox,
    "HunyuanVideo": hunyuan,
    "HunyuanVideo-1.5": hunyuan15,
    "Kandinsky-5": kandinsky,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_film_of_one_window_is_the_pipelines(name: str, folders: Callable[[str], Path]) -> None:
    """Prompt, guidance, levels, steps and decoding: the same pictures, of a window whose latents share their level. In
    a pipeline, too, the first latent of pairs is one more, which is dropped."""
    model = load_model(folders(name))
    pipeline, given = PIPELINES[name](folders(name))
    pipeline.set_progress_bar_config(disable=True)
    count = 2 + model.spec.joined_latents
    options = FilmOptions(
        prompt=PROMPT, num_frames=9, steps_per_chunk=4, chunk_size=count, context_size=0
    ).resolved(model.spec)
    noise = torch.randn(1, 4, count, *options.latent_shape[1:])
    latents = noise.transpose(1, 2) if name.startswith("Cog") else noise
    if name.startswith("Kan"):
        latents = torch.cat([noise, torch.zeros(1, 5, *noise.shape[2:])], dim=1).permute(0, 2, 3, 4, 1)
    size = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 4}
    expected = pipeline(PROMPT, latents=latents, output_type="np", **size, **given).frames[0] * 255

    def places(first: int, count: int) -> Tensor:
        return noise[:, :, first : first + count]

    pictures = np.concatenate(list(Shot(model, options, noise=places).pictures()))
    assert pictures.shape == expected.shape == (9, 32, 48, 3)
    assert expected.std() > 5
    assert np.abs(pictures - expected).max() <= 1


@pytest.mark.parametrize("name", PIPELINES)
def test_films_begin_with_a_photo_and_go_on(name: str, folders: Callable[[str], Path]) -> None:
    """A film of a photo has it as its first picture, and as many pictures as were asked for."""
    model = load_model(folders(name))
    photo = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    options = FilmOptions(prompt="a red car", num_frames=24).resolved(model.spec, from_clip=True, photo=True)
    pictures = np.concatenate(list(Shot(model, options).pictures(photo)))
    assert pictures.shape == (24, 32, 48, 3)
    assert options.given_frames == 1


@pytest.mark.parametrize("name", ["CogVideoX1.5-5B", "HunyuanVideo", "HunyuanVideo-1.5"])
def test_a_film_goes_on_from_any_pass(name: str, folders: Callable[[str], Path]) -> None:
    """A state holds all that pictures depend on which come later, whichever portion they are of."""
    model = load_model(folders(name))
    options = FilmOptions(prompt="a red car", num_frames=22).resolved(model.spec)
    shot = Shot(model, options)
    passes = list(shot.passes(shot.begin()[0]))
    pictures = [portion for _, portion in passes]
    assert sum(map(len, pictures)) == 22
    for i in (1, 6, 9):
        later = [portion for _, portion in Shot(model, options).passes(passes[i][0])]
        assert np.array_equal(np.concatenate([*pictures[: i + 1], *later]), np.concatenate(pictures))


@pytest.mark.parametrize("name", ["CogVideoX-2B", "HunyuanVideo"])
def test_a_film_is_made_longer(name: str, folders: Callable[[str], Path], cli: Callable[..., Any]) -> None:
    """Pictures that come late are counted once: those that a longer film begins with are not written again."""
    size, model = ("--size", "48x32", "--fps", "8"), ("--model", folders(name))
    assert cli("generate", "a red car", "--frames", "16", *size, *model, "-o", "film.mp4").code == 0
    longer = cli("extend", "film.mp4", "--seconds", "2", *model, "-o", "longer.mp4")
    assert longer.code == 0 and probe("longer.mp4").num_frames == 32, longer.err


def changed(folder: Path, target: Path, part: str, **values: Any) -> Path:
    """The same folder, with other values in the configuration of a part."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).symlink_to(path)
    (target / part).unlink()
    (target / part).mkdir()
    for path in (folder / part).iterdir():
        (target / part / path.name).symlink_to(path)
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    content = json.loads((folder / part / name).read_text())
    (target / part / name).unlink()
    (target / part / name).write_text(json.dumps(content | values))
    return target


@pytest.mark.parametrize(
    ("name", "part", "values", "said"),
    [
        ("CogVideoX-2B", "scheduler", {"snr_shift_scale": 1.0}, "snr_shift_scale 1, .* trained with 3"),
        ("CogVideoX-2B", "scheduler", {"prediction_type": "epsilon"}, "prediction_type"),
        ("CogVideoX-2B", "scheduler", {"beta_end": 0.02}, "beta_end"),
        ("CogVideoX-5B", "transformer", {"in_channels": 8}, "starts from an image"),
        ("CogVideoX-5B", "transformer", {"use_learned_positional_embeddings": True}, "starts from an image"),
        ("HunyuanVideo", "transformer", {"image_condition_type": "token_replace"}, "starts from an image"),
        ("HunyuanVideo-1.5", "transformer", {"use_meanflow": True}, "told where a step ends"),
        ("HunyuanVideo-1.5", "transformer", {"in_channels": 4}, "a picture's latents beside its own"),
    ],
)
def test_relatives_are_refused(
    name: str,
    part: str,
    values: Given,
    said: str,
    folders: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """What shares a class, but is made otherwise, is named before it is loaded."""
    with pytest.raises(ModelError, match=said):
        read_spec(changed(folders(name), tmp_path / "changed", part, **values))


def test_options_of_pairs(folders: Callable[[str], Path]) -> None:
    """Latents that share a token come and go together; a film of such does not run into an end."""
    spec = read_spec(folders("CogVideoX1.5-5B"))
    for wrong in ({"chunk_size": 3}, {"context_size": 1}, {"method": "fifo"}):
        with pytest.raises(
            OptionError, match=r"joins 2 latents into one token.* that is a multiple of 2, not "
        ):
            FilmOptions(prompt="a car", num_frames=24, **wrong).resolved(spec)
    with pytest.raises(OptionError, match="runs into no end"):
        FilmOptions(prompt="a car", num_frames=100, loop=True).resolved(spec)


def test_one_text_for_all_latents(folders: Callable[[str], Path]) -> None:
    """Where text goes through attention beside the picture, a prompt cannot change on the way."""
    for name in PIPELINES:
        options = FilmOptions(prompt="a car", seconds=3, cues=[{"at": 1, "prompt": "a bus"}])
        with pytest.raises(OptionError, match="reads one text for all latents"):
            options.resolved(read_spec(folders(name)))


def test_where_its_own_settings_are_taken_from(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """Without longtake.json, the window, picture and shift of each network, and not one for all of them."""
    settings = {}
    for name in PIPELINES:
        folder = changed(folders(name), tmp_path / name, "transformer")
        (folder / "longtake.json").unlink()
        settings[name] = read_spec(folder).defaults
    assert [(each.width, each.chunk_size, each.shift) for each in settings.values()] == [
        (720, 1, 3.0),
        (720, 1, 1.0),
        (1360, 2, 1.0),
        (1280, 1, 7.0),
        (848, 1, 5.0),
        (768, 1, 5.0),
    ]
    large = changed(folders("HunyuanVideo-1.5"), tmp_path / "large", "transformer", target_size=960)
    (large / "longtake.json").unlink()
    assert read_spec(large).defaults.width == 1280


def test_glyphs_are_of_quoted_words_alone(folders: Callable[[str], Path]) -> None:
    """What is quoted is read letter by letter; where nothing is, nothing is seen."""
    text = load_model(folders("HunyuanVideo-1.5")).encode_prompt(['a red car "at dawn"', "a red car"])
    glyphs = text.mask[:, -256:].sum(dim=1)
    assert glyphs.tolist() == [len('Text "at dawn". ') + 1, 0]


@pytest.mark.parametrize("name", ["CogVideoX1.5-5B", "HunyuanVideo", "HunyuanVideo-1.5", "Kandinsky-5"])
def test_a_lora_is_trained_and_filmed_with(
    name: str,
    folders: Callable[[str], Path],
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a video file to a film with what was learnt from it, by the command line alone."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a red car")
    rows = np.linspace(0, 200, 32).astype(np.uint8)[None, :, None, None]
    with VideoWriter(tmp_path / "data" / "a.mp4", 48, 32, 8, {}) as writer:
        writer.write(np.concatenate([np.broadcast_to(rows + np.uint8(i), (1, 32, 48, 3)) for i in range(60)]))
    quick = ("--steps", "2", "--batch-size", "1", "--save-every", "2", "--warmup", "0", "--sample-every", "0")
    trained = cli(
        "train", "--model", folders(name), "--data", "data", "-o", "run", *quick, "--lora-rank", "2"
    )
    assert (trained.code, trained.out) == (0, "run/lora\n"), trained.err
    film = (
        "generate",
        "a red car",
        "--frames",
        "9",
        "--model",
        folders(name),
        "--lora",
        "run",
        "-o",
        "film.mp4",
    )
    made = cli(*film)
    assert made.code == 0 and probe("film.mp4").num_frames == 9, made.err
