"""Ray, for as long as somebody asks it: a small one on this machine, or the cluster that is named.

The one idea: whoever needs Ray is within `connect_ray`, and the last to leave ends what the first began.
Ray that the caller's program had connected to before is used, and left as it is. `ray.init` takes
SIGTERM for itself and waits ten minutes for a cluster that is not there; neither is let through.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from woolgather.core.errors import ConfigError, EngineError, WoolgatherError
from woolgather.engines.base import EngineOptions

_REPLICAS = "--engine-replicas"
INSTALL = "pip install 'woolgather[ray]'"
_STORE_BYTES = 100 << 20
"""Ray's object store on this machine, near the least that Ray takes: only texts and numbers pass."""
_CONNECT_SECONDS = 5
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2, which Ray speaks, begins: the fixed words and an empty SETTINGS frame."""
_SETTINGS = 4
"""Type of the frame that a server of HTTP/2 answers with, the fourth of its bytes."""
_WAITING = ("fake", "openai")
"""Engines that compute nothing themselves: any number of them fits anywhere."""


@dataclass(frozen=True, slots=True)
class Share:
    """What each replica gets of a node."""

    cpus: int = 0
    gpus: int = 0
    threads: int = 0
    """Threads that a model on a CPU computes with; 0 leaves it to Ray."""

    def fits(self, node: Mapping[str, float]) -> bool:
        """Returns whether a node with these resources could hold one."""
        return node.get("CPU", 0) >= self.cpus and node.get("GPU", 0) >= self.gpus


class _Use:
    """Who is within `connect_ray`, in this process."""

    count = 0
    connection: _Connection | None = None
    """Where it was made here."""


@contextmanager
def connect_ray(options: EngineOptions) -> Iterator[None]:
    """Ray is there within, where `options` ask for replicas.

    Raises ConfigError when they contradict each other, Ray is not installed, or no cluster answers at
    the address; EngineError when Ray does not start on this machine."""
    check_replicas(options)
    if not options.replicas:
        yield
        return
    with hold_ray(options.ray, _REPLICAS):
        yield


@contextmanager
def hold_ray(address: str, option: str) -> Iterator[None]:
    """Ray is there within: the cluster at the address, or a small one on this machine where that is
    empty. `option` is what asked for it. Raises what `connect_ray` raises."""
    ray = import_ray(option)
    if not _Use.count and not ray.is_initialized():
        _Use.connection = _Connection(ray, address)
    _Use.count += 1
    try:
        yield
    finally:
        _Use.count -= 1
        if not _Use.count and _Use.connection:
            ours, _Use.connection = _Use.connection, None
            ours.close()


def check_replicas(options: EngineOptions) -> None:
    """Raises ConfigError for a number of replicas or an address that cannot be one."""
    if options.replicas < 0:
        raise ConfigError(f"--engine-replicas {options.replicas}: give 1 or more, or leave it out.")
    if options.ray and not options.replicas:
        raise ConfigError(
            f"--ray {options.ray}: say how many replicas of the model the cluster is to hold, too: "
            "--engine-replicas N."
        )
    check_address(options.ray)


def check_address(address: str) -> None:
    """Raises ConfigError for an address of Ray that cannot be one; an empty one names none."""
    host, _, port = address.rpartition(":")
    if address and (not host or "/" in host or not port.isdecimal()):
        raise ConfigError(
            f"--ray {address}: give HOST:PORT as `ray start --head` prints it, e.g. 10.0.0.5:6379."
        )


def import_ray(option: str = _REPLICAS) -> ModuleType:
    """Returns the package. Raises ConfigError, naming the `option` that needs it, where it is not
    installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else its own answer to SIGTERM aborts the program three seconds later, whatever that does then.
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"{option} needs Ray, which is not installed here ({error}): {INSTALL}"
        ) from error
    found: ModuleType = ray
    return found


def share_of(options: EngineOptions) -> Share:
    """Returns what each replica gets, by what the nodes have: a GPU for each part of the model where
    there are any, all on one node, else so many cores that all replicas find room.

    Raises ConfigError when there are more replicas than that, or --engine-args has no whole number of
    parts.
    """
    if options.name in _WAITING:
        return Share()
    return share_among(
        options.replicas,
        _count_parts(options),
        option=_REPLICAS,
        what="a replica of a model",
        remedy="Give a smaller tensor_parallel_size in --engine-args",
        on_cpu=options.device.startswith("cpu"),
    )


def share_among(
    count: int,
    parts: int,
    *,
    option: str,
    what: str,
    remedy: str = "Give fewer --processes",
    on_cpu: bool = False,
) -> Share:
    """Returns what each of `count` things gets of the nodes: a GPU for each of its parts where there are
    any, all on one node, else so many cores that all find room.

    Raises ConfigError, naming the `option` that asks for so many of `what`, where they do not, and with
    `remedy` where there is no room for one."""
    nodes = alive_nodes()
    cores, gpus = ([int(node.get(kind, 0)) for node in nodes] for kind in ("CPU", "GPU"))
    if any(gpus) and not on_cpu:
        share, had, kind = Share(cpus=parts, gpus=parts), gpus, "GPUs"
    else:
        threads = max(parts, threads_each(cores, count))
        share, had, kind = Share(cpus=threads, threads=threads), cores, "cores"
    most = sum(each // parts for each in had)
    if count > most:
        takes = f"{parts} on one node" if parts > 1 else "one at least"
        raise ConfigError(
            f"{option} {count}: Ray has {sum(had)} {kind} on {len(nodes)} "
            f"node{'s' * (len(nodes) != 1)}, and {what} takes {takes}. "
            f"{f'Give at most {option} {most}' if most else remedy}."
        )
    return share


def _count_parts(options: EngineOptions) -> int:
    """How many devices one model of vLLM's is spread over."""
    parts = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        count = options.args.get(name, 1)
        if not isinstance(count, int) or count < 1:
            raise ConfigError(f"--engine-args: {name} is {count!r}; give a whole number from 1.")
        parts *= count
    return parts


def threads_each(cores: list[int], replicas: int) -> int:
    """Returns the most threads per replica with which all replicas find room on nodes with so many
    cores; 1 where they do not find any."""
    return next(
        (n for n in range(max(cores, default=1), 1, -1) if sum(c // n for c in cores) >= replicas),
        1,
    )


def alive_nodes() -> list[Mapping[str, float]]:
    """Returns the resources of each node that lives."""
    return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]


class _Connection:
    """Ray, started and ended in a thread that lives as long: in the main thread Ray takes over SIGTERM,
    and an exception amid its start leaves code of it running that crashes this process seconds later.
    Ray's own processes end with the thread that started them."""

    def __init__(self, ray: ModuleType, address: str) -> None:
        """Whoever stops the run meanwhile is heard once Ray is there."""
        self._ray, self._address = ray, address
        self._failed: list[BaseException] = []
        self._tried, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ray", daemon=True)
        stopped: list[BaseException] = []
        begun = False
        while not self._tried.is_set():
            try:
                if not begun:
                    begun = True
                    self._thread.start()
                self._tried.wait()
            except WoolgatherError as stop:
                stopped.append(stop)
        if stopped:
            self.close()
        for error in stopped + self._failed:
            raise error

    def close(self) -> None:
        self._left.set()
        self._thread.join()

    def _keep(self) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self._address:
                _join(self._ray, self._address, quiet)
            else:
                _start(self._ray, quiet)
        except BaseException as error:
            self._failed.append(error)
            return
        finally:
            self._tried.set()
        self._left.wait()
        self._ray.shutdown()


def _start(ray: ModuleType, quiet: Mapping[str, object]) -> None:
    """Ray on this machine alone. It is tried twice: on a busy machine Ray gives up after 30 seconds."""
    # Ray gives its processes the niceness 15: beside any other program they would hardly compute.
    os.environ.setdefault("RAY_worker_niceness", "0")
    for attempt in (1, 2):
        try:
            ray.init(
                address="local",
                num_cpus=_cores(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **quiet,
            )
            return
        except Exception as error:
            ray.shutdown()
            if attempt == 2:
                raise EngineError(
                    f"Ray does not start on this machine ({_first_line(error)}). Give the command again "
                    "when the machine is less busy, or leave --engine-replicas out."
                ) from error


def _join(ray: ModuleType, address: str, quiet: Mapping[str, object]) -> None:
    advice = "Start one: `ray start --head` on one machine, `ray start --address=...` on the others"
    if not _speaks_http2(address):
        raise ConfigError(f"--ray {address}: no Ray cluster answers there. {advice}.")
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        raise ConfigError(
            f"--ray {address}: this machine cannot join the cluster ({_first_line(error)}). {advice}, "
            "this one included, all with the same version of Ray and of Python."
        ) from error


def _speaks_http2(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as line:
            line.sendall(_PREFACE)
            head = line.recv(9)
    except (OSError, OverflowError):
        return False
    return len(head) > 3 and head[3] == _SETTINGS


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
