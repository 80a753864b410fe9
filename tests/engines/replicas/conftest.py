"""A Ray cluster of three nodes on this machine, and engines for it that take their time.

The tests that need it are all in one module: it is started once, and gone when they are through.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions, Request, Sampling
from woolgather.engines.fake import FAKE_MODEL
from woolgather.engines.replicas.cluster import connect_ray
from woolgather.engines.replicas.engine import ReplicatedEngine

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one core each; this process is connected to them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'woolgather[ray]'")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        for _ in range(2):
            made.add_node(**NODE)
        made.wait_for_nodes()
        # The cluster has taken the signal; connecting to it must not (see test_cluster.py).
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with connect_ray(EngineOptions(replicas=1, ray=made.address)):
            yield made
    finally:
        made.shutdown()


class Notes:
    """What obedient engines are told, and what they were asked: files, for their processes are others."""

    def __init__(self, folder: Path) -> None:
        self._asked, self._seconds = folder / "asked", folder / "seconds"
        self.begin()

    def begin(self, seconds: float = 0.0) -> None:
        """From now on a request takes so long, and what was asked before is forgotten."""
        self._seconds.write_text(str(seconds), encoding="utf-8")
        self._asked.write_text("", encoding="utf-8")

    @property
    def asked(self) -> list[tuple[int, str, str]]:
        """Process, node and prompt of each request that has begun."""
        lines = self._asked.read_text(encoding="utf-8").splitlines()
        parts = (line.split(" ", 2) for line in lines)
        return [(int(process), node, prompt) for process, node, prompt in parts]

    def warm_up(self, engine: ReplicatedEngine) -> None:
        """Asks until each of three replicas is open: another would leave its share to the others."""
        self.begin(0.3)
        while len({process for process, _, _ in self.asked}) < 3:
            list(engine.complete([Request("warm up", Sampling())] * 3))

    def engine(self, cluster: Any, replicas: int) -> ReplicatedEngine:
        """Returns replicas of a fake engine that a prompt may order to "crash", "refuse" or "die"."""
        asked, seconds = self._asked, self._seconds

        # A function within a function travels as code: Ray's processes cannot import a test.
        def make(model: Model, options: EngineOptions, log: Path | None) -> Any:
            import os
            import time

            import ray

            from woolgather.core.errors import CapabilityError
            from woolgather.engines.fake import FakeEngine, make_text

            node = ray.get_runtime_context().get_node_id()

            def answer(prompt: str, sampling: Any) -> str:
                with asked.open("a", encoding="utf-8") as notes:
                    notes.write(f"{os.getpid()} {node} {prompt}\n")
                time.sleep(float(seconds.read_text(encoding="utf-8")))
                if prompt == "crash":
                    raise ZeroDivisionError("an error of the engine's own")
                if prompt == "refuse":
                    raise CapabilityError("this engine cannot")
                if prompt == "die":
                    os._exit(3)
                return make_text(prompt, sampling)

            return FakeEngine(answer=answer, model=model)

        options = EngineOptions("fake", replicas=replicas, ray=cluster.address)
        return ReplicatedEngine(FAKE_MODEL, options, make=make)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    return Notes(tmp_path_factory.mktemp("obedient"))


@pytest.fixture(scope="module")
def three(cluster: Any, notes: Notes) -> Iterator[ReplicatedEngine]:
    """Three replicas, all of them open: to start one takes seconds."""
    engine = notes.engine(cluster, 3)
    notes.warm_up(engine)
    yield engine
    engine.close()
