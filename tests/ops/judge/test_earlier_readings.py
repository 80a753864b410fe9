"""What an earlier version read is read anew, and says so; the judge is not asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Dataset
from woolgather.core.op import Op
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.judge.assessors import Questionnaire
from woolgather.ops.judge.audition import audition
from woolgather.ops.judge.judge import judge
from woolgather.ops.judge.reread import read_again
from woolgather.ops.judge.rubrics import rubrics_of
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.principles.adherence import adherence
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer

QUALITY = rubrics_of()[0]
ASKED = Questionnaire(rubrics=(QUALITY,))


def open_run(folder: Path, engine: FakeEngine, *, plan: bool = False) -> Run:
    backends = Backends(lambda model, o, log: engine, FakeTrainer(), EngineOptions(name="fake"))
    return Run(folder, AskedRecipe("test"), backends, plan=plan)


def rate(run: Run, rows: Path) -> Dataset:
    rater = run.engine(run.model("judge", FAKE_MODEL))
    rated = run.step("assess", judge, run.rows("rows", str(rows)), rater, asked=ASKED)
    read: Dataset = run.step("read", read_again, rated, rubric=QUALITY)
    return read


@pytest.mark.parametrize(
    "op", [judge, read_again, audition, win_rate, adherence], ids=lambda o: o.name
)
def test_an_op_that_reads_scores_is_no_longer_the_first_version(op: Op[..., Any]) -> None:
    assert op.version > 1


def test_old_verdicts_are_explained_and_made_anew_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "run"
    rows.write_text(
        "\n".join(json.dumps({"instruction": f"Add {i}.", "response": "9."}) for i in range(3))
    )
    with monkeypatch.context() as before:
        before.setattr(judge, "version", 1)
        before.setattr(read_again, "version", 1)
        with open_run(folder, FakeEngine(["I would rate this a 7."])) as run:
            rate(run, rows)
    now = FakeEngine(["never asked"])
    with open_run(folder, now, plan=True) as plan:
        rate(plan, rows)
    why = {step.step: step.why for step in plan.planned}
    assert why["assess"] == "new because version: 1 -> 2"
    assert "version: 1 -> 2" in why["read"]
    with open_run(folder, now) as run:
        found = rate(run, rows)
    assert [row.verdicts["quality"].score for row in found] == [7, 7, 7]
    assert now.calls == 0
