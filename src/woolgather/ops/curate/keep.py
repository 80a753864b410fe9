"""Which rated rows go into training: one rule, its reasons on the rows it leaves out.

A verdict that could not be read is never kept. A threshold, and a random choice from rows whose
number is known, are taken as rows stream by; the other rules hold all rows. Rules that need a scale
refuse scores without one; those that compare prompts with each other refuse an assessor that was
chosen within prompts only.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Choice
from woolgather.core.errors import CapabilityError, ConfigError, YieldError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import Needs, op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question, set_aside, task_key
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.engines.base import Engine
from woolgather.ops.judge.assessors import Assessor, assessor_of, combine_verdicts
from woolgather.ops.text.embeddings import clusters, embeddings, perplexities
from woolgather.ops.text.words import answer_of, count_words
from woolgather.prompting.turns import answer_prompt

By = Literal[
    "auto", "threshold", "fraction", "best_of_n", "perplexity", "density", "density_perplexity",
    "random", "all",
]  # fmt: skip
_BY_VERDICTS = ("threshold", "fraction", "best_of_n")


class KeepRule(Options):
    """How rows are kept."""

    by: By = "auto"
    """auto: by threshold where the assessor has a scale, by fraction where it may rank prompts, by
    best_of_n where it may only rank responses to one prompt, which keeps all where prompts have one,
    all where nothing was rated.
    threshold, fraction, best_of_n; perplexity, density and density_perplexity are the paper's
    ablations; random and all rate nothing."""
    above: float = 8.0
    """threshold: every verdict must be greater than this."""
    at_least: float | None = None
    """threshold: every verdict must reach this, instead of exceeding `above`."""
    on: tuple[str, ...] = ()
    """threshold, fraction: the verdicts that count, e.g. ["quality"]; empty: all."""
    fraction: float = Field(default=0.5, gt=0, le=1)
    """fraction: share of the rows that stays, the best."""
    quota: bool = True
    """fraction: the share is taken within each quarter of response lengths, so that a taste for
    short answers cannot take over."""
    vote_words: int = Field(default=0, ge=0)
    """best_of_n: where most responses to a prompt have at most this many words, the commonest one
    wins and the score decides only between equals; 0 never votes."""
    perplexity: float = Field(default=50, gt=1)
    """perplexity: the response's, and that of instruction and response, must be below this."""
    clusters: int = Field(default=3000, ge=1)
    """density: clusters of embeddings, one row from each."""
    limit: int | None = Field(default=None, ge=1)
    """Rows at most, drawn at random from those kept."""

    @property
    def asks_model(self) -> bool:
        """Returns whether `keep` needs an engine for this rule."""
        return self.by in ("perplexity", "density", "density_perplexity")


def _work(rows: Sized, *, rule: KeepRule, limit: int | None, **_: object) -> Expected:
    count = len(rows)
    calls = {"perplexity": 2 * count, "density": count, "density_perplexity": 2 * count}
    bounds = [b for b in (rule.limit, limit) if b]
    return Expected(rows=min([count, *bounds]), calls=calls.get(rule.by, 0))


def _need(*, rule: KeepRule, assessor: Assessor | Choice, **_: object) -> Needs:
    """Rules that go by verdicts need those that are named, or any."""
    rated = rule.by == "auto" and assessor_of(assessor).kind != "none"
    if not rated and rule.by not in _BY_VERDICTS:
        return {}
    return {"rows": tuple(f"verdicts.{name}" for name in rule.on) or ("verdicts",)}


@op("keep", expects=_work, needs=_need)
def keep(
    rows: Iterable[Example],
    *,
    rule: KeepRule,
    assessor: Assessor | Choice = Assessor(kind="none"),  # noqa: B008 - frozen
    engine: Engine | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields every row again, those not kept set aside with the rule's reason.

    `engine` is asked by the perplexity and density rules only. `limit` bounds the rows like
    `rule.limit`. Raises ConfigError when rule and assessor do not fit each other."""
    chosen = assessor_of(assessor)
    by = _resolve_rule(rule, chosen)
    bound = min((b for b in (rule.limit, limit) if b), default=None)
    asked = rule.on or chosen.verdicts
    if (by == "threshold" and asked and not bound) or (
        by in ("random", "all") and isinstance(rows, Sized)
    ):
        return (yield from _decide_each(rows, by, rule, asked, bound, seed))
    given = list(rows)
    names = sorted({name for row in given for name in row.verdicts})
    reasons: list[str | None] = [None] * len(given)
    if by in _BY_VERDICTS:
        wanted = rule.on or tuple(names)
        for i, row in enumerate(given):
            scores = [row.verdicts[n].score if n in row.verdicts else None for n in wanted]
            if not scores or None in scores:
                reasons[i] = "unreadable"
    chooser = _RULES[by]
    chooser(given, reasons, rule, engine, random.Random(seed))
    _limit(reasons, bound, seed)
    counts: Counter[str] = Counter()
    for row, reason in zip(given, reasons, strict=True):
        if reason:
            counts[reason] += 1
        yield set_aside(row, reason) if reason else row
    if by in _BY_VERDICTS:
        _check_verdicts(len(given), counts, rule.on or tuple(names))
    found: dict[str, list[float]] = {}
    for row in given:
        _note(row, found)
    return _views(len(given), found, rule, by, counts)


def _decide_each(
    rows: Iterable[Example], by: str, rule: KeepRule, asked: Sequence[str], bound: int | None,
    seed: int,
) -> Generator[Example, None, list[View]]:  # fmt: skip
    """Each row decided by itself, or by its number."""
    over: list[str | None] = []
    if by != "threshold" and isinstance(rows, Sized) and bound is not None:
        over = [None] * len(rows)
        _limit(over, bound, seed)
    counts: Counter[str] = Counter()
    scores: dict[str, list[float]] = {}
    total = 0
    for row in rows:
        reason = over[total] if over else None
        total += 1
        _note(row, scores)
        if by == "threshold":
            found = [row.verdicts[n].score if n in row.verdicts else None for n in asked]
            reason = "unreadable" if None in found else None
            reason = reason or (None if _reaches(row, rule) else "below_threshold")
        if reason:
            counts[reason] += 1
        yield set_aside(row, reason) if reason else row
    if by == "threshold":
        _check_verdicts(total, counts, asked)
    return _views(total, scores, rule, by, counts)


def _check_verdicts(rows: int, counts: Counter[str], asked: Sequence[str]) -> None:
    """Raises YieldError where no verdict at all could be read: nothing would be kept, and the
    training would see none of the rows."""
    if rows and counts["unreadable"] == rows:
        names = ", ".join(asked) or "none was asked for"
        raise YieldError(
            f"None of the {rows} rows has a verdict that can be read ({names}), so none can be kept. "
            "Give rows with these scores, rate them with another assessor (judge.assessor), or keep "
            "them unrated (keep.by=all)."
        )


def _note(row: Example, scores: dict[str, list[float]]) -> None:
    for name, verdict in row.verdicts.items():
        if verdict.score is not None:
            scores.setdefault(name, []).append(verdict.score)


def _resolve_rule(rule: KeepRule, chosen: Assessor) -> str:
    """The rule that `auto` stands for, or the one named if it fits."""
    if rule.by == "auto":
        if chosen.kind == "none" or chosen.scope == "none":
            return "all"
        if chosen.scope == "within":
            return "best_of_n"
        return "threshold" if chosen.scale or chosen.kind in ("rubric", "expected") else "fraction"
    scaled = chosen.scale or chosen.kind in ("rubric", "expected", "none")
    if rule.by == "threshold" and not scaled:
        raise ConfigError(
            f"keep.by=threshold: the assessor {chosen.kind} has no scale for a threshold to be "
            "on. Use keep.by=fraction (across prompts) or keep.by=best_of_n (respond.samples > 1)."
        )
    if rule.by in ("threshold", "fraction") and chosen.fit is not None and chosen.scope == "within":
        raise ConfigError(
            f"keep.by={rule.by}: the assessor {chosen.kind} was chosen to compare responses to one "
            "prompt only. Use keep.by=best_of_n with respond.samples > 1, or keep.by=auto."
        )
    return rule.by


def _threshold(
    rows: Sequence[Example], reasons: list[str | None], rule: KeepRule, _: object, __: object
) -> None:
    for i, row in enumerate(rows):
        if reasons[i] is None and not _reaches(row, rule):
            reasons[i] = "below_threshold"


def _reaches(row: Example, rule: KeepRule) -> bool:
    scores = [_score(row, name) for name in rule.on or tuple(row.verdicts)]
    if rule.at_least is not None:
        return all(score >= rule.at_least for score in scores)
    return all(score > rule.above for score in scores)


def _score(row: Example, name: str) -> float:
    score = row.verdicts[name].score
    return -math.inf if score is None else score


def _overall(row: Example, rule: KeepRule) -> float:
    verdicts = {n: v for n, v in row.verdicts.items() if not rule.on or n in rule.on}
    value = combine_verdicts(verdicts)
    return -math.inf if value is None else value


def _fraction(
    rows: Sequence[Example],
    reasons: list[str | None],
    rule: KeepRule,
    _: object,
    rng: random.Random,
) -> None:
    able = [i for i, reason in enumerate(reasons) if reason is None]
    able.sort(key=lambda i: (count_words(rows[i].response), i))
    groups = [able]
    if rule.quota and len(able) >= 8:
        size = math.ceil(len(able) / 4)
        groups = [able[start : start + size] for start in range(0, len(able), size)]
    for group in groups:
        order = sorted(group, key=lambda i: (-_overall(rows[i], rule), rng.random()))
        for i in order[math.ceil(len(group) * rule.fraction) :]:
            reasons[i] = "not_in_best_fraction"


def _best_of_n(
    rows: Sequence[Example], reasons: list[str | None], rule: KeepRule, _: object, __: object
) -> None:
    prompts: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if reasons[i] is None:
            prompts[task_key(row)].append(i)
    for group in prompts.values():
        votes = _votes([rows[i].response for i in group], rule.vote_words)
        best = max(
            group, key=lambda i: (votes[answer_of(rows[i].response)], _overall(rows[i], rule), -i)
        )
        for i in group:
            if i != best:
                reasons[i] = "not_best_of_prompt"


def _votes(responses: Sequence[str], most_words: int) -> Counter[str]:
    """How many responses say each answer; empty where they are not short."""
    short = sum(count_words(r) <= most_words for r in responses)
    return (
        Counter(map(answer_of, responses))
        if most_words and 2 * short > len(responses)
        else Counter()
    )


def _perplexities(
    rows: Sequence[Example], engine: Engine | None
) -> tuple[list[float], list[float]]:
    """Returns the perplexity of each response given its task, and of task and response as one text;
    infinite where there is no text."""
    if engine is None:
        raise CapabilityError("keep.by=perplexity needs an engine with log-probabilities.")
    form = engine.model.prompt_format
    given = perplexities(engine, [answer_prompt(r, form) for r in rows], [r.response for r in rows])
    whole = perplexities(engine, [""] * len(rows), [f"{question(r)}\n{r.response}" for r in rows])
    one, two = ([math.inf if p is None else p for p in ps] for ps in (given, whole))
    return one, two


def _perplexity(
    rows: Sequence[Example],
    reasons: list[str | None],
    rule: KeepRule,
    engine: Engine | None,
    _: object,
) -> None:
    for i, (a, b) in enumerate(zip(*_perplexities(rows, engine), strict=True)):
        if a >= rule.perplexity or b >= rule.perplexity:
            reasons[i] = "high_perplexity"


def _density(
    rows: Sequence[Example], reasons: list[str | None], rule: KeepRule, engine: Engine | None,
    rng: random.Random,
) -> None:  # fmt: skip
    for group in _clusters(rows, rule, engine, rng):
        chosen = rng.choice(group)
        for i in group:
            if i != chosen:
                reasons[i] = "not_drawn_from_cluster"


def _density_perplexity(
    rows: Sequence[Example], reasons: list[str | None], rule: KeepRule, engine: Engine | None,
    rng: random.Random,
) -> None:  # fmt: skip
    given, _ = _perplexities(rows, engine)
    for group in _clusters(rows, rule, engine, rng):
        chosen = min(group, key=lambda i: (given[i], i))
        for i in group:
            if i != chosen:
                reasons[i] = "not_lowest_perplexity_of_cluster"


def _clusters(
    rows: Sequence[Example], rule: KeepRule, engine: Engine | None, rng: random.Random
) -> list[list[int]]:
    """Row indices by cluster of their embeddings."""
    if engine is None:
        raise CapabilityError("keep.by=density needs an engine with embeddings.")
    texts = [f"{question(row)}\n{row.response}" for row in rows]
    labels = clusters(embeddings(engine, texts), rule.clusters, rng.randrange(1 << 31))
    groups: dict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        groups[label].append(i)
    return list(groups.values())


def _random(
    rows: Sequence[Example], reasons: list[str | None], rule: KeepRule, _: object, __: object
) -> None:
    """Only the limit decides."""


_Rule = Callable[
    [Sequence[Example], list[str | None], KeepRule, Engine | None, random.Random], None
]
_RULES: dict[str, _Rule] = {
    "threshold": _threshold,
    "fraction": _fraction,
    "best_of_n": _best_of_n,
    "perplexity": _perplexity,
    "density": _density,
    "density_perplexity": _density_perplexity,
    "random": _random,
    "all": _random,
}


def _limit(reasons: list[str | None], bound: int | None, seed: int) -> None:
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    if bound is not None and len(kept) > bound:
        random.Random(seed_of(seed, "limit")).shuffle(kept)
        for i in kept[bound:]:
            reasons[i] = "over_limit"


def _views(
    total: int, scores: dict[str, list[float]], rule: KeepRule, by: str, counts: Counter[str]
) -> list[View]:
    kept = total - counts.total()
    views = [funnel(f"Kept by {by}", [("rated", total), ("kept", kept)], counts)]
    if by == "best_of_n" and kept and not counts["not_best_of_prompt"]:
        text = (
            "No prompt has two responses that could be read, so there was nothing to choose from, and "
            "every row that could be read was kept. The judge may only compare responses to one prompt: "
            "draw two or more for each (respond.samples=2), or rate with another judge."
        )
        views.append(alarm("The judge chose nothing", text))
    scores = {name: scores[name] for name in sorted(scores)}
    if any(scores.values()):
        share = ""
        if by == "threshold" and total:
            bound = (
                f"above {rule.above:g}" if rule.at_least is None else f"{rule.at_least:g} or more"
            )
            share = f"High quality (all {bound}): {100 * kept / total:.1f} % of rows."
        views.append(histogram("Scores", scores, x="score", note=share))
    return views
