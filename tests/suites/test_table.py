"""The tables: intervals, differences item by item, chance, and published figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from woolgather.core.views import View
from woolgather.suites.interpreter import Harness
from woolgather.suites.outcomes import Outcomes
from woolgather.suites.run import Measured, SuiteOptions
from woolgather.suites.suite import read_suite
from woolgather.suites.table import compare, estimate, is_at_chance, make_views, to_json

from .conftest import TOY

HARNESS = Harness("python", (("lm_eval", "0.4.13"),))
ASKED = SuiteOptions(Path("out"), limit=6)


def outcomes(*values: float, chance: float | None = None) -> Outcomes:
    items = {f"t/{i}": value for i, value in enumerate(values)}
    return Outcomes(sum(values) / len(values), items, chance)


def measured(name: str, right: int, chat: bool = True) -> Measured:
    of_six = [1.0] * right + [0.0] * (6 - right)
    return Measured(
        name,
        {"toy_opposites": outcomes(*of_six, chance=1 / 3), "toy_echo": outcomes(0, 0, 1, 0)},
        frozenset({"toy_echo"} if chat else ()),
    )


def view(views: list[View], title: str) -> View:
    return next(each for each in views if each.title.startswith(title))


def test_a_model_that_may_be_guessing_is_at_chance() -> None:
    assert is_at_chance(outcomes(1, 0, 0, 1, 0, 0, chance=1 / 3))
    assert is_at_chance(outcomes(*[0] * 30, chance=1 / 3))
    assert not is_at_chance(outcomes(*[1] * 30, chance=1 / 3))
    assert not is_at_chance(outcomes(1, 0))
    assert not is_at_chance(Outcomes(0.3, {}, 1 / 3))


def test_documents_with_several_checks_count_once() -> None:
    spread = Outcomes(0.5, {f"t/{i}": float(i % 2) for i in range(40)})
    grouped = Outcomes(0.5, {f"t/{i // 10}#{i % 10}": float(i // 10 % 2) for i in range(40)})
    narrow, wide = estimate(spread), estimate(grouped)
    assert narrow is not None
    assert wide is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_shares_that_are_not_yes_or_no_have_an_interval_too() -> None:
    found = estimate(outcomes(0.2, 0.4, 0.6))
    assert found is not None
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high
    assert estimate(Outcomes(0.4, {})) is None


def test_the_difference_is_over_the_items_of_both() -> None:
    mine = Outcomes(1.0, {"t/0": 1.0, "t/1": 1.0})
    first = Outcomes(0.5, {"t/1": 0.0, "t/2": 1.0})
    gain = compare(mine, first)
    assert gain is not None
    assert (gain.value, gain.count) == (1.0, 1)


def test_an_interval_of_a_difference_is_never_a_point() -> None:
    same = outcomes(*[1.0] * 5, 0.0)
    gain = compare(same, same)
    assert gain is not None
    assert gain.value == 0
    assert gain.low == pytest.approx(-gain.high)
    assert 0.1 < gain.high < 0.4
    half = outcomes(1, 1, 1, 0, 0, 0)
    lost = compare(outcomes(0, 0, 0, 0, 0, 0), half)
    assert lost is not None
    assert (lost.value, lost.changed) == (-0.5, 3)
    assert lost.low < -0.5 < lost.high
    families = {f"t/{i // 10}#{i % 10}": 1.0 for i in range(40)}
    wide, narrow = (
        compare(Outcomes(1, items), Outcomes(1, items))
        for items in (families, dict.fromkeys(map(str, range(40)), 1.0))
    )
    assert wide is not None
    assert narrow is not None
    assert wide.high > narrow.high


@pytest.mark.parametrize(
    ("n", "gains", "losses"), [(40, 0.05, 0.05), (100, 0.02, 0.01), (30, 0.2, 0)]
)
def test_it_covers_the_true_difference(n: int, gains: float, losses: float) -> None:
    draw, covered = Random(5), 0
    for _ in range(400):
        mine, first = {}, {}
        for i in range(n):
            u = draw.random()
            mine[f"t/{i}"] = float(u < gains)
            first[f"t/{i}"] = float(gains <= u < gains + losses)
        found = compare(Outcomes(0, mine), Outcomes(0, first))
        assert found is not None
        covered += found.low <= gains - losses <= found.high
    assert covered / 400 > 0.92


def test_at_chance_the_bits_of_the_right_answers_are_beside(tmp_path: Path) -> None:
    suite = read_suite(str(TOY))
    models = [measured("base", 2), measured("iter0", 2)]
    bits = [{f"t/{i}": 1.5 - gain + i / 100 for i in range(6)} for gain in (0, 0.5)]
    models = [
        replace(
            each,
            outcomes={
                **each.outcomes,
                "toy_opposites": replace(each.outcomes["toy_opposites"], bits=own),
            },
        )
        for each, own in zip(models, bits, strict=True)
    ]
    shown = view(make_views(suite, models, HARNESS, ASKED), "At chance: bits per byte")
    assert shown.data["columns"] == ["task", "base", "iter0", "iter0 against base"]
    ((task, base, _, gain),) = shown.data["rows"]
    assert task == "Opposites"
    assert base["low"] < 1.525 < base["high"]
    assert base["value"] == pytest.approx(1.525)
    assert gain["value"] == pytest.approx(-0.5)
    found = to_json(suite, models, HARNESS, ASKED)["models"][0]["measures"]
    assert found["toy_opposites"]["bits_per_byte"]["value"] == pytest.approx(1.525)
    assert found["toy_echo"]["bits_per_byte"] is None
    better = make_views(suite, [measured("base", 6)], HARNESS, ASKED)
    assert not [each for each in better if each.title.startswith("At chance: bits")]


def test_tables_name_what_is_beside_what() -> None:
    suite = read_suite(str(TOY))
    views = make_views(suite, [measured("base", 2), measured("iter0", 6)], HARNESS, ASKED)
    first = view(views, "A toy suite")
    assert "0.4.13" in first.title
    assert "the first 6 items" in first.title
    assert first.data["columns"] == [
        "task", "measure", "shots", "items", "base", "iter0", "chance", "at chance"
    ]  # fmt: skip
    opposites = first.data["rows"][0]
    assert opposites[:4] == ["Opposites", "acc", 2, 6]
    assert opposites[-1] == "base"
    against = view(views, "Against base")
    assert against.data["rows"][0][2]["value"] == pytest.approx(4 / 6)
    beside = view(views, "Beside published figures")
    assert beside.data["columns"] == ["task", "base", "iter0", "a guesser (published)"]
    assert [row[0] for row in beside.data["rows"]] == ["Opposites"]
    assert beside.data["rows"][0][-1]["value"] == 0.5


def test_what_a_reader_must_know_is_said() -> None:
    suite = read_suite(str(TOY))
    coded = suite.model_copy(
        update={
            "tasks": (*suite.tasks, suite.tasks[0].model_copy(update={"task": "c", "code": True}))
        }
    )
    views = make_views(coded, [measured("base", 2, chat=False)], HARNESS, ASKED)
    said = " ".join(each.data["text"] for each in views if each.kind == "alarm")
    assert "run code that the model writes and were left out" in said
    assert "in plain text throughout, not by a chat template: base." in said
    assert "Published figures differ in: Everything." in said


def test_json_has_every_interval() -> None:
    suite = read_suite(str(TOY))
    found = to_json(suite, [measured("base", 2), measured("iter0", 6)], HARNESS, ASKED)
    assert found["harness"] == {"lm_eval": "0.4.13"}
    base, tuned = (each["measures"]["toy_opposites"] for each in found["models"])
    assert base["at_chance"]
    assert base["against_first"] is None
    assert not tuned["at_chance"]
    assert tuned["against_first"]["value"] == pytest.approx(4 / 6)
    assert found["left_out"] == []
