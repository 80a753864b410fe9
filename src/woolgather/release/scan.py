"""What must not leave this machine: secrets, and paths that tell who runs it and where.

The one idea: everything that goes out is looked through before it goes, and one finding stops all of
it. In our own files any home directory is one; in rows, whose texts a model wrote and may speak of
`/home/user`, only the places of this very machine are.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from woolgather.core.paths import cache_dir
from woolgather.core.rows import JSON
from woolgather.report.text import one_line

_TOKENS = {
    "a token of the Hugging Face hub": r"\bhf_[A-Za-z0-9]{30,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.I)
_SECRET_LENGTH = 8
"""Characters from which on the value of a variable of such a name is taken for a secret."""
_TOPS = (
    "home|Users|root|work|workspace|mnt|media|scratch|data|opt|srv|var|tmp|private|nfs|gpfs|lustre"
    "|content"
)
_PATH = re.compile(
    rf"(?<![\w./:-])(?:/(?:{_TOPS})/|[A-Za-z]:\\{{1,2}}Users\\{{1,2}})[\w.-]+[\w./\\-]*"
)
"""A path as machines have them, below one of the usual folders."""
_TELLING = 3
"""Parts of a path, the root among them, from which on it tells one machine from others."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
"""Files of pieces of text, which no run wrote."""
_COLUMNS = ("instruction", "input", "response", "system", "chosen", "rejected")
"""Texts of rows; `meta` is written by us."""


@dataclass(frozen=True)
class Finding:
    """Something that must not go out."""

    place: str
    """The file in the release, with its line or row."""
    what: str
    shown: str
    """As it stands there; a secret only by how it begins."""

    def __str__(self) -> str:
        return f"{self.place}: {self.what} ({self.shown})"


class Scanner:
    """Looks for secrets, and for the places of this machine: its home, the folder in which we work,
    those of temporary and cached files, and `private`, further folders such as the run's."""

    def __init__(self, private: Sequence[Path] = ()) -> None:
        self._private = tuple(private)

    def scan_folder(self, folder: Path) -> Iterator[Finding]:
        """Yields what is found in the text files and the rows below `folder`."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if path.suffix == ".parquet":
                yield from self._scan_rows(path, name)
            elif (text := read_text(path)) is not None:
                for at, what, shown in self.scan_text(text, path.name in _VOCABULARIES):
                    line = text.count("\n", 0, at) + 1
                    yield Finding(f"{name}, line {line}", what, shown)

    def scan_text(self, text: str, written: bool = False) -> Iterator[tuple[int, str, str]]:
        """Yields (offset, what it is, how it is shown) of the first secret of each kind and of the first
        path. `written`: the text is a model's, which may speak of paths that are nobody's."""
        for what, pattern in self._secrets.items():
            if match := pattern.search(text):
                yield match.start(), what, f"{match[0][:4]}…"
        patterns = [self._telling] if written else [self._places, _PATH]
        if match := next(filter(None, (pattern.search(text) for pattern in patterns)), None):
            yield match.start(), "a path of this machine", one_line(match[0], 80)

    def _scan_rows(self, path: Path, name: str) -> Iterator[Finding]:
        import pyarrow.parquet as pq

        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    number += 1
                    for key, text, written in _texts_of(record):
                        for _, what, shown in self.scan_text(text, written):
                            yield Finding(f"{name}, row {number}, {key}", what, shown)

    @cached_property
    def _secrets(self) -> Mapping[str, re.Pattern[str]]:
        found = {what: re.compile(pattern) for what, pattern in _TOKENS.items()}
        for name, value in os.environ.items():
            if _SECRET_NAME.search(name) and len(value) >= _SECRET_LENGTH:
                found[f"the value of {name}"] = re.compile(re.escape(value))
        return found

    @cached_property
    def _places(self) -> re.Pattern[str]:
        return _any_of({*self._own, Path(tempfile.gettempdir())} - {Path("/")})

    @cached_property
    def _telling(self) -> re.Pattern[str]:
        return _any_of({path for path in self._own if len(path.parts) >= _TELLING})

    @cached_property
    def _own(self) -> set[Path]:
        named = [Path.home(), Path.cwd(), cache_dir(), *self._private]
        return {way for path in named for way in (path.absolute(), path.resolve())}


def _any_of(paths: Iterable[Path]) -> re.Pattern[str]:
    """A path is found whole: /data is not found in /database. Without paths nothing is found."""
    longest_first = sorted(map(str, paths), key=len, reverse=True)
    inside = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(rf"(?:{inside})(?![\w-])[\w./-]*")


def _texts_of(record: Mapping[str, JSON]) -> Iterator[tuple[str, str, bool]]:
    """Yields (field, text, whether a model may have written it)."""
    yield from ((key, record[key], True) for key in _COLUMNS if record.get(key))
    for verdict in record.get("verdicts") or ():
        yield f"verdict {verdict['name']}", verdict["text"] or "", True
    for key, value in json.loads(record.get("meta") or "{}").items():
        yield f"meta.{key}", str(value), False


def read_text(path: Path) -> str | None:
    """Returns what a file says; None where it is no text."""
    with path.open("rb") as file:
        if b"\0" in file.read(8192):
            return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
