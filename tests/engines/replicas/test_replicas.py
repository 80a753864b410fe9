"""Three replicas on a cluster answer as one engine does, and outlive their processes and nodes."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.storage import read_rows
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.engines.replicas import pool
from woolgather.engines.replicas.engine import BATCH, ReplicatedEngine
from woolgather.engines.replicas.replica import Failed, Replica
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.record import current_steps
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer

pytestmark = pytest.mark.xdist_group("ray")
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
    notes.begin(0.02)
    list(three.complete(requests()))
    assert sorted(prompt for _, _, prompt in notes.asked) == sorted(PROMPTS)
    assert len({process for process, _, _ in notes.asked}) == 3
    assert len({node for _, node, _ in notes.asked}) > 1


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
    assert isinstance(told, Failed)
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
    kept: dict[str, set[str]] = {}

    class Watched(Engine):
        """Kills between two answers; what was answered by then is in the journal."""

        def complete(self, requests: Any) -> Iterator[Any]:
            answered = set()
            for index, completion in three.complete(requests):
                yield index, completion
                answered.add(PROMPTS[index])
                if len(answered) == 6:
                    kept["process"] = set(answered)
                    os.kill(notes.asked[-1][0], signal.SIGKILL)
                if len(answered) == 20:
                    kept["node"] = set(answered)
                    nodes = [node for _, node, _ in notes.asked]
                    busy = [n for n in cluster.worker_nodes if n.node_id in nodes]
                    cluster.remove_node(busy[0], allow_graceful=False)

    options = EngineOptions("fake", replicas=3)
    direct = run_through(tmp_path / "direct", FakeEngine(), EngineOptions("fake"))
    assert run_through(tmp_path / "run", Watched(FAKE_MODEL), options) == direct
    times = Counter(prompt for _, _, prompt in notes.asked)
    assert set(times) == set(PROMPTS)
    assert {times[prompt] for prompt in kept["process"] | kept["node"]} == {1}
    assert 2 in times.values(), "nothing was lost: the replicas were not at work when they died"
