from dataclasses import replace

import pytest

from woolgather.core.artifacts import Choice, Model
from woolgather.core.rows import Example
from woolgather.engines.fake import FakeEngine
from woolgather.ops.judge.win_rate import win_rate

FIT = Choice({"kind": "rubric", "fit": True, "scope": "across"})
JUDGE = Model(path="judge", fingerprint="judge")
OURS = [Example(id=f"t{i}", instruction=f"Task {i}.", response="good answer") for i in range(8)]
THEIRS = [replace(r, id="", response="bad" if i < 6 else "good") for i, r in enumerate(OURS)]


def likes(prompt, _):
    return "9 - yes" if "good" in prompt.split("### Response")[-1] else "2 - no"


def judge_engine():
    return FakeEngine(answer=likes, model=JUDGE)


def test_ties_count_half():
    found = win_rate(OURS, THEIRS, judge_engine(), assessor=FIT)
    assert found.values["win_rate"]["value"] == pytest.approx((6 + 0.5 * 2) / 8)
    assert found.headline.startswith("preferred 87.5 % [")
    rows = found.views[0].data["rows"]
    assert rows[0][1] == {**found.values["win_rate"], "unit": "percent"}
    assert [row[1] for row in rows[1:]] == [6, 2, 0]
    assert found.items["wins"]["t0"] == 1.0
    assert found.items["wins"]["t7"] == 0.5
    swapped = win_rate(THEIRS, OURS, judge_engine(), assessor=FIT)
    assert swapped.values["win_rate"]["value"] == pytest.approx(1 / 8)


def test_a_judge_that_selected_the_data_is_not_asked():
    engine = judge_engine()
    found = win_rate(OURS, THEIRS, engine, assessor=FIT, selected_with=[JUDGE])
    assert found.values["win_rate"] is None
    assert "selected training data" in found.values["why"]
    assert found.headline == f"not measured: {found.values['why']}"
    assert engine.calls == 0


@pytest.mark.parametrize("fit", [None, False])
def test_a_judge_that_did_not_pass_is_not_asked(fit):
    engine = judge_engine()
    found = win_rate(OURS, THEIRS, engine, assessor=Choice({"kind": "rubric", "fit": fit}))
    assert found.values["win_rate"] is None
    assert "not passed an audition" in found.values["why"]
    assert engine.calls == 0


def test_unreadable_is_neither_won_nor_lost():
    found = win_rate(OURS, THEIRS, FakeEngine(["hm", "9", "hm"], model=JUDGE), assessor=FIT)
    assert None in found.items["wins"].values()
    nothing = win_rate(OURS, THEIRS, FakeEngine(["hm"], model=JUDGE), assessor=FIT)
    assert nothing.values["win_rate"] is None
    assert nothing.values["unreadable"] == 8


def test_no_task_in_common():
    other = [replace(r, instruction="Else.") for r in THEIRS]
    found = win_rate(OURS, other, judge_engine(), assessor=FIT)
    assert found.values["win_rate"] is None
