"""Prompts as Cosmos 3 reads them: by itself, as numbers of words.

B batch, L text tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longtake.errors import OptionError
from longtake.models.base import ModelSpec
from longtake.models.text import PromptEncoder, Text

CLIP_FRAMES = 189  # num_frames of the examples for video in diffusers' page on Cosmos 3
SYSTEM = "You are a helpful assistant who will generate videos from a give prompt."


class Cosmos3PromptEncoder(PromptEncoder):
    """Words as numbers, (B, L, 1), L = spec.max_prompt_tokens: the network itself reads them.

    A prompt is what a user says in Qwen's chat, with how long, how fast and how large its authors' clips are behind it:
    189 frames of the model's own size and rate, which a negative prompt denies.
    """

    def __init__(self, spec: ModelSpec, parts: Mapping[str, Any]) -> None:
        super().__init__(spec, {"tokenizer": parts["text_tokenizer"]})

    def encode(self, prompts: list[str]) -> Text:
        return self._numbered([self._chat(prompt, "is") for prompt in prompts])

    def encode_negative(self, prompts: list[str]) -> Text:
        return self._numbered([self._chat(prompt, "is not") for prompt in prompts])

    def check_length(self, prompt: str) -> None:
        """OptionError for a prompt of more tokens than the model takes, with those of the chat around it."""
        self._numbered([self._chat(self.clean(prompt), "is not")])

    def _chat(self, prompt: str, be: str) -> str:
        own = self.spec.defaults
        clip = f"The video {be} {CLIP_FRAMES / own.fps:.1f} seconds long and {be} of {own.fps:.0f} FPS."
        size = f"This video {be} of {own.height}x{own.width} resolution."
        asked = f"{prompt.rstrip('.')}. " if prompt.rstrip(".") else ""
        said = (("system", SYSTEM), ("user", f"{asked}{clip} {size}"))
        chat = "".join(f"<|im_start|>{who}\n{what}<|im_end|>\n" for who, what in said)
        return f"{chat}<|im_start|>assistant\n{self.tokenizer.eos_token}<|vision_start|>"

    def _numbered(self, chats: list[str]) -> Text:
        limit = self.spec.max_prompt_tokens
        longest = max(len(row) for row in self.tokenizer(chats, verbose=False).input_ids)
        if longest > limit:
            raise OptionError(
                f"the prompt is {longest} tokens long, with those of the chat around it, {self.spec.name} takes"
                f" {limit}: shorten it"
            )
        tokens = self.tokenizer(
            chats, padding="max_length", max_length=limit, padding_side="right", return_tensors="pt"
        )
        return Text(tokens.input_ids[..., None].float(), tokens.attention_mask.bool())
