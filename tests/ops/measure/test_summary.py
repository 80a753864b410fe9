"""Two models' measures in one table, with what the second gained or lost."""

from __future__ import annotations

import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.rows import Example, Verdict
from woolgather.ops.measure.summary import side_by_side, summarize
from woolgather.ops.measure.summary_views import name_controls, show_families, show_quality


def measure(passed: list[float], length: float | None, family: float) -> Metrics:
    items = {"probes:1": {}, "probes:2": {f"p{i}": v for i, v in enumerate(passed)}, "heldout": {}}
    rate = sum(passed) / len(passed)
    values = {"probe_seeds": [1, 2], "probes": {"value": rate}, "families": {"lists": family},
              "length_ratio": length}  # fmt: skip
    return Metrics(values, items)


def test_what_the_second_costs() -> None:
    first, second = measure([1, 1, 1, 0], 0.8, 0.5), measure([1, 0, 0, 0], 2.4, 0.25)
    found = side_by_side(first, second, names=["engraved", "cloned"], title="What verbosity costs")
    assert found.values["gain"]["probes"]["value"] == -0.5
    assert found.values["gain"]["length_ratio"] == 1.6
    assert found.values["gain"]["heldout"] is None
    shown = found.views[0].data
    assert shown["columns"] == ["measure", "engraved", "cloned", "difference"]
    assert found.headline.startswith("cloned against engraved: probes passed -50.0 points [")
    rows = {row[0]: row[1:] for row in shown["rows"]}
    assert rows["probes: lists"] == [
        {"value": 0.5, "unit": "percent"},
        {"value": 0.25, "unit": "percent"},
        {"value": -0.25, "unit": "points"},
    ]
    assert rows["length against the reference"] == [0.8, 2.4, {"value": 1.6, "unit": "change"}]
    gain = rows["probes passed"][2]
    assert gain["low"] <= gain["value"] == -0.5 <= gain["high"]


def test_what_was_not_measured_stays_unknown() -> None:
    found = side_by_side(Metrics({}, {}), measure([1], None, 1), names=["a", "b"], title="t")
    assert set(found.values["gain"].values()) == {None}
    assert found.headline == "b against a: not measured"


@pytest.mark.parametrize(
    ("kept", "name"),
    [(10, "the same rows"), (9, "nearly the same rows"), (8, "random rows"), (0, "random rows")],
)
def test_random_rows_are_called_what_they_are(kept: int, name: str) -> None:
    chance, seeds = measure([1.0], None, 1.0), measure([0.0], None, 0.0)
    controls = {"random rows": chance, "seeds alone": seeds}
    one, two = (range(10), range(kept), chance), (range(20), range(2 * kept), chance)
    assert name_controls(controls, [one, two]) == {name: chance, "seeds alone": seeds}


def test_given_rows_are_a_share_of_none() -> None:
    chance = measure([1.0], None, 1.0)
    assert name_controls({"random rows": chance}, [((), range(5), chance)]) == {
        "random rows": chance
    }
    given, rated = ((), range(50), chance), (range(10), range(2), chance)
    assert [*name_controls({"random rows": chance}, [given, rated])] == ["random rows"]


def rated(*scores: tuple[float | None, float | None]) -> list[Example]:
    return [
        Example(
            instruction="x",
            verdicts={"quality": Verdict(quality), "following": Verdict(following)},
        )
        for quality, following in scores
    ]


def test_the_share_of_good_rows_is_of_what_was_generated_by_verdict_and_by_both() -> None:
    looks = Metrics({})
    first = rated((9, 9), (9, 7), (None, 9), (8, 9))
    rounds = [(first, [], looks), (rated((9, 9)), [], looks)]
    view, thresholds = show_quality(rounds, (8.0, [10, 4]))
    assert view.data["series"] == {
        "quality": [[0.0, 20.0], [1.0, 25.0]],
        "following": [[0.0, 30.0], [1.0, 25.0]],
        "all of them": [[0.0, 10.0], [1.0, 25.0]],
    }
    assert view.title == "Share of generated rows rated above 8, by iteration"
    assert thresholds.title == "Share of generated rows above each threshold"
    assert thresholds.data["x"] == "threshold"
    passed = [40.0 - 10] * 7 + [20.0, 10.0]
    assert thresholds.data["series"] == {
        "iter0": [[float(at), share] for at, share in enumerate(passed)],
        "iter1": [[float(at), 25.0] for at in range(9)],
    }, "the row with an unreadable verdict never passes"
    (all_rows,) = show_quality([(rated((0, 0)), [], looks)] * 2, (-1.0, [1, 2]))
    assert all_rows.data["series"]["all of them"] == [[0.0, 100.0], [1.0, 50.0]]
    likely = [Example(instruction="x", verdicts={"yes_no": Verdict(9.0)})]
    assert show_quality([(likely, [], looks)] * 2, (8.0, [10, 4])) == []
    assert show_quality([(first, [], looks)] * 2, (8.0, [0, 0])) == []


@pytest.mark.parametrize(
    ("names", "first", "said"),
    [
        (
            ["few-shot base", "seeds alone"],
            "seeds alone",
            "on the same seeds, with as many updates",
        ),
        (["SFT on the real answers"], "SFT on the real answers", "with as many updates"),
        (["seeds alone (M_0)", "random rows"], "seeds alone (M_0)", "the updates that M_0 had"),
        (["few-shot base", "random rows"], "base", "with as many updates was not run"),
        ([], "base", "with as many updates was not run"),
    ],
)
def test_fine_tuning_on_the_seeds_comes_first_or_was_not_run(
    names: list[str], first: str, said: str
) -> None:
    base, tuned = measure([0.0, 1.0], None, 0.5), measure([1.0, 1.0], None, 1.0)
    controls = {name: measure([0.0, 0.0], None, 0.0) for name in names}
    found = summarize([base, tuned], chosen=Choice(1), controls=controls)
    (shown,) = [view for view in found.views if view.title == "Models"]
    listed = [row[0] for row in shown.data["rows"]]
    assert listed[0] == first
    assert sorted(listed) == sorted(["base", "iter0 ← result", *names])
    assert said in shown.note


def test_families_that_lost_and_gained_most_are_shown_where_there_are_enough_probes() -> None:
    def model(probes: int, **families: float | None) -> Metrics:
        items = {"probes:report": {f"p{n}": 1.0 for n in range(probes)}}
        return Metrics({"families": families}, items)

    base = model(12, plural=0.5, capital=1.0, copy=0.0, add=0.25)
    tuned = model(12, plural=1.0, capital=0.25, copy=1.0, add=0.25, gone=1.0)
    other = model(12, capital=0.75)
    models = {"base": base, "seeds alone": other, "iter0": tuned}
    (view,) = show_families(models, base=base, result=tuned)
    columns = ["family", "tier", "base", "seeds alone", "iter0"]
    assert view.data["columns"] == columns
    shown = [[row[0], row[1]] for row in view.data["rows"]]
    assert shown == [["capital", "easy"], ["plural", "easy"]]  # copy selects, and add is level
    assert "Of 3 families that report, 1 lost" in view.note
    assert "about 4 probes" in view.note
    assert not show_families(models, base=base, result=base)
    few = model(11, plural=0.5, capital=1.0, add=0.25)
    assert not show_families(models, base=few, result=tuned)
    unknown = Metrics({"families": None}, {})
    assert not show_families(models, base=unknown, result=tuned)
    assert not show_families(models, base=base, result=model(12, plural=None))
