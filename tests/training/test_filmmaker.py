"""What the embedded models are made of."""

import pytest

from longtake.training.filmmaker import MAX_TOKENS, build_tokenizer
from longtake.worlds.tracking_shot.shot import every_caption_word

pytestmark = pytest.mark.slow


def test_tokenizer_splits_as_captions_are_written() -> None:
    """Case does not matter, the end is marked, a foreign word becomes [UNK], and the limit is the model's."""
    tokenizer = build_tokenizer(every_caption_word())
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("A RED zeppelin, at dawn").input_ids)
    assert tokens == ["a", "red", "[UNK]", ",", "at", "dawn", "[EOS]"]
    assert tokenizer.model_max_length == MAX_TOKENS
