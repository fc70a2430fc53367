"""The text encoders of Cosmos and SANA-Video, tiny ones, against those of diffusers' pipelines."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    Cosmos2_5_PredictBasePipeline,
    Cosmos2VideoToWorldPipeline,
    SanaVideoPipeline,
)
from transformers import (
    T5Config,
    T5EncoderModel,
)

from longtake.errors import OptionError
from longtake.models.nvidia.cosmos_text import QwenPromptEncoder
from longtake.models.nvidia.sana_text import SanaPromptEncoder
from longtake.models.t5 import T5PromptEncoder
from nvidia import WORDS, StandIn, tiny_gemma, tiny_qwen, words
from portable import close, rounding

pytestmark = pytest.mark.slow

PROMPTS = ["a Red car", "a blue bus at dawn , at dawn"]


def spec(tokens: int) -> Any:
    return SimpleNamespace(name="tiny", max_prompt_tokens=tokens)


@torch.no_grad()
def test_predict_2_reads_a_t5_with_its_zeros() -> None:
    """As Cosmos2VideoToWorldPipeline: what is beyond a prompt's tokens is zero, and the network sees it."""
    torch.manual_seed(0)
    t5 = T5EncoderModel(
        T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )
    parts = {"tokenizer": words("$A </s>"), "text_encoder": t5.eval()}
    pipeline = Cosmos2VideoToWorldPipeline(t5, parts["tokenizer"], None, None, None, StandIn())
    expected = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False, max_sequence_length=12)[0]
    ours = T5PromptEncoder(spec(12), parts)
    close(ours.encode(PROMPTS).zero_padded(), expected, rounding(lambda: ours.encode(PROMPTS).states, t5))


@torch.no_grad()
def test_predict_2_5_reads_all_layers_of_qwen() -> None:
    """As Cosmos2_5_PredictBasePipeline, chat and all; a prompt that is too long with the chat around it is refused."""
    qwen = tiny_qwen()
    parts = {"tokenizer": words(""), "text_encoder": qwen}
    vae = AutoencoderKLWan(base_dim=4, z_dim=1, dim_mult=[1, 1, 1, 1], latents_mean=[0.0], latents_std=[1.0])
    pipeline = Cosmos2_5_PredictBasePipeline(qwen, parts["tokenizer"], None, vae, None, StandIn())
    expected = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False, max_sequence_length=40)[0]
    ours = QwenPromptEncoder(spec(40), parts)
    text = ours.encode(PROMPTS)
    assert text.states.shape == (2, 40, 3 * 16) and text.mask.all()
    close(text.states, expected, rounding(lambda: ours.encode(PROMPTS).states, qwen))
    ours.check_length(PROMPTS[1])
    with pytest.raises(OptionError, match=r"is 60 tokens long, with those of the chat .* tiny takes 40"):
        ours.check_length(" ".join(["car"] * 40))


@torch.no_grad()
def test_sana_reads_gemma_behind_an_instruction() -> None:
    """As SanaVideoPipeline: lower case, behind its instruction; a negative prompt without it."""
    gemma = tiny_gemma()
    parts = {"tokenizer": words("<bos> $A"), "text_encoder": gemma}
    pipeline = SanaVideoPipeline(parts["tokenizer"], gemma, None, None, None)
    given = {"device": torch.device("cpu"), "complex_human_instruction": instruction_lines()}
    expected = pipeline.encode_prompt(PROMPTS, negative_prompt="a Bus", **given)
    ours = SanaPromptEncoder(spec(299), parts)
    for text, states, mask in (
        (ours.encode(PROMPTS), *expected[:2]),
        (ours.encode_negative(["a Bus"] * 2), *expected[2:]),
    ):
        close(text.states, states, rounding(lambda: ours.encode(PROMPTS).states, gemma))
        assert torch.equal(text.mask, mask.bool())


def instruction_lines() -> list[str]:
    """What the pipeline puts before a prompt by itself; `encode_prompt` alone does not."""
    lines: list[str] = (
        inspect.signature(SanaVideoPipeline.__call__).parameters["complex_human_instruction"].default
    )
    return lines
