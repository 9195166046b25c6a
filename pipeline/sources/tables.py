"""CSV and Parquet files that say of images which label and which split they have.

    path            of an image, from the root on
    label           name of its class; empty = none
    split           `train`, `val`, `test` or empty; the column may be left out

Other columns are ignored. CSV is UTF-8, with commas, semicolons or tabs, whichever part the first
line into columns. In Parquet the columns are text, labels perhaps whole numbers.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import UserError
from pipeline.sources.stamps import Stamps

if TYPE_CHECKING:
    import pyarrow

DELIMITERS = ",;\t"
COLUMNS = {"path": True, "label": True, "split": False}  # whether it must be there
PARQUET = b"PAR1"
FIX_TEXT = "save it as CSV in UTF-8, or as Parquet"
FIX_EMPTY = "add a line for each image, or leave it out of data.manifest"
FIX_TYPE = "store it as text"


class Row(NamedTuple):
    """What a table says of an image; texts are "" where it says nothing.

    Attributes:
        where: file and line, for messages; of Parquet the row, the first is 1.
    """

    where: str
    path: str
    label: str
    split: str


def read(root: Path, name: str) -> Iterator[Row | UserError]:
    """The rows of a table, and what is wrong with others.

    Args:
        name: of the file, from the root on; nothing outside of it is read.

    Raises:
        UserError: the file cannot be read as a table.
    """
    where = f"{root}/{name}"
    stamp = Stamps(root).of(name)
    if isinstance(stamp, str):
        raise UserError(where, stamp, "correct data.manifest, or put the file there")
    data = (root / name).read_bytes()
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        raise UserError(where, "is empty", FIX_EMPTY)
    rows = (_parquet if data.startswith(PARQUET) else _csv)(where, data)
    first = next(rows, None)
    if first is None:
        raise UserError(where, "names no images", FIX_EMPTY)
    yield from chain([first], rows)


def _csv(where: str, data: bytes) -> Iterator[Row | UserError]:
    records = _records(where, _text(where, data))
    first, names = next(records)
    columns = _columns(first, names)
    for line, values in records:
        if len(values) == len(names):
            yield _row(line, **{name: values[place] for name, place in columns.items()})
        else:
            what = f"has {len(values)} fields where the first line has {len(names)}"
            fix = "quote fields that hold the delimiter, or fill the line up"
            yield UserError(line, what, fix)


def _records(where: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """File and line where each record begins, and its fields; without blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    line = 1
    try:
        for values in reader:
            if values:
                yield f"{where}:{line}", values
            line = reader.line_num + 1
    except csv.Error as error:
        fix = "close its quotes, and write a quote within as two"
        raise UserError(f"{where}:{line}", f"is not CSV ({error})", fix) from None


def _text(where: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}:{line}", "is not UTF-8", FIX_TEXT) from None


def _delimiter(text: str) -> str:
    """That which finds most of the columns in the first line; the comma if all find as many."""
    names = next(iter(text.lstrip().splitlines()), "")

    def found(delimiter: str) -> int:
        return sum(name.strip(' "') in COLUMNS for name in names.split(delimiter))

    return max(DELIMITERS, key=found)


def _columns(where: str, names: list[str]) -> dict[str, int]:
    """Where each column stands.

    Raises:
        UserError: one is missing, there twice, or there under nearly its name.
    """
    names = [name.strip() for name in names]
    if len(names) == 1 and names[0] not in COLUMNS:
        fix = "begin with the line path,label; separate by commas, semicolons or tabs"
        raise UserError(where, f"has no columns but {names[0]!r}", fix)
    errors = []
    for name, needed in COLUMNS.items():
        others = [other for other in names if other and other not in COLUMNS]
        close = get_close_matches(name, others, n=1, cutoff=0.75)
        if names.count(name) > 1:
            errors.append(UserError(where, f"has {names.count(name)} columns '{name}'", "keep one"))
        elif name not in names and (needed or close):
            what = f"no column is called '{name}'; there are: {', '.join(others) or 'none'}"
            fix = f"rename '{close[0]}' to it" if close else "add it; its fields may be empty"
            errors.append(UserError(where, what, fix))
    if errors:
        raise UserError.all(errors)
    return {name: names.index(name) for name in COLUMNS if name in names}


def _row(where: str, path: str, label: str = "", split: str = "") -> Row:
    return Row(where, path, label.strip(), split.strip())


def _parquet(where: str, data: bytes) -> Iterator[Row | UserError]:
    import pyarrow  # takes long to import, and most tables are CSV
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(pyarrow.BufferReader(data))
        names = list(_columns(where, file.schema_arrow.names))
        columns = [_as_text(where, name, file.read([name])[name]) for name in names]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = f"is not Parquet that can be read ({str(error).splitlines()[0]})"
        raise UserError(where, what, "write it again") from None
    for number, values in enumerate(zip(*columns), 1):
        yield _row(f"{where}:{number}", **dict(zip(names, values)))


def _as_text(where: str, name: str, column: pyarrow.ChunkedArray) -> list[str]:
    import pyarrow

    kind = column.type
    inner = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    whole = name == "label" and pyarrow.types.is_integer(inner)
    if not (whole or str(inner) in ("string", "large_string", "string_view", "null")):
        raise UserError(where, f"the column '{name}' is of type {kind}, not text", FIX_TYPE)
    return ["" if value is None else str(value) for value in column.to_pylist()]
