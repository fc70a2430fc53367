"""What has changed of film since it was prepared, or since a run began to learn from it: told by the clips' names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from longtake.errors import OutputError
from longtake.files import contents, is_text
from longtake.training.data import MANIFEST, FileRecord, Manifest, read_stored, record_path
from longtake.training.sources import Skipped, SourceClip, find_clips

LISTING = "source.json"  # of a prepared folder: names, sizes and captions of the clips it is made of
FILM = "film.json"  # of a run: the manifest of the film that it learns from
TOLD = 3  # changes that are named; others are counted

Facts = Mapping[str, object]  # what is known of a clip, by what it is called when it has changed


def listing(clips: Iterable[SourceClip]) -> bytes:
    """The names, sizes and captions of clips. Its sha256 is a manifest's `source`."""
    return json.dumps([[clip.name, clip.num_bytes, clip.caption] for clip in clips]).encode()


def digest(rows: bytes) -> str:
    return hashlib.sha256(rows).hexdigest()


def check_target(target: Path, plan: Manifest, clips: list[SourceClip], skipped: Iterable[Skipped]) -> None:
    """OutputError for a target folder that was made for something else; nothing is changed."""
    if not is_text(target):
        raise OutputError(f"{target} is no name in UTF-8: take another folder")
    if os.path.exists(target / MANIFEST):
        old = read_stored(target / MANIFEST, Manifest)
        if is_useless(old):
            return
        same = ("vae", "text_encoder", "source", "dtype", "width", "height", "fps", "min_latents")
        others = [name for name in same if getattr(old, name) != getattr(plan, name)]
        if others:
            how = f" ({_changed(target, old, clips, skipped)})" if "source" in others else ""
            raise OutputError(
                f"{target} was prepared with another {', '.join(others)}{how}: take another folder or delete it"
            )
    elif any(path.suffix != ".part" for path in contents(target)):
        raise OutputError(f"{target} holds something else: take another folder")


def is_useless(manifest: Manifest) -> bool:
    """Whether a folder is finished and holds nothing to train on: it may be made anew."""
    return manifest.complete and not manifest.clips


def check_source(source: Path, target: Path) -> None:
    """OutputError, which names the clips, if video files are not those that a folder was prepared from."""
    manifest, (clips, skipped) = read_stored(target / MANIFEST, Manifest), find_clips(source)
    if digest(listing(clips)) != manifest.source:
        changed = _changed(target, manifest, clips, skipped)
    else:
        records = ((record_path(target, number), clip) for number, clip in enumerate(clips))
        others = [
            f"{clip.name} has another content"
            for path, clip in records
            if path.exists() and not is_same(read_stored(path, FileRecord), clip)
        ]
        if not others:
            return
        changed = _in_words(others)
    raise OutputError(
        f"{source} is not the film that {target} was prepared from: {changed}; put back what was there, or take"
        " another run"
    )


def is_same(record: FileRecord, clip: SourceClip) -> bool:
    """Whether a clip is what its record was made of."""
    return record.modified == clip.modified or (bool(record.sha256) and record.sha256 == clip.sha256())


def check_film(run: Path, manifest: Manifest) -> None:
    """OutputError, which names the clips, if a run has learnt from other film."""
    if not (run / FILM).exists():
        return
    old = read_stored(run / FILM, Manifest)
    if old == manifest:
        return
    others = [name for name in Manifest.model_fields if getattr(old, name) != getattr(manifest, name)]
    told = _in_words(_changes(_shots(old), _shots(manifest), {})) or "its clips come in another order"
    if {*others} - {"clips", "skipped", "source"}:
        told = f"prepared with another {', '.join(others)}"
    raise OutputError(f"{run} learns from other film: {told}; give the film as it was, or another run")


def _changed(
    target: Path, manifest: Manifest, clips: Sequence[SourceClip], skipped: Iterable[Skipped]
) -> str:
    """How clips differ from those that a folder was prepared from, in words."""
    new = {clip.name: {"another size": clip.num_bytes, "another caption": clip.caption} for clip in clips}
    old, otherwise = _listed(target / LISTING, manifest.source), "its clips come in another order"
    if old is None:  # it is older than listings are
        old, otherwise = (
            {clip.name: {"another caption": clip.caption} for clip in manifest.clips},
            "which is not known",
        )
        left_out = {
            name for item in manifest.skipped for name in (item.name, item.name.rpartition(" at ")[0])
        }
        new = {
            name: facts
            for name, facts in new.items()
            if name in old or (manifest.complete and name not in left_out)
        }
    return _in_words(_changes(old, new, {item.name: item.reason for item in skipped})) or otherwise


def _listed(path: Path, source: str) -> dict[str, Facts] | None:
    """The clips of a listing, None if it is not there or not what it was."""
    try:
        rows = path.read_bytes()
    except OSError:
        return None
    if digest(rows) != source:
        return None
    return {
        name: {"another size": size, "another caption": caption} for name, size, caption in json.loads(rows)
    }


def _shots(manifest: Manifest) -> dict[str, Facts]:
    """The clips of a manifest."""
    shots: dict[str, dict[str, object]] = {}
    for clip in manifest.clips:
        facts = shots.setdefault(clip.name, {"another caption": clip.caption, "other pictures": ()})
        facts["other pictures"] = facts["other pictures"], clip.start, clip.num_latents, clip.sha256
    return dict(shots)


def _changes(old: Mapping[str, Facts], new: Mapping[str, Facts], why: Mapping[str, str]) -> Iterator[str]:
    """What became of the old clips, and which are new, in words. why: reasons of those that are there, but left out."""
    for name, facts in old.items():
        if name not in new:
            yield f"{name} {why.get(name, 'is gone')}"
        else:
            for fact in facts:
                if facts[fact] != new[name][fact]:
                    yield f"{name} has {fact}"
    for name in new:
        if name not in old:
            yield f"{name} is new"


def _in_words(changes: Iterable[str]) -> str:
    told = list(changes)
    more = [f"and {len(told) - TOLD} changes more"] if len(told) > TOLD else []
    return ", ".join([*told[:TOLD], *more])
