"""From the released weights of Open-Sora v1.2 to a model folder: read mapped, accounted for, written in shards.

What is there already is kept, and model_index.json is written last: a folder without it is no model yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from longtake.errors import ModelError, OutputError
from longtake.files import contents, write_text
from longtake.models.configs import T5EncoderConfig, checked
from longtake.models.families import FAMILIES, NETWORKS, VAES
from longtake.models.folder import INDEX, SETTINGS
from longtake.models.kinds import PICKLES, read_json, refuse_foreign
from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
from longtake.models.open_sora.convert import convert_transformer, transformer_config
from longtake.models.open_sora.convert_autoencoder import convert_vae, vae_config
from longtake.models.open_sora.shards import write_shards
from longtake.models.open_sora.spec import DEFAULTS
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel
from longtake.models.parts import described_by
from longtake.models.places import fetched, is_hub_name
from longtake.models.spiece import read_spiece
from longtake.models.weights import (
    DECODER,
    TIED,
    all_headers,
    check_floats,
    check_tensors,
    shard_names,
)

# T5-v1.1-XXL's encoder as safetensors, in the repository from which Open-Sora's picture autoencoder began. The one
# that Open-Sora names, DeepFloyd/t5-v1_1-xxl, holds pickles.
TEXT_ENCODER = "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"
PARTS = {"transformer": NETWORKS, "vae": VAES, **FAMILIES["OpenSoraTransformer3DModel"].parts}
CONTENT = {
    "_class_name": "OpenSoraPipeline",
    "transformer": ["longtake", OpenSoraTransformer3DModel.__name__],
    "vae": ["longtake", AutoencoderOpenSora.__name__],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
}
GROUPS = "norm_num_groups", "temporal_norm_num_groups"  # which no tensor tells

Say = Callable[[str], None]


def convert_open_sora(
    transformer: str, vae: str, target: Path, text_encoder: str = TEXT_ENCODER, say: Say = lambda line: None
) -> None:
    """Write a complete model folder from the original weights, or go on with one that was not finished.

    transformer, vae: a safetensors file, a folder that holds one checkpoint, or a repository of the hub. text_encoder:
    the same of a T5 encoder with its tokenizer, or a diffusers folder with both. `say` gets a line for what is fetched,
    written and kept. A network of the released width must be the released one; of a smaller one the sizes are read
    off the tensors, and the numbers of groups off config.json.
    Raises ModelError, which names file or tensor, for weights that are missing, left over, pickled, cut off or of
    another model; OutputError for a target that is something else, and when the disk gives out.
    """
    _claim(target)
    for source in (transformer, vae, text_encoder):
        _check_source(source)
    weights = ["*.safetensors", "*.json"]
    _write_network(_located(transformer, weights, say), target, say)
    _write_vae(_located(vae, weights, say), target, say)
    t5 = [f"{part}{kind}" for part in ("text_encoder/", "model") for kind in ("*.safetensors", "*.json")]
    _write_text_encoder(
        _located(text_encoder, [*t5, "config.json", "tokenizer/*", "tokenizer*.json", "spiece.model"], say),
        target,
        say,
    )
    scheduler = {"_class_name": CONTENT["scheduler"][1], "num_train_timesteps": 1000, "shift": DEFAULTS.shift}
    _write_json(target / "scheduler" / PARTS["scheduler"].config, scheduler)
    _write_json(target / SETTINGS, asdict(DEFAULTS))
    _write_json(target / INDEX, CONTENT)


def _claim(target: Path) -> None:
    """OutputError unless a folder is new, or one whose conversion was not finished."""
    if (target / INDEX).exists():
        raise OutputError(f"{target} is a model already: take another folder or delete it")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file: name a folder")
    known = {*PARTS, SETTINGS}
    for path in contents(target):
        if path.name.removesuffix(".part") not in known:
            raise OutputError(f"{target} holds something else, {path.name}: take another folder")


def _check_source(source: str) -> None:
    """ModelError for what is neither here nor could be fetched."""
    if not os.path.exists(source) and not is_hub_name(source):
        raise ModelError(f"no file or folder {source}, and no name of the hub")


def _located(source: str, wanted: list[str], say: Say) -> Path:
    """A file or folder, or where the wanted files of a repository lie once fetched."""
    _check_source(source)
    if os.path.exists(source):
        return Path(source)
    say(f"fetching {source} from the hub, into its cache")
    return fetched(source, wanted)


def _read(source: Path) -> dict[str, Tensor]:
    """The tensors of one checkpoint, mapped into memory."""
    files = _weight_files(source)
    check_floats(all_headers(files))
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


def _weight_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    indices = sorted(source.glob("*.safetensors.index.json"))
    if len(indices) == 1:
        return [source / name for name in shard_names(source, indices[0].name)]
    files = sorted(source.glob("*.safetensors"))
    if not files:
        for path in sorted(source.iterdir()):
            if path.suffix.lower() in (*PICKLES, ".gguf"):
                refuse_foreign(path)
        raise ModelError(f"{source} holds no safetensors file")
    if len(files) > 1:
        raise ModelError(f"{source} holds several checkpoints, such as {files[0].name}: give the file")
    return files


def _write_network(source: Path, target: Path, say: Say) -> None:
    tensors = _read(source)
    converted = convert_transformer(tensors)
    with torch.device("meta"):
        network = OpenSoraTransformer3DModel(**transformer_config(tensors))
    _write_part(target, "transformer", network.to_json_string(), converted, say)


def _write_vae(source: Path, target: Path, say: Say) -> None:
    tensors = _read(source)
    config: dict[str, Any] = {}
    if _differs(tensors, "spatial_vae.module.encoder.conv_in.weight", 128):
        place = source if source.is_dir() else source.parent
        told = read_json(place, "config.json") if (place / "config.json").is_file() else {}
        config = vae_config(tensors) | {name: told[name] for name in GROUPS if name in told}
    try:
        with torch.device("meta"):
            vae = AutoencoderOpenSora(**config)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise ModelError(
            f"{source}: {error}; its tensors do not tell the groups: name {' and '.join(GROUPS)} in config.json"
        ) from error
    _write_part(target, "vae", vae.to_json_string(), convert_vae(tensors, config), say)


def _differs(tensors: Mapping[str, Tensor], name: str, width: int) -> bool:
    """Whether a checkpoint is whole in its way, but of another width than the released one."""
    return name in tensors and tensors[name].shape[:1] != (width,)


def _write_text_encoder(source: Path, target: Path, say: Say) -> None:
    from transformers import T5Config, T5EncoderModel

    folder, words = (
        source / part if (source / part).is_dir() else source for part in ("text_encoder", "tokenizer")
    )
    config = read_json(folder, "config.json")
    if config.get("model_type") != "t5":
        raise ModelError(f"{folder} is a {config.get('model_type')}, not a T5 encoder")
    width = checked(T5EncoderConfig, config, str(folder / "config.json")).width
    tensors = {name: tensor for name, tensor in _read(folder).items() if not name.startswith(DECODER)}
    with described_by(str(folder / "config.json"), "T5EncoderModel"):
        model = T5EncoderModel(T5Config.from_dict(config))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for twin in TIED["T5EncoderModel"][1:]:
        tensors.pop(twin, None)
        del shapes[twin]
    check_tensors(tensors, shapes, whose=f"the T5 of {folder}")
    told = read_json(target / "transformer", "config.json")["caption_channels"]
    if width != told:
        raise ModelError(f"{folder} makes states of {width}, the network reads {told}")
    for name, text in _tokenizer(words).items():
        _write(target / "tokenizer" / name, text)
    _write_part(target, "text_encoder", json.dumps(config, indent=2), tensors, say)


def _tokenizer(folder: Path) -> dict[str, str]:
    """The files of a T5's tokenizer, by their names."""
    from transformers import T5TokenizerFast

    if (folder / "tokenizer.json").is_file():
        tokenizer = T5TokenizerFast.from_pretrained(folder, local_files_only=True)
    elif (folder / "spiece.model").is_file():
        tokenizer = read_spiece(folder / "spiece.model")
    else:
        raise ModelError(f"{folder} holds neither tokenizer.json nor spiece.model")
    if tokenizer("a").input_ids[-1] != tokenizer.eos_token_id:
        raise ModelError(f"{folder} holds a tokenizer that does not end prompts as a T5's does")
    with TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        return {path.name: path.read_text(encoding="utf-8") for path in Path(place).iterdir()}


def _write_part(target: Path, part: str, config: str, tensors: Mapping[str, Tensor], say: Say) -> None:
    weights = PARTS[part].weights
    assert weights is not None
    write_shards(target / part, weights, tensors, say)
    _write(target / part / PARTS[part].config, config)


def _write_json(path: Path, content: object) -> None:
    _write(path, json.dumps(content, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
