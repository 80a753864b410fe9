"""A run that measured a base and two tuned models on held-out tasks and probes, and a poll made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.judge.assessors import Assessor
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate
from woolgather.ops.measure.select import select_model
from woolgather.ops.train.sft import sft
from woolgather.report.votes.ballot import AnswerPair, Poll, VoteFile, write_poll
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import SftOptions
from woolgather.vote.server import Booth, VoteServer

HOSTILE = (
    "<img src=x onerror=\"document.title='pwned'\"></p><script>document.title='pwned'</script>"
)


def measure_models(folder: Path, *, wins: bool = False) -> Path:
    """Returns a run with the measures of base, iter0 and iter1, made in `folder`; with `wins` the result
    is compared with the base by a judge."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = folder / "tasks.jsonl"
    check = {"kind": "contains", "any": ["amber", "river", "lemon", "quilt", "north"]}
    lines = [
        {"instruction": f"Say number {i}.", "response": f"river {i}", "check": check}
        for i in range(12)
    ]
    tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    backends = Backends(
        lambda model, options, log: FakeEngine(model=model),
        FakeTrainer(),
        EngineOptions(name="fake"),
    )
    with Run(folder / "run", AskedRecipe("test", {"base": "fake"}), backends, StepChoices()) as run:
        rows = run.rows("held_out", tasks)
        base = run.model("base", "fake")
        how = EvaluationOptions(probes=22, max_tokens=16, margin=0)
        models: list[Model] = [base]
        measures = [run.step("measure", evaluate, rows, run.engine(base), how=how)]
        for t in range(2):
            scope = run.scope(f"iter{t}")
            start, config = models[-1], SftOptions()
            models.append(
                scope.step("train", sft, rows, start=start, config=config, trainer=run.trainer())
            )
            engine = scope.engine(models[-1])
            measures.append(scope.step("measure", evaluate, rows, engine, how=how))
        run.step("select", select_model, measures, by="last")
        if wins:
            scope = run.scope("win-rate")
            answers = Responding(unfinished="keep")
            ours, theirs = (
                scope.step(name, respond, rows, scope.engine(model), how=answers)
                for name, model in (("result", models[-1]), ("base", base))
            )
            judge = run.model("win_judge", "fake-judge")
            fit = Assessor(kind="rubric", fit=True)
            scope.step("compare", win_rate, ours, theirs, scope.engine(judge), assessor=fit)
    return folder / "run"


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure_models(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def poll() -> Poll:
    """Six pairs; the first answer says so, and the second is hostile."""
    pairs = [
        AnswerPair(
            "probe", f"task {i}", "", "", f"first {i}", f"second {i} {HOSTILE}", {"judge": 1}
        )
        for i in range(6)
    ]
    return Poll(("result", "base"), "salt", pairs)


@pytest.fixture
def booth(poll: Poll, tmp_path: Path) -> Booth:
    write_poll(poll, tmp_path)
    return Booth(poll, VoteFile(tmp_path))


@pytest.fixture
def server(booth: Booth) -> Iterator[VoteServer]:
    with VoteServer(booth) as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()
