"""Which files of a folder are read, and which are left out: a choice that is told, never made in silence.

The one idea: repositories put beside their rows what must not be trained on (a test split, the same
rows once more in another form, JSON that describes tables). What is left out has a reason in words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from woolgather.core.errors import InputError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Kinds of files of records; each but Parquet may also be packed, as in .jsonl.gz."""
Source = str | Path | Sequence[str | Path]
"""A file or folder, several of them in a list, or several in a text with commas between."""

_HELD = ("test", "validation", "valid", "eval", "dev")
_SHARD = re.compile(r"loser_(\d+)")
_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass
class Chosen:
    """Files to read, in order, and those left out with a reason each."""

    files: list[Path]
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    """By reason."""

    def drop(self, reason: str, unfit: Callable[[Path], bool]) -> None:
        """Leaves out the files that are unfit."""
        if dropped := [f for f in self.files if unfit(f)]:
            self.left_out.setdefault(reason, []).extend(dropped)
            self.files = [f for f in self.files if f not in dropped]

    def notes(self, folder: Path) -> Iterator[str]:
        """Yields a sentence for each reason that files were left out for."""
        for reason, files in self.left_out.items():
            names = ", ".join(f.name for f in files[:3])
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            yield f"{folder}: left out {names}{more}: {reason}"


def suffix_of(path: Path) -> str:
    """Returns the ending that tells a file's kind, in lower case, that of a packed file included."""
    return Path(_unpacked_name(path)).suffix.lower()


def stem_of(path: Path) -> str:
    """Returns a file's name without its endings."""
    return spell(Path(_unpacked_name(path)).stem)


def spell(name: str) -> str:
    r"""Returns a file's name as text that can be stored: bytes that are not UTF-8 as `\udce9`."""
    return name.encode(errors="backslashreplace").decode()


def split_sources(source: Source) -> list[str | Path]:
    """Returns the files, folders and names of the hub that a setting holds. Raises InputError for an
    empty name in a list, which would be the folder that we are in."""
    if not isinstance(source, str | Path):
        if any(not str(each).strip() for each in source):
            told = ", ".join(str(each) or "''" for each in source)
            raise InputError(f"an empty name in the list [{told}]. Take it out.")
        return list(source)
    if isinstance(source, Path) or "," not in source or Path(source).exists():
        return [source]
    return [part.strip() for part in source.split(",") if part.strip()]


def is_hub_name(source: str | Path) -> bool:
    """Returns whether it can only be `owner/name[@revision]` on the hub: no such file is here, nor
    the folder that it would be in."""
    name = str(source).partition("@")[0]
    return (
        isinstance(source, str)
        and not Path(source).exists()
        and not Path(source).parent.is_dir()
        and _HUB.fullmatch(name) is not None
        and suffix_of(Path(name)) not in SUFFIXES
    )


def choose_files(path: Path) -> Chosen:
    """Returns the files of records that a path is or holds. Raises InputError when there is none.

    Of a folder without any, its folder `data` is read, as data sets of the hub have it.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file.{_nearest(path)}")
        return Chosen([path])
    files = _records(path) or _records(path / "data")
    if not files:
        raise InputError(f"{path}: no file that ends in {', '.join(SUFFIXES)} in it.")
    # JSON beside Parquet shards describes them.
    found = Chosen([f for f in files if f.suffix == ".parquet"] or files)
    names = {f.name for f in found.files}
    found.drop(
        "it is there unpacked", lambda f: f.suffix == ".gz" and f.name.removesuffix(".gz") in names
    )
    if any(_SHARD.fullmatch(stem_of(f)) for f in found.files):
        return _choose_shards(found)
    # SPIN's are train_prefs and test_prefs, the hub's train-00000-of-00001 and so on.
    if any(f.name.startswith("train") for f in found.files):
        found.drop("it is for measuring, and never trained on", lambda f: f.name.startswith(_HELD))
    return found


def _choose_shards(found: Chosen) -> Chosen:
    """What SPIN's generate.py and convert_data.py leave: numbered shards, and beside them a test
    split and everything once more."""
    found.drop("it is for measuring, and never trained on", lambda f: stem_of(f).endswith("_test"))
    found.drop("it holds the rows of the shards again", lambda f: f.name.startswith("synthetic_"))
    found.drop("it is no numbered shard", lambda f: not _SHARD.fullmatch(stem_of(f)))
    found.files.sort(key=_number)
    return found


def _number(path: Path) -> int:
    match = _SHARD.fullmatch(stem_of(path))
    return int(match[1]) if match else -1


def _records(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        f
        for f in folder.iterdir()
        if suffix_of(f) in SUFFIXES and not f.name.startswith(".") and f.is_file()
    )


def _unpacked_name(path: Path) -> str:
    return path.name[:-3] if path.suffix.lower() == ".gz" else path.name


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no directory {path.parent} either."
    names = [p.name for p in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, 1, cutoff=0.5)
    return f" Did you mean {path.parent / near[0]}?" if near else ""
