"""The sample of rows: of every reason some, related across steps, bounded."""

import json
import random

import pytest

from woolgather.core.rows import Example, Verdict
from woolgather.report.rows import FIELD_CHARS, Table, choose, embed, script_json

REASONS = [None, None, None, "too_short", "echo", "rare"]


@pytest.mark.parametrize("seed", range(60))
def test_the_sample_is_bounded_ascending_and_knows_every_reason(seed: int) -> None:
    rng = random.Random(seed)
    reasons = rng.choices(REASONS, k=rng.randint(0, 400))
    most = rng.randint(5, 60)
    known = [(str(i), why) for i, why in enumerate(reasons)]
    chosen = choose(known, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(most, len(known))
    if most >= 9:
        assert {known[i][1] for i in chosen} >= {why for why in reasons if why}


def test_related_rows_come_first_and_a_third_stays_for_those_set_aside() -> None:
    known = [(str(i), "echo" if i % 2 else None) for i in range(400)]
    wanted = {str(i) for i in range(0, 40, 2)}
    chosen = choose(known, 60, wanted)
    assert wanted <= {str(i) for i in chosen}
    assert sum(i % 2 for i in chosen) == 20
    assert max(chosen) > 380


def test_long_texts_are_cut_and_say_so_and_shared_ones_are_stored_once() -> None:
    row = Example(instruction="x" * 10_000, id="a", verdicts={"quality": Verdict(float("nan"))})
    data = embed([Table("one", 1, {}, [row]), Table("two", 1, {}, [row])])
    long = [text for text in data["texts"] if text]
    assert long == ["x" * FIELD_CHARS + " … (6,000 more characters)"]
    assert data["steps"][0]["rows"][0]["verdicts"][0][1] is None
    json.loads(script_json(data))


def test_embedded_json_cannot_end_its_script() -> None:
    value = {"</script>": ["<!-- & -->", "\u2028\u2029"]}
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_later_turns_are_shown_in_their_order() -> None:
    said = ["Q", "A", "R", "B"]
    turns = [
        {"role": r, "content": t} for r, t in zip(("user", "assistant") * 2, said, strict=True)
    ]
    row = Example(instruction="Q", response="A", id="a", meta={"conversation": turns, "kind": "x"})
    data = embed([Table("one", 1, {}, [row])])
    (shown,) = data["steps"][0]["rows"]
    assert [(name, data["texts"][at]) for name, at in shown["texts"]] == [
        ("instruction", "Q"), ("response", "A"), ("turn 3, user", "R"), ("turn 4, assistant", "B"),
    ]  # fmt: skip
    assert [name for name, _ in shown["meta"]] == ["kind"], "not a second time"
