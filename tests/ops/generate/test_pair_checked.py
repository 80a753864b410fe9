"""Pairs of a model's own answers that a check tells apart."""

from __future__ import annotations

import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import JSON, Example
from woolgather.ops.generate.pair_checked import Pairing, checked_tasks, pair_checked

ONE_COMMA: dict[str, JSON] = {"constraints": [{"check": "commas", "value": 1}]}


def answers(task: str, *said: str, **meta: JSON) -> list[Example]:
    return [
        Example(
            instruction=f"Task {task}",
            input="with input",
            response=text,
            id=f"{task}{n}",
            finish_reason="length" if text.endswith("...") else "stop",
            meta={**(meta or ONE_COMMA), "prompt_id": task},
        )
        for n, text in enumerate(said)
    ]


def test_one_passes_and_one_fails_finished_and_of_about_one_length() -> None:
    said = ("a b, c d e", "a b c d", "a, b, c", "a b c d e f g h", "a b c d e f...", " ")
    seen = set()
    for seed in range(40):
        [pair] = pair_checked(answers("t", *said), samples=6, seed=seed)
        assert pair.set_aside is None
        assert pair.instruction == "Task t\n\nwith input"
        assert pair.meta["constraints"] == ONE_COMMA["constraints"]
        assert len(pair.parents) == 2
        seen.add((pair.chosen, pair.rejected))
    assert seen == {("a b, c d e", "a b c d")}


def test_a_task_with_a_check_of_probes() -> None:
    check = {"kind": "contains", "any": ["Paris"], "max_words": 12}
    [pair] = pair_checked(answers("t", "Paris", "Rome", check=check), samples=2)
    assert (pair.chosen, pair.rejected) == ("Paris", "Rome")


def test_what_passes_only_without_its_lead_in_is_on_neither_side() -> None:
    check = {"kind": "exact", "value": "Ana is not here."}
    said = ("Sure! Here it is:\nAna is not here.", "Ana is not here.", "Ana is here now.")
    for seed in range(10):
        [pair] = pair_checked(answers("t", *said, check=check), samples=3, seed=seed)
        assert (pair.chosen, pair.rejected) == said[1:]


def test_a_task_without_a_pair_says_why_and_few_pairs_are_told() -> None:
    rows = [
        *answers("a", "a, b", "c, d"),
        *answers("b", "a b", "c d"),
        *answers("c", "a, b", "a b c d e f g h"),
    ]
    made = pair_checked(rows, samples=2)
    found = []
    while True:
        try:
            found.append(next(made).set_aside)
        except StopIteration as end:
            views = end.value
            break
    assert found == ["none_fails", "none_passes", "unlike_lengths"]
    assert views[-1].title == "Too few pairs to train on"


def test_an_unknown_check_is_told() -> None:
    rows = answers("t", "a", "b", constraints=[{"check": "hue", "value": 1}])
    with pytest.raises(InputError, match=r"the check hue, which is unknown"):
        list(pair_checked(rows, samples=2))


def test_tasks_come_once_each_without_answers_and_only_with_a_check() -> None:
    free = Example(instruction="Speak.", response="x", id="f")
    rows = [*answers("a", "x", "y"), free, *answers("b", "z")]
    found = list(checked_tasks([rows, answers("b", "w")], limit=9))
    assert sorted(row.instruction for row in found) == ["Task a", "Task b"]
    assert all(row.response == "" and row.parents and "prompt_id" not in row.meta for row in found)
    assert len(list(checked_tasks([rows], limit=1))) == 1


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"pairs\.ratio: \[1\.4, 0\.7\]"):
        Pairing(ratio=(1.4, 0.7))
    with pytest.raises(ConfigError, match=r"pairs\.lora_scale: give numbers"):
        Pairing(lora_scale=())
    with pytest.raises(ConfigError, match=r"which cannot be scaled"):
        Pairing.model_validate({"dpo": {"lora": None}})
    with pytest.raises(ConfigError, match="keep_epochs"):
        Pairing.model_validate({"dpo": {"keep_epochs": True}})
