"""Video files, written and read as streams; the only room that opens them.

Knows nothing of models or prompts. Pictures are uint8 RGB arrays (H, W, 3), several of them (F, H, W, 3)."""

from longtake.video.frame import Fit, Pictures
from longtake.video.photo import read_photo
from longtake.video.rate import same_rate
from longtake.video.reader import (
    TimedPicture,
    VideoInfo,
    probe,
    read_frames,
    read_timed,
    resampled,
)
from longtake.video.writer import VideoWriter, check_output, film_bytes, part_path

__all__ = [
    "Fit",
    "Pictures",
    "TimedPicture",
    "VideoInfo",
    "VideoWriter",
    "check_output",
    "film_bytes",
    "part_path",
    "probe",
    "read_frames",
    "read_photo",
    "read_timed",
    "resampled",
    "same_rate",
]
