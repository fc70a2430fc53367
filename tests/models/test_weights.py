"""Every tensor of a model folder is accounted for, and every number of it is finite."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.errors import LongTakeError, ModelError, NumberError
from longtake.models.load import load_autoencoder, load_encoders, load_model, load_transformer

pytestmark = pytest.mark.slow

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n"
Spoil = Callable[[Path], Any]


@pytest.fixture
def folder(wan_folder: Path, tmp_path: Path) -> Path:
    """A copy of the Wan-like folder, to be spoilt."""
    return Path(shutil.copytree(wan_folder, tmp_path / "model"))


def edit(name: str, **changes: Any) -> Spoil:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def add(name: str, **tensors: Tensor) -> Spoil:
    """With other tensors, or more; dots are written __."""

    def apply(folder: Path) -> None:
        more = {key.replace("__", "."): tensor for key, tensor in tensors.items()}
        save_file(load_file(folder / name) | more, folder / name)

    return apply


def drop(name: str, tensor: str) -> Spoil:
    def apply(folder: Path) -> None:
        save_file({key: t for key, t in load_file(folder / name).items() if key != tensor}, folder / name)

    return apply


def cast(name: str, dtype: torch.dtype) -> Spoil:
    def apply(folder: Path) -> None:
        save_file({key: tensor.to(dtype) for key, tensor in load_file(folder / name).items()}, folder / name)

    return apply


def refusal(folder: Path, call: Callable[[Path], Any] = load_model) -> str:
    with pytest.raises(LongTakeError) as error:
        call(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [TRANSFORMER, VAE, TEXT_ENCODER])
def test_a_tensor_too_many_is_named(folder: Path, name: str) -> None:
    """Guards against weights of which a part is used: the libraries pass over what a class does not know."""
    add(name, extra__weight=torch.ones(3))(folder)
    assert f"{name.split('/')[0]} holds extra.weight, which the" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        (TRANSFORMER, "blocks.1.ffn.net.2.bias"),
        (VAE, "decoder.conv_in.weight"),
        (TEXT_ENCODER, "encoder.final_layer_norm.weight"),
        (TEXT_ENCODER, "shared.weight"),
    ],
)
def test_a_tensor_too_few_is_named(folder: Path, name: str, tensor: str) -> None:
    """Guards against numbers drawn at random in place of weights, tied ones too."""
    drop(name, tensor)(folder)
    assert f"{name.split('/')[0]} lacks " in (message := refusal(folder)) and tensor.split(".")[-1] in message


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (edit("transformer/config.json", num_layers=1), "transformer holds blocks.1."),
        (edit("transformer/config.json", num_layers=3), "transformer lacks blocks.2."),
        (edit("text_encoder/config.json", num_layers=2), "text_encoder lacks encoder.block.1."),
        (edit("vae/config.json", num_res_blocks=2), "vae lacks "),
        (edit("transformer/config.json", ffn_dim=32), "is of shape (48, 24), but must be of (32, 24)"),
        (edit("transformer/config.json", ffn_dim="wide"), "config.json describes no WanTransformer3DModel"),
        (edit("text_encoder/config.json", d_kv=None), "config.json describes no UMT5EncoderModel"),
        (edit("transformer/config.json", new_rope=True), "says new_rope true, which this version's"),
        (
            edit("transformer/config.json", _class_name="WanVACETransformer3DModel"),
            "is of a WanVACETransformer",
        ),
        (
            edit("text_encoder/config.json", model_type="t5"),
            "is of a t5, model_index.json says UMT5EncoderModel",
        ),
        (edit("text_encoder/config.json", quantization_config={"load_in_8bit": True}), "are quantised"),
    ],
)
def test_a_configuration_must_be_that_of_its_weights(folder: Path, spoil: Spoil, words: str) -> None:
    """Guards a network with fewer layers than its file, and what the libraries would warn of and go on."""
    spoil(folder)
    assert words in refusal(folder)


def test_what_is_off_or_unknown_to_nobody_is_no_matter(folder: Path) -> None:
    """Guards folders that another version of the library wrote: keys that are off, and its own marks."""
    edit("transformer/config.json", new_rope=None, other=False, _diffusers_version="9.9")(folder)
    load_transformer(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cast(TRANSFORMER, torch.float8_e4m3fn), "is F8_E4M3"),
        (cast(TEXT_ENCODER, torch.float8_e5m2), "is F8_E5M2"),
        (cast(VAE, torch.int8), "is I8"),
        (add(TRANSFORMER, scaled_fp8=torch.ones(2)), "scaled_fp8"),
        (add(TRANSFORMER, blocks__0__attn1__to_q__scale_weight=torch.ones(1)), "to_q.scale_weight"),
        (add(TRANSFORMER, blocks__0__attn1__to_q__weight__absmax=torch.ones(1)), "to_q.weight.absmax"),
    ],
)
def test_quantised_weights_are_refused(folder: Path, spoil: Spoil, words: str) -> None:
    """Guards numbers taken at face value that are to be multiplied by scales."""
    spoil(folder)
    message = refusal(folder)
    assert "holds quantised weights" in message and words in message


def test_a_whole_t5_and_its_tied_words_are_no_surplus(folder: Path) -> None:
    """Guards what is known to do no harm: a decoder beside the encoder, and the words by either name or both."""
    wanted = load_file(folder / TEXT_ENCODER)
    words = wanted["shared.weight"]

    def loaded() -> dict[str, torch.Tensor]:
        encoder: torch.nn.Module = getattr(load_encoders(folder), "text_encoder").parts["text_encoder"]  # noqa: B009
        return {name: weight.detach() for name, weight in encoder.state_dict().items() if name in wanted}

    add(TEXT_ENCODER, encoder__embed_tokens__weight=words.clone(), lm_head__weight=words.clone())(folder)
    add(TEXT_ENCODER, decoder__final_layer_norm__weight=torch.ones(16))(folder)
    torch.testing.assert_close(loaded(), wanted, rtol=0, atol=0)
    drop(TEXT_ENCODER, "shared.weight")(folder)
    torch.testing.assert_close(loaded(), wanted, rtol=0, atol=0)


def indexed(places: dict[str, str]) -> str:
    return json.dumps({"metadata": {"total_size": 0}, "weight_map": places})


def sharded(folder: Path, name: str, infix: str = "") -> Path:
    """Cut a part's weights into two shards with an index; returns the index."""
    whole = load_file(folder / name)
    (folder / name).unlink()
    stem = name.removesuffix(".safetensors")
    files = [f"{stem}{infix}-{i:05d}-of-00002.safetensors" for i in (1, 2)]
    places = {key: files[i % 2] for i, key in enumerate(whole)}
    for file in files:
        save_file({key: tensor for key, tensor in whole.items() if places[key] == file}, folder / file)
    index = folder / f"{stem}.safetensors.index{infix}.json"
    index.write_text(indexed({key: Path(file).name for key, file in places.items()}))
    return index


def same_networks(a: Any, b: Any) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][n], states[1][n]) for n in states[0]
    )


def networks_of(model: Any) -> tuple[Any, Any, Any]:
    return model.transformer, model.vae, model.text_encoder.parts["text_encoder"]


@pytest.mark.parametrize("infix", ["", ".fp16"])
def test_shards_and_variants_are_read(folder: Path, wan_folder: Path, infix: str) -> None:
    """Guards NAME.fp16.safetensors, of which nobody but the libraries' `variant` knew, in one file and in shards."""
    for name in (TRANSFORMER, VAE, TEXT_ENCODER):
        sharded(folder, name, infix)
    whole, cut = load_model(wan_folder), load_model(folder)
    for networks in zip(*map(networks_of, (whole, cut)), strict=True):
        assert same_networks(*networks)


def test_a_variant_alone_is_read_and_two_must_be_told_apart(folder: Path, wan_folder: Path) -> None:
    """Guards the choice between precisions: one without a name goes first, of two with names none is guessed."""
    half = (folder / TRANSFORMER).with_suffix(".fp16.safetensors")
    (folder / TRANSFORMER).rename(half)
    assert same_networks(load_transformer(folder), load_transformer(wan_folder))
    shutil.copy(half, half.with_name("diffusion_pytorch_model.bf16.safetensors"))
    assert "in the variants bf16, fp16, and none without a name" in refusal(folder)
    shutil.copy(wan_folder / TRANSFORMER, folder / TRANSFORMER)
    assert same_networks(load_transformer(folder), load_transformer(wan_folder))


def test_an_index_and_its_shards_agree(folder: Path) -> None:
    """Guards tensors that an index puts elsewhere, those it does not know, and shards that are left over."""
    index = sharded(folder, TRANSFORMER)
    whole = index.read_text()
    places = json.loads(whole)["weight_map"]
    first, other = sorted(set(places.values()))
    name = next(name for name, place in places.items() if place == first)
    index.write_text(indexed(places | {name: other}))
    assert f"lacks {name}" in refusal(folder) or f"holds {name}" in refusal(folder)
    index.write_text(indexed({n: p for n, p in places.items() if n != name}))
    assert f"holds {name}, unknown to" in refusal(folder)
    index.write_text(indexed(places | {"more": first}))
    assert "lacks more, which" in refusal(folder)
    index.write_text(indexed(places | {"more": "../../elsewhere.safetensors"}))
    assert "is damaged, it does not name a file" in refusal(folder)
    index.write_text(json.dumps({"weight_map": places}))
    assert "has no metadata" in refusal(folder)
    index.write_text(whole)
    shutil.copy(folder / "transformer" / first, folder / "transformer" / first.replace("1-of", "3-of"))
    assert "00003-of-00002.safetensors would not be read beside" in refusal(folder)


def test_weights_twice_or_under_another_name_are_named(folder: Path) -> None:
    """Guards against one of two files that is read, unsaid."""
    shutil.copy(folder / TRANSFORMER, whole := folder / "whole.safetensors")
    sharded(folder, TRANSFORMER)
    shutil.copy(whole, folder / TRANSFORMER)
    assert "holds both diffusion_pytorch_model.safetensors and shards of it" in refusal(folder)
    (folder / VAE).rename(folder / "vae" / "model.safetensors")
    shutil.copy(whole, folder / "transformer" / "model.safetensors")
    for path in (folder / "transformer").glob("*-of-*"):
        path.unlink()
    (folder / f"{TRANSFORMER}.index.json").unlink()
    assert "transformer/model.safetensors would not be read beside" in refusal(folder)
    (folder / "transformer" / "model.safetensors").unlink()
    assert f"{VAE} is missing; it holds model.safetensors instead" in refusal(folder)


@pytest.mark.parametrize("content", [POINTER, b""])
@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/spiece.model",
        "tokenizer/special_tokens_map.json",
        TRANSFORMER,
        VAE,
        TEXT_ENCODER,
    ],
)
def test_pointers_and_empty_files_are_told_whatever_they_are_of(
    folder: Path, name: str, content: bytes
) -> None:
    """Guards a folder cloned without git-lfs, or copied to a full disk: the file, what it is, what to do."""
    (folder / name).write_bytes(content)
    message = refusal(folder)
    assert name in message
    assert (
        ("is a git-lfs pointer" in message and "git lfs pull" in message)
        if content
        else "is empty" in message
    )


@pytest.mark.parametrize("name", [TRANSFORMER, VAE, TEXT_ENCODER])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(folder: Path, name: str, value: float) -> None:
    """Guards against a film of a network that can make nothing but NaN, by the tensor's name."""
    tensors = load_file(folder / name)
    tensor = max(tensors)
    tensors[tensor].view(-1)[0] = value
    save_file(tensors, folder / name)
    message = refusal(folder)
    assert f"{tensor} holds numbers that are not finite" in message and "float16" not in message


def test_weights_too_large_for_float16_say_so(folder: Path, wan_folder: Path) -> None:
    """Guards the usual cause: they are finite, and are infinite in this precision."""
    tensors = load_file(folder / VAE)
    tensors[max(tensors)].view(-1)[0] = 1e5
    save_file(tensors, folder / VAE)
    load_autoencoder(folder)
    with pytest.raises(NumberError, match="or try bfloat16"):
        load_model(folder, dtype="float16")


def test_encoders_need_a_network_that_fits(folder: Path) -> None:
    """Guards preparing film, for hours, for a network that cannot be trained: its headers are looked at."""
    drop(TRANSFORMER, "proj_out.weight")(folder)
    assert "lacks proj_out.weight" in refusal(folder, load_encoders)


def test_words_and_padding(folder: Path) -> None:
    """Guards prompts that the text encoder has no vectors for, and a tokenizer that cannot pad."""
    tokenizer = folder / "tokenizer/tokenizer_config.json"
    whole = tokenizer.read_text()
    config = json.loads(whole)
    tokenizer.write_text(json.dumps({key: value for key, value in config.items() if key != "pad_token"}))
    assert "no pad_token" in refusal(folder)
    tokenizer.write_text(whole)
    words = json.loads((folder / "tokenizer/tokenizer.json").read_text())
    words["model"]["vocab"]["zebra"] = len(words["model"]["vocab"])
    (folder / "tokenizer/tokenizer.json").write_text(json.dumps(words))
    assert "its tokenizer has 18 words, its text encoder 17" in refusal(folder)


def test_hidden_files_are_no_weights(folder: Path) -> None:
    """Guards folders that a Mac has copied: ._NAME.safetensors is nobody's."""
    for name in (TRANSFORMER, VAE, TEXT_ENCODER):
        path = folder / name
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    load_model(folder)


def test_refused_models_are_model_errors(folder: Path) -> None:
    """Guards the kind of error: another folder would cure it."""
    add(TRANSFORMER, extra=torch.ones(1))(folder)
    with pytest.raises(ModelError):
        load_model(folder)
