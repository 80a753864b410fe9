"""Real answers, beside those that a model gave to the same prompts, as preference pairs.

The one idea: only what was written may tell the two sides apart. SPIN (arXiv 2401.01335) compared
real answers of up to 1024 tokens with generated ones cut at 256, so length and a forced end gave
each pair away. Here both sides have one budget, an unfinished answer makes no pair, and neither do
empty or identical ones; each keeps its reason.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Model
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example, PreferencePair, question, set_aside
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.ops.text.words import count_words
from woolgather.ops.train.dpo import pair_encoder, sides_of
from woolgather.ops.train.sft import IGNORE, encoder


class PairOptions(Options):
    """What makes a pair."""

    equal_budgets: bool = True
    """Real answers that do not fit into what may be generated are set aside; otherwise length alone
    tells the sides apart."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of generated answers that ran into their limit."""
    max_prompts: int | None = Field(default=None, ge=1)
    """A random choice of this many real answers when there are more; None uses all."""


class TokenLimits(Options):
    """What generating and training hold, in tokens."""

    answer: int
    """What may be generated: a real answer with its end token, where the budgets are equal."""
    row: int
    """A prompt with its answer."""
    prompt: int
    """A prompt alone."""


def _expect_at_most(rows: Iterable[Example], *, options: PairOptions, **_: object) -> Expected:
    count = len(rows) if isinstance(rows, Sized) else 0
    return Expected(rows=min(count, options.max_prompts or count))


@op("real_rows", expects=_expect_at_most)
def real_rows(
    rows: Iterable[Example],
    *,
    start: Model,
    limits: TokenLimits,
    options: PairOptions = PairOptions(),  # noqa: B008 - frozen
    seed: int = 0,
    date: str = "",
) -> Generator[Example, None, list[View]]:
    """Yields the rows in their order, those set aside whose answers cannot be one side of a pair.

    Reasons, known before anything is generated: empty, prompt_too_long, too_long and over_budget (more
    tokens of `start` than `limits` gives the prompt, the row or the answer), over_max_prompts (a
    random choice).
    """
    encode = encoder(start, date)
    found: list[tuple[Example, str | None]] = []
    for row in rows:
        ids, labels = encode(row)
        prompt = labels.count(IGNORE)
        reason = None
        if not row.instruction.strip() or not row.response.strip():
            reason = "empty"
        elif prompt > limits.prompt:
            reason = "prompt_too_long"
        elif len(ids) > limits.row:
            reason = "too_long"
        elif options.equal_budgets and len(ids) - prompt > limits.answer:
            reason = "over_budget"
        found.append((row, reason))
    usable = [i for i, (_, reason) in enumerate(found) if reason is None]
    if options.max_prompts is not None and len(usable) > options.max_prompts:
        random.Random(seed).shuffle(usable)
        for i in usable[options.max_prompts :]:
            found[i] = (found[i][0], "over_max_prompts")
    reasons = Counter(reason for _, reason in found if reason)
    for row, reason in found:
        yield set_aside(row, reason) if reason else row
    used = len(found) - reasons.total()
    return [funnel("Real answers", [("given", len(found)), ("used", used)], reasons)]


def _expect_pairs(real: Iterable[Example], generated: object, **_: object) -> Expected:
    return Expected(rows=len(real) if isinstance(real, Sized) else 0)


@op("pair", expects=_expect_pairs)
def pair(
    real: Iterable[Example],
    generated: Iterable[Example],
    *,
    start: Model,
    max_length: int,
    options: PairOptions = PairOptions(),  # noqa: B008 - frozen
    date: str = "",
) -> Generator[PreferencePair, None, list[View]]:
    """Yields a pair for each real answer, that answer chosen and the generated one rejected.

    A generated answer belongs to the row it names as its parent, else to one with the same question. Set
    aside: unanswered, unfinished, empty, identical, too_long (either side with the prompt, in
    tokens of `start`). Space around an answer is no part of it.
    """
    by_parent: dict[str, deque[Example]] = {}
    by_text: dict[tuple[str, str], deque[Example]] = {}
    for answer in generated:
        if answer.parents:
            by_parent.setdefault(answer.parents[0], deque()).append(answer)
        else:
            by_text.setdefault(_question(answer), deque()).append(answer)
    encode = pair_encoder(start, date)
    reasons: Counter[str] = Counter()
    lengths: dict[str, list[float]] = {"real": [], "generated": []}
    total = 0
    for row in real:
        total += 1
        waiting = by_parent.get(row.id) or by_text.get(_question(row))
        given = waiting.popleft() if waiting else None
        made = PreferencePair(
            instruction=question(row),
            system=row.system,
            chosen=row.response.strip(),
            rejected=given.response.strip() if given else "",
            parents=tuple(filter(None, (row.id, given.id if given else ""))),
            meta={**row.meta, **_note_cuts(row, given)},
        )
        reason = "unanswered" if given is None else _problem(made, given, options)
        if reason is None:
            prompt, *sides = encode(made)
            reason = "too_long" if len(prompt) + max(map(len, sides)) > max_length else None
        if reason:
            reasons[reason] += 1
            yield set_aside(made, reason)
            continue
        lengths["real"].append(count_words(made.chosen))
        lengths["generated"].append(count_words(made.rejected))
        yield made
    views = [
        funnel("Pairs", [("real answers", total), ("pairs", total - reasons.total())], reasons),
        histogram("Length of both sides", lengths, x="words"),
    ]
    if reasons["unfinished"] > total / 2:
        text = (
            f"{reasons['unfinished']} of {total} generated answers ran into their limit and make no "
            "pair. Raise respond.sampling.max_tokens."
        )
        views.append(alarm("Most answers do not end", text))
    return views


def _note_cuts(real: Example, given: Example | None) -> dict[str, JSON]:
    """Returns meta that says which sides were cut at the length limit; nothing where none was."""
    sides = {"chosen": real, "rejected": given}
    cut = {side: "length" for side, row in sides.items() if row and row.finish_reason == "length"}
    return {"finish_reasons": cut} if cut else {}


def _problem(made: PreferencePair, given: Example, options: PairOptions) -> str | None:
    if given.finish_reason == "length" and options.unfinished == "set_aside":
        return "unfinished"
    if not made.chosen or not made.rejected:
        return "empty"
    return "identical" if made.chosen == made.rejected else None


def _all(pairs: Sequence[Sized], **_: object) -> Expected:
    return Expected(rows=max(map(len, pairs), default=0))


@op("real_sides", expects=_all)
def real_sides(pairs: Sequence[Iterable[PreferencePair]]) -> Iterator[Example]:
    """Yields the chosen answers of `pairs` as rows of their own, each once; controls train on them."""
    seen: set[tuple[str, str, str]] = set()
    for pair_ in (p for source in pairs for p in source):
        key = (pair_.system, pair_.instruction, pair_.chosen)
        if key not in seen:
            seen.add(key)
            yield replace(
                sides_of(pair_)[0],
                parents=(pair_.id,) if pair_.id else (),
                meta={k: v for k, v in pair_.meta.items() if k != "finish_reasons"},
            )


def _question(row: Example) -> tuple[str, str]:
    return row.system, question(row)
