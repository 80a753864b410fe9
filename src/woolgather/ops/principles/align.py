"""Principle-driven answers: a model thinks aloud by written principles, and answers.

The one idea (SELF-ALIGN, arXiv 2305.03047): the thought is for answering well and for telling which
principles were at work; `prune` takes it away, with the principles and the exemplars, before anything
is trained, so that a model learns to do without them. The prompt is prompt.py's, the reading of replies
is that of replies.py; here it is decided which replies stay, with a reason on the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.core.views import View, alarm, funnel, histogram, table
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.principles.prompt import (
    Guide,
    Reply,
    Replying,
    expect_replies,
    replies,
)
from woolgather.ops.principles.replies import (
    BLOCK_FIELDS,
    CopiedText,
    bare_refusal,
    cut_at_repeat,
    find_principles,
)
from woolgather.ops.text.ask import UNFINISHED, no_reply
from woolgather.ops.text.words import copied_share, count_words, tokens, without_last_word
from woolgather.prompting.templates import Template, load, takes


class ReplyRules(Options):
    """Which principle-driven replies are set aside, besides those without a thought or an answer."""

    min_words: int = Field(default=3, ge=1)
    """`too_short` below this many words of answer."""
    max_leak: float = Field(default=0.3, ge=0, le=1)
    """`exemplar_leak` and `principle_leak` above this share of the answer's five-word runs that stand
    in the exemplars, or in the principles."""
    max_copied: float | None = Field(default=0.8, ge=0, le=1)
    """`copies_prompt` above this share of the answer's four-word runs that stand in the question; an
    answer that is the question always is. None keeps both."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of answers that ran into max_tokens."""


class Aligning(Replying):
    """Answering under the principles."""

    template: Annotated[Template, takes("name", "principles")] = load("align")
    """Who the assistant is: one of our templates, or the path of a .md file."""
    block: Annotated[Template, takes(*BLOCK_FIELDS)] = load("align-block")
    """How a worked question is laid out: one of our templates, or the path of a .md file."""
    exemplars: int | None = Field(default=None, ge=0)
    """Exemplars shown, the first of the file; None shows all. Fewer make a shorter prompt."""
    rules: ReplyRules = ReplyRules()

    # What the guide is made of; `align` is given the guide, and this is its identity.
    execution: ClassVar[frozenset[str]] = frozenset({"template", "block", "exemplars"})


def _expect(tasks: Sized, engine: Engine, *, guide: Guide, how: Aligning, **_: object) -> Expected:
    return replace(expect_replies(guide, how, len(tasks)), rows=len(tasks))


@op("align", expects=_expect)
def align(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    guide: Guide,
    how: Aligning = Aligning(),  # noqa: B008 - frozen
    must_keep: bool = True,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields each task with the answer that the prompted model gives it, its thought in meta.

    Meta: thought, principles (names, in the order in which the thought names them), nudged where the
    answer's label was written for the model, prompt_id. An answer ends before the first clause that
    it says twice and before a turn that the model writes for the user. Reasons: no_thought,
    no_answer, unfinished, exemplar_leak, principle_leak, copies_prompt, bare_refusal, too_short;
    prompt_too_long and engine_error where nothing came back. Raises YieldError, with advice, when
    nothing is left, unless `must_keep` is False.
    """
    tally = _Tally(guide)
    shown = CopiedText(t for e in guide.exemplars for t in (e.thinking, e.answer))
    ruled = CopiedText(f"{p.name}: {p.text}" for p in guide.principles)
    found = replies(tasks, engine, guide, question, how, seed)
    for number, (task, reply) in enumerate(found):
        row = _row(task, reply, number, guide.names)
        cut = cut_at_repeat(row.response)
        if cut != row.response:
            row = replace(row, response=cut, finish_reason="stop")
        reason = _fault(row, reply, how.rules, shown, ruled)
        tally.count(row, reply, reason)
        yield replace(row, set_aside=reason)
    if tally.asked and not tally.kept and must_keep:
        raise YieldError(tally.advice(how.sampling))
    return tally.views(how.sampling)


def _row(task: Example, reply: Reply, number: int, names: Sequence[str]) -> Example:
    meta = {
        **{k: v for k, v in task.meta.items() if k != "check"},
        "origin": "machine",
        "prompt_id": task.id or f"task-{number}",
        "thought": reply.thought,
        "principles": find_principles(reply.thought, names)[0],
    }
    if reply.nudged:
        meta["nudged"] = True
    return Example(
        instruction=task.instruction,
        input=task.input,
        response=(reply.answer or "").strip(),
        finish_reason=None if no_reply(reply.completion) else reply.completion.finish_reason,
        parents=(task.id,) if task.id else (),
        meta=meta,
    )


def _fault(
    row: Example, reply: Reply, rules: ReplyRules, shown: CopiedText, ruled: CopiedText
) -> str | None:
    """Returns the first reason to set the row aside; None when there is none."""
    if missing := no_reply(reply.completion):
        return missing
    if len(tokens(reply.thought)) < 3:
        return "no_thought"
    if not row.response:
        return "no_answer"
    if row.finish_reason == "length" and rules.unfinished == "set_aside":
        return UNFINISHED
    if shown.share(row.response) > rules.max_leak:
        return "exemplar_leak"
    if ruled.share(row.response) > rules.max_leak:
        return "principle_leak"
    if rules.max_copied is not None:
        share = copied_share(row)
        if tokens(row.response) == tokens(question(row)) or (share or 0) > rules.max_copied:
            return "copies_prompt"
    if bare_refusal(row.response):
        return "bare_refusal"
    return "too_short" if count_words(row.response) < rules.min_words else None


class _Tally:
    """Counts what came back so far, and says what that means."""

    def __init__(self, guide: Guide) -> None:
        self.names = guide.names
        self.asked = self.kept = self.nudged = 0
        self.reasons: Counter[str] = Counter()
        self.invoked: Counter[str] = Counter()
        self.invoked_kept: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.many: list[float] = []
        self.lengths: list[float] = []

    def count(self, row: Example, reply: Reply, reason: str | None) -> None:
        self.asked += 1
        self.nudged += reply.nudged
        known, unknown = find_principles(reply.thought, self.names)
        self.invoked.update(known)
        self.unknown.update(unknown)
        self.many.append(len(known))
        if reason:
            self.reasons[reason] += 1
        else:
            self.kept += 1
            self.invoked_kept.update(known)
            self.lengths.append(count_words(row.response))

    def views(self, sampling: Sampling) -> list[View]:
        thought = self.asked - sum(
            self.reasons[r] for r in ("prompt_too_long", "engine_error", "no_thought")
        )
        stages = [
            ("asked", self.asked),
            ("with a thought", thought),
            ("and an answer", thought - self.reasons["no_answer"]),
            ("kept", self.kept),
        ]
        used = [
            [name, self.invoked[name], self.invoked_kept[name], self._share(self.invoked[name])]
            for name in sorted(self.names, key=lambda n: (-self.invoked[n], self.names.index(n)))
        ]
        out = [
            funnel("Principle-driven answers", stages, dict(self.reasons.most_common())),
            table(
                "Principles invoked",
                ["principle", "in thoughts", "of these kept", "% of thoughts"],
                used,
                "Named at the end of a thought; a thought may name several.",
            ),
            histogram(
                "Principles named in a thought",
                {"thoughts": self.many},
                edges=[i - 0.5 for i in range(max(map(int, self.many), default=0) + 2)],
                x="principles",
            ),
            histogram("Length of answers", {"kept": self.lengths}, x="words"),
        ]
        if self.unknown:
            rows = [[name, count] for name, count in self.unknown.most_common(10)]
            out.append(table("Named, and no principle", ["name", "thoughts"], rows))
        if self.asked and not self.invoked:
            text = (
                "No thought names a principle, so rows have no tags and adherence to none is seen."
            )
            out.append(alarm("No principle named", text))
        if 2 * self.nudged > self.asked:
            text = (
                f"{self.nudged} of {self.asked} replies had no label where the answer begins; it was "
                "written for the model. Raise align.sampling.max_tokens if thoughts are cut."
            )
            out.append(alarm("Answers asked for twice", text, "note"))
        if self.reasons[UNFINISHED] * 2 > self.asked:
            text = (
                f"{self.reasons[UNFINISHED]} of {self.asked} were cut at {sampling.max_tokens} "
                "tokens. Raise align.sampling.max_tokens."
            )
            out.append(alarm("Most answers do not end", text))
        return out

    def _share(self, count: int) -> float:
        return round(100 * count / self.asked, 1) if self.asked else 0.0

    def advice(self, sampling: Sampling) -> str:
        remedies = {
            "prompt_too_long": "the prompt does not fit the model's context: show fewer exemplars "
            "(align.exemplars) or write shorter principles",
            "no_thought": "the model does not keep to the form: show more exemplars "
            "(align.exemplars), or set base_format",
            "no_answer": "thoughts have no answer: raise align.sampling.max_tokens, or set "
            "align.nudge=true",
            "unfinished": f"answers end at {sampling.max_tokens} tokens: raise "
            "align.sampling.max_tokens, or keep them with align.rules.unfinished=keep",
            "exemplar_leak": "the model copies the exemplars: show other ones, raise "
            "align.sampling.temperature, or raise align.rules.max_leak",
            "engine_error": "the engine failed on requests: see its log",
        }
        most = ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common(4))
        first = self.reasons.most_common(1)[0][0]
        remedy = remedies.get(first, f"see what {first} took (woolgather show --set-aside)")
        return f"align: none of {self.asked} replies can be used ({most}). Remedy: {remedy}."


PRUNED_META = ("origin", "prompt_id", "category", "kind", "topic", "principles")
"""What a pruned row keeps of its meta: tags, no text that a prompt or a thought had."""


@op("prune")
def prune(rows: Iterable[Example]) -> Iterator[Example]:
    """Yields question and answer alone: no system turn, no thought. Only such rows are trained on. An
    answer that was cut at the length limit loses its last word, which may be half of one."""
    for row in rows:
        cut = row.finish_reason == "length"
        yield Example(
            instruction=row.instruction,
            input=row.input,
            response=without_last_word(row.response) if cut else row.response,
            finish_reason=row.finish_reason,
            parents=(row.id,) if row.id else (),
            meta={k: row.meta[k] for k in PRUNED_META if k in row.meta},
        )
