"""The conversion to a model folder: whole, accounted for, gone on with, or refused in one line."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.cli import main
from longtake.errors import LongTakeError, ModelError, OutputError
from longtake.models.folder import ModelFolder
from longtake.models.load import load_encoders, load_model, read_spec
from longtake.models.open_sora import shards
from longtake.models.open_sora.convert import convert_transformer
from longtake.models.open_sora.convert_autoencoder import convert_vae
from longtake.models.open_sora.folder import convert_open_sora
from longtake.models.open_sora.model import OpenSoraModel
from longtake.models.open_sora.spec import DEFAULTS, SPEC
from longtake.models.spiece import read_spiece

pytestmark = pytest.mark.slow

NETWORK = "transformer/diffusion_pytorch_model.safetensors"
INDEX = "model.safetensors.index.json"

Change = Callable[[Path], Any]


def convert(original: Path, target: Path, **given: Any) -> list[str]:
    """Convert, and return what was said."""
    said: list[str] = []
    parts = {"transformer": "network.safetensors", "vae": "vae", "text_encoder": "t5"}
    sources = {part: str(original / name) for part, name in parts.items()} | given
    convert_open_sora(target=target, say=said.append, **sources)
    return said


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def changed(path: Path, **changes: Tensor | None) -> None:
    """Replace tensors of a file, or take them away; in names, _ of the keyword stands for a dot where doubled."""
    tensors = load_file(path) | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


@pytest.fixture
def original(open_sora_original: Path, tmp_path: Path) -> Path:
    """A copy of the original weights, to be spoilt."""
    return Path(shutil.copytree(open_sora_original, tmp_path / "original"))


def test_the_folder_is_a_model(open_sora_folder: Path, open_sora_model: OpenSoraModel) -> None:
    """Guards every part of it, and the numbers that the weights alone tell."""
    assert ModelFolder(open_sora_folder).classes["transformer"] == "OpenSoraTransformer3DModel"
    spec = read_spec(open_sora_folder)
    assert spec == replace(SPEC, name=open_sora_folder.name, max_prompt_tokens=8)
    assert (spec.group_latents, spec.alignment, spec.spatial_factor) == (5, 8, 8)
    assert spec.defaults == DEFAULTS and open_sora_model.spec == spec


def test_every_number_arrives(open_sora_original: Path, open_sora_folder: Path) -> None:
    """Guards against a tensor that is dropped, cast or put elsewhere on its way to the disk."""
    network = convert_transformer(load_file(open_sora_original / "network.safetensors"))
    vae = convert_vae(load_file(open_sora_original / "vae" / "model.safetensors"))
    for name, wanted in ((NETWORK, network), (NETWORK.replace("transformer", "vae"), vae)):
        written = load_file(open_sora_folder / name)
        assert written.keys() == wanted.keys()
        assert all(written[key].dtype == wanted[key].dtype for key in wanted)
        assert all(torch.equal(written[key], wanted[key]) for key in wanted)


def test_a_conversion_goes_on(
    open_sora_original: Path, open_sora_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards shards, a stop between them, one that is damaged, and one that is left over."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 200_000)
    target, writes = tmp_path / "model", list[Path]()
    save = shards.save_file

    def stopping(tensors: Any, path: Path, **options: Any) -> None:
        if len(writes) == 3:
            raise KeyboardInterrupt
        writes.append(path)
        save(tensors, path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "save_file", stopping)
        convert(open_sora_original, target)
    assert not (target / "model_index.json").exists()
    with pytest.raises(ModelError, match=r"model_index\.json is missing"):
        read_spec(target)
    first, second, third = sorted((target / "transformer").glob("*.safetensors"))
    second.write_bytes(second.read_bytes()[:-1])
    first.with_name("diffusion_pytorch_model-00009-of-00009.safetensors").write_bytes(b"")
    said = convert(open_sora_original, target)
    assert [line for line in said if "transformer" in line][:3] == [
        f"kept {first}",
        f"wrote {second}",
        f"kept {third}",
    ]
    straight = tmp_path / "straight"
    convert(open_sora_original, straight)
    assert everything(target) == everything(straight) and not list(target.rglob("*.part"))
    ours, whole = load_model(target), load_model(open_sora_folder)
    assert isinstance(ours, OpenSoraModel) and isinstance(whole, OpenSoraModel)
    for name, tensor in whole.transformer.state_dict().items():
        assert torch.equal(ours.transformer.state_dict()[name], tensor)
    null, wanted = (made.encode_prompt([""]) for made in (load_encoders(target), whole))
    assert torch.equal(null.states, wanted.states) and torch.equal(null.mask, wanted.mask)


def test_originals_may_be_sharded(original: Path, open_sora_folder: Path, tmp_path: Path) -> None:
    """Guards checkpoints in several files, and a shard of them that is missing."""
    folder = tmp_path / "network"
    folder.mkdir()
    tensors = load_file(original / "network.safetensors")
    places = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(tensors)}
    for part in sorted(set(places.values())):
        save_file({name: tensors[name] for name in tensors if places[name] == part}, folder / part)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    convert(original, tmp_path / "model", transformer=str(folder))
    assert everything(tmp_path / "model") == everything(open_sora_folder)
    (folder / "part-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"part-1\.safetensors is missing"):
        convert(original, tmp_path / "other", transformer=str(folder))


def test_a_whole_t5_gives_its_encoder(original: Path, open_sora_folder: Path, tmp_path: Path) -> None:
    """Guards a text encoder in a diffusers folder, with a tokenizer.json, a decoder and its tied words twice."""
    place = tmp_path / "pipeline"
    shutil.copytree(original / "t5", place / "text_encoder")
    shutil.copytree(open_sora_folder / "tokenizer", place / "tokenizer")
    words = load_file(place / "text_encoder" / "model.safetensors")["shared.weight"]
    changed(
        place / "text_encoder" / "model.safetensors",
        decoder__final_layer_norm__weight=torch.ones(32),
        lm_head__weight=words.clone(),
        encoder__embed_tokens__weight=words.clone(),
    )
    convert(original, tmp_path / "model", text_encoder=str(place))
    ours, whole = everything(tmp_path / "model"), everything(open_sora_folder)
    assert {name for name in ours | whole if ours.get(name) != whole.get(name)} <= {
        "tokenizer/tokenizer_config.json"
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda o: changed(o / "network.safetensors", x_embedder__proj__bias=None),
            "lacks x_embedder.proj.bias",
        ),
        (lambda o: changed(o / "network.safetensors", extra=torch.ones(1)), "holds extra, which Open-Sora"),
        (
            lambda o: changed(o / "network.safetensors", blocks__0__attn__qkv__weight=torch.ones(1)),
            "Open-Sora v1.1 or older; take v1.2",
        ),
        (
            lambda o: changed(o / "vae" / "model.safetensors", scale=torch.ones(1, 4, 1, 1, 2)),
            r"scale is of shape \(1, 4, 1, 1, 2\)",
        ),
        (
            lambda o: (o / "network.safetensors").write_bytes(
                (o / "network.safetensors").read_bytes()[:-100]
            ),
            "network.safetensors is damaged, cut off or no safetensors file",
        ),
        (lambda o: (o / "network.safetensors").write_bytes(b"PK\3\4" * 9), "network.safetensors is a pickle"),
        (
            lambda o: (o / "network.safetensors").write_bytes(b"\x80\2}q\0."),
            "network.safetensors is a pickle",
        ),
        (
            lambda o: (o / "network.safetensors").write_bytes(b"\x80" + bytes(7) + b"{"),
            "network.safetensors is damaged",
        ),
        (lambda o: (o / "network.safetensors").unlink(), "no file or folder"),
        (
            lambda o: (o / "vae" / "model.safetensors").rename(o / "vae" / "OpenSora.pth"),
            "OpenSora.pth is a pickle",
        ),
        (lambda o: (o / "vae" / INDEX).write_text("[]"), "index.json is not a JSON object"),
        (lambda o: (o / "vae" / INDEX).write_text('{"weight_map": ["a"]}'), "index.json is damaged"),
        (lambda o: (o / "vae" / INDEX).write_text('{"weight_map": {"a": 3}}'), "index.json is damaged"),
        (lambda o: (o / "vae" / "model.safetensors").unlink(), "vae holds no safetensors file"),
        (
            lambda o: shutil.copyfile(o / "network.safetensors", o / "vae" / "ema.safetensors"),
            "holds several checkpoints, such as ema.safetensors",
        ),
        (lambda o: (o / "vae" / "config.json").unlink(), "name norm_num_groups and temporal_norm_num_groups"),
        (
            lambda o: (o / "t5" / "model.safetensors").rename(o / "t5" / "pytorch_model.bin"),
            "pytorch_model.bin is a pickle",
        ),
        (
            lambda o: changed(o / "t5" / "model.safetensors", shared__weight=None),
            "lacks shared.weight, which the T5",
        ),
        (lambda o: (o / "t5" / "spiece.model").unlink(), "neither tokenizer.json nor spiece.model"),
        (lambda o: (o / "t5" / "spiece.model").write_bytes(b"\x0a\x7f"), "cannot be read as a sentencepiece"),
        (lambda o: (o / "t5" / "config.json").write_text('{"model_type": "bert"}'), "is a bert, not a T5"),
    ],
)
def test_bad_originals_are_one_line(original: Path, tmp_path: Path, change: Change, message: str) -> None:
    """Each kind of bad checkpoint is named, and what is left is no model."""
    change(original)
    with pytest.raises(ModelError, match=message) as error:
        convert(original, tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model" / "model_index.json").exists()


def test_pickles_are_refused_by_name(original: Path, tmp_path: Path) -> None:
    """Guards against weights that run code, given as a file, whatever the case of its name."""
    pickle = original / "network.safetensors"
    for suffix in (".pth", ".ckpt", ".bin", ".PTH", ".pickle"):
        pickle = pickle.rename(pickle.with_suffix(suffix))
        with pytest.raises(ModelError, match=f"network{suffix} is a pickle"):
            convert(original, tmp_path / "model", transformer=str(pickle))


def test_a_released_network_must_be_whole(original: Path, tmp_path: Path) -> None:
    """Guards the real checkpoint against a loss of layers that leaves a smaller, whole network."""
    changed(original / "network.safetensors", x_embedder__proj__weight=torch.ones(1152, 4, 1, 2, 2))
    with pytest.raises(ModelError, match=r"lacks spatial_blocks\.2\.\S+ and 8\d\d more"):
        convert(original, tmp_path / "model")


def test_other_folders_are_left_alone(
    open_sora_original: Path, open_sora_folder: Path, tmp_path: Path
) -> None:
    """Guards what is somebody else's."""
    (tmp_path / "notes.txt").write_text("mine")
    for target, message in (
        (open_sora_folder, "is a model already"),
        (tmp_path, "something else, notes.txt"),
        (tmp_path / "notes.txt", "is a file"),
    ):
        before = everything(tmp_path)
        with pytest.raises(OutputError, match=message):
            convert(open_sora_original, target)
        assert everything(tmp_path) == before


def test_a_full_disk_is_one_line(
    open_sora_original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the advice that what is finished is kept."""

    def full(tensors: Any, path: Path, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(OutputError, match=r"No space left.*what is finished is kept"):
        convert(open_sora_original, tmp_path / "model")


def test_the_command(
    open_sora_original: Path,
    open_sora_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards `longtake convert`, the place where open-sora-v1.2 is looked for, and the way there."""

    def longtake(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert f"{SPEC.name}  (not on this disk)" in longtake("models")[1] and read_spec(SPEC.name) == SPEC
    code, _, err = longtake("generate", "a red car", "--model", SPEC.name, "--frames", "17")
    assert code == 2 and "longtake convert open-sora hpcai-tech/" in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
    sources = open_sora_original / "network.safetensors", open_sora_original / "vae"
    command = ("convert", "open-sora", *sources, "--text-encoder", open_sora_original / "t5")
    code, out, err = longtake(*command)
    assert code == 0 and out.startswith(str(tmp_path / "longtake" / SPEC.name)) and err.count("wrote") == 3
    assert everything(tmp_path / "longtake" / SPEC.name) == everything(open_sora_folder)
    assert read_spec(SPEC.name).max_prompt_tokens == 8
    (line,) = (line for line in longtake("models")[1].splitlines() if line.startswith(f"  {SPEC.name}"))
    assert "not on this disk" not in line
    code, _, err = longtake("convert", "open-sora", "nobody/nothing", *command[3:], "-o", "other")
    assert code == 2 and err.startswith("fetching nobody/nothing from the hub") and "go online" in err


@given(st.binary(max_size=60))
def test_any_bytes_are_a_tokenizer_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    """Guards the reader of protocol buffers: damage is told, never a traceback or an endless loop."""
    path = tmp_path_factory.getbasetemp() / "spiece.model"
    path.write_bytes(noise)
    with pytest.raises(LongTakeError):
        read_spiece(path)
