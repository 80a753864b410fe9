"""The processes that train together: the number of this one, and what all must agree on.

The one idea: launchers tell it in the environment (RANK, WORLD_SIZE), and nothing else is asked for it.
"""

from __future__ import annotations

import os


def rank() -> int:
    """Returns the number of this process among those that train together, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Returns how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agree(*flags: bool) -> tuple[bool, ...]:
    """Returns what the first process sees: saving is collective, so all must do it at one update."""
    if world() == 1:
        return flags
    from accelerate.utils import broadcast_object_list

    return tuple(broadcast_object_list(list(flags)))


def wait_for_all() -> None:
    """Return once every process is here, so that what each has written is there for all."""
    if world() > 1:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()
