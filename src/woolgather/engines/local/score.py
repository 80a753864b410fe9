"""Log-probabilities of given continuations: the same lanes, no sampling.

The one idea: texts are grouped by what their prompts share, and the output layer sees only the
positions that are scored, a bounded number at a time, so that a vocabulary of 262,144 tokens needs
no more memory than a small one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from woolgather.core.errors import EngineError
from woolgather.engines.local.batch import Batch, Bunch, PassLimits, Text
from woolgather.engines.local.decode import out_of_memory
from woolgather.engines.local.prefix_groups import Group, groups

Pair = tuple[list[int], list[int]]
"""Prompt and continuation, neither of them empty."""
Read = Callable[[int, int, Tensor], None]
"""Takes (number of the pair, first scored token, logits [positions, vocabulary])."""


def score(
    pairs: Sequence[Pair], make: Callable[[], Batch], limits: PassLimits, temperature: float = 1.0
) -> list[float]:
    """Summed log-probability of each continuation after its prompt."""
    totals = [0.0] * len(pairs)

    def read(i: int, first: int, logits: Tensor) -> None:
        tokens = torch.tensor(pairs[i][1][first : first + len(logits)], device=logits.device)
        every = torch.log_softmax(logits.float() / temperature, dim=-1)
        if first == 0:  # also when memory ran out half way, and the text is fed again
            totals[i] = 0.0
        totals[i] += float(every.gather(-1, tokens[:, None]).double().sum())

    _feed_all(pairs, make, limits, read)
    return totals


def next_logprobs(
    prompts: Sequence[list[int]],
    wanted: Sequence[int],
    make: Callable[[], Batch],
    limits: PassLimits,
) -> list[list[float]]:
    """Log-probability of each wanted token right after each prompt, [prompts][wanted]."""
    found: list[list[float]] = [[] for _ in prompts]

    def read(i: int, first: int, logits: Tensor) -> None:
        found[i] = torch.log_softmax(logits[0].float(), dim=-1)[list(wanted)].tolist()

    _feed_all([(prompt, [0]) for prompt in prompts], make, limits, read)
    return found


def _feed_all(
    pairs: Sequence[Pair], make: Callable[[], Batch], limits: PassLimits, read: Read
) -> None:
    for group in groups([prompt for prompt, _ in pairs]):
        numbers = [i for unit in group.units for i in unit.members]
        shared = {i: unit.shared for unit in group.units for i in unit.members}
        prefix = pairs[numbers[0]][0][: group.prefix]
        while numbers:
            batch = _batch(pairs, numbers, group, limits)
            try:
                lane = make()
                lane.begin(prefix)
                _feed(pairs, batch, shared, lane, read)
                numbers = numbers[len(batch) :]
                continue
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            gc.collect()
            if not limits.halve():
                raise EngineError(
                    f"out of memory scoring one text of {sum(map(len, pairs[batch[0]]))} tokens. "
                    "Use a smaller model, or a machine with more memory."
                )


def _batch(
    pairs: Sequence[Pair], numbers: list[int], group: Group, limits: PassLimits
) -> list[int]:
    widest, taken = 0, 0
    for i in numbers[: limits.rows]:
        widest = max(widest, len(pairs[i][0]) + len(pairs[i][1]) - group.prefix)
        if taken and (taken + 1) * widest > limits.tokens:
            break
        taken += 1
    return numbers[:taken]


def _feed(
    pairs: Sequence[Pair], batch: list[int], shared: dict[int, int], lane: Batch, read: Read
) -> None:
    bunches = list(_bunches(pairs, batch, shared))
    done = dict.fromkeys(batch, 0)
    for places, logits in lane.enter(bunches):
        at = 0
        for place in places:
            i = batch[place]
            left = len(pairs[i][1]) - done[i]
            n = min(left, len(logits) - at) if len(places) == 1 else left
            read(i, done[i], logits[at : at + n])
            done[i], at = done[i] + n, at + n


def _bunches(pairs: Sequence[Pair], batch: list[int], shared: dict[int, int]) -> Iterator[Bunch]:
    """Neighbours of one unit together; a unit may be cut by the batch's end."""
    start = 0
    for end in range(1, len(batch) + 1):
        first = pairs[batch[start]][0][: shared[batch[start]]]
        whole = end == len(batch) or (
            shared[batch[end]] != shared[batch[start]]
            or pairs[batch[end]][0][: len(first)] != first
        )
        if whole:
            texts = tuple(
                Text(pairs[i][0] + pairs[i][1][:-1], len(pairs[i][1])) for i in batch[start:end]
            )
            yield Bunch(texts, len(first))
            start = end
