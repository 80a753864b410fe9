"""Questions that a fixed text model gets wrong, found by kind and topic.

The one idea (topic-guided red-teaming, SELF-ALIGN, arXiv 2305.03047): self-instruct alone writes what
is usual, so the model is first asked for topics of each kind of question, round after round, each
round shown some of those before, and then for a question on each (kind, topic). Every kind is asked
equally often in both steps, so none takes over. Topics may be a growing pool, in which each that is
found is a prompt for more. Kinds are data, a file that users edit.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Container, Generator, Iterable, Sequence, Sized
from typing import Annotated, ClassVar, Literal, NamedTuple

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
    """Prompts per kind of question and round; with a growing pool, those of the first round, and the
    fewest of any other."""
    pool: Literal["even", "growing"] = "even"
    """even: all rounds have the same number of prompts; growing: after the first, a round has a prompt
    for each topic known, which is shown with some others, and as many for each kind as the kind with
    the fewest topics has."""
    limit: int | None = Field(default=None, ge=1)
    """Topics of a kind at most: one that has them is asked no more. None sets no bound, and `plan` then
    tells all that a growing pool could come to."""
    per_call: int = Field(default=10, ge=1)
    """Topics asked for in a prompt."""
    max_words: int = Field(default=3, ge=1)
    """Topics with more words are set aside."""

    added: ClassVar[frozenset[str]] = frozenset({"pool", "limit"})

    def calls_after(self, known: int) -> int:
        """Returns the prompts for a kind in a round before which each kind has `known` topics."""
        return max(self.calls, known) if self.pool == "growing" else self.calls

    def at_most(self) -> tuple[int, int]:
        """Returns how many prompts, and how many topics, a kind can come to in all rounds."""
        asked = known = 0
        for _ in range(self.rounds):
            calls = self.calls_after(known)
            asked, known = asked + calls, known + calls * self.per_call
            known = known if self.limit is None else min(known, self.limit)
        return asked, known


class Questions(Writing):
    """Questions on (kind, topic)."""

    template: Annotated[Template, takes("kind", "about", "topic")] = load("questions")
    """One of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=96)
    n: int = Field(default=4_000, ge=0)
    """Accepted questions; 0 leaves them out."""
    per_topic: int | None = Field(default=None, ge=1)
    """Prompts for each topic at most, of as many topics of each kind as the kind with the fewest has;
    None takes turns until `n` are accepted."""
    rounds: int | None = Field(default=None, ge=1)
    """Topics of the first so many rounds are asked about; None takes those of all."""

    added: ClassVar[frozenset[str]] = frozenset({"per_topic", "rounds"})


def _expect_topics(kinds: Sequence[Kind], engine: Engine, *, how: Topics, **_: object) -> Expected:
    prompts, topics = how.at_most()
    asked = len(kinds) * prompts
    return Expected(
        rows=len(kinds) * topics,
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
    """Yields topics of each kind of question: in each of `how.rounds` every kind is asked equally often
    for `how.per_call`.

    A row's instruction is the topic, its meta has kind, about and round. Reasons: empty, too_long
    (over `how.max_words` words), repeated (within its kind), over_count (more than `how.per_call` in
    one answer), over_limit (its kind has `how.limit`).
    """
    # Lower-cased, in the order of finding, with the topics as they were written.
    known: dict[str, dict[str, str]] = {kind.name: {} for kind in kinds}
    reasons: Counter[str] = Counter()
    total = 0

    def is_full(kind: Kind) -> bool:
        return how.limit is not None and len(known[kind.name]) >= how.limit

    def asked(kind: Kind, before: Sequence[str], number: int, call: int) -> _Asked:
        own = seed_of(seed, number, kind.name, call)
        places = random.Random(own).sample(range(len(before)), min(SHOWN, len(before)))
        if how.pool == "growing" and call < len(before) and call not in places:
            places[0] = call
        return _Asked(kind, [before[place] for place in places], own)

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
        before = {name: list(topics.values()) for name, topics in known.items()}
        calls = range(how.calls_after(min(map(len, before.values()), default=0)))
        open_ = [kind for kind in kinds if not is_full(kind)]
        due = [asked(kind, before[kind.name], number, call) for call in calls for kind in open_]
        replies = ask_rows(due, engine, prompt_of, sampling_of, lambda row: row.seed)
        for (kind, _, _), reply, _ in replies:
            for place, topic in enumerate(read_topics(reply)):
                reason = _topic_fault(topic, known[kind.name], how.max_words)
                reason = "over_count" if place >= how.per_call else reason
                if reason is None and is_full(kind):
                    reason = "over_limit"
                total += 1
                if reason:
                    reasons[reason] += 1
                else:
                    known[kind.name][topic.lower()] = topic
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


def _topic_fault(topic: str, known: Container[str], max_words: int) -> str | None:
    if not topic:
        return "empty"
    if count_words(topic) > max_words:
        return "too_long"
    return "repeated" if topic.lower() in known else None


def _expect_questions(topics: Sized, engine: Engine, *, how: Questions, **_: object) -> Expected:
    most = None if how.per_topic is None else len(topics) * how.per_topic
    return how.expected(how.n, len(how.template.text) // 4 + 20, most)


@op("ask_about", expects=_expect_questions)
def ask_about(
    topics: Iterable[Example],
    engine: Engine,
    *,
    how: Questions = Questions(),  # noqa: B008 - frozen
    seeds: Iterable[Example] = (),
    avoid: Sequence[Iterable[Example]] = (),
    measured: Sequence[Iterable[Example]] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields questions on (kind, topic), one per prompt, until `how.n` are accepted or all prompts
    were asked.

    Kinds take turns, and so do the topics of a kind, in an order that follows from the seed. A row's
    meta has kind, topic, prompt and nearest; reasons are those of `synthesize`. Raises YieldError
    when less than `how.minimum` (a share of n) is accepted, or there are no topics, or too few for
    that with `how.per_topic`.
    """
    hints = _Hints(topics, how, seed)
    if how.n and not hints:
        raise YieldError(
            "questions: there are no topics to ask about. Look at what the step topics set aside, "
            "raise topics.sampling.max_tokens or topics.max_words, or give n=0 questions."
        )
    if hints.prompts is not None and hints.prompts < how.minimum * how.n:
        raise YieldError(
            f"questions: {how.n} are wanted, and {hints.prompts} can be asked: {how.per_topic} for each "
            "topic, of equally many topics of each kind. Look at the table of topics by kind, raise "
            "topics.rounds, topics.limit or questions.per_topic, or lower questions.n."
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

    tally = Tally(how.n, how, "Questions by topic", hints.prompts)
    gate = gate_of(how, seeds, avoid, measured)
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

    def __init__(self, topics: Iterable[Example], how: Questions, seed: int) -> None:
        groups: dict[str, list[Example]] = defaultdict(list)
        for row in topics:
            if how.rounds is None or int(row.meta.get("round", 0)) < how.rounds:
                groups[str(row.meta["kind"])].append(row)
        for name, rows in groups.items():
            random.Random(seed_of(seed, "topics", name)).shuffle(rows)
        self._groups = list(groups.values())
        self.prompts: int | None = None
        """Prompts that there are; None where topics come again and again."""
        if how.per_topic is not None:
            fewest = min(map(len, self._groups), default=0)
            self._groups = [rows[:fewest] for rows in self._groups]
            self.prompts = how.per_topic * fewest * len(self._groups)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def pick(self, index: int) -> Example:
        """Returns the topic of prompt `index`."""
        turn, place = divmod(index, len(self._groups))
        group = self._groups[place]
        return group[turn % len(group)]
