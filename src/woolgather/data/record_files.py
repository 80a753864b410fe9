"""Files of records: JSONL, JSON, CSV, TSV, Parquet, or a directory of them, as one stream.

The one idea: whatever the kind of file, out come (place, record) pairs in order, and a place knows
how to say what is wrong with it. Memory does not grow with a file, read or written. What a record
means is the business of formats.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from woolgather.core.errors import InputError
from woolgather.core.storage import ROW_GROUP, schema
from woolgather.data.folders import SUFFIXES, choose_files, stem_of, suffix_of
from woolgather.data.values import check_whole

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
_RECORD = 'A record is an object such as {"instruction": "...", "response": "..."}.'
_CUT = "The file ends in the middle of this record. Get it again, or take the record out."
_GAP = re.compile(r"[\s,]*")
_CHUNK = 1 << 16
LONGEST = 1 << 24
"""Characters of one record, and bytes of one line: a forgotten quote must not read all of a large
file."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    path: Path
    number: int
    """Number of the line that a record begins on, or of the row in Parquet. From 1."""
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"

    @property
    def name(self) -> str:
        """What a row is called that has no id of its own."""
        return f"{stem_of(self.path)}-{self.number}"

    def wrong(self, what: str, good: str = "") -> InputError:
        """Returns an error for what is here, with a good line beside it."""
        return InputError(f"{self}: {what}" + (f" A good one: {good}" if good else ""))

    def whole(self, text: str, where: str, good: str = "") -> str:
        """Returns the text that stands here as `where`. Raises InputError for half a character in it."""
        try:
            return check_whole(text, where)
        except ValueError as error:
            raise self.wrong(str(error), good) from None


def read_records(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[Place, object]]:
    """Yields the JSON values of a file, or of a directory's files by name; CSV cells are text.

    Of Parquet those of `columns` are read that it has, and all where it has none. Raises InputError
    for what is not there, not text, or malformed.
    """
    for file in choose_files(path).files:
        yield from read_file(file, columns)


def is_parquet(path: Path) -> bool:
    """Returns whether a file is Parquet. Raises InputError when it is neither that nor text."""
    try:
        head = _head(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    if head.startswith(b"PAR1") or path.suffix == ".parquet":
        return True
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is UTF-16 text. Save it as UTF-8.")
    if b"\0" in head or head.startswith(_ARCHIVES):
        raise InputError(
            f"{path}: is a binary file. Give UTF-8 text or Parquet; unpack an archive before."
        )
    return False


def write_json_records(records: Iterable[Mapping[str, object]], path: Path, *, array: bool) -> int:
    """Writes an array, or one line per record; returns the number of records."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            before = ("[\n" if count == 0 else ",\n") if array else ""
            file.write(before + json.dumps(record, ensure_ascii=False) + ("" if array else "\n"))
            count += 1
        if array:
            file.write("\n]\n" if count else "[]\n")
    return count


def write_parquet(records: Iterable[Mapping[str, object]], path: Path) -> int:
    """Writes stored rows, all of one kind, to one file of their schema; returns their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = iter(records)
    first = next(source, None)
    shape = schema("pair" if first and "chosen" in first else "example")
    rest = source if first is None else itertools.chain([first], source)
    count = 0
    with pq.ParquetWriter(path, shape, compression="zstd") as writer:
        while group := list(itertools.islice(rest, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=shape))
            count += len(group)
    return count


def write_talk_pairs(records: Iterable[Mapping[str, object]], path: Path) -> int:
    """Writes lists of messages `real` and `generated`, with ids; returns the number of records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    talk = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
    shape = pa.schema([("id", pa.string()), ("real", talk), ("generated", talk)])
    source, count = iter(records), 0
    with pq.ParquetWriter(path, shape, compression="zstd") as writer:
        while group := list(itertools.islice(source, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=shape))
            count += len(group)
    return count


def read_file(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[Place, object]]:
    """Yields the JSON values of one file, as `read_records` does."""
    if is_parquet(path):
        return _parquet(path, columns)
    head, suffix = _head(path), suffix_of(path)
    if suffix in (".csv", ".tsv"):
        return _table(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".jsonl", ".ndjson"):
        return _lines(path)
    if suffix == ".json" or head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _json(path)
    raise InputError(
        f"{path}: its kind is not clear; its name should end in {', '.join(SUFFIXES)}."
    )


@contextlib.contextmanager
def _bytes_of(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends in .gz."""
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    try:
        with gzip.open(path) as packed:
            yield cast(BinaryIO, packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: is not a complete gzip file ({error}). Get it again.") from None


def _head(path: Path) -> bytes:
    with _bytes_of(path) as file:
        return file.read(4096)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a UTF-8 file with their numbers, line ends included.

    Raises InputError for a byte that is not UTF-8 and for a line over `LONGEST` bytes.
    """
    with _bytes_of(path) as file:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), start=1):
            if len(raw) > LONGEST:
                raise Place(path, number).wrong(
                    f"a line of more than {LONGEST >> 20} MiB. Break it into lines or records."
                )
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise Place(path, number).wrong(
                    f"byte {error.start + 1} is not UTF-8. Save the file as UTF-8."
                ) from None
            yield number, text


def _lines(path: Path) -> Iterator[tuple[Place, object]]:
    for number, text in text_lines(path):
        if text.strip():
            place = Place(path, number)
            try:
                record = json.loads(text)
            except (ValueError, RecursionError) as error:
                cut = not text.endswith("\n") and text.lstrip().startswith("{")
                raise place.wrong(_not_json(error, cut=cut)) from None
            yield place, record


def _json(path: Path) -> Iterator[tuple[Place, object]]:
    """Yields the objects of an array, or one after another, decoded as the text comes in.

    By hand, since `ijson` gives no line numbers, refuses NaN and swallows half characters.
    """
    decode = json.JSONDecoder().raw_decode
    text, at, line, opened, closed, any_record = "", 0, 1, False, False, False
    error: Exception | None = None
    with _bytes_of(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as file:
        while True:
            gap = _GAP.match(text, at)
            assert gap
            line += text.count("\n", at, gap.end())
            at = gap.end()
            mark, error = text[at : at + 1], None
            if mark == "[" and not opened and not any_record:
                opened, at = True, at + 1
                continue
            if mark == "]" and opened and not closed:
                closed, at = True, at + 1
                continue
            if mark and closed:
                raise Place(path, line).wrong("text after the end of the array.")
            if mark:
                try:
                    record, end = decode(text, at)
                except (ValueError, RecursionError) as found:
                    error = found
                else:
                    any_record = True
                    yield Place(path, line), record
                    line += text.count("\n", at, end)
                    at = end
                    continue
            # As much again as there is keeps the retries linear in all.
            try:
                more = "" if len(text) - at > LONGEST else file.read(max(_CHUNK, len(text) - at))
            except UnicodeDecodeError:
                raise Place(path, line).wrong(
                    "here, or not far below, is text that is not UTF-8. Save the file as UTF-8."
                ) from None
            if not more:
                break
            text, at = text[at:] + more, 0
    if error is not None and len(text) - at > LONGEST:
        raise Place(path, line).wrong(
            f"a record of more than {LONGEST >> 20} Mi characters, or one that does not end. Break it."
        )
    if error is not None:
        line += text.count("\n", at, getattr(error, "pos", at))
        raise Place(path, line).wrong(_not_json(error, cut=opened and not closed)) from None
    if opened and not closed:
        raise Place(path, line).wrong("the array has no end: a closing ] is missing.")


def _table(path: Path, delimiter: str) -> Iterator[tuple[Place, object]]:
    csv.field_size_limit(LONGEST)
    reader = csv.reader((text for _, text in text_lines(path)), delimiter=delimiter, strict=True)
    before = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise Place(path, 1).wrong(
                f"column {twice!r} appears twice. Give each column a name of its own."
            )
        before = reader.line_num
        for cells in reader:
            place, before = Place(path, before + 1), reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                raise place.wrong(
                    f"{len(cells)} columns, where the header has {len(header)} "
                    f"({', '.join(header)}). Quote texts that hold a separator."
                )
            yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        if str(error).startswith("new-line character"):
            why, remedy = "a line ends in a carriage return alone", "Save it with line feeds (LF)."
        else:
            why, remedy = str(error), "Close each quote, and quote texts that hold a separator."
        raise Place(path, before + 1).wrong(f"not a table: {why}. {remedy}") from None


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[Place, object]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = [name for name in columns if name in names] or None
            for batch in file.iter_batches(batch_size=ROW_GROUP, columns=wanted):
                for record in batch.to_pylist(maps_as_pydicts="lossy"):
                    number += 1
                    yield Place(path, number, "row"), record
    except (pa.ArrowException, OSError) as error:
        why = (str(error).splitlines() or ["unreadable"])[0]
        raise InputError(
            f"{path}: is not a complete Parquet file ({why.rstrip('.')}). Get it again."
        ) from None
    except UnicodeDecodeError:
        raise Place(path, number + 1, "row").wrong(
            "here, or not far below, is text that is not UTF-8. Save the file as UTF-8."
        ) from None
    except ValueError as error:  # pyarrow's, of nanoseconds where there is no pandas
        raise Place(path, number + 1, "row").wrong(
            f"here, or not far below, is a value that cannot be read ({error}). Store it as text."
        ) from None


def explain_json(error: Exception) -> str:
    """Returns why a text is not JSON, in words; `error` is what `json` raised."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg}, at column {error.colno}"
    if isinstance(error, RecursionError):
        return "not valid JSON: nested too deeply"
    limit = sys.get_int_max_str_digits()
    return f"not valid JSON: a number of more than {limit:,} digits"


def _not_json(error: Exception, *, cut: bool) -> str:
    """Returns what is wrong; `cut` says that the file ends here."""
    ends = isinstance(error, json.JSONDecodeError) and (
        error.msg.startswith("Unterminated") or error.pos >= len(error.doc.rstrip())
    )
    remedy = _CUT if cut and ends else _RECORD
    return f"{explain_json(error)}. {remedy}"
