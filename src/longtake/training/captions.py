"""Captions: the rows of a table, metadata.jsonl or metadata.csv, and the text of one. DataError for what is neither."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from longtake.errors import DataError

TABLES = ("metadata.jsonl", "metadata.csv")  # in any case
CAPTION_COLUMNS = ("text", "caption")
SEPARATORS = {";": "semicolons", "\t": "tabs"}

Row = dict[str, Any]


def rows_of(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a table, each behind where it stands. Rows without any text are passed over."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} is in UTF-16: save it as UTF-8")
    return (_json_lines if path.suffix.lower() == ".jsonl" else _csv_rows)(path, raw)


def _json_lines(path: Path, raw: bytes) -> Iterator[tuple[str, Row]]:
    lines = raw.removeprefix(codecs.BOM_UTF8).split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"{path} line {number}"
            try:
                yield place, json_object(line)
            except DataError as error:
                raise DataError(
                    f'{place} {error}: a line is {{"file_name": "clip.mp4", "text": "what it shows"}}'
                ) from error


def _csv_rows(path: Path, raw: bytes) -> Iterator[tuple[str, Row]]:
    try:
        text = raw.decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [column.strip() for column in rows.fieldnames or ()]
        rows.fieldnames = columns
        if "file_name" not in columns or not {*CAPTION_COLUMNS} & {*columns}:
            raise DataError(f"{path} needs the columns file_name and text, not {_told(columns)}")
        for row in rows:
            place, surplus = f"{path} line {rows.line_num}", row.pop(None, [])
            if any(surplus):
                raise DataError(
                    f"{place} has more cells than the table has columns: put text that holds commas in quotes"
                )
            if any((cell or "").strip() for cell in row.values()):
                yield place, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8 ({error})") from error


def _told(columns: list[str]) -> str:
    """The columns of a table that are not the right ones."""
    for separator, name in SEPARATORS.items():
        if any(separator in column for column in columns):
            return f"{', '.join(columns)}: its columns are separated by {name}, save it with commas"
    return ", ".join(columns) or "none"


def json_object(raw: bytes) -> Row:
    try:
        content = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError("is not JSON") from error
    if not isinstance(content, dict):
        raise DataError("is not a JSON object")
    return content


def caption_of_row(row: Mapping[str, Any]) -> str:
    caption = next((row[column] for column in CAPTION_COLUMNS if row.get(column)), "")
    if not isinstance(caption, str):
        raise DataError("has a caption that is not text")
    return caption_of(caption.encode(errors="surrogatepass"))


def caption_of(raw: bytes) -> str:
    """A caption on one line."""
    try:
        caption = " ".join(raw.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError("has a caption that is not UTF-8") from error
    if not caption:
        raise DataError("has no caption")
    return caption
