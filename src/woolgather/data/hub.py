"""Records of a data set on the hub, a few at a time: nothing is downloaded as a whole.

The one idea: whoever asks says which rows, and how an error of theirs begins and ends; why the hub
does not give them is found out once (hub_errors.py). `datasets` is imported when the first is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.data.hub_errors import why_not
from woolgather.data.record_files import Place


@dataclass(frozen=True)
class HubRows:
    """Which rows of the hub, and what to say where it does not give them."""

    repo: str
    """`owner/name`."""
    revision: str = ""
    """A branch, a tag or a commit; empty for the newest."""
    split: str = "train"
    subset: str = ""
    files: tuple[str, ...] = ()
    """The only files to read; empty reads those of the split."""
    check: str = "the name"
    """Where to look when the error is none of the known ones."""
    said: str = ""
    """How an error begins."""
    remedy: str = "Or download it and give the folder."
    """How an error ends."""

    @property
    def name(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def stream_hub(rows: HubRows) -> Iterator[tuple[Place, object]]:
    """Yields (place, record) pairs. Raises InputError when the hub does not give them."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise InputError(
            f"{rows.said}a data set of the hub needs the package datasets: "
            f"pip install 'woolgather[local]'. {rows.remedy}"
        ) from None
    more: dict[str, object] = {"data_files": list(rows.files)} if rows.files else {}
    if rows.subset:
        more["name"] = rows.subset
    try:
        found = load_dataset(
            rows.repo, split=rows.split, revision=rows.revision or None, streaming=True, **more
        )
        for number, record in enumerate(found, start=1):
            yield Place(Path(rows.repo), number, "row"), record
    except InputError:
        raise
    except Exception as error:  # the libraries below have no error in common
        why = why_not(error, rows.name, "data set", rows.check)
        raise InputError(f"{rows.said}{why} {rows.remedy}") from error
