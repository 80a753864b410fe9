"""How Ray is found, started and left, and what is said where it is not there."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from woolgather.core.errors import ConfigError, EngineError, Stopped
from woolgather.core.fingerprint import canonical
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FAKE_MODEL
from woolgather.engines.replicas import cluster
from woolgather.engines.replicas.cluster import Share, connect_ray, share_of, threads_each
from woolgather.engines.replicas.engine import ReplicatedEngine
from woolgather.runs.call import EngineHandle


@pytest.mark.parametrize(
    ("cores", "replicas", "threads"),
    [
        ([8], 1, 8),
        ([8], 2, 4),
        ([8], 3, 2),
        ([8, 8], 3, 4),  # three times 5 would be two on two nodes
        ([32, 4], 2, 16),
        ([2], 4, 1),
        ([], 1, 1),
    ],
)
def test_replicas_divide_the_cores_of_each_node(
    cores: list[int], replicas: int, threads: int
) -> None:
    assert threads_each(cores, replicas) == threads


NODE = {"CPU": 16, "GPU": 4}
IN_TWO = {"tensor_parallel_size": 2}


@pytest.mark.parametrize(
    ("args", "replicas", "share"),
    [
        ({}, 8, Share(cpus=1, gpus=1)),
        (IN_TWO, 4, Share(cpus=2, gpus=2)),
        ({**IN_TWO, "pipeline_parallel_size": 2}, 2, Share(cpus=4, gpus=4)),
    ],
)
def test_a_replica_gets_a_gpu_for_each_part_of_its_model(
    monkeypatch: pytest.MonkeyPatch, args: dict[str, int], replicas: int, share: Share
) -> None:
    monkeypatch.setattr(cluster, "alive_nodes", lambda: [NODE, NODE])
    options = EngineOptions("vllm", args=args, replicas=replicas)
    assert share_of(options) == share
    with pytest.raises(ConfigError, match=f"Give at most --engine-replicas {replicas}"):
        share_of(replace(options, replicas=replicas + 1))


@pytest.mark.parametrize(
    ("args", "nodes", "said"),
    [
        (
            {"tensor_parallel_size": 3},
            [{"GPU": 2}] * 3,
            "6 GPUs on 3 nodes.*takes 3 on one node. Give a s",
        ),
        ({"tensor_parallel_size": "2"}, [NODE], "tensor_parallel_size is '2'; give a whole number"),
        ({"pipeline_parallel_size": 0}, [NODE], "pipeline_parallel_size is 0"),
    ],
)
def test_a_model_that_no_node_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, args: dict[str, Any], nodes: list[Any], said: str
) -> None:
    monkeypatch.setattr(cluster, "alive_nodes", lambda: nodes)
    with pytest.raises(ConfigError, match=said):
        share_of(EngineOptions("vllm", args=args, replicas=1))


def test_cores_are_counted_by_parts_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "alive_nodes", lambda: [{"CPU": 4}])
    assert share_of(EngineOptions("vllm", args=IN_TWO, replicas=2)) == Share(cpus=2, threads=2)
    with pytest.raises(ConfigError, match=r"has 4 cores on 1 node.*at most --engine-replicas 2"):
        share_of(EngineOptions("vllm", args=IN_TWO, replicas=3))


def test_nothing_of_it_is_in_a_fingerprint() -> None:
    alone, many = EngineOptions("fake"), EngineOptions("fake", replicas=3, ray="10.0.0.5:6379")
    assert canonical(EngineHandle(FAKE_MODEL, alone)) == canonical(EngineHandle(FAKE_MODEL, many))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EngineOptions(replicas=-1), r"--engine-replicas -1: give 1 or more"),
        (EngineOptions(ray="a:6379"), r"--ray a:6379: say how many replicas .*--engine-replicas N"),
        (EngineOptions(replicas=2, ray="ray://a:10001"), r"--ray ray://a:10001: give HOST:PORT"),
        (EngineOptions(replicas=2, ray="auto"), r"--ray auto: give HOST:PORT"),
    ],
)
def test_options_that_cannot_be_are_refused(options: EngineOptions, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ReplicatedEngine(FAKE_MODEL, options)


def test_where_ray_is_not_installed_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"needs Ray.*pip install 'woolgather\[ray\]'"),
        connect_ray(EngineOptions(replicas=2)),
    ):
        pass


def test_without_replicas_ray_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with connect_ray(EngineOptions()):
        pass


def test_who_stops_the_run_while_ray_starts_is_heard_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray crashes the process when its start is left midway, and ends with the thread that began it."""
    said: list[tuple[str, threading.Thread]] = []
    asked = threading.Event()

    def init(**_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(60)
        said.append(("started", threading.current_thread()))

    def stop(number: int, frame: Any) -> None:
        asked.set()
        raise Stopped("SIGTERM")

    def shutdown() -> None:
        said.append(("ended", threading.current_thread()))

    stub = SimpleNamespace(init=init, is_initialized=lambda: False, shutdown=shutdown)
    monkeypatch.setitem(sys.modules, "ray", stub)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped), connect_ray(EngineOptions(replicas=1)):
            pytest.fail("the run went on")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [word for word, _ in said] == ["started", "ended"]
    assert {thread for _, thread in said}.isdisjoint({threading.main_thread()})
    assert len({thread for _, thread in said}) == 1


def test_ray_that_does_not_start_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def init(**_: Any) -> None:
        tried.append("init")
        raise RuntimeError("timed out during startup\nmore")

    stub = SimpleNamespace(init=init, is_initialized=lambda: False, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", stub)
    said = r"Ray does not start on this machine \(timed out during startup\)"
    with pytest.raises(EngineError, match=said), connect_ray(EngineOptions(replicas=1)):
        pass
    assert tried == ["init", "init"]


class _Web(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web_server() -> Any:
    """Port of a program that is no Ray."""
    server = HTTPServer(("127.0.0.1", 0), _Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("listening", [False, True])
def test_an_address_without_a_cluster_is_told_at_once(
    listening: bool, web_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    address = f"127.0.0.1:{web_server if listening else unused_port()}"
    with (
        pytest.raises(ConfigError, match=rf"--ray {address}: no Ray cluster answers there"),
        connect_ray(EngineOptions(replicas=2, ray=address)),
    ):
        pass
