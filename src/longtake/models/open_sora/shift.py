"""Open-Sora's warp of the noise levels: larger and longer films stay noisy longer. Imports no torch."""

from __future__ import annotations

import struct
from math import sqrt

from longtake.errors import OptionError

CHUNK_FRAMES, CHUNK_LATENTS = 17, 5


def timestep_shift(height: int, width: int, num_frames: int, bfloat16: bool = False) -> float:
    """The `shift` r, sigma to r * sigma / (1 + (r - 1) * sigma), of a picture size and a window's length.

    r = sqrt(height * width / 512²) * sqrt(latents): 3.6860 at 240 × 424 and 119 frames. num_frames: pixel frames
    of the full window; the same r holds while it is shorter. One frame is one latent, others count by 17.
    bfloat16: round as the released script does, which keeps these numbers in bfloat16: 3.6875 there.
    Raises OptionError for a window of 2 to 16 frames, which makes no latents.
    """
    if num_frames != 1 and num_frames < CHUNK_FRAMES:
        raise OptionError(f"a window must have 1 frame or at least {CHUNK_FRAMES}, got {num_frames}")
    rounded = _bfloat16 if bfloat16 else float
    chunks = rounded(rounded(num_frames) // CHUNK_FRAMES)
    latents = 1.0 if num_frames == 1 else rounded(chunks * CHUNK_LATENTS)
    pixels = rounded(rounded(height) * rounded(width))
    return rounded(rounded(sqrt(rounded(pixels / 512**2))) * rounded(sqrt(latents)))


def _bfloat16(number: float) -> float:
    """The nearest bfloat16, of two the even one: the upper half of a float32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", number))
    bits += 0x7FFF + (bits >> 16 & 1)
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]
