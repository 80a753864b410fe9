"""Sets of probes: generated, machine-checked prompts that measure instruction following.

The one idea: measure against doing nothing. A pass rate says little while a constant or an echo may
score as well, so the headline is the pass rate minus that of the best null answer (NULL_ANSWERS). Select
a model on one set of families and report on another (families/sets.py).

`generate` draws from the families of a purpose in turn, with one random stream for each family and
seed: the first k probes of a larger set are the set of size k, and a new family moves no other's
probes. This module asks no model; `ops.evaluate` does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.probes.families import FAMILIES, PLACES, PURPOSES, TIERS, Probe, Purpose, Tier

__all__ = [
    "FAMILIES",
    "NULL_ANSWERS",
    "TIERS",
    "Probe",
    "Purpose",
    "Tier",
    "families_of",
    "family_of",
    "generate",
    "task_of",
    "tier_of",
]

_TRIES = 300
"""Draws for one probe before its family counts as exhausted."""


def generate(n: int, seed: int, purpose: Purpose, tier: Tier | None = None) -> list[Probe]:
    """Returns `n` different probes, balanced over the families (counts differ by at most 1).

    `purpose` picks the set of families that report, that select, or that may make training rows; no
    family is in two of them. `tier` leaves those that are as hard. The same arguments give the same
    probes on every machine. Two seeds of 600 share about 1 prompt in 50 and 1 answer in 7, so a seed is
    no substitute for a purpose. Raises InputError if n < 1, if there is no such purpose or tier, or if
    a family has no new prompt left: beyond about 9,400 probes that report, 5,700 that select and 6,000
    for training.
    """
    if n < 1:
        raise InputError(f"the number of probes must be at least 1, not {n}")
    names = families_of(purpose, tier)
    streams = {name: random.Random(f"probe/{seed}/{name}") for name in names}
    random.Random("the order of families").shuffle(names)
    seen: set[tuple[str, str]] = set()
    probes: list[Probe] = []
    for k in range(n):
        name = names[k % len(names)]
        probe = _new(FAMILIES[name], streams[name], seen)
        if probe is None:
            raise InputError(
                f"the probe family {name!r} has no new prompt after {k} probes; ask for fewer than {n}"
            )
        seen.add((probe.instruction, probe.input))
        probes.append(replace(probe, id=f"probe-{purpose}-{seed}-{k}/{name}"))
    return probes


def families_of(purpose: Purpose, tier: Tier | None = None) -> list[str]:
    """Returns the names of the families for a purpose, of one tier or of all, sorted. Raises InputError
    for an unknown purpose or tier."""
    if purpose not in PURPOSES:
        raise InputError(f"unknown purpose {purpose!r} of probes; known: {', '.join(PURPOSES)}")
    if tier is not None and tier not in TIERS:
        raise InputError(f"unknown tier {tier!r} of probes; known: {', '.join(TIERS)}")
    wanted = [(purpose, tier)] if tier else [(purpose, each) for each in TIERS]
    return sorted(name for name, place in PLACES.items() if place in wanted)


def family_of(item: str) -> str:
    """Returns the family of a probe, by its id; any other item's id itself, for it is of no family."""
    begin, slash, family = item.partition("/")
    return family if slash and begin.startswith("probe-") else item


def tier_of(family: str) -> Tier:
    """Returns how hard a family is: "easy", "middle" or "hard". Raises InputError for an unknown one."""
    if family not in PLACES:
        raise InputError(f"unknown probe family {family!r}")
    return PLACES[family][1]


def _new(
    family: Callable[[random.Random], Probe], rng: random.Random, seen: set[tuple[str, str]]
) -> Probe | None:
    for _ in range(_TRIES):
        probe = family(rng)
        if (probe.instruction, probe.input) not in seen:
            return probe
    return None


def _always(text: str) -> Callable[[Probe], str]:
    return lambda probe: text


def _echo(probe: Probe) -> str:
    return f"{probe.instruction}\n\n{probe.input}" if probe.input else probe.instruction


def _material(probe: Probe) -> str:
    return probe.input or probe.instruction


def _edge(index: int) -> Callable[[Probe], str]:
    return lambda probe: _material(probe).split()[index].strip("\"'.,:;?!")


_CONSTANTS = (
    "",
    "yes",
    "no",
    "Yes it is.",
    "No, it is not.",
    "I don't know.",
    "I'm sorry, but I can't help with that.",
    "Sure! Here is the answer.",
    "The answer is 1.",
    "3",
    "positive",
    "negative",
    "None",
    "1. One\n2. Two\n3. Three",
    "The dog is happy.",
)
NULL_ANSWERS: Mapping[str, Callable[[Probe], str]] = {
    **{f"constant {text!r}": _always(text) for text in _CONSTANTS},
    "echo of the prompt": _echo,
    "echo of the instruction": lambda probe: probe.instruction,
    "echo of the input": lambda probe: probe.input,
    "lower-cased echo of the prompt": lambda probe: _echo(probe).lower(),
    "lower-cased echo of the material": lambda probe: _material(probe).lower(),
    "upper-cased echo of the material": lambda probe: _material(probe).upper(),
    "first word of the material": _edge(0),
    "last word of the material": _edge(-1),
}
"""Answers that need no understanding, by name."""


def task_of(probe: Probe) -> Example:
    """Returns a probe as a task without an answer."""
    return Example(
        id=probe.id,
        instruction=probe.instruction,
        input=probe.input,
        meta={"check": probe.check, "family": probe.family},
    )
