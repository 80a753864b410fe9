"""Simulated runs: how often a model is handed over, or a warning given, that the truth does not bear out.

In each world the base passes a quarter of the items, candidates differ from it by a true gain and by
churn, 4 % of the items each way, drawn anew for the items that select and those that report.
"""

from __future__ import annotations

import numpy as np
import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.ops.measure.harms import find_harms
from woolgather.ops.measure.outcomes import difference
from woolgather.ops.measure.select import find_winner, select_model
from woolgather.ops.measure.summary import summarize

CHURN = 0.04


def measure_all(
    rng: np.random.Generator, sizes: dict[str, int], gains: list[dict[str, float]]
) -> list[Metrics]:
    """Measures of a base and of a candidate per entry of `gains`: by set of items, its true gain."""
    luck = {name: rng.random(n) for name, n in sizes.items()}
    found = [{name: u < 0.25 for name, u in luck.items()}]
    for gain in gains:
        candidate = {}
        for name, passed in found[0].items():
            draw, g = rng.random(passed.size), gain.get(name, 0.0)
            # Shares of all items: the quarter that passed falls, the rest rises.
            rises = draw < (CHURN + max(g, 0)) / 0.75
            falls = draw < (CHURN + max(-g, 0)) / 0.25
            candidate[name] = np.where(passed, ~falls, rises)
        found.append(candidate)
    return [
        Metrics({}, {name: {str(i): float(v) for i, v in enumerate(p)} for name, p in each.items()})
        for each in found
    ]


def probe_world(runs: int, n: int, *gains: float, seed: int = 0) -> list[list[Metrics]]:
    rng = np.random.default_rng(seed)
    sizes = {"probes:1": n, "probes:2": n}
    each = [dict.fromkeys(sizes, gain) for gain in gains]
    return [measure_all(rng, sizes, each) for _ in range(runs)]


def handed_over(worlds: list[list[Metrics]]) -> list[int]:
    return [int(select_model(measures).value) for measures in worlds]


def test_without_an_effect_few_models_are_handed_over_and_hardly_any_is_called_better() -> None:
    worlds = probe_world(150, 110, 0, 0, 0)
    picks = handed_over(worlds)
    assert np.mean([pick > 0 for pick in picks]) <= 0.12
    better = [
        difference(m[pick], m[0], "probes", "report").low > 0
        for m, pick in zip(worlds, picks, strict=True)
    ]
    assert np.mean(better) <= 0.02


def test_a_harmful_method_hands_over_the_base() -> None:
    picks = handed_over(probe_world(100, 110, -0.03, -0.06, -0.09))
    assert np.mean([pick > 0 for pick in picks]) <= 0.02


def test_a_gain_is_handed_over_mostly_the_largest() -> None:
    picks = handed_over(probe_world(40, 300, 0.03, 0.06, 0.09))
    assert np.mean([pick > 0 for pick in picks]) >= 0.95
    assert np.mean([pick == 3 for pick in picks]) >= 0.6


def test_luck_on_what_selects_does_not_hand_over_what_is_truly_worse() -> None:
    """Every candidate looks 8 points better where it is selected and is 8 points worse elsewhere."""
    rng = np.random.default_rng(1)
    sizes, gain = {"probes:1": 300, "probes:2": 300}, {"probes:1": 0.08, "probes:2": -0.08}
    worlds = [measure_all(rng, sizes, [gain]) for _ in range(40)]
    assert np.mean([find_winner(measures, "probes") for measures in worlds]) >= 0.8
    assert np.mean(handed_over(worlds)) <= 0.2


@pytest.mark.parametrize(
    ("gain", "least", "most"),
    [
        ({}, 0.0, 0.1),
        ({"heldout": -0.2}, 0.95, 1),
        ({"heldout": 0.2}, 0, 0.08),
        ({"loops": 0.2}, 1, 1),
    ],
    ids=["no effect", "held-out tasks lost", "held-out tasks gained", "loops"],
)
def test_warnings_follow_the_truth(gain: dict[str, float], least: float, most: float) -> None:
    """The probes gain 8 points in all of them."""
    rng = np.random.default_rng(2)
    sizes = {"probes:1": 300, "probes:2": 300, "heldout": 75, "stops": 675, "loops": 675}
    whole = {"probes:1": 0.08, "probes:2": 0.08, **gain}
    worlds = [measure_all(rng, sizes, [whole]) for _ in range(40)]
    warned = [bool(find_harms(result, base, "probes")) for base, result in worlds]
    assert least <= np.mean(warned) <= most


def test_the_held_out_tasks_that_report_are_not_those_that_were_lucky() -> None:
    """Eight candidates without an effect, selected on held-out tasks: what a winner is reported to gain
    is nothing on average, where the tasks that selected it show several points."""
    rng = np.random.default_rng(3)
    worlds = [measure_all(rng, {"heldout": 150}, [{}] * 8) for _ in range(60)]
    won = [(m, w) for m in worlds if (w := find_winner(m, "heldout"))]
    assert len(won) >= 5
    praised, told = (
        np.mean([difference(m[w], m[0], "heldout", side).value for m, w in won])
        for side in ("select", "report")
    )
    assert praised > 0.06
    assert abs(told) < 0.04


def test_a_short_control_does_not_decide_and_equal_controls_seldom_call_the_result_worse() -> None:
    """Three controls as good as the result, one of them measured on a fifth of the probes."""
    rng = np.random.default_rng(4)
    sizes = {"probes:1": 110, "probes:2": 110}
    said = []
    for _ in range(60):
        base, *others = measure_all(rng, sizes, [{}] * 4)
        short = {key: dict(list(found.items())[:22]) for key, found in others[3].items.items()}
        controls = {"a": others[1], "b": others[2], "short": Metrics({}, short)}
        out = summarize([base, others[0]], chosen=Choice(1), controls=controls)
        said.append((out.values["verdict"], out.values["rival"]))
    assert "short" not in {rival for _, rival in said}
    assert np.mean([verdict == "better" for verdict, _ in said]) <= 0.02
    assert np.mean([verdict == "worse" for verdict, _ in said]) <= 0.15
