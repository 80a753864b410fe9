"""Near misses: a right answer with one edit, after which it fails its check.

The one idea: an edit breaks just what was asked (answer_edits.py), and the check itself says whether it
did. The words come from what the check calls wrong, from the prompt, and from `siblings`, right answers
to other tasks of the same family.

A near miss never is the beginning of the right answer, nor the right answer its beginning: of such two
the shorter is likelier whatever the prompt was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

from woolgather.probes.answer_edits import EDITORS, Around
from woolgather.probes.answer_parsing import words
from woolgather.probes.checks import Check, passes
from woolgather.probes.families import FAMILIES, Probe

MOST = 12
"""Near misses of one answer, at most: enough that one has as many tokens as the right answer."""
_SIBLINGS = 60
"""Right answers of a family that lend their words."""
_MATERIAL = re.compile(r': "?([^"]+)"?$|"([^"]+)"')


def near_misses(
    right: str, check: Check, instruction: str = "", given: str = "", siblings: Sequence[str] = ()
) -> list[str]:
    """Returns up to MOST different edits of `right` that fail `check`, the most telling ones first.

    `instruction` and `given` (the input) are the prompt. The same arguments give the same edits on every
    machine. Empty where no edit is known that breaks the check.
    """
    parts = [check] if isinstance(check, Mapping) else check
    around = _look_around(right, instruction, given, siblings)
    told = [(kind, part) for kind in EDITORS for part in parts if part["kind"] == kind]
    edits = chain(*(EDITORS[kind](right, part, around) for kind, part in told), around.siblings)
    found: list[str] = []
    for edit in map(str.strip, edits):
        if edit not in found and _is_miss(edit, right, check):
            found.append(edit)
        if len(found) == MOST:
            break
    return found


def probe_misses(probe: Probe) -> list[str]:
    """Returns the near misses of a probe's reference."""
    siblings = _family_answers(probe.family)
    return near_misses(probe.reference, probe.check, probe.instruction, probe.input, siblings)


def _is_miss(edit: str, right: str, check: Check) -> bool:
    if not edit or edit.startswith(right) or right.startswith(edit):
        return False
    return not passes(edit, check)


@cache
def _family_answers(family: str) -> tuple[str, ...]:
    rng = random.Random(f"siblings/{family}")
    drawn = (FAMILIES[family](rng).reference for _ in range(_SIBLINGS))
    return tuple(dict.fromkeys(drawn))


def _look_around(right: str, instruction: str, given: str, siblings: Sequence[str]) -> Around:
    rng = random.Random(f"near miss/{right}/{instruction}/{given}")
    prompt = f"{instruction}\n{given}"
    known, own = set(words(prompt)), set(words(right))

    def distance(sibling: str) -> tuple[bool, float, int]:
        said = set(words(sibling))
        length = abs(len(sibling) - len(right)) // 2
        return not said <= known, len(own - said) / max(1, len(own)), length

    # Answers made of the prompt's own words come first: they are what a careless reader would say.
    # Those about as long as the right one often have as many tokens.
    mixed = rng.sample(siblings, len(siblings))
    named = _MATERIAL.search(instruction)
    material = given or (named[1] or named[2] if named else "")
    return Around(prompt, material, sorted(mixed, key=distance), rng)
