"""Finding captioned film: every layout, what is skipped, and what is refused."""

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import DataError
from longtake.training.sources import SourceClip, find_clips


def lay(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files, by their paths in a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tar(members: Mapping[str, str | bytes | tarfile.TarInfo]) -> bytes:
    """A tar file of contents, or of ready-made headers, by their names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as shard:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                shard.addfile(content)
            else:
                data = content.encode() if isinstance(content, str) else content
                info = tarfile.TarInfo(name)
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
    return file.getvalue()


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def content(clip: SourceClip) -> bytes:
    with clip.open() as file:
        return file.read()


def captions(folder: Path) -> dict[str, str]:
    return {clip.name: clip.caption for clip in find_clips(folder)[0]}


def reasons(folder: Path) -> dict[str, str]:
    return {item.name: item.reason for item in find_clips(folder)[1]}


def test_captions_beside_video_files(tmp_path: Path) -> None:
    """Guards names with spaces, dots, other alphabets and upper-case suffixes, folders in folders, a stable order."""
    lay(
        tmp_path,
        {
            "b.mp4": b"1",
            "b.txt": "a car\n",
            "a film.v2.MKV": b"22",
            "a film.v2.txt": "\ufeffa  red\n bus ",
            "reise/Überfahrt ☂.webm": b"333",
            "reise/Überfahrt ☂.txt": "ein Schiff",
            "z.mov": b"4444",
            "z.txt": "the end",
            "notes.txt": "no film",
        },
    )
    clips, skipped = find_clips(tmp_path)
    assert [(clip.name, clip.caption, clip.num_bytes) for clip in clips] == [
        ("a film.v2.MKV", "a red bus", 2),
        ("b.mp4", "a car", 1),
        ("reise/Überfahrt ☂.webm", "ein Schiff", 3),
        ("z.mov", "the end", 4),
    ]
    assert [item.name for item in skipped] == ["notes.txt"] and content(clips[2]) == b"333"


def test_a_video_without_a_caption_is_skipped(tmp_path: Path) -> None:
    """Guards that one bad caption neither stops the rest nor goes unsaid."""
    texts: dict[str, str | bytes] = {"a.txt": "a car", "b.txt": " \n", "c.txt": b"\xff\xfe"}
    lay(tmp_path, {**texts, **{f"{name}.mp4": b"0" for name in "abcd"}})
    assert captions(tmp_path) == {"a.mp4": "a car"}
    assert reasons(tmp_path) == {
        "b.mp4": "has no caption",
        "c.mp4": "has a caption that is not UTF-8",
        "d.mp4": "has no caption d.txt beside it",
    }


def test_a_caption_without_a_video_is_skipped(tmp_path: Path) -> None:
    """Guards against captioned videos of other kinds that are left out without a word."""
    lay(tmp_path, {name: b"0" for name in ("a.mp4", "a.txt", "b.avi", "b.txt", "c.txt")})
    assert list(captions(tmp_path)) == ["a.mp4"]
    assert reasons(tmp_path) == {
        name: "has no video (mkv, mov, mp4, webm) beside it" for name in ("b.txt", "c.txt")
    }


@pytest.mark.parametrize("column", ["text", "caption"])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_table_of_captions(tmp_path: Path, kind: str, column: str) -> None:
    """Guards both kinds of table and both names of the column; files that the table leaves out are reported."""
    rows = [("one.mp4", 'a "red", loud car'), ("deep/zwei ü.mkv", "two\nlines"), ("three.mp4", "")]
    if kind == "jsonl":
        lines = [json.dumps({"file_name": name, column: text, "seconds": 3}) for name, text in rows]
        table = "\n".join(lines) + "\n\n"
    else:
        lines = [f'{name},3,"{text.replace(chr(34), chr(34) * 2)}"' for name, text in rows]
        table = f"\ufefffile_name,seconds,{column}\r\n" + "\r\n".join(lines)
    lay(tmp_path, {f"metadata.{kind}": table, "left.mp4": b"0", **{name: b"0" for name, _ in rows}})
    assert captions(tmp_path) == {"one.mp4": 'a "red", loud car', "deep/zwei ü.mkv": "two lines"}
    assert reasons(tmp_path) == {
        "three.mp4": "has no caption",
        "left.mp4": f"is not in the metadata.{kind}",
    }


def test_tar_shards(tmp_path: Path) -> None:
    """Guards WebDataset's layout: members are read where they lie, and links, devices and odd names open nothing."""
    first: dict[str, str | bytes | tarfile.TarInfo] = {
        "b.mp4": b"bb",
        "b.txt": "a car",
        "a.webm": b"a",
        "a.json": '{"caption": "a bus", "id": 3}',
        "silent.mp4": b"0",
        "odd.mp4": b"0",
        "odd.json": '["text"]',
        "number.mp4": b"0",
        "number.json": '{"text": 7}',
        "link.mp4": link(tarfile.SYMTYPE, "/etc/passwd"),
        "hard.mp4": link(tarfile.LNKTYPE, "b.mp4"),
        "device.mp4": link(tarfile.CHRTYPE, ""),
        "pipe.mp4": link(tarfile.FIFOTYPE, ""),
    }
    second: dict[str, str | bytes | tarfile.TarInfo] = {
        "../../b.mp4": b"outside",
        "../../b.txt": "a name like any other",
    }
    files = {"x-000.tar": tar(first), "x-001.tar": tar(second), "x-002.tar": b"no tar" * 99, "c.mp4": b"0"}
    lay(tmp_path, files)
    clips, _ = find_clips(tmp_path)
    assert [(clip.name, clip.caption, content(clip)) for clip in clips] == [
        ("x-000.tar/b.mp4", "a car", b"bb"),
        ("x-000.tar/a.webm", "a bus", b"a"),
        ("x-001.tar/../../b.mp4", "a name like any other", b"outside"),
    ]
    found = reasons(tmp_path)
    assert found.pop("x-002.tar").startswith("cannot be read as a tar file")
    assert found == {
        "x-000.tar/silent.mp4": "has no .txt or .json of its name in the shard",
        "x-000.tar/odd.mp4": "is not a JSON object",
        "x-000.tar/number.mp4": "has a caption that is not text",
        "c.mp4": "is not in the tar shards",
    }


def test_a_clip_that_has_gone_is_an_error(tmp_path: Path) -> None:
    """Guards against a traceback for a file that was deleted after it was found."""
    lay(tmp_path, {"a.mp4": b"0", "a.txt": "a car"})
    ((clip,), _) = find_clips(tmp_path)
    clip.path.unlink()
    with pytest.raises(DataError, match="cannot be opened"):
        content(clip)


GOOD: dict[str, str | bytes] = {"clip.mp4": b"0", "clip.txt": "a car"}
WRONG: dict[str, tuple[dict[str, str | bytes], str]] = {
    "nothing": ({}, "no captioned film in .*clip.txt"),
    "only text": ({"clip.txt": "a car"}, "no captioned film"),
    "no captions": ({"clip.mp4": b"0"}, "clip.mp4 has no caption clip.txt beside it: it needs"),
    "two tables": (
        {**GOOD, "metadata.csv": "", "metadata.jsonl": ""},
        "both metadata.jsonl and metadata.csv: keep one",
    ),
    "shards and a table": ({"a.tar": tar({}), "metadata.csv": ""}, "both tar shards and metadata.csv"),
    "empty shard": ({"a.tar": tar({})}, "no captioned film"),
    "empty csv": ({**GOOD, "metadata.csv": ""}, "needs the columns file_name and text, not none"),
    "columns": ({**GOOD, "metadata.csv": "file,text\nclip.mp4,a car"}, "needs the columns .* not file, text"),
    "no text": ({**GOOD, "metadata.csv": "file_name\nclip.mp4"}, "needs the columns"),
    "latin 1": (
        {**GOOD, "metadata.csv": b"file_name,text\nclip.mp4,\xe4"},
        "cannot be read as a table in UTF-8",
    ),
    "missing": (
        {**GOOD, "metadata.csv": "file_name,text\ncl\u00fcp.mp4,a car"},
        "line 2 names 'clüp.mp4', which is not",
    ),
    "twice": (
        {**GOOD, "metadata.csv": "file_name,text\nclip.mp4,a\n./clip.mp4,b"},
        "line 3 names .* a second time",
    ),
    "no JSON": ({**GOOD, "metadata.jsonl": "\n{"}, "metadata.jsonl line 2 is not JSON"),
    "no object": ({**GOOD, "metadata.jsonl": "3"}, "line 1 is not a JSON object"),
    "no name": ({**GOOD, "metadata.jsonl": '{"text": "a car"}'}, "line 1: file_name is missing"),
    "odd name": ({**GOOD, "metadata.jsonl": '{"file_name": 3, "text": "a car"}'}, "file_name is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_folders_that_cannot_be_used_say_why(tmp_path: Path, case: str) -> None:
    """Guards each refusal: one line, and what to do."""
    files, words = WRONG[case]
    with pytest.raises(DataError, match=words) as error:
        find_clips(lay(tmp_path, files))
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Guards the commonest slip of all."""
    with pytest.raises(DataError, match="no folder"):
        find_clips(tmp_path / "missing")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../clip.mp4",
        "a/../../clip.mp4",
        "..\\clip.mp4",
        "C:\\clip.mp4",
        "\\\\host\\clip.mp4",
        "https://host/clip.mp4",
        "file:///etc/passwd",
    ],
)
def test_a_table_names_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    """Guards against tables that make the reader open other files, or the network."""
    lay(tmp_path, {"clip.mp4": b"0", "films/metadata.jsonl": json.dumps({"file_name": name, "text": "a"})})
    with pytest.raises(DataError, match="must be a path inside"):
        find_clips(tmp_path / "films")


names = st.sampled_from(["clip.mp4", "no.mp4", "../clip.mp4", "", "\0", "a" * 300, "\ud800"]) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
rows = st.dictionaries(st.sampled_from(["file_name", "text", "caption", "x"]), values).map(json.dumps)
tables = st.binary() | st.lists(rows | st.text(), max_size=3).map(
    lambda lines: "\n".join(lines).encode(errors="replace")
)
headed = st.builds(
    lambda text: b"file_name,text\n" + text.encode(errors="replace"), st.text("\"',\n\r\0\\clip.mp4ü")
)


@given(table=tables | headed, kind=st.sampled_from(["jsonl", "csv"]), deep=st.booleans())
def test_garbage_in_a_table_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, table: bytes, kind: str, deep: bool
) -> None:
    """Guards the parsers: whatever a table holds, it is captions or a DataError of one line that can be printed."""
    folder = tmp_path_factory.getbasetemp() / "garbage"
    for old in folder.glob("metadata.*"):
        old.unlink()
    lay(folder, {"clip.mp4": b"0", f"metadata.{kind}": b"[" * 100_000 if deep else table})
    try:
        clips, skipped = find_clips(folder)
    except DataError as error:
        assert "\n" not in str(error) and str(error).encode()
    else:
        assert all(clip.caption.encode() and os.path.isfile(clip.path) for clip in clips)
        assert all(item.reason for item in skipped)


def damaged(data: bytes, places: list[tuple[int, int]]) -> bytes:
    copy = bytearray(data)
    for place, value in places:
        copy[place % len(copy)] = value
    return bytes(copy)


places = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8)


@given(places=places, length=st.integers(0, 4000))
def test_garbage_in_a_shard_is_skipped(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], length: int
) -> None:
    """Guards the reader of shards: damaged ones are reported, and the whole one beside them is used."""
    folder = tmp_path_factory.getbasetemp() / "shards"
    whole = tar({"a.mp4": b"0" * 600, "a.json": '{"text": "a car"}', "b.mp4": b"0", "b.txt": "a bus"})
    lay(folder, {"0.tar": whole, "1.tar": damaged(whole, places)[:length]})
    clips, skipped = find_clips(folder)
    assert [clip.name for clip in clips[:2]] == ["0.tar/a.mp4", "0.tar/b.mp4"]
    for clip in clips:
        assert len(content(clip)) <= 600 or clip.name.startswith("1.tar")
    assert all(isinstance(item.reason, str) for item in skipped)
