"""Pairs turned round, and instructions found for texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from woolgather.core.errors import InputError, YieldError
from woolgather.core.rows import Example
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.curate.instruction_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyOptions
from woolgather.ops.generate.backtranslate import Backward, backtranslate, reverse
from woolgather.prompting.templates import Template
from woolgather.prompting.turns import messages_of

HOW = Backward(sampling=Sampling(max_tokens=40))
WORDING = HOW.template
ASKED = [
    "Explain why a kettle sings before it boils.",
    "How can a squeaking chain be cured?",
    "Describe the old lighthouse at low tide.",
]

LONG = "Name " + " ".join(f"thing{i}" for i in range(60))


def text(i: int) -> Example:
    return Example(
        id=f"t{i}",
        instruction="",
        response=f"Text number {i} tells what there is to know of thing {i}.",
        meta={"origin": "text", "source": f"{i}.txt"},
    )


def found(
    engine: FakeEngine, texts: int = 3, how: Backward = HOW, avoid: Sequence[list[Example]] = ()
) -> list[Example]:
    rows = [text(i) for i in range(texts)]
    return list(backtranslate(rows, engine, how=how, avoid=avoid))


def test_a_pair_turned_round_is_asked_with_its_response() -> None:
    pair = Example(id="s1", instruction="Add.", input="2 and 3", response=" 5 ", system="Be kind.")
    (row,) = reverse([pair], template=WORDING, min_pairs=1)
    assert row.response == "Add.\n\n2 and 3"
    assert "-----\n5\n-----" in row.instruction
    assert (row.parents, row.system, row.meta) == (("s1",), "", {"origin": "reversed"})


def test_training_and_asking_use_the_same_words() -> None:
    pair = Example(instruction="Tell me.", response=text(0).response)
    (row,) = reverse([pair], template=WORDING, min_pairs=1)
    prompts: list[str] = []
    engine = FakeEngine(answer=lambda prompt, _: prompts.append(prompt) or ASKED[0])  # type: ignore[func-returns-value]
    found(engine, 1)
    assert prompts == [f"user: {messages_of(row)[0].content}"]


def test_too_few_pairs() -> None:
    pairs = [Example(instruction="a", response="b"), Example(instruction="c", response=" ")]
    with pytest.raises(InputError, match=r"1 pairs.*at least 2.*backward\.min_pairs"):
        list(reverse(pairs, template=WORDING, min_pairs=2))


def test_rows_keep_the_text_and_name_it_as_their_parent() -> None:
    rows = found(FakeEngine(ASKED))
    assert [r.instruction for r in rows] == ASKED
    assert [r.response for r in rows] == [text(i).response for i in range(3)]
    assert [r.parents for r in rows] == [("t0",), ("t1",), ("t2",)]
    assert rows[0].meta == {"origin": "backtranslated", "source": "0.txt"}
    assert {(r.set_aside, r.id) for r in rows} == {(None, "")}


def test_every_reason() -> None:
    said = ["", text(1).response, "word " * 60, "Why?", ASKED[0], ASKED[0].upper()]
    rows = found(FakeEngine(said), 6)
    assert [r.set_aside for r in rows] == [
        "empty", "copied", "unfinished", "too_short", None, "not_novel",
    ]  # fmt: skip


def test_unfinished_and_copied_ones_can_be_kept() -> None:
    how = Backward.model_validate(dict(HOW) | {"unfinished": "keep", "copied": "keep"})
    rows = found(FakeEngine(["", text(1).response, LONG]), 3, how)
    assert [r.set_aside for r in rows] == ["empty", None, None]
    assert [r.meta.get("unfinished") for r in rows] == [None, None, True]
    assert rows[2].finish_reason is None, "the response is the text, and that is whole"


def test_rules_and_comparison_can_be_left_out() -> None:
    loose = {"rules": InstructionRules(use=("none",)), "novelty": NoveltyOptions(threshold=1.0)}
    rows = found(FakeEngine(["Why?"]), 3, HOW.model_copy(update=loose))
    assert [r.set_aside for r in rows] == [None] * 3


def test_what_is_held_out_is_not_asked_again_and_batches_make_no_difference() -> None:
    held = [Example(instruction=ASKED[1])]
    rows = found(FakeEngine(ASKED), 3, avoid=[held])
    assert [r.set_aside for r in rows] == [None, "not_novel", None]
    many = found(FakeEngine(ASKED), 150)
    assert [i for i, r in enumerate(many) if r.set_aside is None] == [0, 1, 2]


def test_texts_are_pulled_as_they_are_needed() -> None:
    pulled = 0

    def endless() -> Iterator[Example]:
        nonlocal pulled
        while True:
            pulled += 1
            yield text(pulled)

    how = HOW.model_copy(update={"template": Template("t", "{{response}}")})
    rows = backtranslate(endless(), FakeEngine(), how=how)
    for _ in range(100):
        next(rows)
    assert pulled <= 200


def test_no_instruction_at_all_ends_the_work_with_advice() -> None:
    with pytest.raises(YieldError, match=r"none of 3 texts \(unfinished 3\).*seed_updates"):
        found(FakeEngine(["word " * 60]))


@pytest.mark.parametrize("unfinished", ["set_aside", "keep"])
def test_a_backward_model_that_does_not_stop_is_told_of(unfinished: str) -> None:
    views: list[Any] = []

    def drained() -> Iterator[Example]:
        made = backtranslate(
            [text(i) for i in range(3)],
            FakeEngine([LONG, LONG.replace("thing", "part"), ASKED[0]]),
            how=HOW.model_copy(update={"unfinished": unfinished}),
        )
        views.extend((yield from made))

    list(drained())
    assert views[-1].kind == "alarm"
    assert "seed_updates" in views[-1].data["text"]
