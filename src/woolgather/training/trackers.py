"""Experiment trackers: a training's curves, and what each iteration measures, may also go to one.

The one idea: a tracker draws a run a second time. Nothing of it is identity, and what it refuses is told
and ends nothing. The trainer hands its own curves over (`report_to` of transformers); measures go
through a child process, since a tracker may load anything and wait for anybody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from woolgather.core import children
from woolgather.core.errors import ConfigError

TRACKERS: Mapping[str, tuple[str, ...]] = {
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Names that both transformers and accelerate know, and the packages of which one is needed."""
_LAST_SECONDS = 60.0
"""Until a tracker has handed over what it was told last."""


@dataclass(frozen=True)
class Tracking:
    """Where a run's curves and measures also go."""

    name: str = ""
    """One of `TRACKERS`; empty for nowhere."""
    folder: Path = Path()
    """The run's directory; its name is the project's."""

    def environment(self, step: str = "") -> dict[str, str]:
        """Returns the variables by which trackers learn what they take from nowhere else."""
        if not self.name:
            return {}
        return {
            "TENSORBOARD_LOGGING_DIR": str(self.logs / step),
            "WANDB_PROJECT": self.folder.name,
            "COMET_PROJECT_NAME": self.folder.name,
            "MLFLOW_EXPERIMENT_NAME": self.folder.name,
        }

    @property
    def logs(self) -> Path:
        """Returns the directory of a tracker that writes files."""
        return self.folder / "tracker"


NOWHERE = Tracking()


def step_of(out: Path) -> str:
    """Returns the name of a training in a tracker, that of the step whose attempt `out` is:
    `iter0/train-54699be24b0e`."""
    return "/".join(out.parts[-3:-1])


def check_tracker(name: str) -> None:
    """Raises ConfigError for a tracker that is unknown or not installed."""
    if name not in TRACKERS:
        known = ", ".join(TRACKERS)
        raise ConfigError(f"--report-to {name}: unknown tracker. Choose one of: {known}.")
    packages = TRACKERS[name]
    if not any(map(find_spec, packages)):
        raise ConfigError(
            f"--report-to {name}: {packages[0]} is not installed. Install it with: "
            f"pip install {packages[0]}"
        )


class MeasureTracker:
    """Hands numbers to a tracker in a child process; call `close` at the end. `note` is told once when
    the child has gone."""

    def __init__(self, tracking: Tracking, note: Callable[[str], None]) -> None:
        self._tracking, self._note = tracking, note
        self._log = tracking.folder / "tracker.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._lost = False

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Hand over numbers by name; `step` places them on the tracker's axis."""
        if self._lost or not values:
            return
        try:
            if self._child is None:
                self._child = self._start()
            assert self._child.stdin is not None
            line = json.dumps({"values": dict(values), "step": step}) + "\n"
            self._child.stdin.write(line.encode())
        except OSError:
            self._give_up()

    def close(self) -> None:
        """Lets the tracker finish, for a minute at most."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            assert child.stdin is not None
            child.stdin.close()
            if child.wait(_LAST_SECONDS):
                self._give_up()
        except (OSError, subprocess.TimeoutExpired):
            self._give_up()
        finally:
            children.stop(child)

    def _start(self) -> subprocess.Popen[bytes]:
        where = self._tracking
        argv = [sys.executable, "-m", "woolgather.training.worker.devices.tracking", where.name]
        argv += [where.folder.name, str(where.logs)]
        return children.spawn(argv, log=self._log, stdin=subprocess.PIPE, env=where.environment())

    def _give_up(self) -> None:
        if not self._lost:
            self._lost = True
            last = children.tail(self._log, 1).strip()
            self._note(f"{self._tracking.name} takes no measures: {last or 'it ended'}")
