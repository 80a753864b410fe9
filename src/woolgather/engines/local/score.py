"""Log-probabilities of given continuations: the same batches, no sampling.

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
from woolgather.engines.local.batch import Batch, PassLimits, Text, UnitTexts
from woolgather.engines.local.decode import out_of_memory
from woolgather.engines.local.prefix_groups import Group, groups
from woolgather.engines.rendered import Pair

Read = Callable[[int, int, Tensor], None]
"""Takes (index of the pair, index in the continuation of the first token that is scored, logits
[tokens scored, vocabulary])."""


def score(
    pairs: Sequence[Pair],
    make_batch: Callable[[], Batch],
    limits: PassLimits,
    temperature: float = 1.0,
) -> list[float]:
    """Returns the summed natural log-probability of each continuation after its prompt.

    Logits are divided by `temperature`. Raises EngineError when a pair does not fit into memory alone.
    """
    totals = [0.0] * len(pairs)

    def read(i: int, first: int, logits: Tensor) -> None:
        tokens = torch.tensor(pairs[i][1][first : first + len(logits)], device=logits.device)
        every = torch.log_softmax(logits.float() / temperature, dim=-1)
        if first == 0:  # also when memory ran out half way, and the text is fed again
            totals[i] = 0.0
        totals[i] += float(every.gather(-1, tokens[:, None]).double().sum())

    _feed_all(pairs, make_batch, limits, read)
    return totals


def next_logprobs(
    prompts: Sequence[list[int]],
    wanted: Sequence[int],
    make_batch: Callable[[], Batch],
    limits: PassLimits,
) -> list[list[float]]:
    """Returns the natural log-probability of each wanted token right after each prompt,
    [prompts][wanted]. Raises EngineError when a prompt does not fit into memory alone."""
    found: list[list[float]] = [[] for _ in prompts]

    def read(i: int, first: int, logits: Tensor) -> None:
        found[i] = torch.log_softmax(logits[0].float(), dim=-1)[list(wanted)].tolist()

    _feed_all([(prompt, [0]) for prompt in prompts], make_batch, limits, read)
    return found


def _feed_all(
    pairs: Sequence[Pair], make_batch: Callable[[], Batch], limits: PassLimits, read: Read
) -> None:
    """Feeds every pair, in as few batches as the limits allow. Raises EngineError when a pair does
    not fit into memory alone."""
    for group in groups([prompt for prompt, _ in pairs]):
        # Indices of pairs, units side by side and their members in order.
        left = [i for unit in group.units for i in unit.members]
        shared = {i: unit.shared for unit in group.units for i in unit.members}
        prefix = pairs[left[0]][0][: group.prefix]
        while left:
            some = _fitting(pairs, left, group, limits)
            try:
                batch = make_batch()
                batch.begin(prefix)
                _feed(pairs, some, shared, batch, read)
                left = left[len(some) :]
                continue
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            gc.collect()
            if not limits.halve():
                raise EngineError(
                    f"out of memory scoring one text of {sum(map(len, pairs[some[0]]))} tokens. "
                    "Use a smaller model, or a machine with more memory."
                )


def _fitting(pairs: Sequence[Pair], left: list[int], group: Group, limits: PassLimits) -> list[int]:
    """Returns as many of the first indices as fit into one batch, at least one."""
    widest, taken = 0, 0
    for i in left[: limits.rows]:
        widest = max(widest, len(pairs[i][0]) + len(pairs[i][1]) - group.prefix)
        if taken and (taken + 1) * widest > limits.tokens:
            break
        taken += 1
    return left[:taken]


def _feed(
    pairs: Sequence[Pair], some: list[int], shared: dict[int, int], batch: Batch, read: Read
) -> None:
    units = list(_units(pairs, some, shared))
    done = dict.fromkeys(some, 0)  # by index of the pair: scored tokens that have been read
    for numbers, logits in batch.add(units):
        at = 0
        for number in numbers:
            # The batch numbers the texts that it was given; `some` has their indices in `pairs`.
            i = some[number]
            missing = len(pairs[i][1]) - done[i]
            # A text that comes alone may come piece by piece: then the logits are fewer.
            n = min(missing, len(logits) - at) if len(numbers) == 1 else missing
            read(i, done[i], logits[at : at + n])
            done[i], at = done[i] + n, at + n


def _units(pairs: Sequence[Pair], some: list[int], shared: dict[int, int]) -> Iterator[UnitTexts]:
    """Yields neighbours of one unit together; a unit may be cut by the batch's end."""
    start = 0
    for end in range(1, len(some) + 1):
        first = pairs[some[start]][0][: shared[some[start]]]
        complete = end == len(some) or (
            shared[some[end]] != shared[some[start]] or pairs[some[end]][0][: len(first)] != first
        )
        if complete:
            # The logits at a token are for the next one: the last token is scored and not fed, and
            # the last of the prompt is among those whose logits are wanted.
            texts = tuple(
                Text(pairs[i][0] + pairs[i][1][:-1], len(pairs[i][1])) for i in some[start:end]
            )
            yield UnitTexts(texts, len(first))
            start = end
