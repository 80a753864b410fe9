"""Topics by kind, and questions on them: balanced, each round feeding the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from woolgather.core.errors import YieldError
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.curate.response_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyOptions
from woolgather.ops.generate.topics import Questions, Topics, ask_about, brainstorm, read_topics
from woolgather.ops.generate.until_enough import open_ended
from woolgather.ops.principles.files import Kind
from woolgather.prompting.messages import Message

KINDS = (Kind("law", "questions about what is allowed."), Kind("taste", "what is best"))
SAMPLING = Sampling(max_tokens=60)
RULES = InstructionRules(use=("none",))
TOPICS = Topics(sampling=SAMPLING, format="raw", rounds=2)


def engine(answer: Callable[[str], str], seen: list[str] | None = None) -> FakeEngine:
    def reply(prompt: str, _: Sampling) -> str:
        if seen is not None:
            seen.append(prompt)
        return answer(prompt)

    return FakeEngine(answer=reply)


def test_topics_of_a_reply() -> None:
    text = " Sea tides\n2. **Marathon shoes**.\n3) bread\n\n4. a fourth one that was c"
    assert read_topics(Completion(text, "length")) == ["Sea tides", "Marathon shoes", "bread"]
    assert read_topics(Completion("1. Bread", "stop")) == ["Bread"]
    assert read_topics(Completion("", "too_long")) == []


def test_each_round_is_shown_topics_of_the_one_before() -> None:
    seen: list[str] = []
    count = iter(range(1000))

    def answer(prompt: str) -> str:
        names = [f"topic {next(count)}" for _ in range(2)]
        return f"{names[0]}\n9. {names[1]}\n10. far too many words here\n11. {names[0]}"

    rows = list(brainstorm(KINDS, engine(answer, seen), how=TOPICS.model_copy(update={"calls": 2})))
    assert len(seen) == 8
    used = [row for row in rows if row.set_aside is None]
    assert Counter(row.meta["kind"] for row in used) == {"law": 8, "taste": 8}
    assert {row.set_aside for row in rows} == {None, "too_long", "repeated"}
    assert '"law": questions about what is allowed.' in seen[0]
    assert seen[0].rstrip().endswith("1.")
    shown = [
        row.instruction for row in used if row.meta["kind"] == "law" and row.meta["round"] == 0
    ]
    assert all(f". {topic}\n" in seen[4] for topic in shown)
    assert not any(
        f". {row.instruction}\n" in seen[4] for row in used if row.meta["kind"] == "taste"
    )


def test_more_than_asked_for_is_set_aside() -> None:
    how = TOPICS.model_copy(update={"rounds": 1, "per_call": 2})
    rows = list(brainstorm(KINDS[:1], engine(lambda _: "a\n2. b\n4. c"), how=how))
    assert [row.set_aside for row in rows] == [None, None, "over_count"]


def topic(kind: str, name: str) -> Example:
    return Example(id=name, instruction=name, meta={"kind": kind, "about": f"about {kind}"})


def test_kinds_take_turns_and_so_do_topics() -> None:
    topics = [topic("law", "x"), topic("law", "y"), topic("law", "z"), topic("taste", "t")]
    seen: list[str] = []
    made = engine(lambda p: f"What of number {len(seen)} {len(seen) * 7}?\nMore", seen)
    how = Questions(
        n=6, sampling=SAMPLING, format="raw", rules=RULES, novelty=NoveltyOptions(threshold=1)
    )
    rows = list(ask_about(topics, made, how=how))
    assert Counter(row.meta["kind"] for row in rows) == {"law": 3, "taste": 3}
    assert {row.meta["topic"] for row in rows} == {"x", "y", "z", "t"}
    assert rows[0].instruction == "What of number 1 7?"
    assert rows[0].parents == (str(rows[0].meta["topic"]),)
    assert f"Topic: {rows[0].meta['topic']}\nQuestion:" in seen[0]


def test_questions_are_compared_with_all_there_is() -> None:
    held = [Example(instruction="What of the sea and the sky?")]
    with pytest.raises(YieldError, match="not_novel"):
        list(ask_about([topic("law", "x")], engine(lambda _: "What of the sea and the sky?"),
                       how=Questions(n=3, sampling=SAMPLING), avoid=[held]))  # fmt: skip


def test_no_topics_is_said() -> None:
    with pytest.raises(YieldError, match="no topics to ask about"):
        list(ask_about([], FakeEngine(), how=Questions(n=3)))


def test_an_open_end_begins_the_reply_of_a_chat_model() -> None:
    assert open_ended("Write.\n\n1.", "chat") == (
        Message("user", "Write."),
        Message("assistant", "1."),
    )
    assert open_ended("Write.\n\n1.", "raw") == "Write.\n\n1."
