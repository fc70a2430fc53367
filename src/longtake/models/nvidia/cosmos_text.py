"""A Qwen2.5-VL as the text encoder of Cosmos Predict 2.5; that of 2 is a T5.

B batch, L text tokens, D text width
"""

from __future__ import annotations

import torch
from torch import Tensor

from longtake.errors import OptionError
from longtake.models.text import PromptEncoder, Text

SYSTEM = "You are a helpful assistant who will provide prompts to an image generator."


class QwenPromptEncoder(PromptEncoder):
    """The states of all layers of a Qwen2.5-VL, (B, L, layers * width), each of mean 0 and deviation 1, side by side.

    A prompt is read as what a user says in Qwen's chat. What fills it up to L = spec.max_prompt_tokens tokens is read
    and seen like them, as in Cosmos2_5_PredictBasePipeline.
    """

    def encode(self, prompts: list[str]) -> Text:
        encoder = self.parts["text_encoder"]
        tokens = self.tokenizer(
            [self._chat(prompt) for prompt in prompts],
            padding="max_length",
            max_length=self.spec.max_prompt_tokens,
            padding_side="right",
            return_tensors="pt",
        ).to(encoder.device)
        layers = encoder.model(tokens.input_ids, output_hidden_states=True).hidden_states[1:]
        states = torch.cat([_standardised(states) for states in layers], dim=-1)
        return Text(states, torch.ones_like(tokens.input_ids, dtype=torch.bool))

    def check_length(self, prompt: str) -> None:
        """OptionError for a prompt of more tokens than the model takes, with those of the chat around it."""
        limit = self.spec.max_prompt_tokens
        length = len(self.tokenizer(self._chat(self.clean(prompt)), verbose=False).input_ids)
        if length > limit:
            raise OptionError(
                f"the prompt is {length} tokens long, with those of the chat around it, {self.spec.name} takes {limit}:"
                " shorten it"
            )

    @staticmethod
    def _chat(prompt: str) -> str:
        """Qwen's chat, as its tokenizer's template writes it."""
        said = (("system", SYSTEM), ("user", prompt))
        return "".join(f"<|im_start|>{who}\n{what}<|im_end|>\n" for who, what in said)


def _standardised(states: Tensor) -> Tensor:
    mean, deviation = states.mean(dim=-1, keepdim=True), states.std(dim=-1, keepdim=True)
    return (states - mean) / (deviation + 1e-8)
