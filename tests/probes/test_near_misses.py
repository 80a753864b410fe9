"""A near miss is a right answer with one edit that fails, and every family has them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from woolgather.data import builtin_heldout, read_examples
from woolgather.probes import FAMILIES
from woolgather.probes.answer_edits import EDITORS
from woolgather.probes.checks import KINDS, passes
from woolgather.probes.families.words import CITIES
from woolgather.probes.near_misses import MOST, near_misses, probe_misses

WITHOUT: set[str] = set()
"""Families of which less than 95 % of the probes have a near miss: none."""


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reference_passes_and_its_near_misses_fail(name: str) -> None:
    rng = random.Random(11)
    drawn = [FAMILIES[name](rng) for _ in range(200)]
    # A list of countries may hold one with "and" in its name, which the check takes for two.
    probes = [probe for probe in drawn if passes(probe.reference, probe.check)]
    assert len(probes) >= 198
    missed = 0
    for probe in probes:
        found = probe_misses(probe)
        assert len(set(found)) == len(found) <= MOST
        missed += bool(found)
        for text in found:
            assert not passes(text, probe.check), (probe, text)
            assert not text.startswith(probe.reference), (probe, text)
            assert not probe.reference.startswith(text), (probe, text)
    assert (missed / len(probes) < 0.95) == (name in WITHOUT), missed / len(probes)


def test_they_follow_from_the_probe_alone() -> None:
    one, other = (FAMILIES["copy"](random.Random(3)) for _ in range(2))
    assert probe_misses(one) == probe_misses(other)


def test_every_kind_has_an_editor_but_two() -> None:
    assert set(KINDS) - set(EDITORS) == {"not_echo", "no_loop"}


@pytest.mark.parametrize(
    ("right", "check", "prompt", "expected"),
    [
        ("15", {"kind": "number", "value": 15}, "Add 7 and 8.", {"14", "16"}),
        ("Yes", {"kind": "yes_no", "value": "yes"}, "Is a cat an animal?", {"No"}),
        ("Lima", {"kind": "names", "any": ["Lima"], "not": ["Oslo"]}, "Where?", {"Oslo"}),
        ("a, b", {"kind": "ordered", "values": ["a", "b"]}, "Sort them: b, a", {"b, a"}),
        ("red hat", {"kind": "exact", "value": "red hat"}, "Say it.", {"hat red"}),
        (
            "RED HAT",
            {"kind": "exact", "value": "RED HAT", "case": True},
            "In capitals: red hat",
            {"RED hat"},
        ),
        (
            "One came. Two left.",
            {"kind": "sentences", "min": 2, "max": 2},
            "Write two sentences.",
            {"One came, Two left."},
        ),
        ("a\nb", {"kind": "lines", "min": 2}, "Two lines.", {"a b"}),
        (
            "Lamps are never dull.",
            {"kind": "words", "min": 4, "max": 4},
            "Four words.",
            {"Lamps never dull."},
        ),
        (
            '{"age": 34}',
            {"kind": "json", "values": {"age": 34}},
            "As JSON.",
            {'{"age": 33}', '{"age": 35}'},
        ),
        ("so it is not", {"kind": "excludes", "words": ["yet"]}, "Not yet.", {"so it is yet"}),
    ],
)
def test_an_edit_is_of_what_the_check_asks(
    right: str, check: dict[str, object], prompt: str, expected: set[str]
) -> None:
    assert expected <= set(near_misses(right, check, prompt))


def test_siblings_lend_a_word_and_the_article_fits_it() -> None:
    check = {"kind": "contains", "any": ["river"]}
    right, siblings = "I saw a river.", ["I saw an owl.", "I saw a lamp.", "So did she today."]
    found = near_misses(right, check, "Write.", siblings=siblings)
    assert found[0] == "I saw a lamp."
    assert "I saw an owl." in found  # the sibling itself
    assert "I saw a owl." not in found


def test_what_the_prompt_holds_comes_first() -> None:
    """A careless reader says what stands in the prompt, such as the other reason."""
    check = {"kind": "contains", "any": ["rained"]}
    prompt = "Ana left because it rained. Ben laughed because the dog barked. Why did Ana leave?"
    siblings = [f"Because {city} is far." for city in CITIES] + ["Because the dog barked."]
    found = near_misses("Because it rained.", check, prompt, siblings=siblings)
    assert found[0] == "Because the dog barked."


def test_an_answer_that_no_known_edit_breaks_has_none() -> None:
    assert near_misses("so be it", {"kind": "no_loop"}, "Write.") == []


def test_marks_are_changed_on_both_sides_and_a_repeated_word_wherever_it_stands() -> None:
    """Else the right answer would be likelier under any prompt, for it alone agrees with itself."""
    wrap = {"kind": "regex", "pattern": r"<old lamp>"}
    found = near_misses("<old lamp>", wrap, "Wrap it.", siblings=["[red hat]"])
    assert found[0] == "[old lamp]"
    twice = {"kind": "regex", "pattern": "lamp lamp"}
    found = near_misses("lamp lamp", twice, "Say it twice.", siblings=["hat hat", "cup cup cup"])
    assert found[0] == "hat hat"


@pytest.mark.real
def test_nearly_all_have_one_with_as_many_tokens(smollm2: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    shares = {}
    for name, family in FAMILIES.items():
        rng = random.Random(1)
        probes = [family(rng) for _ in range(40)]
        alike = [any(count(m) == count(p.reference) for m in probe_misses(p)) for p in probes]
        shares[name] = sum(alike) / len(alike)
    assert min(shares.values()) >= 0.75, shares
    assert sum(shares.values()) / len(shares) >= 0.95


def test_most_held_out_tasks_have_one() -> None:
    counts = Counter(
        bool(near_misses(row.response, check, row.instruction, row.input))
        for row in read_examples(builtin_heldout(), needs_response=False)
        if (check := row.meta.get("check"))
    )
    assert counts[True] >= 70 > 7 * counts[False]
