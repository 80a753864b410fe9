"""Rows that say what is measured are found, whichever of the two looks finds them; others are not."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from pydantic import ValidationError

from woolgather.core.rows import Example, PreferencePair
from woolgather.ops.curate.contamination import (
    Contamination,
    OverlapIndex,
    count_overlap,
    set_overlap_aside,
)

PASSAGE = (
    "The ferry leaves the northern harbour at nine each morning and comes back before the tide turns "
    "in the late afternoon."
)
AGAINST = {
    "held-out tasks": [
        Example(instruction="When does it leave?", input=PASSAGE, response="At nine.")
    ],
    "probes": [Example(instruction="Name three rivers of Europe in capital letters.")],
    "bench.jsonl": [Example(instruction="Short.", response=PASSAGE.replace("ferry", "steamer"))],
}
CLEAN = Example(instruction="Name a colour of the sky at noon.", response="Blue.")


def reasons(rows: Iterable[Example], how: Contamination | None = None) -> list[str | None]:
    made = set_overlap_aside(rows, against=AGAINST, how=how or Contamination())
    return [row.set_aside for row in made]


def test_a_shared_run_of_words_is_found_wherever_it_stands() -> None:
    words = PASSAGE.split()
    rows = [
        Example(instruction="Tell a story.", response=f"Once: {' '.join(words[:13]).upper()}!"),
        Example(instruction=" ".join(words[4:17]), response="What of it?"),
        Example(instruction="Tell a story.", response=" ".join(words[:12])),
    ]
    assert reasons(rows) == ["shares_ngram", "shares_ngram", None]
    assert reasons(rows, Contamination(ngram=12))[2] == "shares_ngram"


def test_a_later_turn_is_looked_at_too() -> None:
    said = ["Hello!", "Hi.", "Go on.", PASSAGE]
    roles = ("user", "assistant") * 2
    turns = [{"role": r, "content": t} for r, t in zip(roles, said, strict=True)]
    row = Example(instruction="Hello!", response="Hi.", meta={"conversation": turns})
    assert reasons([row]) == ["shares_ngram"]


def test_a_run_does_not_reach_from_the_question_into_the_answer() -> None:
    words = PASSAGE.split()
    halves = Example(instruction=" ".join(words[:9]), response=" ".join(words[9:]))
    assert reasons([halves]) == [None]


def test_a_short_task_is_found_by_rouge_l() -> None:
    near = Example(instruction="Name three rivers of Asia in capital letters.", response="...")
    assert reasons([near, CLEAN]) == ["like_measured", None]
    assert reasons([near], Contamination(rouge_l=None)) == [None]
    assert reasons([near], Contamination(rouge_l=0.99)) == [None]


def test_counts_are_by_source_and_a_row_counts_once() -> None:
    both = AGAINST["held-out tasks"][0]
    stolen = Example(instruction="x", response=PASSAGE.replace("ferry", "steamer"))
    found = count_overlap([both, stolen, CLEAN], against=AGAINST, how=Contamination())
    assert found.values["rows"] == 3
    assert found.values["overlapping"] == 2
    assert found.values["alike"] == {"held-out tasks": 1, "probes": 0, "bench.jsonl": 0}
    assert sum(found.values["shared runs"].values()) == 2
    assert found.headline == "2 of 3 training rows overlap with what is measured"
    assert [view.kind for view in found.views] == ["table", "alarm"]
    assert found.views[0].data["rows"][0][:2] == ["held-out tasks", 1]


def test_nothing_found_is_no_alarm() -> None:
    found = count_overlap([CLEAN], against=AGAINST, how=Contamination())
    assert found.values["overlapping"] == 0
    assert [view.kind for view in found.views] == ["table"]


def test_pairs_are_counted_on_both_sides() -> None:
    pairs = [
        PreferencePair(instruction="x", chosen="y", rejected=PASSAGE),
        PreferencePair(instruction="x", chosen="y", rejected="z"),
    ]
    found = count_overlap(pairs, against=AGAINST, how=Contamination())
    assert found.values["overlapping"] == 1


def test_rows_keep_their_order_and_their_first_reason() -> None:
    rows = [CLEAN] * 700 + [Example(instruction="x", response=PASSAGE, id="last")]
    made = list(set_overlap_aside(rows, against=AGAINST, how=Contamination()))
    assert [row.set_aside for row in made] == [None] * 700 + ["shares_ngram"]
    assert made[-1].id == "last"


def test_it_is_cheap() -> None:
    """A thousand rows of a hundred words beside four hundred tasks take a fraction of a second."""
    tasks = [
        Example(instruction=f"Count the {n} sheep of farm {n * 7} by night.") for n in range(400)
    ]
    index = OverlapIndex({"tasks": tasks}, Contamination())
    rows = [Example(instruction=f"Do {n} things.", response="word " * 100) for n in range(1000)]
    began = time.process_time()
    assert not any(found.reason for _, found in index.look_up(rows))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("wrong", [{"ngram": 1}, {"rouge_l": 0}, {"rouge_l": 1.1}])
def test_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Contamination.model_validate(wrong)
