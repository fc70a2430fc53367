"""What Kandinsky 5 reads prompts with: Qwen2.5-VL, which is asked to describe the video, and CLIP's vector.

B batch, L text tokens, D text width
"""

from __future__ import annotations

from diffusers import Kandinsky5T2VPipeline
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer, TokenizersBackend

from longtake.models.joint.hunyuan_text import HunyuanVideoPromptEncoder

# The classes of its tokenizer. Its folders name a processor of words and pictures, of which the words are read.
Qwen2VLProcessor = Qwen2_5_VLProcessor = Qwen2Tokenizer
__all__ = ["PreTrainedTokenizerFast", "Qwen2VLProcessor", "Qwen2_5_VLProcessor", "TokenizersBackend"]


class KandinskyPromptEncoder(HunyuanVideoPromptEncoder):
    """Qwen's states (B, L, D), L = spec.max_prompt_tokens, and CLIP's vector (B, P).

    What stands before the prompt is 129 tokens, which the authors leave out; diffusers' pipeline keeps the last.
    """

    before, after = Kandinsky5T2VPipeline(*[None] * 7).prompt_template.split("{}")
    layer = -1
