"""Which items are meant, and what they are called."""

from __future__ import annotations

from woolgather.core.artifacts import Metrics
from woolgather.core.rows import Example
from woolgather.ops.measure.outcomes import (
    difference,
    list_known,
    outcomes,
    rate,
    selects,
)
from woolgather.ops.text.item_ids import item_ids


def test_every_row_has_an_id_and_no_two_the_same() -> None:
    given = ["a", "a", "", "a#2", "a", ""]
    rows = [Example(instruction="x", id=name) for name in given]
    assert item_ids(rows) == ["a", "a#2", "task-2", "a#2#2", "a#3", "task-5"]


def test_halves_hang_on_the_id_alone() -> None:
    """On every machine: these were worked out once."""
    assert [i for i in range(16) if not selects(f"t{i}")] == [0, 8, 9, 10, 11, 13, 15]


def test_sides_of_probes_are_sets_and_form_has_no_sides() -> None:
    items = {
        "probes:report": {"b": 0.0, "c": None},
        "probes:select": {"a": 1.0},
        "stops": {"a": 1.0},
    }
    measure = Metrics({}, items)
    assert outcomes(measure, "probes", "select") == {"a": 1.0}
    assert outcomes(measure, "probes", "report") == {"b": 0.0, "c": None}
    assert outcomes(measure, "probes", "all") == {"a": 1.0, "b": 0.0, "c": None}
    assert outcomes(measure, "stops", "report") == {"a": 1.0}
    assert outcomes(measure, "heldout") == {}
    assert list_known(measure, "probes", "report") == [0.0]
    control = Metrics({}, {"probes:report": {"b": 1.0}})
    assert outcomes(control, "probes", "select") == {}
    assert outcomes(control, "probes", "report") == {"b": 1.0}


def test_sets_that_an_earlier_measure_named_by_seed_are_read() -> None:
    items = {"probes:3": {"b": 0.0}, "probes:5": {"a": 1.0}}
    measure = Metrics({"probe_seeds": [5, 3]}, items)
    assert outcomes(measure, "probes", "select") == {"a": 1.0}
    assert outcomes(measure, "probes", "report") == {"b": 0.0}
    assert outcomes(Metrics({"probe_seeds": []}, {}), "probes") == {}


def test_probes_of_a_family_are_not_independent() -> None:
    """The same outcomes, spread over the families and all in two of them."""
    names = [[f"probe-report-1-{20 * f + i}/family{f}" for i in range(20)] for f in range(20)]
    flat = [name for family in names for name in family]
    even = {name: float(i % 20 < 2) for i, name in enumerate(flat)}
    lumped = {name: float(i < 40) for i, name in enumerate(flat)}
    base = Metrics({}, {"probes:report": dict.fromkeys(flat, 0.0)})
    spread, lump = (Metrics({}, {"probes:report": found}) for found in (even, lumped))
    wide, narrow = (difference(m, base, "probes", "report") for m in (lump, spread))
    assert wide
    assert narrow
    assert wide.value == narrow.value == 0.1
    assert narrow.above_zero
    assert not wide.above_zero
    assert wide.visible > 2 * narrow.visible
    widths = [r.high - r.low for m in (lump, spread) if (r := rate(m, "probes", "report"))]
    assert widths[0] > 2 * widths[1]


def test_form_is_compared_over_families_and_held_out_tasks_one_by_one() -> None:
    names = [f"probe-report-1-{i}/family{i % 4}" for i in range(40)] + [f"h{i}" for i in range(40)]
    loops = Metrics({}, {"loops": {name: float("family0" in name) for name in names}})
    calm = Metrics({}, {"loops": dict.fromkeys(names, 0.0)})
    found = difference(loops, calm, "loops", "all")
    assert found
    assert found.effect > 2
    tasks = [Metrics({}, {"heldout": dict.fromkeys("abcdefgh", v)}) for v in (1.0, 0.0)]
    held_out = difference(*tasks, "heldout", "all")
    assert held_out
    assert held_out.effect == 1


def test_a_difference_is_over_what_both_answered() -> None:
    a = Metrics({}, {"probes:1": {"x": 1.0, "y": 1.0, "z": None}})
    b = Metrics({}, {"probes:1": {"y": 0.0, "z": 1.0, "w": 1.0}})
    found = difference(a, b, "probes")
    assert found is not None
    assert (found.value, found.count) == (1.0, 1)
    assert difference(a, Metrics({}, {}), "probes") is None
