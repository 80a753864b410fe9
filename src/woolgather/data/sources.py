"""Where rows from outside are: a file or folder, several of them, or a data set on the hub.

The one idea: whatever a setting names becomes paths on this machine, and what reads rows knows only
those. Of a data set on the hub the files that may hold rows are fetched once, into the hub's cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.data.documents import TEXT_SUFFIXES
from woolgather.data.hub_errors import why_not
from woolgather.data.record_files import SUFFIXES

Sources = str | Path | Iterable[str | Path]
"""What a setting may hold: a file, a folder, `owner/name[@revision]` on the hub, or several."""
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def split_sources(source: Sources) -> list[str | Path]:
    """Returns each of the places that `source` names. A text with commas is several, unless there is a
    file of that very name."""
    if isinstance(source, Path):
        return [source]
    if not isinstance(source, str):
        return list(source)
    parts = [part.strip() for part in source.split(",")]
    if len(parts) == 1 or Path(source).expanduser().exists():
        return [source]
    return [part for part in parts if part]


def on_hub(source: str | Path) -> bool:
    """Returns whether `source` reads like `owner/name[@revision]`, and is nothing on this machine."""
    text = str(source)
    name = text.partition("@")[0]
    return (
        isinstance(source, str)
        and not Path(text).exists()
        and _NAME.fullmatch(name) is not None
        and not any(s in (*TEXT_SUFFIXES, *SUFFIXES) for s in Path(name.lower()).suffixes)
    )


def find_rows(source: str | Path, role: str) -> Path:
    """Returns the file or folder that `source` is, for the setting or step `role`. Raises InputError
    where it is a name on the hub that the hub does not give, or gives without a file of rows."""
    return _fetch(str(source), role) if on_hub(source) else Path(source).expanduser()


def _fetch(name: str, role: str) -> Path:
    """A commit is fetched once; of a branch the hub is asked where it stands now."""
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    wanted = [f"*{suffix}{packed}" for suffix in SUFFIXES for packed in ("", ".gz")]
    try:
        found = snapshot_download(
            repo, repo_type="dataset", revision=revision or None, allow_patterns=wanted
        )
    except Exception as error:
        raise InputError(
            f"{role}={name}: no file or folder here, and {why_not(error, name, 'data set')} "
            "Or give files."
        ) from error
    if not any(path.is_file() for path in Path(found).rglob("*")):
        raise InputError(
            f"{role}={name}: no file of this data set ends in {', '.join(SUFFIXES)}. Give one with rows."
        )
    return Path(found)
