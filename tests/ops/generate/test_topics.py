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


GROWING = TOPICS.model_copy(update={"pool": "growing", "per_call": 2})


def test_in_a_growing_pool_every_topic_is_a_prompt() -> None:
    """One prompt of a kind, two topics, two prompts, four more, six prompts."""
    seen: list[str] = []
    count = iter(range(1000))
    made = engine(lambda _: f"topic {next(count)}\n9. topic {next(count)}", seen)
    rows = list(brainstorm(KINDS, made, how=GROWING.model_copy(update={"rounds": 3})))
    by_round = Counter((row.meta["kind"], row.meta["round"]) for row in rows)
    assert by_round == {(kind.name, r): n for kind in KINDS for r, n in enumerate((2, 4, 12))}
    assert len(seen) == 2 * (1 + 2 + 6)
    third = [prompt for prompt in seen[6:] if '"law"' in prompt]
    for row in rows:
        if row.meta["kind"] == "law" and row.meta["round"] < 2:
            assert any(f". {row.instruction}\n" in prompt for prompt in third)
    assert how_many(GROWING, 3) == (9, 18)


def test_kinds_are_asked_as_often_as_the_one_with_the_fewest_topics() -> None:
    count = iter(range(1000))

    def answer(prompt: str) -> str:
        more = [] if '"law"' in prompt else [f"9. topic {next(count)}"]
        return "\n".join([f"topic {next(count)}", *more])

    seen: list[str] = []
    rows = list(brainstorm(KINDS, engine(answer, seen), how=GROWING))
    assert Counter(row.meta["kind"] for row in rows) == {"law": 2, "taste": 4}
    assert len(seen) == 4
    nothing = list(brainstorm(KINDS, engine(lambda _: "", seen), how=GROWING))
    assert not nothing
    assert len(seen) == 8  # without topics a round asks as the first one does


def test_a_kind_has_at_most_so_many_topics() -> None:
    count = iter(range(1000))
    made = engine(lambda _: f"topic {next(count)}\n9. topic {next(count)}")
    how = GROWING.model_copy(update={"rounds": 9, "limit": 5})
    rows = list(brainstorm(KINDS, made, how=how))
    used = Counter(row.meta["kind"] for row in rows if row.set_aside is None)
    assert used == {"law": 5, "taste": 5}
    assert Counter(row.set_aside for row in rows) == {None: 10, "over_limit": 2}
    assert {row.meta["round"] for row in rows} == {0, 1}
    assert how_many(how, 9) == (1 + 2 + 5 * 7, 5)


def how_many(how: Topics, rounds: int) -> tuple[int, int]:
    """Prompts and topics of a kind, as a plan of both kinds tells them."""
    told = brainstorm.expects(KINDS, FakeEngine(), how=how.model_copy(update={"rounds": rounds}))
    assert told.new_tokens == told.calls * how.sampling.max_tokens
    return told.calls // 2, told.rows // 2


def test_a_plan_of_the_source_s_size_asks_about_enough_topics() -> None:
    """Six rounds of its pool, at most 20 topics a call, one question for each of 99,121 topics."""
    how = Topics(pool="growing", rounds=6, per_call=20, limit=6_000)
    kinds = [Kind(f"kind {i}", "odd") for i in range(20)]
    told = brainstorm.expects(kinds, FakeEngine(), how=how)
    assert told.rows == 120_000
    assert told.calls == 20 * (1 + 20 + 420 + 3 * 6_000)
    questions = Questions(n=99_121, per_topic=1)
    asked = ask_about.expects(range(told.rows), FakeEngine(), how=questions)
    assert (asked.rows, asked.calls) == (99_121, 120_000)
    few = ask_about.expects(range(4_000), FakeEngine(), how=questions)
    assert (few.rows, few.calls) == (4_000, 4_000)


def test_a_topic_is_asked_about_so_often_and_kinds_equally() -> None:
    topics = [topic("law", name) for name in "xyz"] + [topic("taste", name) for name in "tu"]
    seen: list[str] = []
    made = engine(lambda p: f"What of number {len(seen)} {len(seen) * 7}?", seen)
    how = Questions(n=6, per_topic=1, sampling=SAMPLING, format="raw", rules=RULES,
                    novelty=NoveltyOptions(threshold=1))  # fmt: skip
    rows = list(ask_about(topics, made, how=how))
    assert Counter(row.meta["kind"] for row in rows) == {"law": 2, "taste": 2}
    assert len({row.meta["topic"] for row in rows}) == len(seen) == 4
    twice = list(ask_about(topics, made, how=how.model_copy(update={"n": 8, "per_topic": 2})))
    assert set(Counter(row.meta["topic"] for row in twice).values()) == {2}
    with pytest.raises(YieldError, match=r"50 are wanted, and 4 can be asked.*topics\.rounds"):
        list(ask_about(topics, made, how=how.model_copy(update={"n": 50})))


def test_topics_of_the_first_rounds_alone_are_asked_about() -> None:
    topics = [
        Example(instruction=name, meta={"kind": "law", "about": "law", "round": number})
        for number, name in enumerate("xyz")
    ]
    seen: list[str] = []
    made = engine(lambda p: f"What of number {len(seen)} {len(seen) * 7}?", seen)
    how = Questions(n=4, rounds=2, sampling=SAMPLING, format="raw", rules=RULES,
                    novelty=NoveltyOptions(threshold=1))  # fmt: skip
    assert {row.meta["topic"] for row in ask_about(topics, made, how=how)} == {"x", "y"}


def test_no_topics_is_said() -> None:
    with pytest.raises(YieldError, match="no topics to ask about"):
        list(ask_about([], FakeEngine(), how=Questions(n=3)))


def test_an_open_end_begins_the_reply_of_a_chat_model() -> None:
    assert open_ended("Write.\n\n1.", "chat") == (
        Message("user", "Write."),
        Message("assistant", "1."),
    )
    assert open_ended("Write.\n\n1.", "raw") == "Write.\n\n1."
