"""Does the film move, how, and does it come back to where it was?

Flow is OpenCV's DIS (Kroeger et al., arXiv 1603.03590, preset medium), on pictures whose shorter side is at most 256
pixels: larger ones are shrunk to that. Pictures with a side of less than 16 pixels have no flow.

H W height and width in pixels
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import slices_of
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.series import mean, means

SHORTER_SIDE, SMALLEST_SIDE = 256, 16  # pixels
LOOKS = 8  # pictures a second that are compared, as VBench does for motion
LARGE = 6.0  # the motion from which on VBench calls a transition dynamic
FASTEST = 0.05  # the share of pixels that VBench takes a picture's motion from
CELLS = 8  # a side, into which a picture is divided to see whether it changes anywhere
STILL = 1.0  # grey levels
THUMBNAIL = (16, 9)
EARLIER = 2.0  # seconds that an earlier moment is ago at least
MEMORY = 600.0  # seconds after which a moment is forgotten
ROUNDING = 0.1  # grey levels: pictures that differ by less are the same

Flow = NDArray[np.float32]  # (H, W, 2), in pixels to the right and down


class OpticalFlow:
    """How far things move, and how evenly.

    motion: of the pictures at eight a second, the mean length of the largest 5 % of flow vectors from one to the next,
    in 256ths of the shorter side per eighth of a second. 0 upwards. dynamic_degree: 1 if at least a quarter of these
    transitions have a motion above 6, else 0; of the film, the mean over its two-second slices. This is VBench's and
    VBench-Long's dynamic degree but for the flow, theirs being RAFT's. smoothness: each odd frame is made from its two
    neighbours, along the flow between them; 1 − the mean absolute difference to the frame that was there, as VBench
    does with the network AMT. 0 to 1."""

    blind_spots = (
        "DIS sees no motion where there is no texture, and loses things that move by much of their own size between two"
        " looks; both make for smaller numbers than RAFT's. Noise is motion; a still picture is smooth."
    )
    about: Mapping[str, About] = {
        "dynamic_degree": About("dynamic degree, DIS", "share", "higher"),
        "motion": About("motion of the fastest 5 %", "1/256 side per 1/8 s", "neither"),
        "smoothness": About("smoothness, DIS", "0 to 1", "higher"),
    }

    def __init__(self, fps: Fraction | float) -> None:
        self.fps = fps
        self.step = max(1, round(fps / LOOKS))
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._motion: list[float] = []  # a number each frame; NaN for those that are not looked at
        self._smoothness: list[float] = []
        self._looked_at: Frames | None = None
        self._last: list[Frames] = []  # the two frames before

    def push(self, frames: Frames) -> None:
        for picture in map(shrunk, frames):
            number = len(self._motion)
            self._motion.append(math.nan)
            self._smoothness.append(math.nan)
            if min(picture.shape[:2]) < SMALLEST_SIDE:
                continue
            if number % self.step == 0:
                if self._looked_at is not None:
                    self._motion[-1] = self._motion_between(self._looked_at, picture)
                self._looked_at = picture
            if number % 2 == 0 and number:
                before, dropped = self._last
                made = halfway(before, picture, self._flow(before, picture))
                self._smoothness[-2] = float(1 - np.abs(made - dropped).mean() / 255)
            self._last = [*self._last[-1:], picture]

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {
            "dynamic_degree": np.array([self._is_dynamic(part) for part in slices]),
            "motion": means(self._motion, slices, lead=self.step),
            "smoothness": means(self._smoothness, slices, lead=1, trail=1),
        }

    def totals(self) -> dict[str, float]:
        length = len(self._motion)
        slices = slices_of(length, self.fps) or [slice(0, length)]
        return {
            "dynamic_degree": mean([self._is_dynamic(part) for part in slices]),
            "motion": mean(self._motion),
            "smoothness": mean(self._smoothness),
        }

    def _is_dynamic(self, part: slice) -> float:
        motion = np.array(self._motion[part.start + self.step : part.stop])
        known = motion[~np.isnan(motion)]
        if not len(known):
            return math.nan
        looks = len(known) + 1
        return float((known > LARGE).sum() >= max(1, round(looks / 4)))

    def _flow(self, a: Frames, b: Frames) -> Flow:
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (a, b)]
        return self._dis.calc(*grey, None)  # type: ignore[call-overload]

    def _motion_between(self, a: Frames, b: Frames) -> float:
        lengths = np.linalg.norm(self._flow(a, b), axis=-1)
        fastest = int(FASTEST * lengths.size)
        longest = np.partition(lengths, -fastest, axis=None)[-fastest:]
        return float(longest.mean()) * 256 / min(lengths.shape) / max(1.0, LOOKS / float(self.fps))


class Freezing:
    """freeze_share: the share of transitions, at eight pictures a second, in which no cell of an 8 × 8 grid over the
    picture changes by one of 255 grey levels on average. 0 to 1.

    Why one level: of pictures held for four seconds and encoded by longtake's H.264, nine in ten transitions are below
    it (what is above are the encoder's key frames); of the slowest renders of the tracking-shot world, at night and in
    fog, none, raw (1.1 and more) or encoded (1.8); of five camera films none (2.8). Over a single frame at 24 a second
    the two would overlap."""

    blind_spots = (
        "grain moves in a frozen picture too, and so does a freeze that fades; a still life is frozen."
    )
    about: Mapping[str, About] = {"freeze_share": About("frozen transitions", "share", "lower")}

    def __init__(self, fps: Fraction | float) -> None:
        self.step = max(1, round(fps / LOOKS))
        self._frozen: list[float] = []
        self._looked_at: Frames | None = None

    def push(self, frames: Frames) -> None:
        for picture in frames:
            number = len(self._frozen)
            self._frozen.append(math.nan)
            if number % self.step == 0:
                if self._looked_at is not None:
                    self._frozen[-1] = float(busiest_cell(self._looked_at, picture) < STILL)
                self._looked_at = picture

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {"freeze_share": means(self._frozen, slices, lead=self.step)}

    def totals(self) -> dict[str, float]:
        return {"freeze_share": mean(self._frozen)}


class Looping:
    """loop_score: is a moment more like an earlier one than like its own neighbours?

    Of thumbnails of 16 × 9 pixels, eight a second: near / (near + far), with near the mean absolute difference to the
    more similar of the two next to it, far that to the most similar one between two seconds and ten minutes earlier
    (each 0.1 grey levels more, so that rounding decides nothing). 0 to 1: towards 0 where all is new, 0.5 where time
    makes no difference, as in a frozen film, towards 1 where the film repeats itself. NaN in the first two seconds.

    A moment costs some 4,800 comparisons of 432 numbers at most, and a film 8 MB, however long it is. memory: in
    seconds, in place of the ten minutes."""

    blind_spots = (
        "a still camera sees few new moments; the longer a film, up to ten minutes, the more there is to be like; what"
        " comes back after more than ten minutes; a repetition of part of the picture alone."
    )
    about: Mapping[str, About] = {"loop_score": About("likeness to earlier moments", "0 to 1", "lower")}

    def __init__(self, fps: Fraction | float, memory: float = MEMORY) -> None:
        self.step = max(1, round(fps / LOOKS))
        self.ago = math.ceil(EARLIER * fps / self.step)
        self._num_frames = 0
        self._scores: list[float] = []  # of each moment but the last
        self._recent: deque[NDArray[np.float32]] = deque()  # the last `ago` thumbnails
        self._earlier = np.empty((round(memory * fps / self.step), 3 * math.prod(THUMBNAIL)), np.float32)
        self._num_earlier = 0  # the newest take the place of the oldest

    def push(self, frames: Frames) -> None:
        for picture in frames[-self._num_frames % self.step :: self.step]:
            small = cv2.resize(picture.astype(np.float32), THUMBNAIL, interpolation=cv2.INTER_AREA).ravel()
            if self._recent:
                self._scores.append(self._score([small]))
            if len(self._recent) == self.ago:
                self._earlier[self._num_earlier % len(self._earlier)] = self._recent.popleft()
                self._num_earlier += 1
            self._recent.append(small)
        self._num_frames += len(frames)

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {"loop_score": means(self._by_frame(), slices)}

    def totals(self) -> dict[str, float]:
        return {"loop_score": mean(self._by_frame())}

    def _score(self, following: Sequence[NDArray[np.float32]]) -> float:
        """Of the newest moment, by the one that follows it, if any."""
        if not self._num_earlier:
            return math.nan
        moment, beside = self._recent[-1], np.stack([self._recent[-2], *following])
        near, far = (
            float(np.abs(others - moment).mean(-1).min()) + ROUNDING
            for others in (beside, self._earlier[: self._num_earlier])
        )
        return near / (near + far)

    def _by_frame(self) -> list[float]:
        """A number each frame, NaN for those that are not looked at."""
        scores = [math.nan] * self._num_frames
        scores[:: self.step] = [*self._scores, self._score([])]
        return scores


def shrunk(picture: Frames) -> Frames:
    """The picture, or a smaller one whose shorter side has SHORTER_SIDE pixels."""
    height, width = picture.shape[:2]
    scale = SHORTER_SIDE / min(height, width)
    if scale >= 1:
        return picture
    size = round(width * scale), round(height * scale)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def halfway(a: Frames, b: Frames, flow: Flow) -> NDArray[np.float32]:
    """The picture in the middle between a and b, each followed along half of the flow from a to b."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    sides: list[NDArray[np.float32]] = [
        cv2.remap(
            side.astype(np.float32),
            x + sign * flow[..., 0] / 2,
            y + sign * flow[..., 1] / 2,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        for side, sign in ((a, -1), (b, 1))
    ]
    return (sides[0] + sides[1]) * np.float32(0.5)


def busiest_cell(a: Frames, b: Frames) -> float:
    """The largest mean absolute difference, in grey levels, of a cell of CELLS × CELLS."""
    difference = cv2.absdiff(a, b).astype(np.float32)
    return float(cv2.resize(difference, (CELLS, CELLS), interpolation=cv2.INTER_AREA).mean(-1).max())
