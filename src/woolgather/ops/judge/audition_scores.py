"""How an assessor does on pairs of known order: its AUC across and within prompts, with draws.

The one idea: every text of the pairs is scored once, and all assessors are drawn with the same
bootstrap weights over what the pairs were made from, so that differences between them are paired.
What to conclude is for audition.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from woolgather.core.fingerprint import seed_of
from woolgather.core.intervals import Estimate, bootstrap_weights, interval
from woolgather.core.rows import Example, question
from woolgather.engines.base import Engine
from woolgather.ops.judge.assessors import (
    Assessor,
    Questionnaire,
    combine_verdicts,
    information,
    length,
    rate,
)
from woolgather.ops.judge.audition_pairs import KINDS, Pair
from woolgather.ops.judge.rank_correlation import spearman

if TYPE_CHECKING:
    from woolgather.core.intervals import Floats

Scope = Literal["across", "within"]
SCOPES: tuple[Scope, Scope] = ("across", "within")
DRAWS = 1000
EXPONENTS = [round(i / 20, 2) for i in range(21)]


@dataclass(frozen=True)
class Act:
    """One assessor's scores and what they are worth; draws are of the bootstrap, kinds' mean."""

    assessor: Assessor
    kinds: dict[str, dict[Scope, Estimate]]
    overall: dict[Scope, Estimate]
    draws: dict[Scope, Floats]
    length: float | None
    readable: float

    @property
    def name(self) -> str:
        return self.assessor.kind


@dataclass
class Stage:
    """The pairs, and every text of them once."""

    pairs: Sequence[Pair]
    engine: Engine
    asked: Questionnaire
    seed: int
    rows: list[Example] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pair in self.pairs:
            for row in (pair.good, pair.bad):
                key = (question(row), row.response)
                if key not in self.places:
                    self.places[key] = len(self.rows)
                    self.rows.append(row)
        names = sorted({pair.group for pair in self.pairs})
        self.groups = len(names)
        self.kinds: list[str] = [kind for kind in KINDS if any(p.kind == kind for p in self.pairs)]
        self.weights = bootstrap_weights(len(names), DRAWS, seed_of(self.seed, "draws"))
        self.columns: dict[str, list[int]] = {
            kind: [names.index(p.group) for p in self.pairs if p.kind == kind]
            for kind in self.kinds
        }
        # Answers as the seeds have them, to the tasks as they are.
        self.references = sorted(
            {self._place(p.good) for p in self.pairs if p.kind not in ("edited", "sampled")}
        )

    def _place(self, row: Example) -> int:
        return self.places[question(row), row.response]

    def hear(self, assessor: Assessor) -> Act:
        """Returns the assessor, its exponent fitted, and how it did on every pair. Raises
        CapabilityError when the engine cannot do it."""
        import numpy as np

        assessor, scores = self._scores(assessor)
        lengths = [length(row) for row in self.rows]
        known = [i for i in self.references if scores[i] is not None]
        kinds: dict[str, dict[Scope, Estimate]] = {}
        drawn: dict[str, dict[Scope, Floats]] = {}
        for kind in self.kinds:
            kinds[kind], drawn[kind] = self._kind(kind, scores)
        overall: dict[Scope, Estimate] = {}
        draws: dict[Scope, Floats] = {}
        for scope in SCOPES:
            draws[scope] = np.mean([d[scope] for d in drawn.values()], axis=0)
            value = sum(k[scope].value for k in kinds.values()) / len(kinds)
            overall[scope] = interval(draws[scope], value, len(self.pairs))
        return Act(
            assessor,
            kinds,
            overall,
            draws,
            spearman([scores[i] or 0.0 for i in known], [lengths[i] for i in known]),
            sum(score is not None for score in scores) / len(scores),
        )

    def _scores(self, assessor: Assessor) -> tuple[Assessor, list[float | None]]:
        if assessor.kind == "mutual_information":
            return self._information(assessor)
        found = rate(self.rows, self.engine, assessor, self.asked, seed=self.seed)
        return assessor, [combine_verdicts(verdicts) for verdicts in found]

    def _information(self, assessor: Assessor) -> tuple[Assessor, list[float | None]]:
        found = information(self.rows, self.engine)
        seeds = [info for i in self.references if (info := found[i]) is not None]
        a = fit_exponent([s.total for s in seeds], [s.tokens for s in seeds])
        scores = [None if info is None else info.total / info.tokens**a for info in found]
        return assessor.model_copy(update={"exponent": a}), scores

    def _kind(
        self, kind: str, scores: Sequence[float | None]
    ) -> tuple[dict[Scope, Estimate], dict[Scope, Floats]]:
        import numpy as np

        pairs = [p for p in self.pairs if p.kind == kind]
        good = np.array([_number(scores[self._place(p.good)]) for p in pairs])
        bad = np.array([_number(scores[self._place(p.bad)]) for p in pairs])
        wins = (good[:, None] > bad[None, :]) + 0.5 * (good[:, None] == bad[None, :])
        wins = np.where(np.isnan(good)[:, None] | np.isnan(bad)[None, :], 0.5, wins)
        weights = np.take(self.weights, self.columns[kind], axis=1)
        total = weights.sum(axis=1)
        # A draw without any pair of this kind says nothing of it: chance.
        safe = np.where(total > 0, total, 1.0)
        across = np.where(total > 0, ((weights @ wins) * weights).sum(axis=1) / safe**2, 0.5)
        within = np.where(total > 0, weights @ np.diag(wins) / safe, 0.5)
        draws: dict[Scope, Floats] = {"across": across, "within": within}
        values = {"across": float(wins.mean()), "within": float(np.diag(wins).mean())}
        return {s: interval(draws[s], values[s], len(pairs)) for s in SCOPES}, draws


def _number(score: float | None) -> float:
    return float("nan") if score is None else score


def fit_exponent(totals: Sequence[float], tokens: Sequence[int]) -> float:
    """Returns the a in [0, 1] for which total / tokens^a is least rank-correlated with tokens; 1, the
    usual reading per token, where that cannot be told."""
    found = {}
    for a in EXPONENTS:
        scores = [t / n**a for t, n in zip(totals, tokens, strict=True)]
        if (correlation := spearman(scores, [float(n) for n in tokens])) is not None:
            found[a] = abs(correlation)
    return min(found, key=found.__getitem__) if found else 1.0
