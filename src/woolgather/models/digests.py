"""Content hashes of files and directories, each computed once and remembered by path, size and time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from woolgather.core.fingerprint import fingerprint
from woolgather.core.paths import cache_dir
from woolgather.core.storage import digest, write_shared_json


def model_digest(path: Path) -> str:
    """Returns the content hash of a model directory: 64 hex digits over the names and contents of all
    its files."""
    return fingerprint({**file_digests(path)})


def file_digests(path: Path) -> dict[str, str]:
    """Returns the sha256 of each file below a directory, by its path in there; each is remembered by
    the file's path, size and time."""
    known = read_digests()
    digests: dict[str, str] = {}
    changed = False
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        key = _file_key(file)
        if key not in known:
            known[key] = digest(file)
            changed = True
        digests[file.relative_to(path).as_posix()] = known[key]
    if changed:
        remember_digests(known)
    return digests


def files_digest(files: Iterable[tuple[str, Path]]) -> str:
    """Returns the content hash of named files, as hex digits. They may be a million, so that all
    together are remembered, by the hash of their paths, sizes and times: one entry, made again when
    one of them changes."""
    files = list(files)
    listed = hashlib.sha256()
    for name, path in files:
        listed.update(os.fsencode(f"{name}\0{_file_key(path)}\n"))
    key, known = f"files|{listed.hexdigest()}", read_digests()
    if key not in known:
        content = hashlib.sha256()
        for name, path in files:
            content.update(os.fsencode(f"{name}\0{digest(path)}\n"))
        known[key] = content.hexdigest()
        remember_digests(known)
    return known[key]


def _file_key(file: Path) -> str:
    stat = file.stat()
    return f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def read_digests() -> dict[str, str]:
    """Returns the hashes remembered in the cache directory; none when they cannot be read."""
    try:
        return dict(json.loads((cache_dir() / "digests.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def remember_digests(known: dict[str, str]) -> None:
    """Writes the hashes into the cache directory, in place of those there."""
    store = cache_dir() / "digests.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    write_shared_json(store, known)
