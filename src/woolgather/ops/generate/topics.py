"""Questions that a fixed text model gets wrong, found by kind and topic.

The one idea (topic-guided red-teaming, SELF-ALIGN, arXiv 2305.03047): self-instruct alone writes what
is usual, so the model is first asked for topics of each kind of question, round after round, each
round shown some of those before, and then for a question on each (kind, topic). Every kind is asked
equally often in both steps, so none takes over. Kinds are data, a file that users edit.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.views import View, funnel, table
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.curate.response_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyIndex, NoveltyOptions
from woolgather.ops.generate.until_enough import Gate, Tally, open_ended, prompt_bound, until_enough
from woolgather.ops.principles.files import Kind
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.ops.text.words import count_words, scripts_of
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, fill

TOPIC_FIELDS = frozenset({"kind", "about", "words", "topics", "next"})
QUESTION_FIELDS = frozenset({"kind", "about", "topic"})
SHOWN = 5
"""Earlier topics in a prompt: enough to steer away from, few enough to leave the model free."""
_NUMBER = re.compile(r"^\s*[*#]*\s*\d{1,3}\s*[.)]\s*", re.M)


def _expect_topics(
    kinds: Sequence[Kind],
    engine: Engine,
    *,
    sampling: Sampling,
    rounds: int = 5,
    calls: int = 1,
    per_call: int = 10,
    **_: Any,
) -> Expected:
    asked = len(kinds) * rounds * calls
    return Expected(
        rows=asked * per_call,
        calls=asked,
        prompt_tokens=asked * 120,
        new_tokens=asked * sampling.max_tokens,
    )


class _Asked(NamedTuple):
    """One prompt for topics."""

    kind: Kind
    shown: list[str]
    """Earlier topics of the kind."""
    seed: int


@op("brainstorm", expects=_expect_topics)
def brainstorm(
    kinds: Sequence[Kind],
    engine: Engine,
    *,
    template: Template,
    sampling: Sampling,
    rounds: int = 5,
    calls: int = 1,
    per_call: int = 10,
    max_words: int = 3,
    format: Literal["raw", "chat"] = "raw",  # noqa: A002
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields topics of each kind of question: in each of `rounds` every kind is asked `calls` times
    for `per_call`.

    A row's instruction is the topic, its meta has kind, about and round. Reasons: empty, too_long
    (over `max_words` words), repeated (within its kind), over_count (more than `per_call` in one
    answer).
    """
    known: dict[str, list[str]] = {kind.name: [] for kind in kinds}
    reasons: Counter[str] = Counter()
    total = 0

    def asked(kind: Kind, number: int, call: int) -> _Asked:
        own, before = seed_of(seed, number, kind.name, call), known[kind.name]
        return _Asked(kind, random.Random(own).sample(before, min(SHOWN, len(before))), own)

    def prompt_of(row: _Asked) -> Prompt:
        text = fill(
            template,
            kind=row.kind.name,
            about=row.kind.text.rstrip("."),
            words=str(max_words),
            topics="\n".join(f"{i}. {topic}" for i, topic in enumerate(row.shown, start=1)),
            next=str(len(row.shown) + 1),
        )
        return open_ended(text, format)

    def sampling_of(row: _Asked) -> Sampling:
        stop = f"\n{len(row.shown) + per_call + 1}."
        return sampling.model_copy(update={"stop": (*sampling.stop, stop)})

    for number in range(rounds):
        # Whole before the first answer: topics of this round are shown in the next.
        due = [asked(kind, number, call) for call in range(calls) for kind in kinds]
        replies = ask_rows(due, engine, prompt_of, sampling_of, lambda row: row.seed)
        for (kind, _, _), reply, _ in replies:
            for place, topic in enumerate(read_topics(reply)):
                reason = _topic_fault(topic, known[kind.name], max_words)
                reason = "over_count" if place >= per_call else reason
                total += 1
                if reason:
                    reasons[reason] += 1
                else:
                    known[kind.name].append(topic)
                yield Example(
                    instruction=topic,
                    set_aside=reason,
                    meta={
                        "origin": "machine",
                        "kind": kind.name,
                        "about": kind.text,
                        "round": number,
                    },
                )
    counts = [[name, len(topics)] for name, topics in known.items()]
    stages = [("written", total), ("new and short", total - reasons.total())]
    return [
        funnel("Topics", stages, dict(reasons.most_common())),
        table("Topics by kind", ["kind", "topics"], counts),
    ]


def read_topics(reply: Completion) -> list[str]:
    """Returns the topics of a list that goes on after a number, without the last of a cut reply."""
    if no_reply(reply):
        return []
    parts = [part.strip() for part in _NUMBER.split(reply.text.strip())]
    parts = [part.splitlines()[0] if part else "" for part in parts]
    if reply.finish_reason == "length":
        parts = parts[:-1]
    if parts and not parts[0]:
        parts = parts[1:]
    return [re.sub(r"^[\W_]+|[\W_]+$", "", part) for part in parts]


def _topic_fault(topic: str, known: Sequence[str], max_words: int) -> str | None:
    if not topic:
        return "empty"
    if count_words(topic) > max_words:
        return "too_long"
    return "repeated" if topic.lower() in (t.lower() for t in known) else None


def _expect_questions(
    topics: Any,
    engine: Engine,
    *,
    n: int,
    template: Template,
    sampling: Sampling,
    max_prompts: int | None = None,
    **_: Any,
) -> Expected:
    calls = prompt_bound(n, max_prompts) if n else 0
    return Expected(
        rows=n,
        calls=calls,
        prompt_tokens=calls * (len(template.text) // 4 + 20),
        new_tokens=calls * sampling.max_tokens,
    )


@op("ask_about", expects=_expect_questions)
def ask_about(
    topics: Iterable[Example],
    engine: Engine,
    *,
    n: int,
    template: Template,
    sampling: Sampling,
    rules: InstructionRules | None = None,
    novelty: NoveltyOptions | None = None,
    seeds: Iterable[Example] = (),
    avoid: Sequence[Iterable[Example]] = (),
    format: Literal["raw", "chat"] = "raw",  # noqa: A002
    wave: int = 32,
    max_prompts: int | None = None,
    minimum: float = 0.1,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields questions on (kind, topic), one per prompt, until `n` are accepted or `max_prompts` asked.

    Kinds take turns, and so do the topics of a kind, in an order that follows from the seed. A row's
    meta has kind, topic, prompt and nearest; reasons are those of `synthesize`. Raises YieldError
    when less than `minimum` (a share of n) is accepted.
    """
    rules, novelty = rules or InstructionRules(), novelty or NoveltyOptions()
    given = list(seeds)
    hints = _Hints(topics, seed)
    if n and not hints:
        raise YieldError(
            "questions: there are no topics to ask about. Look at what the step topics set aside, "
            "raise topics.sampling.max_tokens or topics.max_words, or give n=0 questions."
        )
    known = [row for group in (given, *avoid) for row in group]
    index = NoveltyIndex([novelty.text(row) for row in known])
    scripts = scripts_of(given) or None

    def prompt_of(hint: Example) -> Prompt:
        text = fill(
            template,
            kind=str(hint.meta["kind"]),
            about=str(hint.meta["about"]).rstrip("."),
            topic=hint.instruction,
        )
        return open_ended(text, format)

    return (
        yield from until_enough(
            Tally(n, max_prompts, "Questions by topic"),
            engine,
            hints.pick,
            prompt_of,
            lambda i, hint, reply: [_question(hint, reply, i)],
            Gate(rules, scripts, novelty, index),
            sampling=sampling.model_copy(update={"stop": (*sampling.stop, "\n")}),
            seed=seed,
            wave=wave,
            minimum=minimum,
        )
    )


def _question(hint: Example, reply: Completion, prompt: int) -> Example:
    text = reply.text.strip().strip("*").strip().strip('"')
    problem = "cut" if reply.finish_reason == "length" else None if text else "malformed"
    return Example(
        instruction=text,
        parents=(hint.id,) if hint.id else (),
        set_aside=problem,
        meta={
            "origin": "machine",
            "kind": hint.meta["kind"],
            "topic": hint.instruction,
            "prompt": prompt,
        },
    )


class _Hints:
    """`pick(i)` gives the topic of prompt i: kinds in turn, each kind's topics in turn."""

    def __init__(self, topics: Iterable[Example], seed: int) -> None:
        groups: dict[str, list[Example]] = defaultdict(list)
        for row in topics:
            groups[str(row.meta["kind"])].append(row)
        for name, rows in groups.items():
            random.Random(seed_of(seed, "topics", name)).shuffle(rows)
        self._groups = list(groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    def pick(self, index: int) -> Example:
        turn, place = divmod(index, len(self._groups))
        group = self._groups[place]
        return group[turn % len(group)]
