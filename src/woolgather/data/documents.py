"""Documents from outside, as one stream: text files, a column of tables, a data set on the hub.

The one idea: whatever holds them, out come documents, each a text and the name of the place it came
from, and memory does not grow with their number. A text file (.txt, .md) is one document, in pieces
of about a million characters where it is longer; JSONL, JSON, CSV and Parquet hold one in the text
column of each record. What a good document is, is not decided here. A mistake is one InputError
that names file, line, what is wrong and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON
from woolgather.data.folders import SUFFIXES, spell, suffix_of
from woolgather.data.hub import HubRows, stream_hub
from woolgather.data.record_files import (
    LONGEST,
    Place,
    is_parquet,
    read_records,
    text_lines,
)
from woolgather.data.values import kind_of

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".text")
PIECE = 1 << 20
"""Characters after which a document of a text file ends at the next empty line."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text from outside, and where it stands there."""

    text: str
    source: str
    """Where it came from: file, line or row, without the folder of this machine."""


@dataclass(frozen=True)
class Texts:
    """Documents from outside, known by content. Iterating reads them from the start."""

    name: str
    """As the user gave it, for messages."""
    files: tuple[tuple[str, Path], ...] = ()
    """Name and place of each file, in order."""
    hub: str = ""
    """`owner/name@commit` of a data set that is streamed instead of files."""
    column: str | tuple[str, ...] = "text"
    """What holds the text of a record; of several names the first that it has."""
    split: str = "train"
    subset: str = ""
    fingerprint: str = ""
    size: int = 0
    """Bytes of the files; 0 where it is not known."""

    def __canonical__(self) -> JSON:
        return {"artifact": self.fingerprint}

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the names under which a record may have its text, in the order of preference."""
        return (self.column,) if isinstance(self.column, str) else self.column

    def __iter__(self) -> Iterator[Document]:
        """Raises InputError, also when there is no text at all."""
        some = False
        for document in self._stream() if self.hub else self._read():
            some = some or bool(document.text.strip())
            yield document
        if not some:
            raise InputError(f"{self.name}: there is no text in it. Give documents to learn from.")

    def _read(self) -> Iterator[Document]:
        for found, path in self.files:
            name = spell(found)
            if is_parquet(path) or suffix_of(path) in SUFFIXES:
                yield from _of_records(name, path, self.columns)
            else:
                yield from _of_text(name, path)

    def _stream(self) -> Iterator[Document]:
        repo, _, commit = self.hub.partition("@")
        wanted = HubRows(
            repo,
            commit,
            self.split,
            self.subset,
            check=f"text.subset ({self.subset or 'none'}) and text.split ({self.split})",
            said=f"texts={repo}: ",
            remedy="Or download it and give the folder.",
        )
        for place, record in stream_hub(wanted):
            yield Document(_text_of(record, self.columns, place), f"{repo}, row {place.number}")


def find_files(source: Path) -> list[tuple[str, Path]]:
    """Returns the files of documents that `source` is or holds: (name within it, path), by name.

    Hidden files are passed over, and JSON beside Parquet, which describes it. Raises InputError
    when there is none.
    """
    if not source.is_dir():
        if not source.exists():
            raise InputError(f"texts={source}: no such file or folder.")
        return [(source.name, source)]
    known = (*TEXT_SUFFIXES, *SUFFIXES)
    found = []
    for path in source.rglob("*"):
        name = path.relative_to(source)
        hidden = any(part.startswith(".") for part in name.parts)
        if suffix_of(path) in known and path.is_file() and not hidden:
            found.append((name.as_posix(), path))
    tables = {path.parent for _, path in found if path.suffix.lower() == ".parquet"}
    found = [f for f in found if suffix_of(f[1]) != ".json" or f[1].parent not in tables]
    if not found:
        raise InputError(f"texts={source}: no file in it ends in {', '.join(known)}.")
    return sorted(found)


def _of_text(name: str, path: Path) -> Iterator[Document]:
    lines: list[str] = []
    size, first = 0, 1
    for number, line in text_lines(path):
        lines.append(line)
        size += len(line)
        if size >= PIECE and not line.strip():
            yield Document("".join(lines), name if first == 1 else f"{name}, line {first}")
            lines, size, first = [], 0, number + 1
    if lines or first == 1:
        yield Document("".join(lines), name if first == 1 else f"{name}, line {first}")


def _of_records(name: str, path: Path, columns: Sequence[str]) -> Iterator[Document]:
    for place, record in read_records(path, columns):
        yield Document(_text_of(record, columns, place), f"{name}, {place.unit} {place.number}")


def _text_of(record: object, columns: Sequence[str], place: Place) -> str:
    if isinstance(record, Mapping):
        column = next((name for name in columns if name in record), None)
        if column is None:
            there = ", ".join(map(str, record)) or "none"
            wanted = " or ".join(map(repr, columns))
            raise place.wrong(
                f"no column {wanted} (there are: {there}). Say which holds the text: "
                "text.column=<name>."
            )
        record = record[column]
        if record is None:
            return ""
    if not isinstance(record, str):
        raise place.wrong(f"{kind_of(record)}, where a text belongs.", f'{{"{columns[0]}": "..."}}')
    if len(record) > LONGEST:
        raise place.wrong(
            f"a text of {len(record):,} characters, and {LONGEST:,} is the longest that is read. "
            "Break it into documents."
        )
    return place.whole(record, "the text")
