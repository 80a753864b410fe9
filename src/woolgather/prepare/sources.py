"""Where the records of a public data set come from: a local copy, or the hub, streamed.

The one idea: a Source can be read more than once and never lies in memory. A copy is a file, or a
folder as it is downloaded (data files in folders below; of several splits the one that is named in
the files' names). Anything else with a `/` in the middle is a data set of the hub, read through
`datasets`, which is imported when the first record is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.data.folders import SUFFIXES, is_hub_name, split_sources, suffix_of
from woolgather.data.hub import HubRows, stream_hub
from woolgather.data.record_files import Place, read_records

EVERY = 100_000
"""Records between two notes of progress."""


@dataclass(frozen=True)
class PublishedSource:
    """A public data set, as a local copy or on the hub."""

    name: str
    """A file, a folder, or `owner/name[@revision]` on the hub; several with commas between them."""
    split: str = "train"
    """Several with + between them are read one after the other."""
    files: tuple[str, ...] = ()
    """The only files to read of a data set on the hub; empty reads those of the split."""
    also: tuple[PublishedSource, ...] = ()
    """Others that belong to it, read after it."""
    command: str = "woolgather prepare ..."
    """What to say again with a local copy when the hub cannot be reached."""
    note: Callable[[str], None] = lambda text: None

    def __iter__(self) -> Iterator[tuple[Place, object]]:
        """Yields (place, record) pairs. Raises InputError for what is not there or not readable."""
        pairs = itertools.chain.from_iterable(map(self._read, split_sources(self.name)))
        for number, pair in enumerate(pairs, start=1):
            yield pair
            if number % EVERY == 0:
                self.note(f"{self.name}: {number:,} records read")
        for other in self.also:
            yield from replace(other, command=self.command, note=self.note)

    def _read(self, source: str | Path) -> Iterator[tuple[Place, object]]:
        splits = self.split.split("+")
        if not is_hub_name(source):
            yield from _local(Path(source).expanduser(), tuple(splits))
            return
        name = str(source)
        repo, _, revision = name.partition("@")
        said = f"{name}: neither a file here nor to be had from the hub: "
        remedy = f"Or {self._by_hand(repo)}"
        for split in splits:
            rows = HubRows(repo, revision, split, files=self.files, said=said, remedy=remedy)
            yield from stream_hub(rows)

    def _by_hand(self, repo: str) -> str:
        folder = repo.rpartition("/")[2]
        return (
            "download it where there is a network and give the folder: "
            f"hf download {repo} --repo-type dataset --local-dir {folder}; "
            f"{self.command.replace('...', folder)}"
        )


def _local(path: Path, splits: tuple[str, ...]) -> Iterator[tuple[Place, object]]:
    if not path.is_dir():
        yield from read_records(path)
        return
    files = sorted(
        f
        for f in path.rglob("*")
        if f.is_file()
        and suffix_of(f) in SUFFIXES
        and not any(part.startswith(".") for part in f.relative_to(path).parts)
    )
    # JSON beside Parquet shards describes them.
    files = [f for f in files if f.suffix == ".parquet"] or files
    files = [f for f in files if f.stem.startswith(splits)] or files
    if not files:
        raise InputError(f"{path}: no file that ends in {', '.join(SUFFIXES)} in it.")
    for file in files:
        yield from read_records(file)
