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
from typing import Annotated, NamedTuple

from pydantic import Field

from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.views import View, funnel, table
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.generate.until_enough import (
    Exchange,
    OpenPrompt,
    Tally,
    Writing,
    gate_of,
    until_enough,
)
from woolgather.ops.principles.files import Kind
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.ops.text.words import count_words
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, load, takes

SHOWN = 5
"""Earlier topics in a prompt: enough to steer away from, few enough to leave the model free."""
_NUMBER = re.compile(r"^\s*[*#]*\s*\d{1,3}\s*[.)]\s*", re.M)


class Topics(OpenPrompt):
    """Topics of each kind of question."""

    template: Annotated[Template, takes("kind", "about", "words", "topics", "next")] = load(
        "topics"
    )
    """One of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=96)
    rounds: int = Field(default=5, ge=1)
    """Rounds of questions to the model; each shows it some topics of the rounds before."""
    calls: int = Field(default=1, ge=1)
    """Prompts per kind of question and round."""
    per_call: int = Field(default=10, ge=1)
    """Topics asked for in a prompt."""
    max_words: int = Field(default=3, ge=1)
    """Topics with more words are set aside."""


class Questions(Writing):
    """Questions on (kind, topic)."""

    template: Annotated[Template, takes("kind", "about", "topic")] = load("questions")
    """One of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=96)
    n: int = Field(default=4_000, ge=0)
    """Accepted questions; 0 leaves them out."""


def _expect_topics(kinds: Sequence[Kind], engine: Engine, *, how: Topics, **_: object) -> Expected:
    asked = len(kinds) * how.rounds * how.calls
    return Expected(
        rows=asked * how.per_call,
        calls=asked,
        prompt_tokens=asked * 120,
        new_tokens=asked * how.sampling.max_tokens,
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
    how: Topics = Topics(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields topics of each kind of question: in each of `how.rounds` every kind is asked `how.calls`
    times for `how.per_call`.

    A row's instruction is the topic, its meta has kind, about and round. Reasons: empty, too_long
    (over `how.max_words` words), repeated (within its kind), over_count (more than `how.per_call` in
    one answer).
    """
    known: dict[str, list[str]] = {kind.name: [] for kind in kinds}
    reasons: Counter[str] = Counter()
    total = 0

    def asked(kind: Kind, number: int, call: int) -> _Asked:
        own, before = seed_of(seed, number, kind.name, call), known[kind.name]
        return _Asked(kind, random.Random(own).sample(before, min(SHOWN, len(before))), own)

    def prompt_of(row: _Asked) -> Prompt:
        return how.prompt(
            engine,
            kind=row.kind.name,
            about=row.kind.text.rstrip("."),
            words=str(how.max_words),
            topics="\n".join(f"{i}. {topic}" for i, topic in enumerate(row.shown, start=1)),
            next=str(len(row.shown) + 1),
        )

    def sampling_of(row: _Asked) -> Sampling:
        return how.stopping_at(f"\n{len(row.shown) + how.per_call + 1}.")

    for number in range(how.rounds):
        # Whole before the first answer: topics of this round are shown in the next.
        due = [asked(kind, number, call) for call in range(how.calls) for kind in kinds]
        replies = ask_rows(due, engine, prompt_of, sampling_of, lambda row: row.seed)
        for (kind, _, _), reply, _ in replies:
            for place, topic in enumerate(read_topics(reply)):
                reason = _topic_fault(topic, known[kind.name], how.max_words)
                reason = "over_count" if place >= how.per_call else reason
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


def _expect_questions(topics: object, engine: Engine, *, how: Questions, **_: object) -> Expected:
    return how.expected(how.n, len(how.template.text) // 4 + 20)


@op("ask_about", expects=_expect_questions)
def ask_about(
    topics: Iterable[Example],
    engine: Engine,
    *,
    how: Questions = Questions(),  # noqa: B008 - frozen
    seeds: Iterable[Example] = (),
    avoid: Sequence[Iterable[Example]] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields questions on (kind, topic), one per prompt, until `how.n` are accepted or all prompts
    were asked.

    Kinds take turns, and so do the topics of a kind, in an order that follows from the seed. A row's
    meta has kind, topic, prompt and nearest; reasons are those of `synthesize`. Raises YieldError
    when less than `how.minimum` (a share of n) is accepted, or there are no topics.
    """
    hints = _Hints(topics, seed)
    if how.n and not hints:
        raise YieldError(
            "questions: there are no topics to ask about. Look at what the step topics set aside, "
            "raise topics.sampling.max_tokens or topics.max_words, or give n=0 questions."
        )

    def exchange(prompt: int) -> Exchange:
        hint = hints.pick(prompt)
        text = how.prompt(
            engine,
            kind=str(hint.meta["kind"]),
            about=str(hint.meta["about"]).rstrip("."),
            topic=hint.instruction,
        )
        return Exchange(text, lambda reply: [_question(hint, reply, prompt)])

    tally, gate = Tally(how.n, how, "Questions by topic"), gate_of(how, seeds, avoid)
    return (yield from until_enough(tally, engine, exchange, gate, how.stopping_at("\n"), seed))


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
    """The topic of each prompt: kinds in turn, each kind's topics in turn."""

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
        """Returns the topic of prompt `index`."""
        turn, place = divmod(index, len(self._groups))
        group = self._groups[place]
        return group[turn % len(group)]
