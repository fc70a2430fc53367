"""A T5 or UMT5 as a text encoder.

B batch, L text tokens, D text width
"""

from __future__ import annotations

from longtake.models.text import PromptEncoder, Text


class T5PromptEncoder(PromptEncoder):
    """The last states of a T5 or UMT5, (B, L, D), L = spec.max_prompt_tokens."""

    def encode(self, prompts: list[str]) -> Text:
        encoder = self.parts["text_encoder"]
        tokens = self.tokenizer(
            prompts, padding="max_length", max_length=self.spec.max_prompt_tokens, return_tensors="pt"
        ).to(encoder.device)
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return Text(states, tokens.attention_mask.bool())
