"""Pairs of answers that people vote on, and their votes: the files of `woolgather vote`.

    RUN/votes/result-or-base/pairs.json     the two models, and their answers to each prompt
    RUN/votes/result-or-base/votes.jsonl    a row per vote: pair, choice, left, at

The one idea: votes are rows that are only ever added. A pair's last row counts, so a pair that two
pages vote on is one vote, an undo is a row of its own, and a row that a kill cut short is no vote.
A pair is known by its texts: where a model answers otherwise than before, old votes are on other
pairs and count no more.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from woolgather.core.errors import RunDirError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.storage import write_json

VOTES = "votes"
"""The folder of all votes in a run's directory."""
PAIRS, ROWS = "pairs.json", "votes.jsonl"
Side = Literal["first", "second"]
"""One of the two models, in the order in which they are named."""
Preferred = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one prompt."""

    part: Literal["held-out task", "probe"]
    instruction: str
    input: str
    system: str
    first: str
    second: str
    judged: Mapping[str, float] = field(default_factory=dict)
    """By judge, how far it prefers the first answer: 1, 0, or 0.5 where both are equal to it."""
    cut: tuple[Side, ...] = ()
    """Answers that were cut at the limit of tokens."""

    @property
    def id(self) -> str:
        """Returns 12 hex digits that follow from the texts alone."""
        texts = [self.instruction, self.input, self.system, self.first, self.second]
        return fingerprint(texts)[:12]


@dataclass(frozen=True)
class Poll:
    """All pairs of two models, in the order in which they are shown."""

    models: tuple[str, str]
    salt: str
    """Random text that decides the order of the pairs, and which answer stands on the left."""
    pairs: Sequence[AnswerPair]

    def shuffled(self) -> list[AnswerPair]:
        """Returns the pairs in an order that says nothing of them: the first n are a random sample."""
        return sorted(self.pairs, key=lambda pair: self._draw("order", pair.id))

    def left_of(self, pair: AnswerPair) -> Side:
        """Returns whose answer stands on the left, as if by a coin, and the same whenever it is
        asked."""
        return "first" if self._draw("side", pair.id)[0] % 2 else "second"

    def _draw(self, what: str, name: str) -> bytes:
        return hashlib.sha256(f"{self.salt}/{what}/{name}".encode()).digest()


def poll_dir(run_dir: Path, models: Sequence[str]) -> Path:
    """Returns where the votes between two models are."""
    return run_dir / VOTES / "-or-".join(name.replace("/", "-") for name in models)


def write_poll(poll: Poll, folder: Path) -> None:
    """Write the pairs, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PAIRS, asdict(poll))


def read_poll(folder: Path) -> Poll:
    """Returns the pairs of a poll. Raises RunDirError for a file that is broken."""
    path = folder / PAIRS
    try:
        return _POLL.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = str(error).splitlines()[0]
        raise RunDirError(
            f"{path} is broken ({why}); delete it and give `woolgather vote` again, which keeps the votes"
        ) from error


def read_polls(run_dir: Path) -> list[tuple[Poll, VoteFile]]:
    """Returns every poll of a run with its votes, by name. Raises RunDirError."""
    found = sorted((run_dir / VOTES).glob(f"*/{PAIRS}"))
    return [(read_poll(path.parent), VoteFile(path.parent)) for path in found]


class VoteFile:
    """The votes of a poll, a row each. Processes and threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROWS
        self._lock = FileLock(str(folder / "votes.lock"), thread_local=False)

    def read(self) -> dict[str, Preferred]:
        """Returns the choice by pair, the latest vote last; what is undone is left out, and so is a row
        that a kill cut short."""
        standing: dict[str, Preferred] = {}
        if not self._path.is_file():
            return standing
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = _ROW.validate_json(line)
            except ValidationError:
                continue
            standing.pop(row.pair, None)
            if row.choice != "undone":
                standing[row.pair] = row.choice
        return standing

    def add(self, pair: str, choice: Preferred, left: Side) -> bool:
        """Returns whether the vote counts: False where the pair has one already."""
        with self._lock:
            if pair in self.read():
                return False
            self._append({"pair": pair, "choice": choice, "left": left})
            return True

    def undo(self, pair: str) -> bool:
        """Returns whether there was a vote on the pair to take back."""
        with self._lock:
            if pair not in self.read():
                return False
            self._append({"pair": pair, "choice": "undone"})
            return True

    def _append(self, row: Mapping[str, str]) -> None:
        """Add a row and see it on the disk. After a row that a kill cut short it begins a new line."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            cut = end and file.read(1) != b"\n"
            line = json.dumps({**row, "at": at}) + "\n"
            file.write((b"\n" if cut else b"") + line.encode())
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class _VoteRow:
    pair: str
    choice: Literal["first", "second", "tie", "undone"]


_POLL = TypeAdapter(Poll)
_ROW = TypeAdapter(_VoteRow)
