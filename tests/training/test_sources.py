"""Finding captioned film: every layout, what is skipped, and what is refused."""

import csv
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
from longtake.files import printable
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


def test_names_count_as_one_however_they_are_spelt(tmp_path: Path) -> None:
    """Guards cameras' A.MP4 with A.TXT, macOS's é against others', and archives from Windows, beside films and in
    shards; names that differ in more are not the same."""
    files: dict[str, str | bytes] = {
        "A.MP4": b"1",
        "A.TXT": "capital",
        "b.Mov": b"2",
        "b.txt": "mixed",
        "e\u0301.mkv": b"3",
        "é.txt": "composed",
        "clips\\c.webm": b"4",
        "clips/c.txt": "from Windows",
        "d.mp4": b"5",
        "D.txt": "another",
    }
    expected = {
        "A.MP4": "capital",
        "b.Mov": "mixed",
        "e\u0301.mkv": "composed",
        "clips\\c.webm": "from Windows",
    }
    lay(tmp_path / "beside", files)
    assert captions(tmp_path / "beside") == expected
    assert reasons(tmp_path / "beside") == {
        "d.mp4": "has no caption d.txt beside it",
        "D.txt": "has no video (mkv, mov, mp4, webm) beside it",
    }
    lay(tmp_path / "shards", {"0.TAR": tar({**files, "./f.MP4": b"6", "f.JSON": '{"text": "json"}'})})
    shard = {f"0.TAR/{name}": caption for name, caption in expected.items()}
    assert captions(tmp_path / "shards") == shard | {"0.TAR/./f.MP4": "json"}
    assert [content(clip) for clip in find_clips(tmp_path / "shards")[0]] == [b"1", b"2", b"3", b"4", b"6"]


def test_names_that_become_the_same_are_told(tmp_path: Path) -> None:
    """Guards against one of two that is taken without a word: films and captions, beside one another and in shards."""
    files: dict[str, str | bytes] = {
        "a.mp4": b"1",
        "a.MP4": b"2",
        "a.txt": "a",
        "b.mp4": b"3",
        "b.TXT": "one",
        "b.txt": "two",
        "c.mp4": b"4",
        "c.txt": "whole",
    }
    twice = "which count as one name: keep one of them"
    expected = {
        "a.MP4": f"is there 2 times, as a.MP4 and a.mp4, {twice}",
        "a.mp4": f"is there 2 times, as a.MP4 and a.mp4, {twice}",
        "b.mp4": f"has a caption 2 times, as b.TXT and b.txt, {twice}",
    }
    lay(tmp_path / "beside", files)
    assert captions(tmp_path / "beside") == {"c.mp4": "whole"} and reasons(tmp_path / "beside") == expected
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        for name, data in [("a.mp4", b"1"), ("a.txt", b"a"), ("./a.mp4", b"2"), *[("c.mp4", b"3")] * 2]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    lay(tmp_path / "shards", {"0.tar": shard.getvalue(), "1.tar": tar({"d.mp4": b"4", "d.txt": "d"})})
    assert captions(tmp_path / "shards") == {"1.tar/d.mp4": "d"}
    assert reasons(tmp_path / "shards") == {
        "0.tar/a.mp4": f"is there 2 times, as a.mp4 and ./a.mp4, {twice}",
        "0.tar/./a.mp4": f"is there 2 times, as a.mp4 and ./a.mp4, {twice}",
        "0.tar/c.mp4": f"is there 2 times, as c.mp4, {twice}",
    }


def test_hidden_files_are_passed_over_and_said_once(tmp_path: Path) -> None:
    """Guards against notebooks' copies, resource forks and thumbnails as film, on disk and in shards."""
    files: dict[str, str | bytes] = {"a.mp4": b"1", "a.txt": "a car"}
    for hidden in ("._a", ".ipynb_checkpoints/a-checkpoint", "__MACOSX/._a", "b/@eaDir/a", ".trash/a"):
        files |= {f"{hidden}.mp4": b"0", f"{hidden}.txt": "hidden"}
    lay(tmp_path / "beside", {**files, ".DS_Store": b""})
    assert captions(tmp_path / "beside") == {"a.mp4": "a car"}
    assert reasons(tmp_path / "beside") == {".DS_Store": "is hidden or a system's own (7 in all)"}
    lay(tmp_path / "shards", {"0.tar": tar(files), ".1.tar": b""})
    assert captions(tmp_path / "shards") == {"0.tar/a.mp4": "a car"}
    assert reasons(tmp_path / "shards") == {".1.tar": "is hidden or a system's own (11 in all)"}


def test_folders_are_walked_through_links(tmp_path: Path) -> None:
    """Guards film that lies elsewhere, and the walk against circles, broken links and pipes: all are said."""
    lay(tmp_path / "far", {"a.mp4": b"1", "a.txt": "a car"})
    (tmp_path / "film").mkdir()
    for name, target in {"a": "far", "b": "far", "up": ".", "gone.mp4": "nothing"}.items():
        (tmp_path / "film" / name).symlink_to(tmp_path / target)
    (tmp_path / "film" / "c.mp4").symlink_to(tmp_path / "far" / "a.mp4")
    (tmp_path / "film" / "c.txt").symlink_to(tmp_path / "far" / "a.txt")
    os.mkfifo(tmp_path / "film" / "pipe.mp4")
    os.mkfifo(tmp_path / "film" / "pipe.txt")
    (tmp_path / "film" / "folder.mp4").mkdir()
    assert captions(tmp_path / "film") == {"a/a.mp4": "a car", "c.mp4": "a car"}
    assert reasons(tmp_path / "film") == {
        "b": "is the same folder as a",
        "gone.mp4": "is a broken link",
        "pipe.mp4": "is a pipe, a socket or a device",
        "pipe.txt": "is a pipe, a socket or a device",
        "up": "is the same folder as a folder that it lies in",
    }


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl", "Metadata.CSV", "METADATA.JSONL"])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("./clips/a.mp4", "clips/a.mp4"),
        ("clips\\a.mp4", "clips/a.mp4"),
        (".\\clips\\\\a.mp4", "clips/a.mp4"),
        ("clips//./a.mp4", "clips/a.mp4"),
        ("clips\\a.mp4", "clips\\a.mp4"),
        ("clips/a.MP4", "clips/a.mp4"),
        ("e\u0301.mp4", "é.mp4"),
        ("é.mp4", "e\u0301.mp4"),
        ("a:b.mp4", "a:b.mp4"),
        ("http:x.mp4", "http:x.mp4"),
        ("a, b.mp4", "a, b.mp4"),
        (" a.mp4", " a.mp4"),
        ('a\n"b".mp4', 'a\n"b".mp4'),
    ],
)
def test_tables_name_files_as_other_systems_spell_them(
    tmp_path: Path, table: str, name: str, file: str
) -> None:
    """Guards tables that were written elsewhere; the clip has the name of the file that is there."""
    lay(tmp_path, {file: b"1"})
    if table.lower().endswith("csv"):
        text = io.StringIO()
        csv.writer(text).writerows([["file_name", "text"], [name, "a car"]])
        (tmp_path / table).write_text(text.getvalue(), newline="")
    else:
        (tmp_path / table).write_text(json.dumps({"file_name": name, "text": "a car"}))
    (clip,) = find_clips(tmp_path)[0]
    assert (clip.name, clip.path) == (printable(file), tmp_path / file) and content(clip) == b"1"


def test_a_table_that_could_mean_either_is_refused(tmp_path: Path) -> None:
    """Guards against a guess: the exact name is taken, another spelling of two is an error."""
    lay(tmp_path, {"é.mp4": b"1", "e\u0301.mp4": b"2", "metadata.csv": "file_name,text\né.mp4,a car"})
    assert captions(tmp_path) == {"é.mp4": "a car"}
    assert reasons(tmp_path) == {"e\u0301.mp4": "is not in the metadata.csv"}
    lay(tmp_path, {"metadata.csv": "file_name,text\né.MP4,a car"})
    with pytest.raises(DataError, match=r"line 2 names 'é\.MP4', which is there 2 times, as"):
        find_clips(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        "file_name,text\r\n\r\nclip.mp4,a car\r\n\r\n,\r\n",
        "file_name,text,\nclip.mp4,a car,\n",
        " file_name , text \nclip.mp4,a car\n",
        '"file_name","text"\n"clip.mp4","a car"\n , \n',
        "file_name,text\nclip.mp4,a car,,\n",
    ],
)
def test_what_spreadsheets_put_around_rows_does_no_harm(tmp_path: Path, table: str) -> None:
    """Guards blank lines and rows, commas behind the last cell, spaces around columns, line ends of Windows."""
    (lay(tmp_path, {"clip.mp4": b"0"}) / "metadata.csv").write_bytes(table.encode())
    assert captions(tmp_path) == {"clip.mp4": "a car"}


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
    "semicolons": (
        {**GOOD, "metadata.csv": "file_name;text\nclip.mp4;a car"},
        "its columns are separated by semicolons, save it with commas",
    ),
    "tabs": ({**GOOD, "metadata.csv": "file_name\ttext\nclip.mp4\ta car"}, "are separated by tabs, save"),
    "UTF-16 csv": (
        {**GOOD, "metadata.csv": "file_name,text\nclip.mp4,a car".encode("utf-16")},
        "metadata.csv is in UTF-16: save it as UTF-8",
    ),
    "UTF-16 jsonl": ({**GOOD, "metadata.jsonl": "{}".encode("utf-16")}, "is in UTF-16: save it as UTF-8"),
    "commas": (
        {**GOOD, "metadata.csv": "file_name,text\nclip.mp4,a car, at dawn"},
        "line 2 has more cells than the table has columns: put text that holds commas in quotes",
    ),
    "open quote": (
        {**GOOD, "metadata.csv": 'file_name,text\nclip.mp4,"a car\nb.mp4,a bus\n'},
        "cannot be read as a table",
    ),
    "NUL": ({**GOOD, "metadata.csv": "file_name,text\ncl\0ip.mp4,a car"}, "metadata.csv"),
    "an array": (
        {**GOOD, "metadata.jsonl": '[{"file_name": "clip.mp4", "text": "a car"}]'},
        'line 1 is not a JSON object: a line is {"file_name": "clip.mp4", "text": "what it shows"}',
    ),
    "an array of lines": ({**GOOD, "metadata.jsonl": "[\n{}\n]"}, "line 1 is not JSON: a line is"),
    "tables in two cases": (
        {**GOOD, "metadata.csv": "", "Metadata.csv": ""},
        "both metadata.csv and Metadata.csv: keep one",
    ),
    "only hidden": ({".clip.mp4": b"0", ".clip.txt": "a car"}, r"is hidden or a system's own \(2 in all\)"),
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
