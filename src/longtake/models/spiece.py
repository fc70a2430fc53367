"""A T5's tokenizer from its spiece.model, for `tokenizers`: read here, so that no further library is needed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longtake.errors import ModelError

SPIECE = "spiece.model"
# Fields of sentencepiece's ModelProto that are read, and of what they hold.
PIECE, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE = 1, 2
MODEL_TYPE, UNIGRAM = 3, 1
CHARSMAP = 2


def read_spiece(path: Path) -> Any:
    """A T5Tokenizer. ModelError for a file that is damaged, or no unigram model that begins as T5's do."""
    from transformers import T5Tokenizer

    try:
        fields = list(_fields(path.read_bytes()))
        vocab = [_piece(dict(_fields(value))) for number, value in fields if number == PIECE]
        trainer, normalizer = (
            dict(_fields(b"".join(value for number, value in fields if number == wanted)))
            for wanted in (TRAINER, NORMALIZER)
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise ModelError(f"{path} cannot be read as a sentencepiece model: fetch it again") from error
    first = [text for text, _ in vocab[:3]]
    if first != ["<pad>", "</s>", "<unk>"] or trainer.get(MODEL_TYPE, UNIGRAM) != UNIGRAM:
        raise ModelError(f"{path} is not the tokenizer of a T5: its first words are {first}")
    sentinels = [(f"<extra_id_{i}>", 0.0) for i in reversed(range(100))]
    return T5Tokenizer(vocab=vocab + sentinels, _spm_precompiled_charsmap=normalizer.get(CHARSMAP) or None)


def _piece(fields: dict[int, Any]) -> tuple[str, float]:
    return fields[TEXT].decode(), struct.unpack("<f", fields.get(SCORE, bytes(4)))[0]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The number and value of each field of a protocol buffer, a whole number or bytes. ValueError if it is cut off."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _varint(message, place)
        else:
            size = {1: 8, 5: 4}[kind]
        if place + size > len(message):
            raise ValueError("cut off")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number whose 7 low bits a byte begin at a place, and the place behind it."""
    number = shift = 0
    while True:
        number |= (message[place] & 127) << shift
        shift += 7
        place += 1
        if message[place - 1] < 128:
            return number, place
