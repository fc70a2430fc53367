"""Prompts as networks read them, and what a text encoder can do.

B batch, F latent frames, L text tokens, D text width, P width of the pooled vector
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longtake.errors import OptionError
from longtake.models.base import ModelSpec


@dataclass(frozen=True)
class Text:
    """Encoded prompts: one a row, or, where `per_latent`, one a latent frame of each row.

    states (B, L, D) or (B, F, L, D). mask (B, L) or (B, F, L), bool: the tokens that the network sees; the states of
    others mean nothing. pooled (B, P) or (B, F, P): a vector for the whole prompt, of models that have one. All texts
    of a model have the same L.
    """

    states: Tensor
    mask: Tensor
    pooled: Tensor | None = None

    @staticmethod
    def of_zero_padded(states: Tensor, pooled: Tensor | None = None) -> Text:
        """The text of states in which a row of zeros is no token, as they lie on disks."""
        return Text(states, states.any(dim=-1), pooled)

    @staticmethod
    def cat(texts: Sequence[Text]) -> Text:
        """The rows of all of them."""
        return _each(lambda *tensors: torch.cat(tensors), *texts)

    @staticmethod
    def a_latent(texts: Sequence[Text]) -> Text:
        """One text a latent frame, of F texts of B rows."""
        return _each(lambda *tensors: torch.stack(tensors, dim=1), *texts)

    @staticmethod
    def where(chosen: Tensor, text: Text, other: Text) -> Text:
        """The rows of `text` that are chosen (B,), bool, and elsewhere those of `other`."""
        return _each(
            lambda a, b: torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b),
            text,
            other,
        )

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Any) -> Text:
        """The rows of a slice or of indices, (B,), or (B, F), one a latent frame."""
        return _each(lambda tensor: tensor[rows], self)

    @property
    def per_latent(self) -> bool:
        """Whether each latent frame has a text of its own."""
        return self.states.ndim == 4

    def of_latents(self, count: int) -> Text:
        """What the first latent frames of each row are told."""
        return self[:, :count] if self.per_latent else self

    def expand(self, rows: int) -> Text:
        """The one row as many, without memory of their own."""
        return _each(lambda tensor: tensor.expand(rows, *tensor.shape[1:]), self)

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Text:
        """On a device, and in a precision."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return Text(self.states.to(device, dtype), self.mask.to(device), pooled)

    def tensor_split(self, count: int) -> list[Text]:
        """The rows in so many pieces of nearly the same size."""
        return [_each(lambda tensor: tensor.tensor_split(count)[i], self) for i in range(count)]  # noqa: B023

    def zero_padded(self) -> Tensor:
        """The states, zero where the network sees no token."""
        return self.states.masked_fill(~self.mask.unsqueeze(-1), 0)

    def blended(self, other: Text, share: float) -> Text:
        """On a straight line to another text, 0 to 1 of the way: states, zero beyond their tokens, and pooled vectors.
        The tokens of both are seen on the way."""
        if share in (0, 1):
            return other if share else self
        pooled = None
        if self.pooled is not None and other.pooled is not None:
            pooled = torch.lerp(self.pooled, other.pooled, share)
        states = torch.lerp(self.zero_padded(), other.zero_padded(), share)
        return Text(states, self.mask | other.mask, pooled)

    def emptied(self, null_text: Text) -> Text:
        """The empty caption, of one row, in place of each caption, cut to the tokens of each.

        So are networks trained that learn an empty caption of many tokens; one that is shorter than all others stays
        as it is.
        """
        *rows, _ = self.mask.shape
        pooled = None if null_text.pooled is None else null_text.pooled.expand(*rows, -1)
        return Text(null_text.states.expand_as(self.states), null_text.mask & self.mask, pooled)


class PromptEncoder(ABC):
    """Text encoders with their tokenizers, as one object: from prompts to what the network reads.

    A kind of them is a subclass with `encode`, and a TextEncoder in models/families.py.
    """

    def __init__(self, spec: ModelSpec, parts: Mapping[str, Any]) -> None:
        """parts: those of the folder that its TextEncoder names, by their names there, loaded; the tokenizers alone,
        if nothing is to be encoded."""
        self.spec, self.parts = spec, parts
        self.tokenizer = parts["tokenizer"]

    @abstractmethod
    def encode(self, prompts: list[str]) -> Text:
        """Prompts, cleaned and not too long, as text: one a row, of the same L always."""

    def encode_negative(self, prompts: list[str]) -> Text:
        """Negative prompts as text; the same, but where a model reads them in another way."""
        return self.encode(prompts)

    @staticmethod
    def clean(prompt: str) -> str:
        """The prompt as the tokenizer is to see it: HTML entities resolved, white space collapsed."""
        return " ".join(html.unescape(html.unescape(prompt)).split())

    def unknown_words(self, prompt: str) -> list[str]:
        """The words that the tokenizer has no token for, in order, each once; the network never sees them."""
        text = self.clean(prompt)
        tokens = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        unknown = [
            text[start:end]
            for token, (start, end) in zip(tokens.input_ids, tokens.offset_mapping, strict=True)
            if token == self.tokenizer.unk_token_id
        ]
        return list(dict.fromkeys(word for word in unknown if any(map(str.isalnum, word))))

    def check_length(self, prompt: str) -> None:
        """OptionError for a prompt of more tokens than the model takes."""
        text, limit = self.clean(prompt), self.spec.max_prompt_tokens
        length = len(self.tokenizer(text, verbose=False).input_ids)
        if length > limit:
            kept = self.tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
            used = text[: max(end for _, end in kept.offset_mapping)]
            raise OptionError(
                f"the prompt is {length} tokens long, {self.spec.name} takes {limit}: only its first"
                f' {len(used)} of {len(text)} characters would be used, up to "…{used[-30:]}"; shorten it'
            )


def _each(function: Callable[..., Tensor], *texts: Text) -> Text:
    """A function of tensors on the states of texts, on their masks, and on their pooled vectors."""
    pooled = [text.pooled for text in texts]
    return Text(
        function(*(text.states for text in texts)),
        function(*(text.mask for text in texts)),
        None if any(vector is None for vector in pooled) else function(*pooled),
    )
