"""Several points of a sweep at once: processes on this machine, or wherever Ray places them.

The one idea: the first point begins alone. It decides what all points have in common (the day, the
precision, the commits of the hub, the speed of the machine); once it has come to a step the others
follow, each as soon as there is room.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from woolgather.api.sweeping.point import STOP_SECONDS, PointEnd, PointProcess, PointWork
from woolgather.core.errors import ConfigError
from woolgather.engines.base import EngineOptions
from woolgather.engines.replicas.cluster import (
    Share,
    check_address,
    hold_ray,
    import_ray,
    share_among,
)
from woolgather.training.launch import count_cores

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class AtOnce:
    """How many points are worked on at once, and where. Raises ConfigError for what cannot be."""

    count: int = 1
    ray: str = ""
    """HOST:PORT of the Ray cluster that carries them out; empty for this machine."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"--at-once {self.count}: give 1 or more.")
        check_address(self.ray)

    def check(self, engine: EngineOptions) -> None:
        """Raises ConfigError where the engine's options ask for Ray, too, or leave it without use."""
        if self.count > 1 and engine.replicas:
            raise ConfigError(
                f"--at-once {self.count}: each point would ask for {engine.replicas} replicas of its "
                "own. Leave out --at-once or --engine-replicas."
            )
        if self.ray and self.count == 1:
            raise ConfigError(
                f"--ray {self.ray}: say how many points are to work there at once: --at-once N."
            )


SINGLY = AtOnce()


class WorkingPoint(Protocol):
    """A point that somebody works on."""

    def poll(self) -> PointEnd | None:
        """Returns how it ended; None while it works."""

    def stop(self) -> None:
        """Asks it to stop."""

    def end(self) -> None:
        """Waits until it has stopped, or gives it up."""


class PointWatcher(Protocol):
    """What gets word of the points, by their places from 0."""

    def start(self, place: int) -> None:
        """A point begins."""

    def finish(self, place: int, end: PointEnd) -> None:
        """A point has ended, well or not."""


Start = Callable[[PointWork, int], WorkingPoint]
"""Starts a point in one of the slots that are worked in at once, counted from 0."""


def carry_out_points(
    works: Sequence[PointWork], slots: int, folder: Path, start: Start, watcher: PointWatcher
) -> None:
    """Works on all points of the sweep in `folder`, in so many slots at once; when it is stopped, so are
    they."""
    due, free = deque(enumerate(works)), deque(range(slots))
    working: dict[int, tuple[int, WorkingPoint]] = {}
    try:
        while due or working:
            while due and free and (not working or has_begun(folder)):
                place, work = due.popleft()
                slot = free.popleft()
                watcher.start(place)
                working[slot] = place, start(work, slot)
            time.sleep(_POLL_SECONDS)
            for slot, (place, point) in list(working.items()):
                if end := point.poll():
                    del working[slot]
                    free.append(slot)
                    watcher.finish(place, end)
    except BaseException:
        for _, point in working.values():
            point.stop()
        for _, point in working.values():
            point.end()
        raise


def has_begun(folder: Path) -> bool:
    """Returns whether a point has come to a step, now or in an earlier sweep."""
    return any(folder.glob("*/events.jsonl"))


@contextmanager
def open_place(at_once: AtOnce, engine: EngineOptions, devices: int) -> Iterator[Start]:
    """Yields what starts points: processes here, each with its share of the machine, or tasks of Ray.
    `devices` is how many of them a training takes. Raises ConfigError where there is no room for so many
    points, or no Ray at the address."""
    if not at_once.ray:
        shares = [share_environment(i, at_once.count, engine) for i in range(at_once.count)]
        yield lambda work, slot: PointProcess(work, shares[slot])
        return
    with hold_ray(at_once.ray, "--ray"):
        share = Share()
        if engine.name != "fake":
            share = share_among(at_once.count, devices, option="--at-once", what="a point")
        yield lambda work, slot: RayPoint(work, share)


def share_environment(slot: int, slots: int, engine: EngineOptions) -> dict[str, str]:
    """Returns the variables that give a slot its threads, and its GPUs where there are some. Raises
    ConfigError for more slots than GPUs."""
    told = {}
    if "OMP_NUM_THREADS" not in os.environ:
        told["OMP_NUM_THREADS"] = str(max(1, count_cores() // slots))
    gpus = visible_gpus()
    if not gpus or engine.name == "fake":
        return told
    if slots > len(gpus):
        raise ConfigError(
            f"--at-once {slots}: this machine has {len(gpus)} GPU{'s' * (len(gpus) > 1)}, and a point "
            f"takes one at least. Give at most --at-once {len(gpus)}."
        )
    each = len(gpus) // slots
    return {**told, "CUDA_VISIBLE_DEVICES": ",".join(gpus[slot * each : (slot + 1) * each])}


def visible_gpus() -> list[str]:
    """Returns the names by which CUDA_VISIBLE_DEVICES lists the GPUs of this machine."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


class RayPoint:
    """A point on whichever node of a cluster has room for it."""

    def __init__(self, work: PointWork, share: Share) -> None:
        self._ray = import_ray("--ray")
        task = self._ray.remote(work_on_node).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_retries=0,  # the same command goes on with a point whose node died
            scheduling_strategy="SPREAD",
        )
        self._answer = task.remote(work, share.threads)

    def poll(self) -> PointEnd | None:
        """Returns how it ended; None while it works, or waits for room."""
        ready, _ = self._ray.wait([self._answer], timeout=0)
        if not ready:
            return None
        try:
            end: PointEnd = self._ray.get(self._answer)
        except Exception as error:  # of Ray's: what the point raises is an answer
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            return PointEnd(f"Ray lost it ({why}). The same command goes on with it.")
        return end

    def stop(self) -> None:
        """Asks it to stop."""
        self._ray.cancel(self._answer)

    def end(self) -> None:
        """Waits until it has stopped, or gives it up: its process ends with Ray's."""
        self._ray.wait([self._answer], timeout=STOP_SECONDS + 5)


def work_on_node(work: PointWork, threads: int) -> PointEnd:
    """Returns how the point ended, on the node that Ray chose. Where Ray cancels it, it is stopped."""
    process = PointProcess(work, {"OMP_NUM_THREADS": str(threads)} if threads else {})
    try:
        # Ray raises KeyboardInterrupt between two instructions: a wait without end would not hear it.
        while (end := process.poll()) is None:
            time.sleep(_POLL_SECONDS)
    except BaseException:
        process.stop()
        process.end()
        raise
    return end
