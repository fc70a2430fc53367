"""Films compared by what they show: two of them differ in their file by how long they took."""

from pathlib import Path

import av

from longtake.provenance import followed
from longtake.video import probe

Packets = list[tuple[int | None, bool, bytes]]


def packets(path: str | Path) -> Packets:
    """The coded pictures of a film: for each its time, whether it is a key frame, and its bytes."""
    with av.open(str(path), format="mp4") as container:
        stream = container.streams.video[0]
        return [(p.pts, p.is_keyframe, bytes(p)) for p in container.demux(stream) if p.size]


def same_film(one: str | Path, other: str | Path) -> bool:
    """Whether two files hold the same coded pictures, at least one, and say that they follow from the same."""
    told = [followed(probe(path).metadata) for path in (one, other)]
    return bool(packets(one)) and packets(one) == packets(other) and told[0] == told[1]
