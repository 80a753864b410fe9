"""Real and generated answers become pairs; what would tell them apart beside the text is set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example, PreferencePair
from woolgather.ops.curate.pair import PairOptions, TokenLimits, pair, real_rows, real_sides
from woolgather.ops.train.dpo import pair_encoder

FAKE = Model("fake", fingerprint="fake")


def row(n: int, response: str = "a real answer", **more: Any) -> Example:
    return Example(id=f"r{n}", instruction=f"task {n}", response=response, **more)


def said(n: int, text: str, finish: str | None = "stop") -> Example:
    return Example(
        id=f"g{n}",
        instruction=f"task {n}",
        response=text,
        finish_reason=finish,
        parents=(f"r{n}",),
    )


def paired(real: list[Example], generated: list[Example], **more: Any) -> tuple[list[Any], Any]:
    return finished(pair(real, generated, start=FAKE, **{"max_length": 50, **more}))


def chosen(rows: list[Example], answer: int = 6, **more: Any) -> tuple[list[Any], Any]:
    limits = TokenLimits(answer=answer, row=50, prompt=10)
    return finished(real_rows(rows, start=FAKE, limits=limits, **more))


def finished(generator: Any) -> tuple[list[Any], Any]:
    """What a generator yields, and its views."""
    rows = []
    while True:
        try:
            rows.append(next(generator))
        except StopIteration as stop:
            return rows, stop.value


def test_a_pair_names_both_its_parents_and_keeps_what_the_task_had() -> None:
    real = [row(1, " real \n", input="stuff", system="be brief", meta={"category": "x"})]
    [made], views = paired(real, [said(1, "other")])
    assert made == PreferencePair(
        instruction="task 1\n\nstuff",
        system="be brief",
        chosen="real",
        rejected="other",
        parents=("r1", "g1"),
        meta={"category": "x"},
    )
    assert [v.kind for v in views] == ["funnel", "histogram"]
    assert views[0].data["stages"] == [["real answers", 1], ["pairs", 1]]


def test_a_pair_says_which_side_was_cut() -> None:
    real = [row(1, finish_reason="length"), row(2), row(3)]
    generated = [said(1, "so it"), said(2, "and then", "length"), said(3, "done")]
    made, _ = paired(real, generated, options=PairOptions(unfinished="keep"))
    assert [pair_.meta for pair_ in made] == [
        {"finish_reasons": {"chosen": "length"}},
        {"finish_reasons": {"rejected": "length"}},
        {},
    ]
    sides = list(real_sides([made]))
    assert [side.finish_reason for side in sides] == ["length", None, None]
    assert {str(side.meta) for side in sides} == {"{}"}
    ends = [[side[-1] for side in pair_encoder(FAKE)(pair_)[1:]] for pair_ in made]
    assert [[end == 0 for end in both] for both in ends] == [
        [False, True], [True, False], [True, True],
    ]  # fmt: skip


def test_what_makes_no_pair_keeps_its_reason() -> None:
    real = [row(n) for n in range(6)]
    generated = [
        said(0, "fine"),
        said(1, "cut", "length"),
        said(2, "  "),
        said(3, "a real answer\n"),
        said(4, "word " * 60),
    ]
    rows, views = paired(real, generated)
    assert [r.set_aside for r in rows] == [
        None, "unfinished", "empty", "identical", "too_long", "unanswered",
    ]  # fmt: skip
    assert sum(views[0].data["reasons"].values()) == 5
    kept, _ = paired(real[1:2], generated[1:2], options=PairOptions(unfinished="keep"))
    assert kept[0].set_aside is None


def test_answers_from_a_file_are_found_by_their_question() -> None:
    """Each once, in order: the same question may be asked twice."""
    real = [row(1), replace(row(1, "another real one"), id="r9"), row(2)]
    generated = [replace(said(n, t, None), parents=()) for n, t in ((2, "c"), (1, "a"), (1, "b"))]
    rows, _ = paired(real, generated)
    assert [r.rejected for r in rows] == ["a", "b", "c"]


def test_most_unfinished_is_an_alarm() -> None:
    _, views = paired([row(1), row(2)], [said(1, "a", "length"), said(2, "b", "length")])
    assert [v.kind for v in views] == ["funnel", "histogram", "alarm"]
    assert "respond.sampling.max_tokens" in views[-1].data["text"]


def test_real_answers_have_the_budget_of_generated_ones() -> None:
    """Six tokens hold five words and the end token."""
    rows = [row(1, "one two three four five"), row(2, "one two three four five six"), row(3, " ")]
    reasons = [r.set_aside for r in chosen(rows)[0]]
    assert reasons == [None, "over_budget", "empty"]
    free = PairOptions(equal_budgets=False)
    assert [r.set_aside for r in chosen(rows, options=free)[0]] == [None, None, "empty"]


def test_long_rows_are_set_aside_before_anything_is_generated() -> None:
    long = Example(id="p", instruction="word " * 20, response="short")
    rows, views = chosen([long, row(1, "word " * 60), row(2)], answer=100)
    assert [r.set_aside for r in rows] == ["prompt_too_long", "too_long", None]
    assert views[0].data["stages"] == [["given", 3], ["used", 1]]


def test_a_bound_on_prompts_draws_at_random_and_keeps_the_order() -> None:
    rows = [row(n) for n in range(30)]
    options = PairOptions(max_prompts=5)
    kept = [r.id for r in chosen(rows, options=options, seed=1)[0] if r.set_aside is None]
    again = [r.id for r in chosen(rows, options=options, seed=1)[0] if r.set_aside is None]
    other = [r.id for r in chosen(rows, options=options, seed=2)[0] if r.set_aside is None]
    assert len(kept) == 5
    assert kept == again != other
    assert kept == [r.id for r in rows if r.id in kept]


def test_the_real_sides_are_rows_again_each_once() -> None:
    one = PreferencePair(id="a", instruction="Q", chosen="A", rejected="B", system="S")
    rows = list(real_sides([[one], [replace(one, id="b", rejected="C"), replace(one, chosen="D")]]))
    assert [(r.instruction, r.response, r.system, r.parents) for r in rows] == [
        ("Q", "A", "S", ("a",)),
        ("Q", "D", "S", ("a",)),
    ]


def test_both_sides_are_rendered_as_generation_asked_and_end_once(tiny_model: Any) -> None:
    from woolgather.prompting.messages import Message
    from woolgather.prompting.renderer import Renderer

    start = Model(str(tiny_model))
    made = PreferencePair(instruction="say", chosen="the fox", rejected="a dog", system="be brief")
    prompt, good, bad = pair_encoder(start)(made)
    renderer = Renderer(tiny_model)
    turns = (Message("system", "be brief"), Message("user", "say"))
    assert prompt == renderer.prompt_ids(turns)
    assert renderer.tokenizer.decode(good) == "the fox<|im_end|>"
    assert renderer.tokenizer.decode(bad) == "a dog<|im_end|>"


def test_the_plan_counts_rows() -> None:
    rows = [row(n) for n in range(9)]
    how = {"start": FAKE, "budget": 6, "max_length": 50, "max_prompt_length": 10}
    assert real_rows.expects(rows, options=PairOptions(), **how).rows == 9
    assert real_rows.expects(rows, options=PairOptions(max_prompts=4), **how).rows == 4
    assert pair.expects(rows, [], start=FAKE, max_length=9).rows == 9
