"""Probes are right, varied, repeatable, and worth nothing to an answer that did not read them."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import product

import pytest

from woolgather.core.errors import InputError
from woolgather.probes import (
    FAMILIES,
    NULL_ANSWERS,
    TIERS,
    Probe,
    families_of,
    family_of,
    generate,
    tier_of,
)
from woolgather.probes.checks import passes, validate
from woolgather.probes.families import PURPOSES, words
from woolgather.probes.families.sets import SETS

MANY = [p for purpose in PURPOSES for p in generate(3000, 0, purpose)]


def _key(probe: Probe) -> tuple[str, str]:
    return probe.instruction, probe.input


def test_references_pass() -> None:
    others = (p for seed in (1, 2) for purpose in PURPOSES for p in generate(1000, seed, purpose))
    for probe in [*MANY, *others]:
        assert passes(probe.reference, probe.check), probe


def test_a_reference_in_a_ramble_fails() -> None:
    ramble = " And the next question is what else one could say of the matter, and so on." * 8
    passed = Counter(p.family for p in MANY if passes(p.reference + ramble, p.check))
    # In these the rules asked for are bounds on what must be there, at any length.
    assert sum(passed.values()) / len(MANY) < 0.05, passed


def test_references_of_other_probes_fail() -> None:
    """A right answer to one probe is rarely right for another of its family."""
    by_family: dict[str, list[Probe]] = {}
    for probe in MANY:
        by_family.setdefault(probe.family, []).append(probe)
    for name, probes in by_family.items():
        pairs = list(zip(probes, probes[1:] + probes[:1], strict=True))
        rate = sum(passes(b.reference, a.check) for a, b in pairs) / len(pairs)
        assert rate < 0.65, (name, rate)
    asked = MANY[:3000]  # in turn, so that probes one round and a half apart are of two families
    pairs = list(zip(asked, asked[len(families_of("report")) + 21 :], strict=False))
    assert all(a.family != b.family for a, b in pairs)
    assert sum(passes(b.reference, a.check) for a, b in pairs) / len(pairs) < 0.12


def test_families_are_many_and_differently_worded() -> None:
    for name, family in FAMILIES.items():
        rng = random.Random(3)
        probes = [family(rng) for _ in range(400)]
        assert {p.family for p in probes} == {name}
        openings = {tuple(w for w in p.instruction.split()[:2]) for p in probes}
        assert len(openings) >= 3, (name, openings)
        assert len({_key(p) for p in probes}) >= 100, name


def test_pools_last_for_thousands() -> None:
    for name, family in FAMILIES.items():
        rng = random.Random(5)
        assert len({_key(family(rng)) for _ in range(2500)}) >= 200, name


def test_generate_is_balanced_and_distinct() -> None:
    probes = generate(600, 0, "report")
    assert len({_key(p) for p in probes}) == len({p.id for p in probes}) == 600
    counts = Counter(p.family for p in probes)
    assert set(counts) == set(families_of("report"))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(bool(p.input) for p in probes) > 150


def test_a_tier_is_a_part_of_a_set_and_draws_the_same_probes() -> None:
    whole = families_of("select")
    parts = [families_of("select", tier) for tier in TIERS]
    assert sorted(name for part in parts for name in part) == whole
    easy = generate(100, 4, "select", "easy")
    assert {tier_of(p.family) for p in easy} == {"easy"}
    assert {_key(p) for p in generate(200, 4, "select") if tier_of(p.family) == "easy"} <= {
        _key(p) for p in easy
    }


def test_an_id_names_the_family_and_no_other_item_is_of_one() -> None:
    probes = generate(60, 7, "select")
    assert [p.id for p in probes[:2]] == [
        f"probe-select-7-{k}/{p.family}" for k, p in enumerate(probes[:2])
    ]
    assert [family_of(p.id) for p in probes] == [p.family for p in probes]
    assert [family_of(name) for name in ("h1", "a/copy", "probe-1-3")] == [
        "h1",
        "a/copy",
        "probe-1-3",
    ]


def test_the_sets_of_families_are_disjoint_and_large_enough() -> None:
    families = {purpose: {p.family for p in generate(600, 1, purpose)} for purpose in PURPOSES}
    assert len(families["report"]) >= 40
    assert len(families["select"]) >= 20
    assert sum(map(len, families.values())) == len(set().union(*families.values())) == len(FAMILIES)
    named = [name for tiers in SETS.values() for names in tiers.values() for name in names.split()]
    assert sorted(named) == sorted(FAMILIES)
    for name in FAMILIES:
        assert tier_of(name) in TIERS
    for purpose in ("report", "select"):
        assert {tier_of(name) for name in families[purpose]} == set(TIERS)


def test_sets_for_different_purposes_share_no_prompt_and_no_id() -> None:
    sets = [generate(600, 3, purpose) for purpose in PURPOSES]
    ids = [p.id for probes in sets for p in probes]
    assert len(set(ids)) == len(ids)
    prompts = [{_key(p) for p in probes} for probes in sets]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == 1800
    for probes in sets:
        counts = Counter(p.family for p in probes)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_set_for_a_purpose_extends() -> None:
    assert generate(300, 9, "report") == generate(300, 9, "report")
    assert generate(300, 9, "report")[:120] == generate(120, 9, "report")
    assert generate(120, 9, "select") != generate(120, 8, "select")


def test_generate_does_not_depend_on_the_hash_seed() -> None:
    code = "from woolgather.probes import generate; print([repr(p) for p in generate(150, 4, 'train')])"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count("probe-train-4-") == 150


def test_seeds_share_few_probes() -> None:
    first = {_key(p) for p in generate(600, 0, "report")}
    for seed in (1, 2, 3):
        assert sum(_key(p) in first for p in generate(600, seed, "report")) / 600 < 0.08


def test_no_null_answer_does_well() -> None:
    for seed, purpose in product((0, 1), PURPOSES):
        probes = generate(600, seed, purpose)
        for name, answer in NULL_ANSWERS.items():
            assert sum(passes(answer(p), p.check) for p in probes) / 600 <= 0.08, name


def test_no_family_is_given_to_an_echo() -> None:
    echoes = [name for name in NULL_ANSWERS if "echo" in name and "upper" not in name]
    assert len(echoes) >= 4
    for probe in MANY:
        for name in echoes:
            assert not passes(NULL_ANSWERS[name](probe), probe.check), (name, probe)


def test_yes_and_no_are_balanced() -> None:
    for name in (
        "yes_no_kind", "yes_no_number", "true_false", "even_odd", "mentions", "same_text",
        "past_or_future",
    ):  # fmt: skip
        said = Counter(FAMILIES[name](random.Random(k)).reference for k in range(1000))
        assert len(said) == 2
        assert min(said.values()) > 420


def test_a_probe_is_data() -> None:
    for probe in MANY[:: len(MANY) // 500]:
        validate(probe.check)
        again = json.loads(json.dumps(dataclasses.asdict(probe)))
        assert passes(probe.reference, again["check"])
        with pytest.raises(dataclasses.FrozenInstanceError):
            probe.family = "other"  # type: ignore[misc]


def test_mistakes() -> None:
    with pytest.raises(InputError, match="at least 1"):
        generate(0, 0, "report")
    with pytest.raises(InputError, match="unknown purpose 'all' of probes; known: report, select"):
        generate(10, 0, "all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown probe family"):
        tier_of("divine")
    with pytest.raises(InputError, match="no new prompt"):
        generate(100_000, 0, "train")
    with pytest.raises(
        InputError, match="unknown tier 'simple' of probes; known: easy, middle, hard"
    ):
        generate(10, 0, "report", "simple")  # type: ignore[arg-type]


def test_word_pools_are_consistent() -> None:
    members = [word for kind in words.KINDS.values() for word in kind]
    assert len(members) == len(set(members))
    for pool in (words.NOUNS, words.ADJECTIVES, words.NAMES, words.CITIES, words.GOODS):
        assert len(pool) == len(set(pool)) >= 20
    assert not set(words.NOUNS) & set(words.ADJECTIVES)
    assert len(set(words.CAPITALS.values())) == len(words.CAPITALS) >= 80
    assert all(word not in answers for word, answers in words.OPPOSITES.items())
    for text, answers in words.GAPS.items():
        assert text.count("___") == 1
        check = {"kind": "contains", "any": answers}
        assert not passes(text, check)
    assert all(one not in many for one, many in words.PLURALS.items())
