"""What HunyuanVideo reads prompts with: a language model that is asked to describe the video, and a smaller encoder.

1.0 reads a Llama, and CLIP's vector for the whole prompt, of its first 77 tokens; 1.5 reads Qwen2.5-VL, and, letter by
letter, what a ByT5 makes of the words that the prompt puts in quotation marks, which are to be seen in the picture.

B batch, L text tokens, D text width
"""

from __future__ import annotations

import inspect

import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from diffusers.pipelines.hunyuan_video1_5 import pipeline_hunyuan_video1_5 as second
from torch import Tensor
from torch.nn import functional as F

from longtake.models.text import PromptEncoder, Text

CLIP_TOKENS, GLYPH_TOKENS = 77, 256
CLOSING = 5  # tokens behind the prompt, of 1.5
ASKED = (
    inspect.signature(second.HunyuanVideo15Pipeline._get_mllm_prompt_embeds)
    .parameters["system_message"]
    .default
)


class Described(PromptEncoder):
    """The states of a language model that is asked to describe the video, without those of the question.

    before, after: what stands around the prompt. layer: whose states are read, counted from behind the last.
    """

    before: str
    after: str
    layer = -3

    def described(self, prompts: list[str], length: int) -> tuple[Tensor, Tensor]:
        """States (B, length, D) and mask (B, length), bool."""
        encoder, skipped = (
            self.parts["text_encoder"],
            len(self.tokenizer(self.before, verbose=False).input_ids),
        )
        tokens = self.tokenizer(
            [f"{self.before}{prompt}{self.after}" for prompt in prompts],
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=skipped + length,
            return_tensors="pt",
        ).to(encoder.device)
        states = encoder(tokens.input_ids, tokens.attention_mask, output_hidden_states=True).hidden_states
        return states[self.layer][:, skipped:], tokens.attention_mask[:, skipped:].bool()


class HunyuanVideoPromptEncoder(Described):
    """A Llama's states (B, L, D), L = spec.max_prompt_tokens, and CLIP's vector (B, P)."""

    before, after = DEFAULT_PROMPT_TEMPLATE["template"].split("{}")

    def encode(self, prompts: list[str]) -> Text:
        states, mask = self.described(prompts, self.spec.max_prompt_tokens)
        return Text(states, mask, self.clip(prompts))

    def clip(self, prompts: list[str]) -> Tensor:
        """CLIP's vector for each prompt (B, P)."""
        encoder = self.parts["text_encoder_2"]
        tokens = self.parts["tokenizer_2"](
            prompts, padding="max_length", max_length=CLIP_TOKENS, truncation=True, return_tensors="pt"
        )
        vector: Tensor = encoder(tokens.input_ids.to(encoder.device)).pooler_output
        return vector


class HunyuanVideo15PromptEncoder(Described):
    """Qwen's states, and behind them ByT5's of the quoted words, as wide: (B, L + CLOSING + GLYPH_TOKENS, D), L =
    spec.max_prompt_tokens."""

    before = f"<|im_start|>system\n{ASKED}<|im_end|>\n<|im_start|>user\n"
    after = "<|im_end|>\n<|im_start|>assistant\n"

    def encode(self, prompts: list[str]) -> Text:
        states, mask = self.described(
            [prompt or " " for prompt in prompts], self.spec.max_prompt_tokens + CLOSING
        )
        glyphs, seen = self.glyphs([second.extract_glyph_texts(prompt) for prompt in prompts])
        glyphs = F.pad(glyphs, (0, states.shape[2] - glyphs.shape[2]))
        return Text(
            torch.cat([states, glyphs.to(states)], dim=1), torch.cat([mask, seen.to(mask.device)], dim=1)
        )

    def glyphs(self, words: list[str | None]) -> tuple[Tensor, Tensor]:
        """ByT5's states (B, GLYPH_TOKENS, D) and mask (B, GLYPH_TOKENS), bool; nothing is seen where there are no
        words."""
        encoder = self.parts["text_encoder_2"]
        tokens = self.parts["tokenizer_2"](
            [each or "" for each in words],
            padding="max_length",
            max_length=GLYPH_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(encoder.device)
        states = encoder(tokens.input_ids, tokens.attention_mask.float())[0]
        some = torch.tensor([each is not None for each in words], device=encoder.device)
        return states, tokens.attention_mask.bool() & some[:, None]
