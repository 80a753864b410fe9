"""One job, from its file to its result or a sentence that says why there is none."""

from __future__ import annotations

import contextlib
import importlib
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from woolgather.core.errors import WoolgatherError, no_room
from woolgather.core.storage import write_json
from woolgather.training.checkpoints import STOPPED, error_file
from woolgather.training.job import RESULT, JobKind
from woolgather.training.job_file import read_job
from woolgather.training.worker.devices.processes import rank, world
from woolgather.training.worker.told import StopRequested

KINDS: Mapping[JobKind, tuple[str, str]] = {
    "sft": ("sft", "train"),
    "dpo": ("dpo", "train"),
    "merge": ("merging", "merge"),
}
"""By kind of job: the module beside this one, and its function. Only the one that is needed is
imported, since TRL's trainers take a second."""


_LOST = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "remote process exited",
)
"""What gloo and NCCL say where one of the others is gone."""


def main(argv: Sequence[str]) -> int:
    """Carry out the job file named by the first argument; returns the exit code."""
    job = read_job(Path(argv[0]))
    out = job.out
    try:
        module, function = KINDS[job.kind]
        work = importlib.import_module(f"woolgather.training.worker.{module}")
        result = getattr(work, function)(job)
    except StopRequested:
        return STOPPED
    except WoolgatherError as error:
        return _fail(out, "mistake", str(error))
    except Exception as error:  # whatever it is, the parent has to say it in a sentence
        kind = _kind_of(error)
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exc()
        return _fail(out, kind, (str(error).strip() or type(error).__name__).splitlines()[0])
    if rank() == 0:
        write_json(out / RESULT, result)
    return 0


def _kind_of(error: BaseException) -> str:
    """Returns what the parent goes by: `disk`, `memory`, `lost` (another process is gone), or `error`."""
    if no_room(error):
        return "disk"
    if _is_out_of_memory(error):
        return "memory"
    text = str(error).lower()
    return "lost" if world() > 1 and any(sign in text for sign in _LOST) else "error"


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "not enough memory" in text
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def _fail(out: Path, kind: str, message: str) -> int:
    with contextlib.suppress(OSError):  # no room for it either: the parent looks at the disk
        write_json(error_file(out, rank()), {"kind": kind, "message": message})
    return 1
