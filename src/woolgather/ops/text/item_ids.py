"""What items are called where outcomes are kept per item, so that two models are compared on the same."""

from __future__ import annotations

from collections.abc import Iterable

from woolgather.core.rows import Example


def item_ids(rows: Iterable[Example]) -> list[str]:
    """Returns an id for each row, in their order, no two alike: its own, or `task-<place>`; of rows
    with one id, the second gets `id#2`, and so on."""
    found: dict[str, None] = {}
    for index, row in enumerate(rows):
        own = row.id or f"task-{index}"
        name, number = own, 1
        while name in found:
            number += 1
            name = f"{own}#{number}"
        found[name] = None
    return list(found)
