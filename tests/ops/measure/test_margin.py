"""The margin between a right answer and a near miss: how it is taken, averaged and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.errors import CapabilityError
from woolgather.core.intervals import Estimate
from woolgather.core.rows import Example
from woolgather.core.views import View
from woolgather.engines.base import EngineOptions, LogProb
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.margin import (
    Contest,
    average,
    compare_margins,
    find_margins,
    judge_margin,
    measure_margin,
    probe_contests,
    show_margins,
    task_contests,
)
from woolgather.probes import generate, tier_of
from woolgather.probes.families.sets import SETS
from woolgather.prompting.messages import Prompt


class Scoring(FakeEngine):
    """Gives the texts it knows their log-probabilities, and counts the pairs of each call."""

    def __init__(self, known: dict[str, LogProb]) -> None:
        super().__init__()
        self.known = known
        self.asked: list[int] = []

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        self.asked.append(len(prompts))
        return [self.known[text] for text in continuations]


class Mute(FakeEngine):
    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        raise CapabilityError("no log-probabilities here")


def contest(name: str, right: str, *misses: str) -> Contest:
    return Contest(name, Example(instruction="Say it."), right, misses)


def test_a_near_miss_of_the_same_length_is_taken() -> None:
    engine = Scoring(
        {
            "yes": LogProb(-1.0, 1),
            "no": LogProb(-3.0, 1),
            "two": LogProb(-2.0, 2),
            "one": LogProb(-9.0, 1),
            "ten": LogProb(-4.0, 2),
        }
    )
    found = find_margins([contest("a/1", "yes", "no"), contest("a/2", "two", "one", "ten")], engine)
    assert found == {"a/1": 2.0, "a/2": 2.0}
    assert engine.asked == [4, 1]  # only the one whose first near miss was shorter is scored again


def test_without_one_it_is_nats_per_token() -> None:
    engine = Scoring({"a b": LogProb(-4.0, 2), "c": LogProb(-3.0, 1)})
    # 2 nats per token against 3, over the two tokens of the right answer.
    assert find_margins([contest("x/1", "a b", "c")], engine) == {"x/1": 2.0}


def test_what_the_engine_does_not_know_is_unknown() -> None:
    engine = Scoring({"a": LogProb(math.nan, 1), "b": LogProb(-1.0, 1), "c": LogProb(0.0, 0)})
    found = find_margins([contest("x/1", "a", "b"), contest("x/2", "b", "c")], engine)
    assert found == {"x/1": None, "x/2": None}
    assert average(found) is None


def test_families_count_alike() -> None:
    """Nine probes of one family weigh as much as one of another."""
    found = average({**{f"many/{k}": 0.0 for k in range(9)}, "few/1": 4.0, "few/2": None})
    assert found is not None
    assert (found.value, found.count) == (2.0, 2)
    assert found.low <= 2.0 <= found.high


def test_two_models_are_compared_on_the_same_items() -> None:
    base = {f"f{k}/{i}": float(k) for k in range(20) for i in range(3)}
    gain = compare_margins({name: nats + 0.5 for name, nats in base.items()}, base)
    assert gain is not None
    # The families differ by far more than the gain: pairing takes that away.
    assert gain.low == pytest.approx(gain.value) == pytest.approx(0.5)
    assert compare_margins({"other/1": 1.0}, base) is None
    assert compare_margins({"f1/0": None}, base) is None


def test_contests_are_of_families_that_select() -> None:
    few, many = probe_contests(50, 1), probe_contests(100, 1)
    assert few == many[:50]
    names = {name for tier in SETS["select"].values() for name in tier.split()}
    assert {c.name.partition("/")[0] for c in few} == names
    assert [c.task.instruction for c in few] == [p.instruction for p in generate(50, 1, "select")]
    assert len({c.name for c in many}) == 100


def test_tasks_without_a_check_have_no_contest() -> None:
    check = {"kind": "number", "value": 7}
    tasks = [
        Example(id="a", instruction="3 + 4?", response="7", meta={"check": check}),
        Example(id="a", instruction="4 + 3?", response="7", meta={"check": check}),
        Example(id="b", instruction="Sing.", response="La."),
        Example(id="c", instruction="3 + 4?", response="", meta={"check": check}),
    ]
    assert [c.name for c in task_contests(tasks)] == ["a", "a#2"]


def test_a_server_without_logprobs_is_told() -> None:
    notes: list[View] = []
    values, items = measure_margin(25, 1, (), Mute(), notes)
    assert values == dict.fromkeys(("margin", "margin_right", "margin_heldout"))
    assert items == {}
    assert [(v.title, v.data["text"]) for v in notes] == [
        ("Margin not measured", "no log-probabilities here")
    ]


def test_none_is_asked_for_none() -> None:
    engine = Scoring({})
    assert measure_margin(0, 1, (), engine, [])[1] == {}
    assert engine.asked == []


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("gain", "shown", "reading"),
    [
        (estimate(0.1, 0.3), estimate(-0.02, 0.05), "learned, not shown"),
        (estimate(0.1, 0.3), None, "learned, not shown"),
        (estimate(0.1, 0.3), estimate(0.02, 0.05), ""),
        (estimate(0.1, 0.3), estimate(-0.05, -0.01), ""),
        (estimate(-0.1, 0.3), estimate(-0.02, 0.05), ""),
        (None, None, ""),
    ],
)
def test_learned_not_shown(gain: Estimate | None, shown: Estimate | None, reading: str) -> None:
    assert judge_margin(gain, shown) == reading


def measure(nats: float, passed: float) -> Metrics:
    margins = {f"f{k}/1": nats + k for k in range(8)}
    found = average(margins)
    assert found is not None
    values = {"margin": found.json(), "margin_right": {"value": 0.7}, "probe_seeds": [1, 2]}
    items = {"margin": margins, "probes:1": {}, "probes:2": {f"p{i}": passed for i in range(40)}}
    return Metrics(values, items)


def test_the_table_is_for_choosing() -> None:
    base, better = measure(1.0, 0.0), measure(1.5, 0.0)
    old = replace(base, values={"probe_seeds": [1, 2]}, items={})
    (view,) = show_margins({"base": base, "iter1": better, "old": old}, base)
    rows = {row[0]: row[1:] for row in view.data["rows"]}
    assert set(rows) == {"base", "iter1"}
    assert rows["base"][2:] == ["", ""]
    assert rows["iter1"][2]["value"] == pytest.approx(0.5)
    assert rows["iter1"][3] == "learned, not shown"
    assert "carries no claim" in view.note
    assert show_margins({"old": old}, old) == []


@pytest.mark.real
@pytest.mark.full
def test_the_embedded_model_prefers_right_answers_and_only_to_their_own_prompts(
    smollm2: Path,
) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    engine = TransformersEngine(Model(str(smollm2), "s", "chat"), EngineOptions())
    easy = [c for c in probe_contests(75, 1) if tier_of(c.name.partition("/")[0]) == "easy"]
    own = average(find_margins(easy, engine))
    # Half a round further on stands a probe of another family.
    others = [replace(c, task=easy[k - 5].task) for k, c in enumerate(easy)]
    foreign = average(find_margins(others, engine))
    assert own is not None
    assert foreign is not None
    assert own.low > 0.5
    assert abs(foreign.value) < own.value / 3
