"""Which texts are worked on together: those that begin alike.

The one idea: sorted as sequences of tokens, texts that share a beginning are neighbours. A `Group`
shares one prefix that is computed, kept and read once; within it, a few texts that share more (the
samples of one prompt, ratings of one answer) form a unit, whose beginning is computed once and
copied. Pure arithmetic on lists of ids; nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SHARED = 32
"""A shorter common beginning is not worth a pass of its own."""
_SMALLEST = 16
"""Texts a split-off group has at least: a smaller one would decode in too small a batch."""
_EXTRA_GROUP = 512
"""What another group costs, in tokens of prompt: its batch runs dry on its own."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Positions (in the list given) of texts with the same first `shared` tokens."""

    members: tuple[int, ...]
    shared: int


@dataclass(frozen=True, slots=True)
class Group:
    """Units whose texts all have the same first `prefix` tokens; longest texts first."""

    units: tuple[Unit, ...]
    prefix: int


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Returns the length of the common beginning, in tokens."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def groups(texts: Sequence[Sequence[int]]) -> list[Group]:
    """Returns all texts, in groups. A prefix always leaves at least one token of every text."""
    # Sorted, texts with a common beginning are neighbours: alike[k] is what the k-th and the next one
    # share. `order` holds indices of texts, `alike` is by place in that order.
    order = sorted(range(len(texts)), key=lambda i: tuple(texts[i]))
    # One token of each text is left out: something must be fed behind the shared part.
    alike = [
        min(common(texts[a], texts[b]), len(texts[a]) - 1, len(texts[b]) - 1)
        for a, b in pairwise(order)
    ]
    _, found = _split(texts, order, alike)
    return [_group(texts, members, prefix) for members, prefix in found if members]


def _split(
    texts: Sequence[Sequence[int]], order: list[int], alike: list[int]
) -> tuple[int, list[tuple[list[int], int]]]:
    """Returns (cost in prompt tokens, groups) of neighbours, the cheaper of one group and several."""
    shortest = min(alike, default=0)
    prefix = shortest if shortest >= SHARED else 0
    total = sum(len(texts[i]) for i in order)
    whole = total - prefix * (len(order) - 1)
    together = whole, [(order, prefix)]
    if len(order) < 2 * _SMALLEST:
        return together
    cost, parts, rest = 0, [], []
    begin = 0
    cuts = [i + 1 for i, n in enumerate(alike) if n == shortest]
    for end in [*cuts, len(order)]:
        if end - begin >= _SMALLEST and end - begin < len(order):
            spent, inner = _split(texts, order[begin:end], alike[begin : end - 1])
            cost += spent + _EXTRA_GROUP
            parts += inner
        else:
            rest += order[begin:end]
        begin = end
    if not parts:
        return together
    cost += sum(len(texts[i]) for i in rest) - prefix * max(0, len(rest) - 1)
    return (cost, [*parts, (rest, prefix)]) if cost < whole else together


def _group(texts: Sequence[Sequence[int]], members: list[int], prefix: int) -> Group:
    units: list[list[int]] = []
    shared: list[int] = []
    for i in members:
        if units:
            n = common(texts[units[-1][0]], texts[i])
            n = min(n, len(texts[units[-1][0]]) - 1, len(texts[i]) - 1)
            n = min(n, shared[-1]) if len(units[-1]) > 1 else n
            if n - prefix >= SHARED:
                units[-1].append(i)
                shared[-1] = n
                continue
        units.append([i])
        shared.append(prefix)
    made = [Unit(tuple(u), s) for u, s in zip(units, shared, strict=True)]
    made.sort(key=lambda u: -max(len(texts[i]) for i in u.members))
    return Group(tuple(made), prefix)
