"""Principle-driven answers: one shared beginning, replies read, reasons, tags, and pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import YieldError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.curate.mix import RowLimits, mix
from woolgather.ops.principles.align import Aligning, ReplyRules, align, prune
from woolgather.ops.principles.files import builtin, read_exemplars, read_principles
from woolgather.ops.principles.prompt import Guide
from woolgather.ops.principles.replies import CopiedText
from woolgather.ops.train.sft import encode
from woolgather.prompting.messages import Message
from woolgather.prompting.templates import load

PRINCIPLES = read_principles(builtin("principles", "v2"))
GUIDE = Guide(
    load("align"),
    load("align-block"),
    PRINCIPLES,
    read_exemplars(builtin("exemplars", "v2"), PRINCIPLES),
    "Woolly",
)
ANSWER = "Copper kettles boil water quickly because the metal carries heat so well."
GOOD = f"I am asked about kettles. Principles: candor, static.\n\n### Answer\n{ANSWER}"
TASKS = [
    Example(id=f"t{i}", instruction=f"Why is kettle {i} fast?", meta={"check": {"a": 1}})
    for i in range(4)
]
HOW = Aligning(sampling=Sampling(max_tokens=90))


def engine(answer: Callable[[str], str], form: str = "chat") -> FakeEngine:
    return FakeEngine(answer=lambda p, _: answer(p), model=replace(FAKE_MODEL, prompt_format=form))  # type: ignore[arg-type]


def aligned(reply: str, rules: ReplyRules = HOW.rules) -> list[Example]:
    how = HOW.model_copy(update={"nudge": False, "rules": rules})
    return list(align(TASKS[:1], engine(lambda _: reply), guide=GUIDE, how=how, must_keep=False))


def test_a_reply_becomes_a_row_with_its_tags() -> None:
    row = aligned(GOOD)[0]
    assert (row.response, row.set_aside, row.parents) == (ANSWER, None, ("t0",))
    assert row.meta["principles"] == ["candor", "static"]
    assert row.meta["thought"] == "I am asked about kettles. Principles: candor, static."
    assert row.meta["origin"] == "machine"
    assert "check" not in row.meta


def test_raw_prompts_share_their_beginning_to_the_letter() -> None:
    one, two = (str(GUIDE.prompt(q, "raw")) for q in ("Why?", "How much?"))
    shared = one[: next(i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)]
    assert shared.endswith("### Question\n")
    assert all(p.text in shared for p in PRINCIPLES)
    assert all(e.answer in shared and e.thinking in shared for e in GUIDE.exemplars)
    assert one == shared + "Why?\n\n### Thought\n"
    assert str(GUIDE.prompt("Why?", "raw", "Hm.")) == one + "Hm.\n\n### Answer\n"


def test_chat_prompts_are_turns_with_the_thought_begun() -> None:
    prompt = GUIDE.prompt("Why?", "chat")
    assert isinstance(prompt, tuple)
    assert [m.role for m in prompt] == ["system", *["user", "assistant"] * 7]
    assert "You are Woolly" in prompt[0].content
    assert prompt[-2:] == (Message("user", "Why?"), Message("assistant", "### Thought\n"))
    assert prompt[2].content.startswith("### Thought\nI am asked")
    again = GUIDE.prompt("Why?", "chat", "Hm.")
    assert again[-1] == Message("assistant", "### Thought\nHm.\n\n### Answer\n")


def test_the_demo_s_prompt_is_short() -> None:
    assert replace(GUIDE, exemplars=GUIDE.exemplars[:3]).prompt_tokens < 1_200


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("### Answer\n" + ANSWER, "no_thought"),
        ("I am asked about kettles.", "no_answer"),
        ("I am asked about kettles.\n### Answer\n", "no_answer"),
        (f"I am asked of rice.\n### Answer\n{GUIDE.exemplars[0].answer}", "exemplar_leak"),
        (f"I am asked of rules.\n### Answer\n{PRINCIPLES[8].text}", "principle_leak"),
        ("I am asked why.\n### Answer\nWhy is kettle 0 fast?", "copies_prompt"),
        ("I am asked why.\n### Answer\nSorry, I cannot say.", "bare_refusal"),
        ("I am asked why.\n### Answer\nHeat.", "too_short"),
        ("I am asked why.\n### Answer\n" + "far and wide " * 40, "unfinished"),
    ],
)
def test_what_is_wrong_has_a_name(reply: str, reason: str) -> None:
    assert aligned(reply)[0].set_aside == reason


def test_options_let_some_of_it_pass() -> None:
    leak = f"I am asked of rice.\n### Answer\n{GUIDE.exemplars[0].answer}"
    assert aligned(leak, rules=ReplyRules(max_leak=1))[0].set_aside is None
    copy = "I am asked why.\n### Answer\nWhy is kettle 0 fast?"
    assert aligned(copy, rules=ReplyRules(max_copied=None))[0].set_aside is None
    cut = "I am asked why.\n### Answer\n" + " ".join(f"w{i}" for i in range(120))
    assert aligned(cut, rules=ReplyRules(unfinished="keep"))[0].finish_reason == "length"


def test_a_loop_is_cut_and_then_ends_by_itself() -> None:
    row = aligned(f"I am asked why.\n### Answer\n{ANSWER} " + f"{ANSWER} " * 9)[0]
    assert (row.response, row.finish_reason, row.set_aside) == (ANSWER, "stop", None)


def test_a_thought_without_an_answer_is_asked_to_go_on() -> None:
    seen: list[str] = []

    def answer(prompt: str) -> str:
        seen.append(prompt)
        return ANSWER if prompt.endswith("### Answer\n") else "I think. Principles: candor.\n\nSo:"

    rows = list(align(TASKS, engine(answer, "raw"), guide=GUIDE, how=HOW))
    assert [row.response for row in rows] == [ANSWER] * 4
    assert all(row.meta["nudged"] and row.meta["principles"] == ["candor"] for row in rows)
    assert len(seen) == 8
    assert seen[4] == seen[0] + "I think. Principles: candor.\n\n### Answer\n"


def test_a_thought_that_goes_round_is_cut_before_it_goes_on() -> None:
    def answer(prompt: str) -> str:
        if prompt.endswith("### Answer\n"):
            assert prompt.count("They ask why it boils fast.") == 1
            return ANSWER
        return "They ask why it boils fast. " * 9

    rows = list(align(TASKS, engine(answer, "raw"), guide=GUIDE, how=HOW))
    assert [row.response for row in rows] == [ANSWER] * 4


def test_what_does_not_come_back_has_a_name_too() -> None:
    class Full(FakeEngine):
        def complete(self, requests):  # type: ignore[no-untyped-def]
            for i, _ in enumerate(requests):
                yield i, Completion("", "too_long")

    rows = list(align(TASKS, Full(), guide=GUIDE, how=HOW, must_keep=False))
    assert {row.set_aside for row in rows} == {"prompt_too_long"}
    with pytest.raises(YieldError, match=r"none of 4 .*prompt_too_long 4.*align\.exemplars"):
        list(align(TASKS, Full(), guide=GUIDE, how=HOW))


def test_the_step_shows_how_often_each_principle_is_invoked() -> None:
    made = align(TASKS, engine(lambda _: GOOD), guide=GUIDE, how=HOW)
    views = []
    try:
        while True:
            next(made)
    except StopIteration as stop:
        views = stop.value
    used = next(v for v in views if v.title == "Principles invoked")
    assert used.data["rows"][:3] == [
        ["candor", 4, 4, 100.0], ["static", 4, 4, 100.0], ["ethical", 0, 0, 0.0],
    ]  # fmt: skip
    assert len(used.data["rows"]) == 17


def test_an_edited_principle_is_another_step() -> None:
    other = replace(GUIDE, principles=(replace(PRINCIPLES[0], text="Be good."), *PRINCIPLES[1:]))
    assert canonical(other) != canonical(GUIDE)
    assert canonical(replace(GUIDE)) == canonical(GUIDE)


def test_pruned_rows_are_questions_and_answers() -> None:
    row = next(iter(prune(aligned(GOOD))))
    assert (row.instruction, row.response, row.system) == ("Why is kettle 0 fast?", ANSWER, "")
    assert row.meta["principles"] == ["candor", "static"]
    assert "thought" not in row.meta
    long = next(iter(prune([Example(id="x", instruction="q", response="a", system="Be long.")])))
    assert (long.system, long.parents) == ("", ("x",))


def test_a_pruned_answer_that_was_cut_loses_its_last_word() -> None:
    def pruned(text: str, ended: str) -> Example:
        return next(iter(prune([Example(instruction="q", response=text, finish_reason=ended)])))

    row = pruned("It boils, and also by the evapor", "length")
    assert (row.response, row.finish_reason) == ("It boils, and also by the", "length")
    assert pruned("It boils, and also by the sea", "stop").response.endswith("sea")
    assert pruned("水沸腾因为" * 20, "length").response == "水沸腾因为" * 20


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_training_text_holds_nothing_of_the_prompt(tiny_model: Path, form: str) -> None:
    """Rendered as it is trained on: no principle, no exemplar, no thought, no label."""
    from woolgather.prompting.renderer import Renderer

    rows = align(TASKS, engine(lambda _: GOOD, form), guide=GUIDE, how=HOW)
    base = Model(str(tiny_model))
    mixed = [
        row
        for row in mix([prune(rows)], [], base=base, limits=RowLimits(max_length=500))
        if row.set_aside is None
    ]
    assert len(mixed) == 4
    source = CopiedText(
        [*(p.text for p in PRINCIPLES), GUIDE.opening]
        + [t for e in GUIDE.exemplars for t in (e.question, e.thinking, e.answer)]
    )
    for ids, _ in encode(mixed, base):
        text = Renderer(base.path).decode(ids)
        assert ANSWER in text
        assert source.share(text) == 0
        for word in ("Principles", "candor", "I am asked", "### ", "Thought", "Woolly"):
            assert word not in text
