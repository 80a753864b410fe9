"""Where a run puts what comes from outside, and what it remembers of the hub, to go on without it.

The one idea: a name on the hub may mean something else tomorrow, or nothing where there is no network.
The launch that first reads a name notes its commit and the rows that came of it. Later launches keep
to both, and tell it where the hub has something newer or cannot be asked.

    RUN/inputs/hub.json     {"commits": {"owner/name@main": "<40 hex>"}, "rows": {"<64 hex>": {...}}}
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from woolgather.core.artifacts import Dataset
from woolgather.core.errors import InputError
from woolgather.core.rows import JSON, as_mapping
from woolgather.core.storage import write_json
from woolgather.data import Source, Tell
from woolgather.data.folders import is_hub_name, split_sources
from woolgather.data.hub_errors import why_not

HUB = "hub.json"


def copy_commits(source: Path, target: Path) -> None:
    """Make a run that has read nothing yet, with inputs in `target`, read the hub at the commits that
    another read, with inputs in `source`."""
    if commits := InputStore(source)._read("commits"):
        target.mkdir(parents=True, exist_ok=True)
        write_json(target / HUB, {"commits": dict(commits), "rows": {}})


class InputStore:
    """A folder for rows from outside, with a memory of what was read of the hub; `tell` takes what is
    to be said of them. With `keep` false nothing is remembered: a plan changes no run."""

    def __init__(self, folder: Path, tell: Tell = lambda text: None, *, keep: bool = True) -> None:
        self.folder = folder
        self.tell = tell
        self._keep = keep
        self._commits: dict[str, str] = {}
        """By name, those that this launch has asked for."""

    def pins(self, source: Source) -> dict[str, str]:
        """Returns the commit of each name of the hub in a setting. Raises InputError for one that the
        hub does not give and that this run has not read before."""
        names = (str(each) for each in split_sources(source) if is_hub_name(each))
        return {name: self.commit(name) for name in names}

    def commit(self, name: str, said: str = "", remedy: str = "") -> str:
        """Returns the commit that `owner/name[@revision]` stands for in this run: the one that it first
        read. An error begins with `said` and ends with `remedy`. Raises InputError."""
        repo, _, revision = name.partition("@")
        if re.fullmatch(r"[0-9a-f]{40}", revision):
            return revision
        if name not in self._commits:
            self._commits[name] = self._settle(name, repo, revision, said, remedy)
        return self._commits[name]

    def _settle(self, name: str, repo: str, revision: str, said: str, remedy: str) -> str:
        from huggingface_hub import HfApi

        known = str(self._read("commits").get(name, ""))
        try:
            found = str(HfApi().dataset_info(repo, revision=revision or None, timeout=30).sha)
        except Exception as error:
            why = why_not(error, name, "data set")
            if not known:
                lead = said or f"{name}: no file or folder here, and "
                raise InputError(f"{lead}{why} {remedy}".rstrip()) from error
            self.tell(
                f"{name}: {why} This run goes on with what it read before, commit {known[:12]}."
            )
            return known
        if known and known != found:
            self.tell(
                f"{name}: the hub has something newer ({found[:12]}) than this run first read "
                f"({known[:12]}), and the run keeps to that. For the newer: {repo}@{found}"
            )
        if not known:
            self._note("commits", name, found)
        return known or found

    def find_rows(self, key: str) -> Dataset | None:
        """Returns the rows that were read before for what `key` says, and tells again what was told;
        None where they are not there."""
        noted = self._read("rows").get(key)
        if noted is None:
            return None
        found = as_mapping(noted)
        folder = self.folder / str(found["folder"])
        if not list(folder.glob("part-*.parquet")):
            return None
        for text in found["told"]:
            self.tell(str(text))
        kind: Literal["example", "pair"] = "pair" if found["kind"] == "pair" else "example"
        return Dataset(folder, str(found["fingerprint"]), int(found["count"]), kind)

    def note_rows(self, key: str, rows: Dataset, told: list[str]) -> None:
        """Remember rows that came from the hub, or were drawn from many, and what was told of them."""
        noted: dict[str, JSON] = {"folder": rows.path.name, "fingerprint": rows.fingerprint}
        noted |= {"count": rows.count, "kind": rows.kind, "told": told}
        self._note("rows", key, noted)

    def _read(self, part: str) -> Mapping[str, JSON]:
        """What cannot be read is as good as not there: it is asked for again."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return as_mapping(as_mapping(json.loads((self.folder / HUB).read_text("utf-8")))[part])
        return {}

    def _note(self, part: str, key: str, value: JSON) -> None:
        if self._keep:
            parts = {each: dict(self._read(each)) for each in ("commits", "rows")}
            parts[part][key] = value
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / HUB, parts)
