"""Training on this machine: starts the worker, follows it, and survives what can be survived.

The one idea: the process that trains is disposable. It runs in a session of its own (several of them
where a layout asks for it), tells its progress in a file, and can be started again from the last
complete checkpoint of the same job: after a kill of the whole run (checkpoints of earlier attempts,
which are sibling directories of `out`, are copied), and at once, with fewer rows at a time, when memory
runs out. A job that an earlier attempt finished, and nobody recorded, is taken over as it is.
Nothing here decides what comes out, so a LocalTrainer has no identity.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from woolgather.core import children
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, DiskError, TrainingError
from woolgather.core.expected import DeviceMemory
from woolgather.core.machine_speed import Precision, auto_precision, read_speeds
from woolgather.core.model_limits import longest_row
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.training.attempts import find_checkpoint, job_identity, take_over
from woolgather.training.checkpoints import (
    CHECKPOINTS,
    ERRORS,
    JOB,
    LOG,
    PROGRESS,
    STOP,
)
from woolgather.training.job import (
    MODEL,
    RESULT,
    DpoOptions,
    JobOptions,
    MergeOptions,
    SftOptions,
    TrainJob,
    is_fake,
)
from woolgather.training.job_file import Execution, write_job
from woolgather.training.layouts import (
    ALONE,
    ProcessLayout,
    launch_args,
    not_sharded,
    write_layout,
)
from woolgather.training.memory import TrainingSize
from woolgather.training.model_shape import read_shape
from woolgather.training.nodes import Meeting, Spot, free_port
from woolgather.training.trackers import NOWHERE, Tracking, step_of

LAUNCHES = 6
"""Upper bound of processes started for one job in one attempt."""
_POLL_SECONDS = 0.2
_CAUSES = ("mistake", "disk", "memory", "error", "lost")
"""Kinds of failure: what one process knows better than the others comes first."""
LITTLE = 1 << 20
"""Bytes free: with less, a process that died without a word died of the full disk."""


@dataclass(frozen=True)
class LocalTrainer:
    """A Trainer that runs jobs on this machine, in one process or in several. All fields are
    execution."""

    layout: ProcessLayout = ALONE
    """How many processes train together, and who holds what."""
    meeting: Meeting | None = None
    """Gathers the other machines, where there are some."""
    on_progress: Callable[[dict[str, JSON]], None] | None = None
    """Gets each event: `event` is start, training, update, validation, checkpoint or note; an
    update has `update`, `updates`, `loss`, `learning_rate`, `tokens_per_second`."""
    micro_batch_size: int = 0
    """Rows on a device at once; 0 leaves it to the job's own setting."""
    checkpoint_every: float = 2.0
    """Minutes between checkpoints; 0 saves one after every update."""
    threads: int = 0
    """CPU threads of a process; 0 shares out the cores there are."""
    cpu: bool = False
    """Train on the CPU although there is a GPU."""
    tracking: Tracking = NOWHERE
    """Who gets the curves as well."""
    stop_grace: float = 60.0
    """Seconds that a training may take to finish its update and save, when stopped."""

    def __canonical__(self) -> None:
        """None: how a job is carried out is not what it is."""

    def precision(self, *, measure: bool = True) -> Precision | None:
        """Returns the faster one on the device that jobs run on, see machine_speed.py; None where
        that would have to be measured and `measure` is False. Raises ConfigError without torch,
        EngineError where it cannot be used."""
        return auto_precision("cpu" if self.cpu else "auto", "training", measure=measure)

    def memory(self, start: Model, options: SftOptions | DpoOptions) -> DeviceMemory | None:
        """Returns what training `start` takes on each device, and what a device has as far as that was
        measured; None for a model whose config.json is not here."""
        shape = None if is_fake(start) else read_shape(Path(start.path))
        if shape is None:
            return None
        size = TrainingSize(
            shape,
            options,
            (self.precision(measure=False) if options.precision == "auto" else options.precision)
            or "float32",
            tokens=longest_row(start.path, options.max_length),
            on_cpu=self._device() == "cpu",
            sharding=self.layout.sharding,
            devices=self.layout.processes,
            micro_batch_size=self.micro_batch_size,
        )
        return size.need(self._device_bytes())

    def _device(self) -> str:
        return "cuda" if "cuda" in read_speeds() and not self.cpu else "cpu"

    def _device_bytes(self) -> int:
        """Returns the memory of a GPU, or a process's part of the machine's; 0 where it is not known."""
        if self._device() == "cpu":
            return int(psutil.virtual_memory().total) // self.layout.here
        return read_speeds()["cuda"].memory

    def check(self) -> None:
        """Raises ConfigError for more processes than this machine has devices, as far as it was measured,
        and for a layout that is for GPUs where there is none."""
        speeds = read_speeds()
        if self.layout.sharding != "ddp" and speeds and self._device() == "cpu":
            raise ConfigError(not_sharded(self.layout.sharding, "there is no GPU here"))
        gpus = speeds["cuda"].devices if self._device() == "cuda" else 0
        devices, kind = (gpus, "GPUs") if gpus else (count_cores(), "cores")
        if self.layout.here > devices:
            raise ConfigError(
                f"{self.layout.here} processes were asked for on this machine, which has {devices} "
                f"{kind}: set --processes to {devices} or fewer."
            )

    def __call__(self, job: TrainJob, out: Path) -> Model:
        """Carry the job out in `out`; returns the model. Raises TrainingError when the process
        fails, with the last lines of out/train.log, DiskError on a full disk, ConfigError for what
        the job must not ask."""
        if is_fake(job.start):
            raise ConfigError(
                f"{job.start.path} is a name for dry runs, not a model: give a real one as base, "
                "or train it with the fake trainer (--engine fake)."
            )
        out = out.absolute()
        out.mkdir(parents=True, exist_ok=True)
        identity = job_identity(job)
        execution = Execution(
            cpu=self.cpu,
            processes=self.layout.processes,
            sharding=self.layout.sharding,
            micro_batch_size=self.micro_batch_size,
            checkpoint_every=self.checkpoint_every,
            report_to=self.tracking.name,
            project=self.tracking.folder.name,
        )
        notes: list[str] = []
        if take_over(out, identity):
            self._tell({"event": "note", "text": "an earlier attempt finished this training"})
            return _finish(job, out, notes)
        for _ in range(LAUNCHES):
            events = self._launch(job, out, identity, execution)
            if (out / RESULT).is_file():
                return _finish(job, out, notes)
            execution, note = _remedy(events, _error(out), out, execution)
            notes.append(note)
            self._tell({"event": "note", "text": note})
        raise TrainingError(
            f"training was started {LAUNCHES} times and did not end. The last lines of "
            f"{out / LOG}:\n{children.tail(out / LOG)}"
        )

    def _launch(
        self, job: TrainJob, out: Path, identity: str, execution: Execution
    ) -> list[dict[str, JSON]]:
        """Runs one process from start to end; returns its events."""
        for path in (*out.glob(ERRORS), *(out / name for name in (STOP, PROGRESS, RESULT))):
            path.unlink(missing_ok=True)
        resume = find_checkpoint(out, identity) if job.trains else None
        write_job(out / JOB, job, digest=identity, execution=execution, resume=resume)
        together = job.trains and (self.layout.processes > 1 or self.layout.file is not None)
        if together:
            write_layout(self.layout, out, _precision(job.options))
            spot = self.meeting.call(out / JOB) if self.meeting else Spot(free_port())
            process = self.start(out / JOB, out / LOG, spot)
        else:
            process = self._spawn(["-m"], out / JOB, out / LOG, self._threads(1))
        events: list[dict[str, JSON]] = []
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                self._follow(out, events)
                if together and self.meeting:
                    self.meeting.check()
            self._follow(out, events)
        except BaseException:
            self._stop(process, out, any(e["event"] == "training" for e in events))
            raise
        finally:
            if together and self.meeting:
                self.meeting.end_call()
        return events

    def start(self, job: Path, log: Path, spot: Spot) -> subprocess.Popen[bytes]:
        """Starts this machine's processes of a job file; those of all machines meet at the spot."""
        how, threads = launch_args(self.layout, job.parent, spot), self._threads(self.layout.here)
        return self._spawn(how, job, log, threads, self._environment())

    def _spawn(
        self,
        how: Sequence[str],
        job: Path,
        log: Path,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        argv = [sys.executable, *how, "woolgather.training.worker", str(job)]
        told = {"OMP_NUM_THREADS": str(threads), **(environment or {})}
        told |= self.tracking.environment(step_of(job.parent))
        return children.spawn(argv, log=log, env=told)

    def _environment(self) -> dict[str, str]:
        """Returns what several processes are told: on a CPU, to see no GPU and to speak over gloo."""
        on_cpu = self.cpu or self._device() == "cpu"
        return {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}

    def _threads(self, processes: int) -> int:
        """Returns the threads of one of so many processes: its part of those that we may use."""
        told = os.environ.get("OMP_NUM_THREADS", "")
        ours = int(told) if told.isdecimal() else count_cores()
        return self.threads or max(1, ours // processes)

    def _follow(self, out: Path, events: list[dict[str, JSON]]) -> None:
        """Pass on the events that are new; a half-written last line waits."""
        path = out / PROGRESS
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        for line in lines[len(events) :]:
            events.append(json.loads(line))
            self._tell(events[-1])

    def _tell(self, event: dict[str, JSON]) -> None:
        if self.on_progress is not None:
            self.on_progress(event)

    def _stop(self, process: subprocess.Popen[bytes], out: Path, training: bool) -> None:
        """Asks for a checkpoint at the end of this update, then ends the process."""
        try:
            if training:
                (out / STOP).touch()
                process.wait(self.stop_grace)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        finally:
            children.stop(process)


def _finish(job: TrainJob, out: Path, notes: list[str]) -> Model:
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    (out / STOP).unlink(missing_ok=True)
    if notes:
        result = json.loads((out / RESULT).read_text(encoding="utf-8"))
        result.setdefault("execution", {})["notes"] = notes
        write_json(out / RESULT, result)
    form = job.start.prompt_format if job.kind == "merge" else "chat"
    return Model(str(out / MODEL), prompt_format=form)


def _error(out: Path) -> dict[str, str]:
    """Returns what a process said of its failure: of several, the one that knows most of the cause."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob(ERRORS))]
    return min(told, key=lambda error: _CAUSES.index(error["kind"]), default={})


def _remedy(
    events: Sequence[Mapping[str, JSON]],
    error: Mapping[str, str],
    out: Path,
    execution: Execution,
) -> tuple[Execution, str]:
    """Returns how another launch may do better, and that in a sentence. Raises ConfigError for a
    mistake in the job, DiskError for a full disk, TrainingError where nothing is left to try."""
    kind, message = error.get("kind", ""), error.get("message", "")
    log = f"The last lines of {out / LOG}:\n{children.tail(out / LOG)}"
    if kind == "mistake":
        raise ConfigError(message)
    full = kind == "disk" or "No space left on device" in message
    if full or (not error and shutil.disk_usage(out).free < LITTLE):
        raise DiskError(
            f"training: no room left on the disk of {out} ({message or 'nothing more was said'}). "
            "Checkpoints are kept: free some space (`woolgather clean` deletes what is not used) "
            "and give the same command again."
        )
    used = next((e for e in reversed(events) if e["event"] == "start"), None)
    if used is None or kind == "error":
        message = "a process died before it began" if kind == "lost" else message
        raise TrainingError(f"training failed: {message or 'the process died'}. {log}")
    why = "memory ran out" if kind == "memory" else "the process was killed (memory, perhaps)"
    rows = used["micro_batch_size"]
    assert isinstance(rows, int)
    if rows > 1:
        fewer = max(m for m in range(1, rows // 2 + 1) if rows % m == 0)
        less = execution.model_copy(update={"micro_batch_size": fewer})
        return less, f"{why}: going on with {fewer} rows at a time instead of {rows}"
    if not used["gradient_checkpointing"] and not execution.recompute:
        less = execution.model_copy(update={"recompute": True})
        return less, f"{why}: going on with activations recomputed"
    raise TrainingError(
        f"training failed: {why} with one row at a time. Lower max_length, use lora, or train on a "
        f"device with more memory. {log}"
    )


def _precision(options: JobOptions) -> Precision:
    """Returns what a layout's file is to say of a job's precision."""
    told = "float32" if isinstance(options, MergeOptions) else options.precision
    return "bfloat16" if told == "bfloat16" else "float32"


def count_cores() -> int:
    """Returns the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1
