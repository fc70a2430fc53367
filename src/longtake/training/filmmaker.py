"""What the embedded models are made of: a tokenizer of whole words, a small T5 and a Wan, trained together.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from longtake.files import write_text, writing
from longtake.models.adapter import TIMESTEPS, Adapter
from longtake.models.base import ModelDefaults
from longtake.models.load import load_model
from longtake.models.prediction import AS_VELOCITY
from longtake.models.text import Text
from longtake.models.wan.model import WanModel, per_frame_timesteps
from longtake.training.muon import Muon

MAX_TOKENS, TEXT_WIDTH = 40, 128
FPS = 24.0  # any: a Wan is not told


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Whole lower-cased words of a world's captions; every other word becomes [UNK]."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[EOS]", "[UNK]", *words])}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokens.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", vocabulary["[EOS]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="[PAD]",
        eos_token="[EOS]",
        unk_token="[UNK]",
        model_max_length=MAX_TOKENS,
    )


class Filmmaker(nn.Module):
    """What is trained together: the text encoder and the transformer.

    patch: sides of a token, in latents. prediction: a key of AS_VELOCITY, what the transformer gives.
    """

    def __init__(
        self,
        vocabulary_size: int,
        latent_channels: int,
        layers: int,
        heads: int,
        patch: int = 2,
        prediction: str = "flow_prediction",
    ) -> None:
        super().__init__()
        self.prediction = prediction
        self.text_encoder = T5EncoderModel(
            T5Config(
                vocab_size=vocabulary_size,
                d_model=TEXT_WIDTH,
                d_kv=32,
                num_heads=4,
                d_ff=256,
                num_layers=2,
                dropout_rate=0.0,
                feed_forward_proj="gated-gelu",
                pad_token_id=0,
                eos_token_id=1,
                decoder_start_token_id=0,
            )
        )
        self.transformer = per_frame_timesteps(
            WanTransformer3DModel(
                patch_size=(1, patch, patch),
                num_attention_heads=heads,
                attention_head_dim=64,
                in_channels=latent_channels,
                out_channels=latent_channels,
                text_dim=TEXT_WIDTH,
                freq_dim=128,
                ffn_dim=256 * heads,
                num_layers=layers,
                rope_max_seq_len=128,
            )
        )

    def begin_as(self, model: Path) -> None:
        """Take over the numbers of a model folder of the same shape. ModelError as load_model raises it."""
        other = load_model(model, dtype="float32")
        assert isinstance(other, Adapter)
        self.transformer.load_state_dict(other.transformer.state_dict())
        self.text_encoder.load_state_dict(other.text_encoder.parts["text_encoder"].state_dict())

    def compile_blocks(self) -> None:
        """Compile what the transformer's blocks do, for every shape."""
        torch._dynamo.config.recompile_limit = 32
        for block in self.transformer.blocks:
            block.modulated = _compiled(block.modulated)

    def encode(self, ids: Tensor, mask: Tensor) -> Text:
        """Token ids and mask (B, L) to text."""
        return Text(self.text_encoder(ids, mask).last_hidden_state, mask.bool())

    def velocity(self, latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        """noise - data of latents (B, C, F, H, W) at sigma (B, F), whatever the transformer predicts."""
        predicted = WanModel.network_velocity(self.transformer, latents, sigma * TIMESTEPS, text, FPS)
        return AS_VELOCITY[self.prediction](predicted, latents, sigma)

    def optimizers(
        self, lr: float, muon_lr: float, dtype: torch.dtype | None = None
    ) -> dict[str, torch.optim.Optimizer]:
        """Muon, in a dtype, for the matrices of the transformer's blocks, AdamW for the rest."""
        inner = [p for p in self.transformer.blocks.parameters() if p.ndim == 2]
        chosen = {id(p) for p in inner}
        rest = [p for p in self.parameters() if id(p) not in chosen]
        return {
            "muon": Muon(inner, lr=muon_lr, dtype=dtype),
            "adam": torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98)),
        }


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tokens and more, compiled for every shape. It is given a copy: views would be compiled again."""
    fast = torch.compile(function, dynamic=True)
    return lambda tokens, *others: fast(tokens.clone(), *others)


def export(
    folder: Path,
    vae: Any,
    filmmaker: Any,
    tokenizer: PreTrainedTokenizerFast,
    sampling: ModelDefaults,
) -> None:
    """Write a complete diffusers folder in half precision."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        copy.deepcopy(vae).half().save_pretrained(folder / "vae")
        copy.deepcopy(filmmaker.transformer).to(torch.float16).save_pretrained(folder / "transformer")
        copy.deepcopy(filmmaker.text_encoder).half().save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")
        UniPCMultistepScheduler(
            prediction_type=filmmaker.prediction, use_flow_sigmas=True, flow_shift=sampling.shift
        ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "WanPipeline",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["longtake", type(vae).__name__],
    }
    write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")
    write_text(folder / "longtake.json", json.dumps(sampling.told, indent=2) + "\n")
