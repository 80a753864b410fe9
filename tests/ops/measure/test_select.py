"""The result is the best candidate whose gain is clear of zero, or the base."""

from __future__ import annotations

import random

import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.ops.measure.outcomes import mean, outcomes, selects, side_of
from woolgather.ops.measure.select import select_model, should_stop
from woolgather.ops.measure.summary import summarize


def measured(rate: float, seed: int = 0, n: int = 300) -> Metrics:
    """Passes are drawn from shared luck, so that pairs are paired."""
    items = {}
    for which in (1, 2):
        rng = random.Random(which * 100)
        luck = [rng.random() for _ in range(n)]
        items[f"probes:{which}"] = {str(i): float(u < rate) for i, u in enumerate(luck)}
    items["heldout"] = {str(i): float(i / 60 < rate) for i in range(60)}
    return Metrics({"null": {"rate": 0.1}}, items, str(seed))


def test_best_clear_of_zero_is_chosen() -> None:
    choice = select_model([measured(0.3), measured(0.4), measured(0.5)])
    assert choice.value == 2
    assert "iter1" in choice.why
    rows = choice.views[0].data["rows"]
    assert rows[0][2] == ""
    assert rows[2][1]["value"] == mean(measured(0.5), "probes")
    assert rows[2][1]["low"] < rows[2][1]["value"] < rows[2][1]["high"]
    assert rows[2][2]["unit"] == "points"
    assert rows[2][2]["low"] > 0


def test_a_difference_that_is_not_clear_leaves_the_base() -> None:
    assert select_model([measured(0.5), measured(0.5)]).value == 0
    assert select_model([measured(0.5), measured(0.2)]).value == 0


def test_by_last_and_by_heldout() -> None:
    assert select_model([measured(0.5), measured(0.2)], by="last").value == 1
    assert select_model([measured(0.2), measured(0.6)], by="heldout").value == 1


def test_patience() -> None:
    better, worse = measured(0.5), measured(0.3)
    assert should_stop([worse, better], patience=1).value is False
    assert should_stop([worse, better, worse], patience=1).value is True
    assert should_stop([worse, better, worse], patience=2).value is False
    assert should_stop([better, worse, worse], patience=None).value is False


def test_summary_names_the_best_control_first() -> None:
    measures = [measured(0.3), measured(0.6)]
    controls = {"seeds alone": measured(0.4), "random rows": measured(0.2)}
    out = summarize(measures, chosen=Choice(1), controls=controls)
    assert out.concludes
    sentence = out.headline
    assert "best control (seeds alone): better" in sentence
    assert sentence.index("seeds alone") < sentence.index("against the base")
    assert out.values["verdict"] == "better"
    names = [row[0] for row in out.views[0].data["rows"]]
    assert names == ["seeds alone", "base", "iter0 ← result", "random rows"]


def test_summary_says_what_could_have_been_seen() -> None:
    out = summarize([measured(0.5), measured(0.51)], chosen=Choice(1), controls={})
    assert out.values["verdict"] == "no difference seen"
    out = summarize([measured(0.5), measured(0.5)], chosen=Choice(0), controls={"c": measured(0.5)})
    assert "same outcome on every one; one of 2.9 points could have been seen" in out.headline
    close = measured(0.5)
    for name in list(close.items["probes:2"])[:3]:
        close.items["probes:2"][name] = 1.0 - (close.items["probes:2"][name] or 0.0)  # type: ignore[index]
    out = summarize([measured(0.5), close], chosen=Choice(1), controls={})
    assert "no difference seen" in out.headline
    assert "could have been seen" in out.headline


def test_the_order_of_probe_seeds_is_the_recorded_one() -> None:
    """Not the order of names: a file may hold them sorted."""
    items = {"probes:2": {"a": 0.0, "b": 0.0}, "probes:9": {"a": 1.0, "b": 1.0}}
    measure = Metrics({"probe_seeds": [9, 2]}, items)
    assert mean(measure, "probes", "select") == 1.0
    assert mean(measure, "probes", "report") == 0.0
    assert mean(Metrics({"probe_seeds": []}, {}), "probes") is None


def of_sets(selecting: dict[str, float], reporting: dict[str, float], **more: object) -> Metrics:
    return Metrics({}, {"probes:1": selecting, "probes:2": reporting, **more})


def passing(count: int, n: int = 100) -> dict[str, float]:
    """The first `count` of `n` items passed."""
    return {str(i): float(i < count) for i in range(n)}


def test_the_control_that_comes_closest_makes_the_headline() -> None:
    """Whatever it did on the selecting seed."""
    controls = {
        "lucky": of_sets(passing(30), passing(90)),
        "steady": of_sets(passing(40), passing(40)),
    }
    both = [of_sets(passing(30), passing(30)), of_sets(passing(60), passing(60))]
    out = summarize(both, chosen=Choice(1), controls=controls)
    assert out.values["rival"] == "lucky"
    assert out.values["verdict"] == "worse"
    assert out.values["against_controls"]["steady"]["value"] == pytest.approx(0.2)
    rows = next(v for v in out.views if "each rival" in v.title).data["rows"]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("the base", "100 of 100", "better"),
        ("lucky", "100 of 100", "worse"),
        ("steady", "100 of 100", "better"),
    ]


@pytest.mark.parametrize(("count", "rival"), [(24, "large"), (49, "large"), (50, "small")])
def test_a_control_measured_on_fewer_items_is_shown_and_not_named(count: int, rival: str) -> None:
    """It passes all of its items: by them it comes closest."""
    small = of_sets(passing(count, count), passing(count, count))
    controls = {"small": small, "large": of_sets(passing(20), passing(20))}
    both = [of_sets(passing(10), passing(10)), of_sets(passing(40), passing(40))]
    out = summarize(both, chosen=Choice(1), controls=controls)
    assert f"best control ({rival})" in out.headline
    rows = next(v for v in out.views if "each rival" in v.title).data["rows"]
    told = {row[0]: row[1:] for row in rows}
    assert told["small"][0] == f"{count} of 100"
    assert (told["small"][2] == "on too few items to be named") == (rival == "large")


def test_the_base_is_a_rival_of_the_last_model() -> None:
    """Ten points worse than the base is no "better", however bad the control is."""
    measures = [of_sets(passing(50), passing(50)), of_sets(passing(40), passing(40))]
    controls = {"random rows": of_sets(passing(20), passing(20))}
    out = summarize(measures, chosen=Choice(1), controls=controls, by="last")
    assert (out.values["verdict"], out.values["rival"]) == ("worse", "the base")
    assert out.headline.startswith("Warning: iter0 is worse than the base in probes passed (-10.0 ")
    assert "Result: iter0. Against the base: worse, -10.0 points" in out.headline
    assert "; against the best control (random rows): better, +20.0" in out.headline


def test_a_winner_that_is_worse_on_what_reports_goes_back_to_the_base() -> None:
    measures = [of_sets(passing(50), passing(50)), of_sets(passing(70), passing(40))]
    chosen = select_model(measures)
    assert chosen.value == 0
    assert chosen.why.startswith(
        "the base: iter0 was better than the base on the probes that select"
    )
    out = summarize(measures, chosen=chosen, controls={"c": measures[0]})
    assert out.headline.startswith(
        "Result: the base itself; iter0 was better than the base on the probes that select, and is "
        "worse on those that report (-10.0 points ["
    )
    assert [v.title for v in out.views if v.kind == "alarm"] == ["Back to the base"]
    assert select_model(measures, by="last").value == 1


@pytest.mark.parametrize(
    ("on", "base", "result", "told"),
    [
        ("heldout", 20, 2, "held-out tasks passed (-18.0 points ["),
        ("stops", 95, 20, "answers that end by themselves (-75.0 points ["),
        ("loops", 1, 60, "answers that go round in circles (+59.0 points ["),
    ],
)
def test_what_a_gain_costs_leads_the_sentence(on: str, base: int, result: int, told: str) -> None:
    measures = [
        of_sets(passing(30), passing(30), **{on: passing(base)}),
        of_sets(passing(43), passing(43), **{on: passing(result)}),
    ]
    chosen = select_model(measures)
    out = summarize(measures, chosen=chosen, controls={})
    assert chosen.value == 1
    assert out.headline.startswith(f"Warning: iter0 is worse than the base in {told}")
    assert "Result: iter0. Against the base: better, +13.0 points" in out.headline
    assert set(out.values["worse_on"]) == {on}
    (warning,) = [v for v in out.views if v.kind == "alarm"]
    assert warning.data["level"] == "warning"
    assert told in warning.data["text"]


@pytest.mark.parametrize(("on", "result"), [("stops", 92), ("loops", 5), ("heldout", 96)])
def test_a_small_or_unclear_change_of_form_is_no_harm(on: str, result: int) -> None:
    start = {"stops": 96, "loops": 1, "heldout": 95}[on]
    measures = [
        of_sets(passing(30), passing(30), **{on: passing(start)}),
        of_sets(passing(43), passing(43), **{on: passing(result)}),
    ]
    out = summarize(measures, chosen=Choice(1), controls={})
    assert out.headline.startswith("Result: iter0.")
    assert out.values["worse_on"] == {}


def test_held_out_tasks_that_select_do_not_report() -> None:
    names = [f"t{i}" for i in range(200)]
    chosen_by = {n for n in names if selects(n)}
    assert 80 < len(chosen_by) < 120
    measure = Metrics({}, {"heldout": dict.fromkeys(names, 1.0)})
    assert set(outcomes(measure, "heldout", "select")) == chosen_by
    assert set(outcomes(measure, "heldout", "report")) == set(names) - chosen_by
    assert set(outcomes(measure, "heldout", side_of("heldout", "probes"))) == set(names)
    # A candidate that passes only what selects is nothing to report.
    base = Metrics({}, {"heldout": dict.fromkeys(names, 0.0)})
    lucky = Metrics({}, {"heldout": {n: float(n in chosen_by) for n in names}})
    picked = select_model([base, lucky], by="heldout")
    out = summarize([base, lucky], chosen=picked, controls={}, by="heldout")
    assert picked.value == 1
    assert "no difference seen, +0.0 points [-2.2, +2.2] of held-out tasks passed" in out.headline
    models = next(v for v in out.views if v.title == "Models")
    assert models.data["rows"][1][5]["value"] == 0
    assert "that did not select" in models.note


def test_an_iteration_of_which_nothing_was_kept_leads_the_sentence() -> None:
    facts = {
        "generated": dict.fromkeys(("median words", "distinct-2", "one-word %", "duplicates %"))
    }
    maps = [Metrics(facts), Metrics(facts)]
    rounds = [(range(40), range(0), maps[0]), (range(50), range(5), maps[1])]
    out = summarize([measured(0.5)] * 3, chosen=Choice(0), controls={}, rounds=rounds)
    assert out.headline.startswith(
        "No row was kept in iter0: nothing new was trained on there. Result"
    )


def test_iterations_are_drawn_side_by_side() -> None:
    facts = {"median words": 40, "distinct-2": 0.5, "one-word %": 10.0, "duplicates %": None}
    maps = [
        Metrics({"generated": facts}),
        Metrics({"generated": {**facts, "distinct-2": None}}),
    ]
    out = summarize(
        [measured(0.5), measured(0.5), measured(0.5)],
        chosen=Choice(0),
        controls={},
        rounds=[(range(40), range(10), maps[0]), (range(50), range(5), maps[1])],
    )
    drawn = {view.title: view.data["series"] for view in out.views if view.kind == "curve"}
    assert drawn["Share of high-quality data, by iteration"] == {"kept": [[0, 25], [1, 10]]}
    assert drawn["Length of kept responses"] == {"median words": [[0, 40], [1, 40]]}
    assert "Diversity of kept responses" not in drawn, "one point is no line"
    assert drawn["Kept responses of one word, and duplicates"]["duplicates %"] == []


def test_the_table_has_intervals_and_says_what_was_not_measured() -> None:
    row = summarize([measured(0.5)], chosen=Choice(0), controls={}).views[0].data["rows"][0]
    assert row[1]["unit"] == "percent"
    assert row[1]["value"] == pytest.approx(0.517, abs=0.001)
    assert row[1]["low"] < row[1]["value"] < row[1]["high"]
    assert row[4] == "", "the base is not compared with itself"
    bare = Metrics({}, {})
    out = summarize([bare, bare], chosen=Choice(1), controls={"c": bare})
    assert out.values["verdict"] == "not measured"
    assert "not measured" in out.headline
    assert out.views[0].data["rows"][0][1] == "not measured"


def test_an_unmeasured_model_stops_nothing_and_is_not_chosen() -> None:
    bare = Metrics({}, {})
    assert should_stop([bare, bare], patience=1).value is False
    choice = select_model([bare, bare])
    assert (choice.value, choice.why) == (0, "the base: it was not measured on probes that select")


def test_the_plan_walks_to_the_last_iteration() -> None:
    assert should_stop.expects([1, 2], patience=1).value is False
    assert select_model.expects([1, 2, 3]).value == 2


def test_of_variants_the_best_goes_on() -> None:
    from woolgather.ops.measure.select import best_of

    def scored(share: float) -> Metrics:
        items = {f"p{i}": float(i < 10 * share) for i in range(10)}
        return Metrics({"probe_seeds": [1, 2]}, {"probes:1": items, "probes:2": items})

    variants = [scored(0.3), scored(0.6), scored(0.6)]
    assert best_of(variants).value == 1
    assert best_of(variants, by="last").value == 2
    assert best_of([Metrics({}, {}), Metrics({}, {})]).value == 1
