"""The process of a point: reads its work, carries it out like any run, and says why it failed."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
import time
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from woolgather.api.launch import Launch
from woolgather.api.stopping import stopping
from woolgather.api.sweeping.point import PointWork, spell_error
from woolgather.core.children import watch_parent
from woolgather.core.errors import ConfigError, RunDirError, Stopped, WoolgatherError
from woolgather.core.storage import write_json
from woolgather.runs.lock import RunLock

_LEFT_SECONDS = 20.0
"""How long a point may still belong to the process of a sweep that was killed, which ends by itself."""


def main() -> int:
    """Returns the exit code: 0, that of Stopped, or 1 when the error is told."""
    watch_parent()
    work, told = pickle.load(sys.stdin.buffer)
    try:
        with stopping(None):
            carry_out(work)
    except Stopped as stop:
        print(f"stopped: {stop}; what is finished is kept.")
        return Stopped.exit_code
    except Exception as error:
        if not isinstance(error, WoolgatherError):
            traceback.print_exception(error)
        said = spell_error(error)
        print(f"failed: {said}")
        write_json(told, said)
        return WoolgatherError.exit_code
    return 0


def carry_out(work: PointWork) -> None:
    """Runs a point, or continues it. Raises what Launch raises, and ConfigError where the directory that
    the settings start from is not on this machine."""
    from rich.console import Console

    here = socket.gethostname()
    if not work.at.is_dir():
        raise ConfigError(
            f"{work.at} is not found on {here}. Give the command in a directory that all machines share."
        )
    os.chdir(work.at)
    choices = replace(work.choices, own_journal=here != work.host)
    launch = Launch(
        import_module(work.recipe) if work.is_module else work.recipe,
        work.settings,
        folder=work.folder,
        engine=work.engine,
        training=work.training,
        choices=choices,
    )
    wait_until_free(work.folder)
    console = Console(highlight=False, emoji=False, width=200)
    launch.carry_out(lambda total: launch.show(console, total), report=work.report)


def wait_until_free(folder: Path) -> None:
    """Waits for the process of an earlier sweep, if one still has the point, but not for long."""
    until = time.monotonic() + _LEFT_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(RunDirError), RunLock(folder):
            return
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
