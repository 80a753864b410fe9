"""Which tasks are shown in a prompt that asks for new ones.

The one idea: the pick for prompt number i follows from the seed and i alone, so that prompts can be
asked in any number and order. What a method must know of the pool (clusters, perplexities) is asked
of the model once, before the first prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import seed_of
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example, question
from woolgather.engines.base import Engine
from woolgather.ops.text.embeddings import clusters, embeddings, perplexities
from woolgather.ops.text.words import count_words


class DemoOptions(Options):
    """Which tasks each prompt shows."""

    count: int = Field(default=5, ge=1)
    """Demos in a prompt."""
    method: Literal["uniform", "inverse_perplexity", "density", "category"] = "uniform"
    """uniform; inverse_perplexity: the likelier a seed is to the model, the more often it is shown;
    density: one seed from each of `count` clusters of embeddings; category: seeds of different
    categories."""
    with_machine: int = Field(default=0, ge=0)
    """This many of the demos are accepted machine tasks of earlier rounds, as far as there are any;
    chosen uniformly."""
    max_words: int = Field(default=0, ge=0)
    """Leave out tasks with more words than this in instruction and input; 0 leaves out none."""


class Demos:
    """The demos of each prompt: `pick(i)` returns those of prompt i.

    Raises ConfigError when the seeds are fewer than a prompt needs, CapabilityError when the method
    needs what the engine does not have.
    """

    def __init__(
        self,
        seeds: Iterable[Example],
        machine: Iterable[Example],
        engine: Engine,
        options: DemoOptions,
        seed: int,
    ) -> None:
        self._options = options
        self._seed = seed
        self._machine = [row for row in machine if _fits(row, options)]
        self._from_machine = min(options.with_machine, options.count, len(self._machine))
        self._from_seeds = options.count - self._from_machine
        self._seeds = [row for row in seeds if _fits(row, options)]
        if len(self._seeds) < self._from_seeds:
            bound = f" of at most {options.max_words} words" if options.max_words else ""
            raise ConfigError(
                f"a prompt shows {self._from_seeds} seeds and there are {len(self._seeds)}{bound}. "
                "Give more seeds, or set demos.count lower"
                + (" or demos.max_words higher." if bound else ".")
            )
        self._groups: list[list[int]] = []
        self._weights: list[float] = []
        if options.method == "density" and self._from_seeds:
            vectors = embeddings(engine, [question(row) for row in self._seeds])
            self._groups = _group(clusters(vectors, self._from_seeds, seed_of(seed, "clusters")))
        elif options.method == "category":
            self._groups = _group([row.meta.get("category") for row in self._seeds])
        elif options.method == "inverse_perplexity":
            # Scored as they stand in the prompt, after the label, so that no start is empty.
            values = perplexities(
                engine, ["Task:"] * len(self._seeds), [f" {question(r)}" for r in self._seeds]
            )
            self._weights = [1 / value if value else 0.0 for value in values]

    def pick(self, index: int) -> list[Example]:
        """Returns the demos of prompt `index`, shuffled."""
        rng = random.Random(seed_of(self._seed, "demos", index))
        picked = [self._seeds[i] for i in self._pick_seeds(rng)]
        picked += rng.sample(self._machine, self._from_machine)
        rng.shuffle(picked)
        return picked

    def _pick_seeds(self, rng: random.Random) -> Sequence[int]:
        every = range(len(self._seeds))
        if self._weights:
            # Without replacement, in proportion to the weights (Efraimidis and Spirakis, 2006).
            keys = {i: rng.random() ** (1 / w) if w else -1.0 for i, w in enumerate(self._weights)}
            return sorted(every, key=keys.__getitem__, reverse=True)[: self._from_seeds]
        if not self._groups:
            return rng.sample(every, self._from_seeds)
        groups = rng.sample(self._groups, min(self._from_seeds, len(self._groups)))
        picked = [rng.choice(group) for group in groups]
        rest = [i for i in every if i not in picked]
        return picked + rng.sample(rest, self._from_seeds - len(picked))


def _fits(row: Example, options: DemoOptions) -> bool:
    return not options.max_words or count_words(question(row)) <= options.max_words


def _group(labels: Sequence[JSON]) -> list[list[int]]:
    groups: dict[JSON, list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    return list(groups.values())
