"""A point of a sweep in a process of its own: what it is told, and how it ends.

The one idea: the process is an ordinary run. It gets a PointWork on its standard input, prints its
progress to `point.log` in the point's directory, and ends with an exit code and, where it failed, a
sentence. It ends with whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from woolgather.api.launch import AskedSettings, AskedTraining
from woolgather.core import children
from woolgather.core.errors import ConfigError, Stopped, WoolgatherError
from woolgather.engines.base import EngineOptions
from woolgather.runs.call import StepChoices

LOG = "point.log"
"""What the process prints, in the point's directory; later ones append to it."""
STOP_SECONDS = 75.0
"""How long a point may take to stop: a training gets a minute for its update and its checkpoint."""


@dataclass(frozen=True)
class PointWork:
    """What a process is told to do."""

    recipe: str
    """A recipe's name, the path of its file, or of a module that can be imported its name."""
    is_module: bool
    settings: AskedSettings
    folder: Path
    """The point's run directory."""
    engine: EngineOptions
    training: AskedTraining
    choices: StepChoices
    report: bool
    """Whether it writes a report of its own."""
    at: Path
    """The directory that relative paths among the settings start from."""
    host: str
    """The machine of the sweep: a point on another one remembers its answers apart."""

    @property
    def log(self) -> Path:
        """Returns where its process prints."""
        return self.folder / LOG


@dataclass(frozen=True)
class PointEnd:
    """How a process has ended."""

    error: str = ""
    """Why it failed; empty where it did not."""


class PointProcess:
    """A process that works on a point, on this machine."""

    def __init__(self, work: PointWork, environment: dict[str, str]) -> None:
        """`environment` adds to our own."""
        self._work = work
        self._scratch = tempfile.TemporaryDirectory(prefix="woolgather-point-")
        self._told = Path(self._scratch.name) / "error.json"
        path = os.pathsep.join(place for place in sys.path if place)
        self._process = children.spawn(
            [sys.executable, "-m", "woolgather.api.sweeping.program"],
            log=work.log,
            stdin=subprocess.PIPE,
            env={"PYTHONPATH": path, **environment},
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone, and says why at its end
            self._process.stdin.write(pickle.dumps((work, self._told)))
            self._process.stdin.close()

    def poll(self) -> PointEnd | None:
        """Returns how it ended; None while it works."""
        code = self._process.poll()
        if code is None:
            return None
        error = self._read_error(code)
        self._scratch.cleanup()
        return PointEnd(error)

    def stop(self) -> None:
        """Asks it to stop, as Ctrl-C asks a run."""
        self._process.terminate()

    def end(self) -> None:
        """Waits until it has stopped; one that does not is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        children.stop(self._process)
        self._scratch.cleanup()

    def _read_error(self, code: int) -> str:
        if code == 0:
            return ""
        if code == Stopped.exit_code:
            return "It was stopped from outside. The same command goes on with it."
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(self._told.read_text(encoding="utf-8")))
        how = f"exit code {code}"
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
        return f"Its process died ({how}). The same command goes on with it."


def name_recipe(recipe: str | ModuleType) -> tuple[str, bool]:
    """Returns what another process finds a recipe by, and whether that is a module's name. Raises
    ConfigError for a module that it cannot import."""
    if isinstance(recipe, ModuleType) and hasattr(recipe, "__recipe__"):
        recipe = str(recipe.__file__)
    if isinstance(recipe, str):
        return (str(Path(recipe).resolve()) if recipe.endswith(".py") else recipe), False
    with contextlib.suppress(ValueError):
        if recipe.__name__ != "__main__" and find_spec(recipe.__name__):
            return recipe.__name__, True
    raise ConfigError(
        f"--at-once: another process cannot import the recipe {recipe.__name__}. Put it into a file "
        "and give its path."
    )


def spell_error(error: Exception) -> str:
    """Returns what is said of an error: its message, and of one that is not ours its kind, too."""
    return str(error) if isinstance(error, WoolgatherError) else repr(error)
