"""The result is the best candidate whose gain is clear of zero, or the base."""

from __future__ import annotations

import random

from woolgather.artifacts import Choice, Metrics
from woolgather.ops.select import select_model, should_stop
from woolgather.ops.summary import summarize


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
    assert choice.views[0].data["rows"][0][2] == ""


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
    sentence = out.values["sentence"]
    assert "best control (seeds alone): better" in sentence
    assert sentence.index("seeds alone") < sentence.index("against the base")
    assert out.values["verdict"] == "better"
    names = [row[0] for row in out.views[0].data["rows"]]
    assert names == ["base", "iter0 ← result", "seeds alone", "random rows"]


def test_summary_says_what_could_have_been_seen() -> None:
    out = summarize([measured(0.5), measured(0.51)], chosen=Choice(1), controls={})
    assert out.values["verdict"] in ("no difference seen", "better")
    out = summarize([measured(0.5), measured(0.5)], chosen=Choice(0), controls={"c": measured(0.5)})
    assert "no difference seen" in out.values["sentence"]
    assert "could have been seen" in out.values["sentence"]
