"""A Gemma 2 as SANA-Video's text encoder.

B batch, L text tokens, D text width
"""

from __future__ import annotations

import inspect
from functools import cache

from diffusers import SanaVideoPipeline

from longtake.models.text import PromptEncoder, Text

TOKENS = 300  # max_sequence_length of SanaVideoPipeline


@cache
def instruction() -> str:
    """What stands before a prompt: SanaVideoPipeline's complex_human_instruction."""
    lines = inspect.signature(SanaVideoPipeline.__call__).parameters["complex_human_instruction"].default
    return "\n".join(lines)


class SanaPromptEncoder(PromptEncoder):
    """The last states of a Gemma 2, (B, 300, D), of prompts in lower case, as SanaVideoPipeline takes them.

    A prompt is read behind an instruction to enhance it, of which the network sees the first token alone; a negative
    prompt is read as it is. Source: Xie et al., "SANA", arXiv 2410.10629.
    """

    def encode(self, prompts: list[str]) -> Text:
        """An empty prompt is a negative one: nothing is to be enhanced."""
        return Text.cat([self._read(prompt, instruction() if prompt else "") for prompt in prompts])

    def encode_negative(self, prompts: list[str]) -> Text:
        return Text.cat([self._read(prompt, "") for prompt in prompts])

    def _read(self, prompt: str, before: str) -> Text:
        """A prompt behind what stands before it, of which the first token is seen."""
        encoder = self.parts["text_encoder"]
        more = len(self.tokenizer.encode(before)) - 2 if before else 0
        tokens = self.tokenizer(
            before + prompt.lower().strip(),
            padding="max_length",
            max_length=TOKENS + more,
            padding_side="right",
            return_tensors="pt",
        ).to(encoder.device)
        states = encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        seen = [0, *range(1 - TOKENS, 0)]
        return Text(states[:, seen], tokens.attention_mask.bool()[:, seen])
