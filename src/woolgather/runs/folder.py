"""A run's directory as one launch has it: opened, ours alone, with the record of what it did.

The one idea: a launch says what it is about to do before it does it, so that whatever ends it, the
directory tells. To look at a run for a plan nothing is locked and nothing is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from woolgather.core.errors import RunDirError
from woolgather.core.fingerprint import explain_change
from woolgather.core.machine_speed import PRECISIONS, Precision
from woolgather.core.rows import JSON
from woolgather.engines.journal import Journal
from woolgather.runs import provenance
from woolgather.runs.earlier.doubts import Past, past_of
from woolgather.runs.inputs.store import copy_commits
from woolgather.runs.lock import RunLock
from woolgather.runs.record import (
    INPUTS,
    RUN,
    RunRecord,
    Status,
    StepEntry,
    StepState,
    read_launches,
    read_record,
    read_run,
    runs_in,
    write_launch,
    write_run,
)
from woolgather.runs.results import link

JOURNAL = "journal.sqlite"


@dataclasses.dataclass(frozen=True)
class AskedRecipe:
    """The recipe of a launch, as its record keeps it."""

    name: str
    config: JSON = None
    """The final settings."""
    preset: JSON = None
    """The settings of its preset alone; changes are told against them in a run's first launch."""
    source: str = ""
    """Hash of its source text."""


class RunFolder:
    """Call `look`, then `own` to work in it, then `finish` and `close`, whatever happened."""

    def __init__(self, path: Path, shared: Path | None = None, own_journal: bool = False) -> None:
        """`shared` is a directory of runs that share their answers (unless this one has its
        `own_journal`), and of which a new one begins as the oldest did: on the same day, at the same
        commits of the hub."""
        self.path = Path(path).resolve()
        self._shared = shared
        self._own_journal = own_journal
        self.inputs = self.path / INPUTS
        """Where things from outside are put."""
        self.date = ""
        """The day that the run has for today, pinned when it was made."""
        self.precision: Precision | None = None
        """What `precision: auto` became when the run first asked; None until then."""
        self.past = Past()
        """What its earlier launches left open."""
        self._exists = False
        self._journal: Journal | None = None
        self._launch: RunRecord | None = None
        self._entries: list[StepEntry] = []
        self._stack = contextlib.ExitStack()

    @property
    def journal(self) -> Journal:
        """The remembered answers of models; only of a run that is owned."""
        assert self._journal is not None, "only a run that is owned asks"
        return self._journal

    @property
    def launch(self) -> int:
        """The number of this launch, from 1; only of a run that is owned."""
        assert self._launch is not None, "only a run that is owned has a launch"
        return self._launch.launch

    def look(self, recipe: str) -> None:
        """Read what is there. Raises RunDirError when it belongs to another recipe, or is of a newer
        format."""
        self._exists = (self.path / RUN).is_file()
        self.date = date.today().isoformat()
        if self._exists:
            found = read_run(self.path)
            if found.get("recipe") != recipe:
                raise RunDirError(
                    f"{self.path} is a run of {found.get('recipe')!r}, not of {recipe!r}. "
                    "Give another directory with --dir."
                )
            self._read_pins(found)
            self.past = past_of(self.path)
        elif self._oldest:
            self._read_pins(read_run(self._oldest))

    @property
    def _journal_path(self) -> Path:
        """The journal that all share; its own, once it has begun one."""
        own = self.path / JOURNAL
        if self._shared is None or self._own_journal or own.is_file():
            return own
        return self._shared / JOURNAL

    @functools.cached_property
    def _oldest(self) -> Path | None:
        """The run that this one began beside; None for the first of them, and for a run alone."""
        runs = runs_in(self._shared) if self._shared else []
        return min(runs, key=lambda run: str(read_run(run).get("created")), default=None)

    def _read_pins(self, head: Mapping[str, JSON]) -> None:
        """Take over what a run.json says of the day and of the precision of training."""
        self.date = str(head.get("date"))
        # A run of the version before had no such entry, and trained in bfloat16 everywhere.
        precision = head.get("precision", "bfloat16")
        self.precision = next((known for known in PRECISIONS if known == precision), None)

    def pin(self, precision: Precision) -> None:
        """Keep what `precision: auto` becomes in this run from now on."""
        self.precision = precision
        if self._launch is not None:
            head = read_run(self.path)
            write_run(self.path, {**head, "precision": precision})

    def borrow_inputs(self) -> None:
        """Put things from outside elsewhere, for a plan of a run that is not there yet."""
        if not self._exists:
            self.inputs = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    def own(self, recipe: AskedRecipe, replicate: int) -> None:
        """Lock it and begin a launch. Raises RunDirError when another process has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(RunLock(self.path))
        if not self._exists:
            head: dict[str, JSON] = {"recipe": recipe.name, "date": self.date}
            head |= {"replicate": replicate}
            head |= {"created": _now(), "title": self.path.name, "precision": self.precision}
            write_run(self.path, head)
            if self._oldest:
                copy_commits(self._oldest / INPUTS, self.inputs)
        self._journal = Journal(self._journal_path)
        self._stack.callback(self._journal.close)
        launches = read_launches(self.path)
        before = launches[-1] if launches else None
        origin = before.config if before else recipe.preset
        self._launch = RunRecord(
            launch=(before.launch if before else 0) + 1,
            recipe=recipe.name,
            recipe_source=recipe.source,
            config=recipe.config,
            config_changes=explain_change(origin, recipe.config) if origin is not None else [],
            provenance=provenance.capture(),
            started=_now(),
            journal="doubted" if self.past.doubted else "sure",
        )
        self._save("running", "")

    def enter(self, step: str, identity: str, folder: Path, state: StepState, why: str) -> None:
        """List a step that is done in the launch's record. What was remembered is written with the
        next step that works (see `note`), or at the end."""
        path = folder.relative_to(self.path).as_posix()
        self._entries.append(
            {"step": step, "fingerprint": identity, "path": path, "state": state, "why": why}
        )
        if state != "remembered":
            self.note()

    def note(self) -> None:
        """Write the launch's record as it is now."""
        self._save("running", "")

    def finish(self, kind: type | None, message: str) -> None:
        """Note that the launch has ended, by an error of `kind` (None: it ended well, and the
        result is put in place)."""
        if self._launch is None:
            return
        stopped = kind is not None and kind.__name__ in ("Stopped", "KeyboardInterrupt")
        self._save("finished" if kind is None else "stopped" if stopped else "failed", message)
        if kind is None and self._launch.result:
            link(self.path / self._launch.result, self.path / "result")

    def close(self) -> None:
        """Unlock it and close its files."""
        self._stack.close()

    def _save(self, status: Status, message: str) -> None:
        assert self._launch is not None
        models = [e["path"] for e in self._entries if e["step"] == "result"]
        made = read_record(self.path / models[-1]).result["path"] if models else None
        self._launch = dataclasses.replace(
            self._launch,
            status=status,
            message=message,
            finished=_now() if status != "running" else None,
            steps=list(self._entries),
            result=f"{models[-1]}/{made}" if models else None,
        )
        write_launch(self._launch, self.path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
