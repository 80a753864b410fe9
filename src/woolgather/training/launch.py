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
from woolgather.core.errors import ConfigError, DiskError, TrainingError, no_room
from woolgather.core.expected import DeviceMemory
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.machine_speed import Precision, auto_precision, read_speeds
from woolgather.core.model_limits import longest_row
from woolgather.core.rows import JSON
from woolgather.core.storage import digest, write_json
from woolgather.training.checkpoints import (
    CHECKPOINTS,
    ERRORS,
    JOB,
    LOG,
    PROGRESS,
    STOP,
    checkpoints,
    is_complete,
    kept_models,
    opponent_dir,
)
from woolgather.training.job import (
    CURVES,
    EPOCHS,
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
from woolgather.training.layouts import ALONE, ProcessLayout, free_port, not_sharded, write_layout
from woolgather.training.memory import TrainingSize
from woolgather.training.model_shape import read_shape
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
        identity = _identity(job)
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
        if _take_over(out, identity):
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
        resume = _resume(out, identity) if job.trains else None
        write_job(out / JOB, job, digest=identity, execution=execution, resume=resume)
        argv = ["-m", "woolgather.training.worker", str(out / JOB)]
        together = job.trains and (self.layout.processes > 1 or self.layout.file is not None)
        env = {"OMP_NUM_THREADS": str(self._threads(self.layout.here if together else 1))}
        if together:
            argv = [*self._launcher(out, job.options), str(out / JOB)]
            env |= self._environment()
        argv, env = [sys.executable, *argv], env | self.tracking.environment(step_of(out))
        process = children.spawn(argv, log=out / LOG, env=env)
        events: list[dict[str, JSON]] = []
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                self._follow(out, events)
            self._follow(out, events)
        except BaseException:
            self._stop(process, out, any(e["event"] == "training" for e in events))
            raise
        return events

    def _launcher(self, out: Path, options: JobOptions) -> list[str]:
        """Returns the arguments that start all processes, up to the worker's own."""
        layout, port = self.layout, str(free_port())
        if layout.sharding == "ddp" and layout.file is None:
            how = ["torch.distributed.run", "--nproc_per_node", str(layout.here)]
            how += ["--master_addr", "127.0.0.1", "--master_port", port]
        else:
            precision = "float32" if isinstance(options, MergeOptions) else options.precision
            file = write_layout(layout, out, "float32" if precision == "auto" else precision)
            how = ["accelerate.commands.launch", "--config_file", str(file)]
            # The user's file may name one; several machines have to agree on it.
            how += ["--main_process_port", port] if layout.machines == 1 else []
        return ["-m", *how, "-m", "woolgather.training.worker"]

    def _environment(self) -> dict[str, str]:
        """Returns what several processes are told: on a CPU, to see no GPU and to speak over gloo."""
        on_cpu = self.cpu or self._device() == "cpu"
        return {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}

    def _threads(self, processes: int) -> int:
        return self.threads or max(1, count_cores() // processes)

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


def _identity(job: TrainJob) -> str:
    """What two attempts must share for one to go on from the other's checkpoint."""
    opponent = job.reference
    return fingerprint(
        canonical(
            {
                "kind": job.kind,
                "start": job.start.fingerprint or job.start.path,
                "data": digest(job.data) if job.data else None,
                "config": job.options,
                "seed": job.seed,
                **({"reference": opponent.fingerprint or opponent.path} if opponent else {}),
            }
        )
    )


def _resume(out: Path, identity: str) -> str | None:
    """A complete checkpoint in `out`: the latest there or in another attempt, then copied, like the
    models that were kept on the way to it. What the opponent said is copied with or without one."""
    attempts = sorted(out.parent.glob("attempt-*")) if out.name.startswith("attempt-") else [out]
    asked = opponent_dir(out)
    for folder in map(opponent_dir, attempts):
        if is_complete(folder, identity) and not is_complete(asked, identity):
            _copy(folder, asked)
    found = sorted(checkpoints(attempts, identity), key=lambda c: (c[0], c[1].parts))
    for update, path in reversed(found):
        target = out / CHECKPOINTS / f"checkpoint-{update}"
        if path != target and not _copy(path, target):
            continue  # removed meanwhile by whoever made it: take the one before
        for kept in (
            k for attempt in attempts if attempt != out for k in kept_models(attempt, identity)
        ):
            place = out / kept.relative_to(kept.parents[1])
            if not place.exists():
                _copy(kept, place)
        return str(target)
    return None


def _copy(folder: Path, target: Path) -> bool:
    """Makes `target` a copy of the folder, as a whole or not at all; returns whether it is there.
    Raises OSError where there is no room."""
    half = target.with_name(f".copy-{target.name}")
    shutil.rmtree(half, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        shutil.copytree(folder, half)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(half, ignore_errors=True)
        if no_room(error):
            raise
        return False
    half.replace(target)
    return True


def _take_over(out: Path, identity: str) -> bool:
    """Whether an earlier attempt at this job ended well and was killed, or met a full disk, before
    its step was recorded; what it left is then in `out`. The model is moved first, and the result
    that marks it finished last."""
    if not out.name.startswith("attempt-"):
        return False
    for place in (out.parent, *sorted(out.parent.glob("attempt-*"))):
        whole = (place / RESULT).is_file() and (place / MODEL).is_dir()
        if place == out or not whole or not (place / JOB).is_file():
            continue
        told = json.loads((place / JOB).read_text(encoding="utf-8"))
        if told.get("digest") != identity:
            continue
        for name in (MODEL, EPOCHS, CURVES, LOG, JOB, RESULT):
            if (place / name).exists():
                (place / name).replace(out / name)
        return True
    return False


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


def count_cores() -> int:
    """Returns the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1
