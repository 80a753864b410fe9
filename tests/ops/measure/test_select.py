"""The result is the best candidate whose gain is clear of zero, or the base."""

from __future__ import annotations

import random

import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.ops.measure.select import mean, select_model, should_stop
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
    assert rows[2][1] == {"value": mean(measured(0.5), "probes"), "unit": "percent"}
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
    assert names == ["base", "iter0 ← result", "seeds alone", "random rows"]


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
    assert mean(measure, "probes", 0) == 1.0
    assert mean(measure, "probes", 1) == 0.0
    assert mean(Metrics({"probe_seeds": []}, {}), "probes") is None


def test_the_rival_is_the_one_over_which_the_lead_is_least_sure() -> None:
    """On the reporting seed: a control that was lucky on the selecting one is not the best for that."""

    def control(selecting: float, reporting: float) -> Metrics:
        both = (measured(selecting), measured(reporting))
        return Metrics(
            {}, {"probes:1": both[0].items["probes:1"], "probes:2": both[1].items["probes:2"]}
        )

    controls = {"strong": control(0.3, 0.5), "lucky": control(0.4, 0.4)}
    out = summarize([measured(0.3), measured(0.6)], chosen=Choice(1), controls=controls)
    assert out.values["rival"] == "strong"


def test_a_control_of_few_probes_is_no_rival() -> None:
    few = measured(0.9)
    few = Metrics(few.values, {k: dict(list(v.items())[:24]) for k, v in few.items.items()})
    controls = {"teacher": few, "seeds alone": measured(0.4)}
    out = summarize([measured(0.3), measured(0.6)], chosen=Choice(1), controls=controls)
    assert out.values["rival"] == "seeds alone"
    assert "teacher" in [row[0] for row in out.views[0].data["rows"]]


def test_a_result_taken_unseen_is_compared_with_the_base_too() -> None:
    measures, controls = [measured(0.6), measured(0.4)], {"random rows": measured(0.2)}
    out = summarize(measures, chosen=Choice(1), controls=controls, by="last")
    assert (out.values["rival"], out.values["verdict"]) == ("the base", "worse")
    assert out.headline.startswith("Worse than the base: -")


def test_what_became_worse_leads_the_sentence() -> None:
    def model(rate: float, held_out: float, stops: float, loops: float) -> Metrics:
        found = measured(rate)
        tasks = {f"t{i}": float(i < 75 * held_out) for i in range(75)}
        values = {**found.values, "stops": stops, "loops": loops}
        return Metrics(values, {**found.items, "heldout": tasks})

    base = model(0.3, 0.27, 0.95, 0.01)
    out = summarize([base, model(0.5, 0.03, 0.2, 0.6)], chosen=Choice(1), controls={})
    held_out, stops, loops, result = out.headline.split(". ", 3)
    assert held_out.startswith("Worse than the base: -24.0 points")
    assert held_out.endswith("of held-out tasks passed")
    assert stops == "Worse than the base: 20 % of the answers end by themselves, 95 % of the base's"
    assert (
        loops == "Worse than the base: 60 % of the answers go round in circles, 1 % of the base's"
    )
    assert result.startswith("Result: iter0. Against the base: better")
    calm = summarize([base, model(0.5, 0.25, 0.9, 0.05)], chosen=Choice(1), controls={})
    assert calm.headline.startswith("Result: ")


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
    assert row[3] == "", "the base is not compared with itself"
    bare = Metrics({}, {})
    out = summarize([bare, bare], chosen=Choice(1), controls={"c": bare})
    assert out.values["verdict"] == "not measured"
    assert "not measured" in out.headline
    assert out.views[0].data["rows"][0][1] == "not measured"


def test_an_unmeasured_model_stops_nothing_and_is_not_chosen() -> None:
    bare = Metrics({}, {})
    assert should_stop([bare, bare], patience=1).value is False
    assert select_model([bare, bare]).value == 0


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
