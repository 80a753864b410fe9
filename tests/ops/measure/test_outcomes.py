"""Which items are meant, and what they are called."""

from __future__ import annotations

from woolgather.core.artifacts import Metrics
from woolgather.core.rows import Example
from woolgather.ops.measure.outcomes import difference, item_ids, list_known, outcomes, selects


def test_every_row_has_an_id_and_no_two_the_same() -> None:
    given = ["a", "a", "", "a#2", "a", ""]
    rows = [Example(instruction="x", id=name) for name in given]
    assert item_ids(rows) == ["a", "a#2", "task-2", "a#2#2", "a#3", "task-5"]


def test_halves_hang_on_the_id_alone() -> None:
    """On every machine: these were worked out once."""
    assert [i for i in range(16) if not selects(f"t{i}")] == [0, 8, 9, 10, 11, 13, 15]


def test_sides_of_probes_are_sets_and_form_has_no_sides() -> None:
    items = {"probes:5": {"a": 1.0}, "probes:3": {"b": 0.0, "c": None}, "stops": {"a": 1.0}}
    measure = Metrics({"probe_seeds": [5, 3]}, items)
    assert outcomes(measure, "probes", "select") == {"a": 1.0}
    assert outcomes(measure, "probes", "report") == {"b": 0.0, "c": None}
    assert outcomes(measure, "probes", "all") == {"a": 1.0, "b": 0.0, "c": None}
    assert outcomes(measure, "stops", "report") == {"a": 1.0}
    assert outcomes(measure, "heldout") == {}
    assert list_known(measure, "probes", "report") == [0.0]
    assert outcomes(Metrics({"probe_seeds": []}, {}), "probes") == {}


def test_a_difference_is_over_what_both_answered() -> None:
    a = Metrics({}, {"probes:1": {"x": 1.0, "y": 1.0, "z": None}})
    b = Metrics({}, {"probes:1": {"y": 0.0, "z": 1.0, "w": 1.0}})
    found = difference(a, b, "probes")
    assert found is not None
    assert (found.value, found.count) == (1.0, 1)
    assert difference(a, Metrics({}, {}), "probes") is None
