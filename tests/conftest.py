"""Tiny real models: random weights, the classes that are filmed with, saved as complete diffusers folders."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import random
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    SkyReelsV2Transformer3DModel,
    WanTransformer3DModel,
)
from hypothesis import settings as hypothesis_settings
from safetensors.torch import load_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from longtake.cli import main
from longtake.models.load import load_model
from longtake.models.open_sora.convert import convert_transformer, transformer_config
from longtake.models.open_sora.folder import convert_open_sora
from longtake.models.open_sora.model import OpenSoraModel
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel
from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.models.wan.model import WanModel
from longtake.video import VideoWriter
from portable import OtherMaker

hypothesis_settings.register_profile("quick", hypothesis_settings.get_profile("ci"), max_examples=10)

# Tiny tensors gain nothing from a second thread, and on a busy machine they wait for it.
torch.set_num_threads(int(os.environ.get("LONGTAKE_THREADS", "1")))

# A shell lets what it starts in the background ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

WORDS = (
    "a",
    "red",
    "blue",
    "car",
    "bus",
    "driving",
    "past",
    "snowy",
    "mountains",
    "at",
    "dawn",
    "night",
    ",",
    ".",
)
TEXT_WIDTH, LATENT_CHANNELS, PROMPT_TOKENS = 16, 4, 12
LATENTS_MEAN, LATENTS_STD = (0.3, -0.2, 0.1, 0.0), (1.5, 0.8, 1.2, 0.5)
OPEN_SORA = Path(__file__).parent / "data" / "open_sora"
OPEN_SORA_WORDS = ("a", "red", "blue", "car", "bus", "driving", "past", "aesthetic", "score:", "6.5.")
TUBELET_DEFAULTS = {
    "width": 48,
    "height": 32,
    "fps": 24,
    "num_inference_steps": 4,
    "steps_per_chunk": 2,
    "chunk_size": 1,
    "context_size": 1,
    "shift": 3.0,
    "guidance_scale": 2.5,
}


def tiny_transformer() -> WanTransformer3DModel:
    """2 blocks, 2 heads of 12, patches of 2 × 2 latents."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=64,
    )


def tiny_wan_vae() -> AutoencoderKLWan:
    """The form of Wan 2.1: 4k + 1 frames, 8 × 8 pixels a latent."""
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=list(LATENTS_MEAN),
        latents_std=list(LATENTS_STD),
    )


def tiny_tubelet() -> AutoencoderTubelet:
    """Residual blocks start as the identity; these are made to do something."""
    vae = AutoencoderTubelet(
        z_dim=LATENT_CHANNELS,
        encoder_width=8,
        decoder_width=8,
        encoder_blocks=1,
        decoder_blocks=1,
        latents_mean=LATENTS_MEAN,
        latents_std=LATENTS_STD,
    )
    for parameter in vae.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return vae


def tiny_tokenizer(end: bool) -> PreTrainedTokenizerFast:
    """Lower-cased words; `end` puts </s> behind each prompt, as T5 does."""
    special = ("[PAD]", "[UNK]", "</s>")
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(special + WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if end:
        words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="</s>" if end else None,
        model_max_length=PROMPT_TOKENS,
    )


def tiny_text_encoder(config: type, model: type) -> Any:
    """A T5 or UMT5 encoder of one layer."""
    size = len(WORDS) + 3
    return model(config(vocab_size=size, d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2))


def tiny_skyreels() -> SkyReelsV2Transformer3DModel:
    """The same of SkyReels-V2, one that is told the frame rate."""
    return SkyReelsV2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=64,
        inject_sample_info=True,
    )


def save_folder(
    folder: Path,
    vae_entry: list[str],
    text_encoder: Any,
    vae: Any,
    end: bool,
    transformer: Any = None,
) -> Path:
    """Write a complete diffusers folder around a tiny transformer, a Wan if none is given."""
    transformer = transformer or tiny_transformer()
    parts = {
        "tokenizer": (["transformers", "PreTrainedTokenizerFast"], tiny_tokenizer(end)),
        "text_encoder": (["transformers", type(text_encoder).__name__], text_encoder),
        "transformer": (["diffusers", type(transformer).__name__], transformer),
        "vae": (vae_entry, vae),
        "scheduler": (
            ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            FlowMatchEulerDiscreteScheduler(shift=3.0),
        ),
    }
    for name, (_, part) in parts.items():
        part.save_pretrained(folder / name)
    index = {"_class_name": "WanPipeline", **{name: entry for name, (entry, _) in parts.items()}}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def pytest_configure() -> None:
    """Compute as another maker's processor does if LONGTAKE_MAKER is a number: each number is another one."""
    if maker := os.environ.get("LONGTAKE_MAKER"):
        OtherMaker(int(maker)).__enter__()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the files, and the tests within each, if LONGTAKE_SHUFFLE is a number."""
    if seed := os.environ.get("LONGTAKE_SHUFFLE"):
        rng = random.Random(int(seed))
        place = {path: rng.random() for path in sorted({item.path for item in items})}
        rng.shuffle(items)
        items.sort(key=lambda item: place[item.path])


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers, alone or in company."""
    torch.manual_seed(0)


class Result(NamedTuple):
    """What a command leaves: its exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Runs `longtake` with the given arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return Result(int(exit_.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub's Wan folders are: UMT5, AutoencoderKLWan, no longtake.json."""
    torch.manual_seed(1)
    text_encoder = tiny_text_encoder(UMT5Config, UMT5EncoderModel)
    return save_folder(
        tmp_path_factory.mktemp("wan"),
        ["diffusers", "AutoencoderKLWan"],
        text_encoder,
        tiny_wan_vae(),
        end=True,
    )


@pytest.fixture(scope="session")
def skyreels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub's of SkyReels-V2 are: UMT5, AutoencoderKLWan, no longtake.json."""
    torch.manual_seed(5)
    text_encoder = tiny_text_encoder(UMT5Config, UMT5EncoderModel)
    folder = tmp_path_factory.mktemp("skyreels")
    vae = ["diffusers", "AutoencoderKLWan"]
    return save_folder(folder, vae, text_encoder, tiny_wan_vae(), end=True, transformer=tiny_skyreels())


@pytest.fixture(scope="session")
def tubelet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the embedded model's is: T5, AutoencoderTubelet, float16 weights, longtake.json."""
    torch.manual_seed(2)
    text_encoder = tiny_text_encoder(T5Config, T5EncoderModel)
    folder = save_folder(
        tmp_path_factory.mktemp("tubelet"),
        ["longtake", "AutoencoderTubelet"],
        text_encoder.half(),
        tiny_tubelet().half(),
        end=False,
    )
    (folder / "longtake.json").write_text(json.dumps(TUBELET_DEFAULTS))
    return folder


@pytest.fixture(scope="session")
def wan_model(wan_folder: Path) -> WanModel:
    """The Wan-like folder, loaded in float32 on the CPU. Shared: change nothing on it."""
    model = load_model(wan_folder)
    assert isinstance(model, WanModel)
    return model


@pytest.fixture(scope="session")
def tubelet_model(tubelet_folder: Path) -> WanModel:
    """The embedded-like folder, loaded in float32 on the CPU. Shared: change nothing on it."""
    model = load_model(tubelet_folder)
    assert isinstance(model, WanModel)
    return model


@pytest.fixture(scope="session")
def stdit3_weights() -> dict[str, Tensor]:
    """A tiny STDiT3 in the original names, of which the reference's outputs are recorded; float16, exactly."""
    return load_file(OPEN_SORA / "stdit3_tiny_state_dict.safetensors")


@pytest.fixture(scope="session")
def stdit3(stdit3_weights: dict[str, Tensor]) -> OpenSoraTransformer3DModel:
    """The same network as ours: width 64, 4 heads, 2 layers, captions of 8 tokens of 32. Shared: change nothing."""
    network = OpenSoraTransformer3DModel(**transformer_config(stdit3_weights))
    network.load_state_dict(convert_transformer(stdit3_weights))
    return network.eval()


def spiece_model(words: tuple[str, ...]) -> bytes:
    """A sentencepiece model of whole words, as T5's begins, in the protocol buffers of its file."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    pieces = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2), ("▁", -9.0, 1)]
    pieces += [(f"▁{word}", -2.0, 1) for word in words]
    rows = (
        field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind])
        for text, score, kind in pieces
    )
    return b"".join(field(1, row) for row in rows) + field(2, bytes([3 << 3, 1]))


@pytest.fixture(scope="session")
def open_sora_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random weights in the layout of the released ones: network.safetensors, vae/ and t5/."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("original")
    shutil.copyfile(OPEN_SORA / "stdit3_tiny_state_dict.safetensors", folder / "network.safetensors")
    (folder / "vae").mkdir()
    shutil.copyfile(OPEN_SORA / "vae_tiny_state_dict.safetensors", folder / "vae" / "model.safetensors")
    groups = {"norm_num_groups": 4, "temporal_norm_num_groups": 2}
    (folder / "vae" / "config.json").write_text(json.dumps(groups))
    size = len(OPEN_SORA_WORDS) + 4 + 100
    encoder = T5EncoderModel(
        T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )
    encoder.save_pretrained(folder / "t5")
    (folder / "t5" / "spiece.model").write_bytes(spiece_model(OPEN_SORA_WORDS))
    return folder


@pytest.fixture(scope="session")
def open_sora_folder(open_sora_original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, converted to a model folder. Shared: change nothing in it."""
    folder = tmp_path_factory.mktemp("converted") / "open-sora"
    network, vae, t5 = (str(open_sora_original / name) for name in ("network.safetensors", "vae", "t5"))
    convert_open_sora(network, vae, folder, t5)
    return folder


@pytest.fixture(scope="session")
def open_sora_model(open_sora_folder: Path) -> OpenSoraModel:
    """The converted folder, loaded in float32 on the CPU. Shared: change nothing on it."""
    model = load_model(open_sora_folder)
    assert isinstance(model, OpenSoraModel)
    return model


@pytest.fixture
def captioned_film(tmp_path: Path) -> Path:
    """A folder with one captioned film of two seconds, in the folder that commands run in."""
    folder = tmp_path / "film"
    folder.mkdir()
    (folder / "a.txt").write_text("a red car")
    rows = np.linspace(0, 200, 32).astype(np.uint8)[None, :, None, None]
    with VideoWriter(folder / "a.mp4", 48, 32, 24, {}) as writer:
        writer.write(np.concatenate([np.broadcast_to(rows + np.uint8(i), (1, 32, 48, 3)) for i in range(48)]))
    return folder
