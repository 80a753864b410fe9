"""Which rows make an update, and how many of them are on a device at once.

The one idea: the first is identity and the second is not. An epoch's order follows from the seed and
is cut into updates; only within one may rows be sorted by length, and be taken by twos or fours as
memory and caches like it. No torch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from woolgather.core.errors import ConfigError

CPU_ROWS, GPU_ROWS = 4, 16
"""Rows at once, at most. On a CPU more rows leave its caches and add padding: 16 rows of 150 tokens
took twice as long at once as by fours."""
MEMORY_SHARE = 0.6
"""Share of the free memory that activations may take."""


class ByUpdate:
    """Sampler that gives a new order each epoch, cut into updates, and the rows of an update
    longest first, so that memory runs out at once or never.

    Where `at_once` rows are on all devices together, the last update of an epoch is filled up to a
    multiple of them with the index behind the last row, which stands for one without a label: so each
    device has as many batches, and no row counts twice."""

    def __init__(
        self, lengths: Sequence[int], rows_per_update: int, seed: int, at_once: int = 1
    ) -> None:
        self.lengths, self.rows_per_update = lengths, rows_per_update
        self.seed, self.epoch = seed, 0
        self.blanks = -len(lengths) % rows_per_update % at_once

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer: the next order is that of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self.blanks

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.lengths)))
        random.Random(f"{self.seed}:{self.epoch}").shuffle(order)
        for start in range(0, len(order), self.rows_per_update):
            update = order[start : start + self.rows_per_update]
            yield from sorted(update, key=lambda i: (-self.lengths[i], i))
        yield from [len(self.lengths)] * self.blanks


def share_out(batch_size: int, processes: int, wanted: int = 0) -> int:
    """Returns how many rows of an update each process has.

    Raises ConfigError when they cannot be shared evenly, or when the number of rows asked for at once
    (`wanted`, 0 chooses) does not divide a share."""
    if batch_size % processes:
        raise ConfigError(
            f"batch_size {batch_size} cannot be shared by {processes} processes: "
            "choose a multiple of their number."
        )
    share = batch_size // processes
    if wanted and share % wanted:
        raise ConfigError(
            f"micro_batch_size {wanted} does not divide the {share} rows a device has in an update."
        )
    return share


def fit(
    share: int, row_bytes: int, free_bytes: float, *, usual: int, wanted: int = 0
) -> tuple[int, bool]:
    """Returns how many of the `share` rows that a device has in an update it takes at once, and whether
    activations should be recomputed to save memory.

    `row_bytes` is what the longest row needs and `free_bytes` what the device has. At most `usual` rows
    are taken, or just as many as `wanted` where that is not 0."""
    room = MEMORY_SHARE * free_bytes
    most = min(share, usual, max(1, int(room / row_bytes)))
    micro = wanted or max(m for m in range(1, most + 1) if share % m == 0)
    return micro, micro * row_bytes > room
