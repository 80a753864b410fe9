"""What can go wrong, as a tree; the message is the whole of what a user needs.

    WoolgatherError
    ├── MistakeError         what was asked cannot be done as asked; exit code 2
    │   ├── InputError       a file, row or field (seeds, templates, texts)
    │   ├── ConfigError      a setting: unknown key, value out of range
    │   ├── RunDirError      a run directory of another recipe, a newer format, or in use
    │   └── CapabilityError  an engine or model cannot do what a step needs
    ├── WorkError            the work failed; exit code 1; what is finished is kept
    │   ├── EngineError      a model or server stopped answering
    │   ├── TrainingError    a training process failed
    │   ├── DiskError        no room
    │   └── YieldError       too little came out to go on (no readable verdicts, too few rows)
    └── Stopped              deadline, Ctrl-C or SIGTERM; exit code 75: the same command continues

Every message names the place (file, line, field), what is wrong, and the remedy. A full disk shows in
many ways; `no_room` knows them, and `disk_error` is the one thing that is said.
"""

from __future__ import annotations

import errno
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left; over the quota; over the limit of a file's size (`ulimit -f`)."""
_FULL_DATABASE = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_FULL_TEXT = ("No space left on device", "os error 28", "inline_container.cc")
"""In errors of libraries without a number: shutil's, safetensors', torch's."""


class WoolgatherError(Exception):
    """Root of all errors that are meant for the user. `exit_code` is what the command line returns."""

    exit_code = 1


class MistakeError(WoolgatherError):
    """What was asked cannot be done as asked."""

    exit_code = 2


class InputError(MistakeError):
    """A file, row or field cannot be used."""


class ConfigError(MistakeError):
    """A setting is unknown or out of range, or settings do not go together."""


class RunDirError(MistakeError):
    """A run directory belongs to another recipe, is of a newer format, or is in use."""


class CapabilityError(MistakeError):
    """An engine or a model cannot do what a step needs."""


class WorkError(WoolgatherError):
    """The work failed; what is finished is kept."""

    exit_code = 1


class EngineError(WorkError):
    """A model or server stopped answering."""


class TrainingError(WorkError):
    """A training process failed."""


class DiskError(WorkError):
    """There is no room left on the disk."""


class YieldError(WorkError):
    """Too little came out of a step to go on with."""


class Stopped(WoolgatherError):
    """A deadline, Ctrl-C or SIGTERM ended the run; the same command goes on with it."""

    exit_code = 75


def no_room(error: BaseException | None) -> bool:
    """Returns whether a full disk (a quota, a limit on the size of files) is what went wrong."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if getattr(error, "sqlite_errorname", "") in _FULL_DATABASE:
            return True
        if any(text in str(error) for text in _FULL_TEXT):
            return True
        error = error.__cause__
    return False


def disk_error(error: BaseException | None, place: Path, doing: str = "") -> DiskError | None:
    """Returns what is said of a full disk, met as `error` while `doing` (a step's name) in `place`; None
    where the error is another one, or has been said already."""
    if error is None or isinstance(error, WoolgatherError) or not no_room(error):
        return None
    why = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DiskError(
        f"{doing + ': ' if doing else ''}no room left on the disk of {place} ({why}). What is "
        f"finished is kept: free some space (`woolgather clean {place}` deletes what is not used) "
        "and give the same command again."
    )
