"""Replicas on a cluster answer as one engine does, in a run as well, and outlive processes and nodes."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from woolgather.api.launch import AskedSettings
from woolgather.api.sweeping.at_once import AtOnce
from woolgather.api.sweeping.sweep import Sweep
from woolgather.api.sweeping.telling import Telling
from woolgather.cli import app
from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError, Stopped
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.storage import read_rows
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.engines.replicas import pool
from woolgather.engines.replicas.cluster import Share, share_of
from woolgather.engines.replicas.engine import BATCH, ReplicatedEngine
from woolgather.engines.replicas.replica import EngineFailure, Replica
from woolgather.report.sweep import read_sweep
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.record import current_steps, read_launches
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer

pytestmark = pytest.mark.xdist_group("ray")
GATED = Path(__file__).parents[2] / "recipes" / "gated.py"
"""A recipe that waits at its first step until a file is there."""
PROMPTS = [f"task {i}" for i in range(70)]


def requests(prompts: list[str] = PROMPTS) -> list[Request]:
    return [Request(prompt, Sampling(seed=i)) for i, prompt in enumerate(prompts)]


def test_three_replicas_say_what_one_engine_says(three: Engine, notes: Any) -> None:
    notes.begin()
    direct = FakeEngine()
    journaled = JournaledEngine(FAKE_MODEL, Journal(":memory:"), lambda: three)
    for engine in (three, journaled):
        assert list(ask(engine, requests())) == list(ask(direct, requests()))
        options = engine.option_logprobs(PROMPTS, ["yes", "no"])
        assert options == direct.option_logprobs(PROMPTS, ["yes", "no"])
        scored = engine.sequence_logprobs(PROMPTS, PROMPTS, 0.5)
        assert scored == direct.sequence_logprobs(PROMPTS, PROMPTS, 0.5)
        for found, expected in zip(engine.embed(PROMPTS), direct.embed(PROMPTS), strict=True):
            assert found == pytest.approx(expected)
    assert list(three.complete([])) == []
    assert three.embed([]) == []


def test_one_replica_says_what_one_engine_says(cluster: Any, notes: Any) -> None:
    with closing(notes.engine(cluster, 1)) as engine:
        assert list(ask(engine, requests())) == list(ask(FakeEngine(), requests()))


def test_replicas_share_the_work_and_are_spread_over_nodes(three: Engine, notes: Any) -> None:
    nodes: set[str] = set()
    for _ in range(
        3
    ):  # Ray spreads over the nodes whose load it knows, on a busy machine later ones
        notes.begin(0.02)
        list(three.complete(requests()))
        assert sorted(prompt for _, _, prompt in notes.asked) == sorted(PROMPTS)
        assert len({process for process, _, _ in notes.asked}) == 3
        nodes = {node for _, node, _ in notes.asked}
        if len(nodes) > 1:
            break
        three.close()
        notes.warm_up(three)
    assert len(nodes) > 1


def test_what_is_given_up_is_not_waited_for(three: Engine, notes: Any) -> None:
    notes.begin(0.05)
    stream = three.complete(Request(f"task {i}", Sampling()) for i in itertools.count())
    next(stream)
    stream.close()
    assert len(list(three.complete(requests()))) == len(PROMPTS)
    assert len(notes.asked) < 3 * BATCH


def test_an_exception_is_passed_on_at_once_with_its_cause(three: Engine, notes: Any) -> None:
    notes.begin()
    with pytest.raises(
        EngineError, match=r"engine of fake failed on node .*: ZeroDivisionError: an"
    ):
        list(three.complete(requests(["crash"])))
    with pytest.raises(CapabilityError, match="this engine cannot"):
        list(three.complete(requests(["refuse"])))
    assert [prompt for _, _, prompt in notes.asked] == ["crash", "refuse"]


def test_requests_that_kill_every_replica_are_given_up(
    three: Engine, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.begin()
    monkeypatch.setattr(pool, "_DEATHS", 0)
    with pytest.raises(EngineError, match=r"died 1 times in a row with the same 1 requests"):
        list(three.complete(requests(["die"])))
    assert len(list(three.complete(requests()))) == len(PROMPTS)


def test_a_model_that_a_node_does_not_have_is_told(tmp_path: Path) -> None:
    gone = Model(path=str(tmp_path / "gone"), fingerprint="gone")
    [told] = Replica(open_engine, gone, EngineOptions("fake"), threads=0).open()
    assert isinstance(told, EngineFailure)
    assert told.error == "ConfigError"
    assert re.match(r".*gone is not found on node .* a disk that all nodes share", told.text)


def test_an_engine_that_cannot_be_made_is_told_again_and_closes(
    cluster: Any, tmp_path: Path
) -> None:
    gone = Model(path=str(tmp_path / "gone"), fingerprint="gone")
    options = EngineOptions("fake", replicas=1, ray=cluster.address)
    with closing(ReplicatedEngine(gone, options)) as engine:
        for _ in range(2):
            with pytest.raises(ConfigError, match="gone is not found on node"):
                list(engine.complete(requests()))


def test_each_replica_has_its_share_of_the_cluster(cluster: Any) -> None:
    assert share_of(EngineOptions("fake", replicas=99)) == Share()
    cores = len([node for node in cluster.list_all_nodes() if node])
    found = share_of(EngineOptions(replicas=cores))
    assert (found.cpus, found.threads, found.gpus) == (1, 1, 0)
    with pytest.raises(ConfigError, match=r"Ray has \d cores on \d nodes, .*at most"):
        share_of(EngineOptions(replicas=cores + 1))


def test_sigterm_stays_with_us(cluster: Any) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


SETTINGS = [
    "run", "isheep", "--preset", "demo", "--engine", "fake", "--no-report", "iterations=1",
    "per_iteration=10", "judge.pairs=24", "measure.probes=22", "controls=false",
]  # fmt: skip


def finish(folder: Path, *more: str) -> set[str]:
    """States of the steps."""
    done = CliRunner().invoke(app(), [*SETTINGS, "--dir", str(folder), *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return {str(entry["state"]) for entry in read_launches(folder)[-1].steps}


def rows_of(folder: Path) -> dict[str, bytes]:
    """Every data file of the current steps, by step and name."""
    return {
        f"{record.step}/{name}": (folder / str(entry["path"]) / name).read_bytes()
        for entry, record in current_steps(folder)
        for name in record.result.get("files") or ()
    }


def wait_for(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.1)


def test_a_run_is_stopped_and_continued_with_and_without_replicas(
    cluster: Any, tmp_path: Path
) -> None:
    folder, events = tmp_path / "run", tmp_path / "run" / "events.jsonl"
    words = [*SETTINGS, "--dir", str(folder), "--engine-replicas", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "woolgather", *words], stdout=subprocess.DEVNULL, env=os.environ
    )
    # Ray starts on this machine, and goes with the command that started it.
    wait_for(lambda: events.is_file() and '"step_started", "step": "measure"' in events.read_text())
    wait_for(lambda: any("raylet" in p.name() for p in psutil.Process(run.pid).children()))
    rays = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == Stopped.exit_code
    wait_for(lambda: not any(process.is_running() for process in rays))

    asked = ["--engine-replicas", "2", "--ray", cluster.address]
    assert finish(folder, *asked) == {"remembered", "ran"}
    assert finish(folder) == {"remembered"}
    assert finish(tmp_path / "direct") == {"ran"}
    assert finish(tmp_path / "direct", *asked) == {"remembered"}
    assert rows_of(folder) == rows_of(tmp_path / "direct")
    served = [r.execution["engine"] for _, r in current_steps(folder) if "engine" in r.execution]
    assert cluster.address not in str(served)


def test_points_of_a_sweep_run_where_ray_places_them(cluster: Any, tmp_path: Path) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "s"

    def sweep(telling: Telling) -> Sweep:
        words = ["above=0,40,99", f"gate={gate}"]
        engine = EngineOptions("fake")
        asked = Sweep(str(GATED), AskedSettings(texts=words), folder=folder, engine=engine)
        asked.carry_out(telling, report=False, at_once=AtOnce(2, cluster.address))
        return asked

    class Leaving(Telling):
        """Stops when the first point is at its first step."""

        def start(self, place: int, log: Path) -> None:
            if place:
                raise Stopped("enough")

    with pytest.raises(Stopped, match="enough"):
        sweep(Leaving())
    first = folder / "above=0"
    assert read_launches(first)[-1].status == "stopped"
    assert not cluster_children("woolgather.api.sweeping.program")
    gate.touch()
    asked = sweep(Telling())
    made = Counter(
        (entry["step"], entry["fingerprint"])
        for launch in asked.launches
        for entry in read_launches(launch.dir)[-1].steps
        if entry["state"] == "ran"
    )
    assert set(made.values()) == {1}
    assert Counter(step for step, _ in made)["iter0/write"] == 1
    errors = [point.error for point in read_sweep(folder).points]
    assert errors == ["", "", "Nothing is left. Lower `above`."]


def cluster_children(module: str) -> list[int]:
    """Processes of ours that run a module."""
    family = psutil.Process().children(recursive=True)
    return [p.pid for p in family if module in " ".join(p.cmdline())]


@op("write_all", expects=lambda engine, **_: Expected(rows=len(PROMPTS), calls=len(PROMPTS)))
def write_all(engine: Engine) -> Iterator[Example]:
    for prompt, completion in zip(PROMPTS, ask(engine, requests()), strict=True):
        yield Example(instruction=prompt, response=completion.text)


def run_through(folder: Path, engine: Engine, options: EngineOptions) -> tuple[str, list[str]]:
    """Identity and answers of the step."""
    backends = Backends(lambda model, o, log: engine, FakeTrainer(), options)
    with Run(folder, AskedRecipe("test"), backends) as run:
        run.step("write", write_all, run.engine(FAKE_MODEL))
    [(entry, record)] = current_steps(folder)
    rows: list[Any] = list(read_rows(folder / str(entry["path"])))
    return record.fingerprint, [row.response for row in rows]


def test_a_step_outlives_a_process_and_a_node(
    cluster: Any, three: Engine, notes: Any, tmp_path: Path
) -> None:
    """The last test on the cluster: a node is gone after it."""
    notes.begin(0.3)
    kept: list[tuple[str, int]] = []
    """Prompts that are in the journal at a death, and how often they had been asked by then: twice
    where the first answer was lost with an earlier one."""

    def count() -> Counter[str]:
        return Counter(prompt for _, _, prompt in notes.asked)

    class Watched(Engine):
        """Kills between two answers; what was answered by then is in the journal."""

        def complete(self, requests: Any) -> Iterator[Any]:
            answered = set()
            for index, completion in three.complete(requests):
                yield index, completion
                answered.add(PROMPTS[index])
                if len(answered) == 6:
                    kept.extend((prompt, count()[prompt]) for prompt in answered)
                    os.kill(notes.asked[-1][0], signal.SIGKILL)
                if len(answered) == 20:
                    kept.extend((prompt, count()[prompt]) for prompt in answered)
                    nodes = [node for _, node, _ in notes.asked]
                    busy = [n for n in cluster.worker_nodes if n.node_id in nodes]
                    cluster.remove_node(busy[0], allow_graceful=False)

    options = EngineOptions("fake", replicas=3)
    direct = run_through(tmp_path / "direct", FakeEngine(), EngineOptions("fake"))
    assert run_through(tmp_path / "run", Watched(FAKE_MODEL), options) == direct
    times = count()
    assert set(times) == set(PROMPTS)
    assert len(kept) == 26
    assert all(times[prompt] == asked for prompt, asked in kept)
    assert 2 in times.values(), "nothing was lost: the replicas were not at work when they died"
