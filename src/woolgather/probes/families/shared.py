"""What the families share: the Probe, how a function becomes a family, and a few forms of check.

A family is a function from a random generator to a Draft: instruction, input, check and reference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from woolgather.probes.checks import Check
from woolgather.probes.families.words import ADJECTIVES, NOUNS, VERBS_ING
from woolgather.probes.kinds import Params


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt whose answer a machine can check."""

    id: str
    """probe-<purpose>-<seed>-<k>/<family>; empty when a family made it outside a set."""
    family: str
    instruction: str
    input: str
    """Material the instruction speaks of; empty when there is none."""
    check: Check
    reference: str
    """A right answer; it passes `check`."""


Draft = tuple[str, str, Check, str]
FAMILIES: dict[str, Callable[[random.Random], Probe]] = {}
"""Every family by name, in the order in which the modules define them."""


def family(build: Callable[[random.Random], Draft]) -> Callable[[random.Random], Draft]:
    """Enter `build` among the families under its own name. Returns it unchanged."""
    name = build.__name__
    FAMILIES[name] = lambda rng: Probe("", name, *build(rng))
    return build


def ask(
    rng: random.Random, wordings: Sequence[str], x: str = "", **slots: object
) -> tuple[str, str]:
    """Returns a wording with its slots filled, and the input: the material `x`, or nothing where the
    wording has a place for it."""
    wording = rng.choice(wordings)
    return wording.format(x=x, **slots), "" if "{x}" in wording else x


def coin(rng: random.Random) -> bool:
    """Returns True in half of the cases."""
    return rng.random() < 0.5


def a_(noun: str) -> str:
    """Returns a noun with its article."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def phrase(rng: random.Random) -> str:
    """Returns three to six words that cannot be guessed, such as "tall green lamp near old bridge"."""
    words = [*rng.sample(ADJECTIVES, rng.choice((1, 2))), rng.choice(NOUNS)]
    if coin(rng):
        words += [rng.choice(("near", "under", "behind")), "the", rng.choice(NOUNS)]
    else:
        words.append(rng.choice(VERBS_ING))
    return " ".join(words)


def sentence(noun: str) -> str:
    """Returns a sentence with the noun in it, to serve as a reference."""
    return f"We saw the {noun} near the old town last week."


def free(text: str, run: int = 5) -> list[Params]:
    """Returns checks that forbid an echo of the instruction, and a loop, in free writing."""
    return [{"kind": "not_echo", "text": text, "run": run}, {"kind": "no_loop"}]


def pick(right: Sequence[str], wrong: Sequence[str] = (), max_words: int = 40) -> Check:
    """Returns a check that an answer names a right candidate, and a wrong one only to explain it."""
    check = {"kind": "names", "any": list(right), "max_words": max_words}
    return {**check, "not": list(wrong)} if wrong else check


def number_is(
    value: int, given: Sequence[int] = (), unit: Sequence[str] = (), max_words: int = 60
) -> Check:
    """Returns a check that the answer number is `value`, where the question states those in `given` and
    the answer may be followed by a `unit`."""
    check = {"kind": "number", "value": value, "max_words": max_words}
    stated = [] if value in given else list(given)
    return check | ({"given": stated} if stated else {}) | ({"unit": list(unit)} if unit else {})
