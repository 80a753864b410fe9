"""Pairs of answers from a run: read from its journal, asked where it is gone, judged by machines."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError, InputError, MistakeError
from woolgather.engines.base import EngineOptions
from woolgather.report.leftovers import find_leftovers
from woolgather.report.votes.ballot import Poll, poll_dir, read_poll
from woolgather.runs.record import current_steps
from woolgather.vote.answers import JOURNAL, Answerer
from woolgather.vote.pairing import CHECK, JUDGE, choose_models, make_poll

from .conftest import measure_models

NO_ENGINE = EngineOptions(name="none of ours")
"""Whoever opens it gets a ConfigError."""


def poll_of(
    run: Path, between: str = "", options: EngineOptions = NO_ENGINE, prompts: int = 200
) -> Poll:
    steps = current_steps(run)
    models = choose_models(run, steps, between)
    with Answerer(run, steps, models, options) as answerer:
        return make_poll(run, steps, models, answerer, prompts)


def test_the_answers_of_a_run_are_remembered(run_dir: Path) -> None:
    poll = poll_of(run_dir)
    assert poll.models == ("result", "base")
    parts = [pair.part for pair in poll.pairs]
    assert (parts.count("held-out task"), parts.count("probe")) == (12, 22)
    assert all(set(pair.judged) == {CHECK} for pair in poll.pairs)
    assert {value for pair in poll.pairs for value in pair.judged.values()} <= {0.0, 0.5, 1.0}
    assert read_poll(poll_dir(run_dir, poll.models)) == poll
    assert len(poll_of(run_dir, prompts=15).pairs) == 15
    assert poll_of(run_dir) == poll, "sides and order stay"


def test_any_two_models_may_be_compared(run_dir: Path) -> None:
    poll, other = poll_of(run_dir, "iter0,base"), poll_of(run_dir, "base, iter0")
    assert poll.models == ("iter0", "base")
    assert [(p.first, p.second) for p in poll.pairs] == [(p.second, p.first) for p in other.pairs]
    assert [p.judged[CHECK] for p in poll.pairs] == [1 - p.judged[CHECK] for p in other.pairs]


def test_missing_answers_are_asked_as_they_were(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    shutil.rmtree(copy / "votes", ignore_errors=True)
    for file in copy.glob("journal.sqlite*"):
        file.unlink()
    with pytest.raises(ConfigError, match="choose transformers"):
        poll_of(copy)
    asked = poll_of(copy, options=EngineOptions(name=""))
    assert asked.pairs == poll_of(run_dir).pairs
    assert not (copy / JOURNAL).exists(), "the run's own journal is left alone"
    assert poll_of(copy) == asked, "what was asked is remembered"


def test_the_judge_of_the_win_rate_takes_part(tmp_path: Path) -> None:
    """With the answers that it compared; seen from the other side it says the opposite."""
    run = measure_models(tmp_path, wins=True)
    poll, other = poll_of(run), poll_of(run, "base,result")
    judged = [pair for pair in poll.pairs if JUDGE in pair.judged]
    assert judged
    assert all(pair.part == "held-out task" for pair in judged)
    back = {pair.first: pair for pair in other.pairs}
    for pair in judged:
        assert back[pair.second].judged[JUDGE] == 1 - pair.judged[JUDGE]
    assert all(JUDGE not in pair.judged for pair in poll_of(run, "iter0,base").pairs)


@pytest.mark.parametrize(
    ("between", "error", "said"),
    [
        (
            "iter7,base",
            InputError,
            r"no measured model 'iter7'\. Did you mean iter\d\? It has base",
        ),
        ("iter0", MistakeError, "name two different models, such as --between iter0,base"),
        ("iter0,", MistakeError, "name two different models"),
        ("base,base", MistakeError, "name two different models"),
        ("result,iter1", MistakeError, "name two different models"),
    ],
)
def test_models_that_are_not_there(
    run_dir: Path, between: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        choose_models(run_dir, current_steps(run_dir), between)


def test_a_run_without_two_models(run_dir: Path) -> None:
    steps = [(e, r) for e, r in current_steps(run_dir) if not r.step.startswith(("iter", "select"))]
    with pytest.raises(
        MistakeError, match="has measured base with this version, and a vote is between two"
    ):
        choose_models(run_dir, steps)
    older = [(e, replace(r, op_version=1)) for e, r in current_steps(run_dir)]
    with pytest.raises(MistakeError, match="has measured no model with this version"):
        choose_models(run_dir, older)


def test_the_base_as_result_leaves_the_last_iteration(run_dir: Path) -> None:
    steps = [
        (e, replace(r, result={"value": 0, "why": ""}) if r.step == "select" else r)
        for e, r in current_steps(run_dir)
    ]
    assert choose_models(run_dir, steps) == ("iter1", "base")


def test_what_is_cleaned_leaves_the_votes(run_dir: Path) -> None:
    folder = poll_dir(run_dir, poll_of(run_dir).models)
    assert not [
        each.path for each in find_leftovers(run_dir) if each.path in (folder, *folder.parents)
    ]
