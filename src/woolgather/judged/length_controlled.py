"""The win rate without its share of length, by alpaca_eval's own model and nobody else's.

The one idea: the published rate is a regression on the difficulties of AlpacaEval's 805 instructions,
which its package fetches from the hub. It is computed by that package or not at all, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from woolgather.core.rows import JSON
from woolgather.judged.compare import BothOrders

INSTRUCTIONS = 805


@dataclass(frozen=True)
class LengthControlled:
    """A rate in [0, 1] with its standard error, or why there is none."""

    rate: float | None = None
    error: float | None = None
    why: str = ""


def measure_length_controlled(comparisons: Sequence[BothOrders], model: str) -> LengthControlled:
    """Returns the rate where alpaca_eval is installed and can compute it, else the reason."""
    if len(comparisons) != INSTRUCTIONS:
        return LengthControlled(why=f"it is for all {INSTRUCTIONS} instructions")
    try:
        metrics = import_module("alpaca_eval.metrics")
    except ImportError:
        return LengthControlled(why="the package alpaca_eval is not installed beside woolgather")
    try:
        found = metrics.get_length_controlled_winrate(
            annotate(comparisons, model), save_weights_dir=None
        )
    except Exception as error:  # another program's: its data, its versions, the network
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        return LengthControlled(why=f"alpaca_eval failed ({why})")
    rate, spread = (
        float(found[key]) / 100 for key in ("length_controlled_winrate", "lc_standard_error")
    )
    return LengthControlled(rate, spread)


def annotate(comparisons: Sequence[BothOrders], model: str) -> list[Mapping[str, JSON]]:
    """Returns the comparisons as alpaca_eval's annotations: output 1 is the reference, and the preference
    goes from 1 (the reference) to 2 (the answer), None where a reply could not be read."""
    return [
        {
            "index": index,
            "instruction": each.answer.question.turns[0],
            "dataset": each.answer.question.category,
            "output_1": each.answer.question.references[0],
            "output_2": each.answer.turns[0],
            "generator_1": each.answer.question.generator,
            "generator_2": model,
            "annotator": "woolgather",
            "preference": None if each.win is None else 1 + each.win,
        }
        for index, each in enumerate(comparisons)
    ]
