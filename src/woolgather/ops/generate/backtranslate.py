"""Find the instruction that a text answers: by a model that was trained on pairs turned round.

The one idea: one wording for training and asking. `reverse` turns a pair round with the template
that `backtranslate` fills for a text, and neither has a system line of the forward task. What comes
out is a new row whose parent is the text's; it is checked like any new instruction, by rules and by
comparison with everything there is. Whether the pair is good is the curator's matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from itertools import islice
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from woolgather.core.errors import InputError, YieldError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question, set_aside
from woolgather.core.views import View, alarm, funnel
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.instruction_rules import InstructionRules
from woolgather.ops.curate.response_rules import broken_instruction_rule
from woolgather.ops.curate.rouge_l import NoveltyIndex, NoveltyOptions, why_not_novel
from woolgather.ops.text.ask import UNFINISHED, ask_rows
from woolgather.ops.text.words import scripts_of, tokens
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, fill, load, takes
from woolgather.prompting.turns import answer_prompt

ORIGIN = "backtranslated"
TEXT_TOKENS = 350
"""Tokens per filled prompt, for plans."""
BATCH = 64
"""Instructions compared with earlier ones at once."""
COPIED = 8
"""Tokens from which an instruction that stands in its text is a copy of it."""


class Backward(Options):
    """The backward model, and what it is asked."""

    template: Annotated[Template, takes("response")] = load("backtranslate")
    """One of our templates, or the path of a .md file: trained and asked with."""
    min_pairs: int = Field(default=16, ge=1)
    """Fewest seed pairs from which a backward model is trained."""
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=256)
    rules: InstructionRules = InstructionRules()
    """Rules for the instructions that come out."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of instructions that ran into max_tokens."""
    copied: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of instructions that stand in their text word for word."""
    novelty: NoveltyOptions = NoveltyOptions()

    added: ClassVar[frozenset[str]] = frozenset({"unfinished", "copied"})
    # For `reverse`, which is given it by itself; no instruction follows from it.
    execution: ClassVar[frozenset[str]] = frozenset({"min_pairs"})


@op("reverse", expects=lambda pairs, **_: Expected(rows=len(pairs)))
def reverse(
    pairs: Iterable[Example], *, template: Template, min_pairs: int = 16
) -> Generator[Example, None, list[View]]:
    """Yields pairs turned round: asked with the response, answered with instruction and input.

    Raises InputError when there are fewer than `min_pairs` with both.
    """
    found = 0
    for row in pairs:
        if not row.response.strip():
            yield set_aside(row, "empty")
            continue
        found += 1
        yield Example(
            instruction=fill(template, response=row.response.strip()),
            response=question(row),
            parents=(row.id,) if row.id else (),
            meta={"origin": "reversed"},
        )
    if found < min_pairs:
        raise InputError(
            f"seeds: {found} pairs of instruction and response, and a backward model needs at least "
            f"{min_pairs} to learn from. Add pairs (a few hundred are good), leave seeds= out to "
            "take ours, or lower backward.min_pairs."
        )
    return []


def _expect(texts: Sized, engine: Engine, *, how: Backward, **_: object) -> Expected:
    rows = len(texts)
    return Expected(
        rows=rows,
        calls=rows,
        prompt_tokens=rows * TEXT_TOKENS,
        new_tokens=rows * how.sampling.max_tokens,
    )


@op("backtranslate", expects=_expect)
def backtranslate(
    texts: Iterable[Example],
    engine: Engine,
    *,
    how: Backward = Backward(),  # noqa: B008 - frozen
    seeds: Iterable[Example] = (),
    avoid: Sequence[Iterable[Example]] = (),
    measured: Sequence[Iterable[Example]] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields each text with the instruction that the backward model finds, in order of texts.

    The row's response is the text; its meta has origin "backtranslated". Reasons: prompt_too_long,
    engine_error, unfinished (cut at max_tokens), empty, copied (it stands in the text word for
    word), a rule's name, not_novel (of an earlier one, or one in `avoid`), like_measured (of a task in
    `measured`, which models are measured on); unfinished and copied only where `how` sets such aside.
    One that was cut and is kept has meta unfinished. `seeds` say which scripts are at home. Memory
    grows with the index of instructions alone (see rouge_l.py). Raises YieldError when no text is left.
    """
    novelty, scripts = how.novelty, scripts_of(seeds) or None
    compares = novelty.threshold < 1
    index = NoveltyIndex()
    for row in (row for rows in measured for row in rows if compares):
        index.add(novelty.text(row))
    first = len(index)  # what models are measured on is before it
    for row in (row for rows in avoid for row in rows if compares):
        index.add(novelty.text(row))
    reasons: Counter[str] = Counter()
    total = cut = 0
    for batch in _batches(_write_instructions(texts, engine, how, scripts, seed)):
        total += len(batch)
        cut += sum(row.set_aside == UNFINISHED or UNFINISHED in row.meta for row in batch)
        open_ = [i for i, row in enumerate(batch) if compares and row.set_aside is None]
        asked = [novelty.text(batch[i]) for i in open_]
        start = len(index)
        found = index.nearest_of_each(asked, novelty.threshold)
        # `i` counts rows of the batch; `asked` and `found` have the open ones alone.
        for i, text, nearest in zip(open_, asked, found, strict=True):
            nearest = nearest or index.nearest(text, novelty.threshold, since=start)
            if nearest is None:
                index.add(text)
            else:
                batch[i] = set_aside(batch[i], why_not_novel(nearest, first))
        for row in batch:
            if row.set_aside:
                reasons[row.set_aside] += 1
            yield row
    used = total - reasons.total()
    if total and not used:
        why = ", ".join(f"{name} {n}" for name, n in reasons.most_common())
        raise YieldError(
            f"the backward model found a usable instruction for none of {total} texts ({why}). Train "
            "it longer (seed_updates), on more seeds, or from a better base; let it write more "
            "(backward.sampling.max_tokens), or ask less of it (backward.rules.use=[none])."
        )
    stages = [("texts", total), ("with an instruction", used)]
    views = [funnel("Instructions found", stages, dict(reasons.most_common()))]
    if cut > total / 2:
        text = (
            f"{cut} of {total} were cut at {how.sampling.max_tokens} tokens: the "
            "backward model did not learn to stop. Train it longer (seed_updates) or on more seeds."
        )
        views.append(alarm("Most instructions do not end", text))
    return views


def _write_instructions(
    texts: Iterable[Example],
    engine: Engine,
    how: Backward,
    scripts: frozenset[str] | None,
    seed: int,
) -> Iterator[Example]:
    def prompt_of(text: Example) -> Prompt:
        shown = Example(instruction=fill(how.template, response=text.response.strip()))
        return answer_prompt(shown, engine.model.prompt_format)

    for text, completion, reason in ask_rows(texts, engine, prompt_of, how.sampling, seed):
        row = replace(
            text,
            id="",
            instruction=completion.text.strip(),
            parents=(text.id,) if text.id else (),
            verdicts={},
            meta={**text.meta, "origin": ORIGIN},
        )
        if reason == UNFINISHED and how.unfinished == "keep":
            row, reason = replace(row, meta={**row.meta, UNFINISHED: True}), None
        reason = reason or _fault(row, how, scripts)
        yield set_aside(row, reason) if reason else row


def _fault(row: Example, how: Backward, scripts: frozenset[str] | None) -> str | None:
    words = tokens(row.instruction)
    if not words:
        return "empty"
    if how.copied == "set_aside" and _is_copied(words, tokens(row.response)):
        return "copied"
    return broken_instruction_rule(row, how.rules, scripts)


def _is_copied(words: Sequence[str], text: Sequence[str]) -> bool:
    return len(words) >= COPIED and f" {' '.join(words)} " in f" {' '.join(text)} "


def _batches(rows: Iterator[Example]) -> Iterator[list[Example]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
