"""Several machines that train together: the first has the run, the others help with its trainings.

The one idea: they share the run directory, and nothing else has to be open between them before a
training starts. Each writes a note there every second; a note that stands still, such as an earlier run
has left, is from nobody who lives. The first one's note names the training that all are to start.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from woolgather.core import children
from woolgather.core.errors import ConfigError, TrainingError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json

FOLDER = "nodes"
"""Directory of the notes, within that of the run."""
BEAT = 1.0
"""Seconds from one note to the next."""
GONE = 120.0
"""Seconds after which a machine whose note stands still is gone; a shared disk may show changes late."""
PATIENCE = 900.0
"""Seconds that machines wait for each other at first."""
_POLL = 0.2


@dataclass(frozen=True)
class ClusterNode:
    """One of several machines that train together."""

    count: int = 1
    """Number of machines."""
    rank: int = 0
    """The number of this one. 0 has the run."""
    host: str = ""
    """Name or address of number 0, as the others reach it; empty for the name it has."""
    port: int = 0
    """Where its trainings are to meet; 0 for one that is free."""


@dataclass(frozen=True)
class Spot:
    """Where the processes of a training meet, and which machine starts some of them."""

    port: int
    host: str = "127.0.0.1"
    rank: int = 0


def read_node(
    nodes: str, rank: int | None, address: str, environ: Mapping[str, str] = os.environ
) -> ClusterNode:
    """Returns what `--nodes`, `--node-rank` and `--main-address` say, or what Slurm has told each task
    where `nodes` is "slurm". Raises ConfigError for what does not fit together."""
    if nodes == "slurm":
        if rank is not None:
            raise ConfigError("--node-rank: --nodes slurm says it already. Leave it out.")
        return _from_slurm(address, environ)
    if not nodes.isascii() or not nodes.isdigit() or int(nodes) < 1:
        raise ConfigError(f"--nodes {nodes}: give a number of machines from 1 on, or slurm.")
    count = int(nodes)
    if count == 1:
        if rank or address:
            raise ConfigError(
                "--node-rank and --main-address are for several machines: say how many with --nodes."
            )
        return ClusterNode()
    if rank is None or not 0 <= rank < count:
        said = "is missing" if rank is None else f"{rank} is none of them"
        raise ConfigError(
            f"--node-rank {said}: number the {count} machines of --nodes from 0 to {count - 1}; 0 has "
            "the run."
        )
    if not address:
        raise ConfigError(
            f"--main-address is missing: with --nodes {count} give each machine HOST:PORT, where it "
            "reaches machine 0."
        )
    return ClusterNode(count, rank, *_read_address(address))


def _from_slurm(address: str, environ: Mapping[str, str]) -> ClusterNode:
    def tell(*names: str) -> str:
        found = next((environ[name] for name in names if environ.get(name)), "")
        if not found:
            raise ConfigError(
                f"--nodes slurm: {names[0]} is not set. Start it with srun, one task per node, or give "
                "--nodes, --node-rank and --main-address."
            )
        return found

    if int(environ.get("SLURM_LOCALID", "0")) > 0:
        raise ConfigError(
            "--nodes slurm: Slurm has started several tasks on this node, and one is wanted, which "
            "starts its own processes. Set --ntasks-per-node=1."
        )
    count = int(tell("SLURM_STEP_NUM_NODES", "SLURM_NNODES"))
    rank = int(tell("SLURM_NODEID"))
    host, port = _read_address(address) if address else ("", 0)
    first = first_host(tell("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"))
    return ClusterNode(count, rank, host or first, port) if count > 1 else ClusterNode()


def first_host(names: str) -> str:
    """Returns the first host of a list as Slurm writes it: "gpu[003-006,9],login" begins with gpu003."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", names)
    return "".join(part or "" for part in found.groups()) if found else names


def _read_address(text: str) -> tuple[str, int]:
    host, sign, port = text.rpartition(":")
    if not sign or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--main-address {text}: write HOST:PORT, such as 10.0.0.1:29500.")
    return host, int(port)


class Notes:
    """Context manager that writes a note in a thread, every `BEAT` seconds, with a number that grows.

    What is put into `told` is in the next one."""

    def __init__(self, path: Path) -> None:
        self._path, self._done = path, threading.Event()
        self._told: dict[str, JSON] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_writing, name="notes", daemon=True)

    def __enter__(self) -> Notes:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.tell()
        self._thread.start()
        return self

    def tell(self, **told: JSON) -> None:
        """Write what has changed at once."""
        with self._lock:
            self._told |= told
            self._count += 1
            write_json(self._path, {**self._told, "beat": self._count})

    def _keep_writing(self) -> None:
        while not self._done.wait(BEAT):
            with suppress(OSError):  # a shared disk that is away for a moment
                self.tell()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()


class Watch:
    """What another machine's notes say, as soon as they have been seen to change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: JSON = None
        self._changed = self._began = time.monotonic()
        self.lives = False

    def look(self) -> dict[str, JSON]:
        """Returns the latest note; nothing before there were two."""
        try:
            note = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # not there, or about to be replaced
            return {}
        if note.get("beat") != self._seen:
            self.lives = self._seen is not None
            self._seen, self._changed = note.get("beat"), time.monotonic()
        return note if self.lives else {}

    @property
    def silent(self) -> float:
        """Returns the seconds since the note changed, or since it was looked for."""
        return time.monotonic() - self._changed


class Meeting:
    """Context manager of the first machine: gathers the others for each training.

    `folder` is the run directory."""

    def __init__(self, node: ClusterNode, folder: Path) -> None:
        self._node, self._folder = node, folder / FOLDER
        self._notes = Notes(self._folder / "node-0.json")
        self._others = {
            rank: Watch(self._folder / f"node-{rank}.json") for rank in range(1, node.count)
        }
        self._calls = 0

    def __enter__(self) -> Meeting:
        self._notes.__enter__()
        return self

    def call(self, job: Path) -> Spot:
        """Have the others start the training of a job file, once all are there; returns where to meet.

        Raises TrainingError for one that does not come."""
        for rank, watch in self._others.items():
            while watch.look() == {} or watch.silent > GONE:
                if watch.silent > PATIENCE:
                    raise TrainingError(
                        f"machine {rank} of {self._node.count} has not come within {PATIENCE:.0f} "
                        f"seconds: give the same command there with --node-rank {rank}, and the run "
                        f"directory on a disk that all machines share ({self._folder.parent})."
                    )
                time.sleep(_POLL)
        self._calls += 1
        spot = Spot(self._node.port or free_port(), self._node.host or socket.gethostname())
        self._notes.tell(
            call={"number": self._calls, "job": str(job), "host": spot.host, "port": spot.port}
        )
        return spot

    def check(self) -> None:
        """Raises TrainingError for a machine that is gone, for which the others would wait long."""
        for rank, watch in self._others.items():
            watch.look()
            if watch.silent > GONE:
                raise TrainingError(
                    f"machine {rank} of {self._node.count} is gone: nothing came from it for "
                    f"{watch.silent:.0f} seconds. Start it again with --node-rank {rank}, then this "
                    "command: finished steps and checkpoints are kept."
                )

    def end_call(self) -> None:
        """Let the others know that a training is over here."""
        self._notes.tell(call=None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._notes.__exit__(kind, error, trace)
        with suppress(OSError):
            self._notes.tell(call=None, over=True)


class Helper(Protocol):
    """What starts this machine's processes of a training."""

    @property
    def stop_grace(self) -> float: ...

    def start(self, job: Path, log: Path, spot: Spot) -> subprocess.Popen[bytes]: ...


def follow(node: ClusterNode, folder: Path, helper: Helper, tell: Callable[[str], None]) -> None:
    """Help with each training of the run in `folder` until it ends.

    Raises TrainingError where it does not begin, or where the first machine is gone."""
    notes = folder / FOLDER
    log, watch, done = notes / f"node-{node.rank}.log", Watch(notes / "node-0.json"), 0
    with Notes(notes / f"node-{node.rank}.json"):
        while not (note := watch.look()).get("over"):
            if watch.silent > (GONE if watch.lives else PATIENCE):
                said = "is gone" if watch.lives else "has not begun"
                raise TrainingError(
                    f"the run in {folder} {said}: nothing came from machine 0 for {watch.silent:.0f} "
                    "seconds. Start it there with --node-rank 0, in the same run directory on a disk "
                    "that all machines share."
                )
            call = note.get("call")
            if call and call["number"] > done:
                done = int(call["number"])
                tell(f"helps with {Path(call['job']).parent}")
                spot = Spot(int(call["port"]), str(call["host"]), node.rank)
                process = helper.start(Path(call["job"]), log, spot)
                code = _accompany(process, watch, done, helper.stop_grace)
                tell(f"done, exit code {code}" + (f"; see {log}" if code else ""))
            time.sleep(_POLL)


def _accompany(
    process: subprocess.Popen[bytes], watch: Watch, number: int, grace: float
) -> int | None:
    """Let a training run here while it runs on the first machine; returns its exit code."""

    def wanted() -> bool:
        call = watch.look().get("call") or {}
        return call.get("number") == number and watch.silent < GONE

    try:
        while process.poll() is None and wanted():
            time.sleep(_POLL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    except BaseException:
        # Asked to stop, as machine 0 is, which has all of them save at the end of this update.
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(grace)
        raise
    finally:
        children.stop(process)
    return process.returncode


def free_port() -> int:
    """Returns a port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
