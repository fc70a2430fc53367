"""Prompts as Open-Sora's captions were cleaned for its training: lower case, few marks, no codes or addresses.

Left out of what its scripts do: the repair of wrongly decoded text, and the removal of shop talk ("free
shipping"), file names, dates' ends and internet addresses in numbers, which prompts do not hold.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote_plus

DASHES = (
    "\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40"
    "\u301c\u3030\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d"
)

# What is replaced by what, in this order.
BEFORE = (
    ("<person>", "person"),
    (r"\bhttps?:/{0,3}|\b[a-z0-9.-]+\.(?:com|co|ru|net|org|edu|gov|it)[\w/-]*", ""),  # addresses
    (r"</?[a-z][^>]*>", ""),  # markup
    (r"@\w+", ""),
    (r"[\u31c0-\u9fff]+", ""),  # Chinese characters and their relatives
    (f"[{DASHES}]+", "-"),
    ("[`´«»“”¨]", '"'),
    ("[‘’]", "'"),
    (r"#\d{1,3}\b|#\d{5,}\b|\b\d{6,}\b", ""),
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~()\[\]{}|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
AFTER = (
    (r"\b[a-z]{1,3}\d{3,15}\b", ""),  # codes
    (r"\b[a-z]+\d+[a-z]+\b|\b\d+[a-z]+\d+\b", ""),
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),  # sizes
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),
    (r"^[',:;_-]", ""),
    (r"[',:_+-]$", ""),
    (r"^\.\S+$", ""),
)
JOINT = "[-_]"  # more than three of them: the words are joined by them


def clean_caption(prompt: str) -> str:
    """The prompt as the text encoder is to see it. It is cleaned twice, as the captions were."""
    return _cleaned(_cleaned(prompt))


def _cleaned(text: str) -> str:
    text = _replaced(html.unescape(unquote_plus(text)).strip().lower(), BEFORE)
    if len(re.findall(JOINT, text)) > 3:
        text = re.sub(JOINT, " ", text)
    return _replaced(html.unescape(text).strip(), AFTER).strip()


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text
