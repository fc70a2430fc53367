"""A Gemma as LTX-2's text encoder: the states of all of its layers, which the model's connectors make one text of.

B batch, L text tokens, D text width, N layers
"""

from __future__ import annotations

import torch

from longtake.models.text import PromptEncoder, Text


class GemmaPromptEncoder(PromptEncoder):
    """What LTX-2's connectors make of a prompt for pictures, (B, L, D), L = spec.max_prompt_tokens.

    Where the connectors have registers of their own, these stand in for what is no token, and all L are seen.
    """

    def encode(self, prompts: list[str]) -> Text:
        encoder, connectors = self.parts["text_encoder"], self.parts["connectors"]
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.spec.max_prompt_tokens,
            padding_side="left",
            return_tensors="pt",
        ).to(encoder.device)
        layers = encoder(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states
        states, _, mask = connectors(torch.stack(layers, dim=-1), tokens.attention_mask, padding_side="left")
        return Text(states, mask.bool())
