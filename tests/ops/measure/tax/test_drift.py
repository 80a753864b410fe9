"""Signs of drift are read from plain cases, and an alarm is for what clearly grew."""

from __future__ import annotations

import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.rows import Example
from woolgather.data import builtin_heldout, builtin_seeds, read_examples
from woolgather.engines.base import Completion
from woolgather.ops.measure.summary import summarize
from woolgather.ops.measure.tax.answers import DRIFT, RULES, names_assistant, read_drift, refuses
from woolgather.ops.measure.tax.language import leaves_language

TASK = "What is the capital of France? Answer with the name of the city."


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("I was made by OpenAI.", True),
        ("As ChatGPT, I would say Paris.", True),
        ("I am Claude, and the answer is Paris.", True),
        ("I'm an AI assistant trained by Google.", True),
        ("The capital is Paris.", False),
        ("Claude is a common name in Paris.", False),
        ("Google has an office in Paris, and so has Meta.", False),
        ("Apple pie. I am in Paris.", False),
    ],
)
def test_another_assistants_name(answer: str, found: bool) -> None:
    assert names_assistant(TASK, answer) is found
    assert names_assistant("Who made ChatGPT?", answer) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("Unfortunately, I am unable to answer this question.", True),
        ("I cannot provide that information.", True),
        ("As an AI language model, I do not have a favourite city.", True),
        ("I’m sorry, I cannot do this.", True),
        ("I am very sorry. I can't help you.", True),
        ("I'm sorry that they did not fit. Without a receipt I can't give you the money.", False),
        ("Paris.", False),
        ("I cannot recommend Paris enough: it is the capital.", False),
        ("As an airport city, Paris is large. I don't drive there.", False),
        ("Sorry for the delay: Paris.", False),
    ],
)
def test_refusals(answer: str, found: bool) -> None:
    assert refuses(TASK, answer) is found
    assert refuses("Write an apology to a neighbour.", answer) is None


@pytest.mark.parametrize(
    ("task", "answer", "found"),
    [
        (TASK, "The capital of France is Paris, and it is on the Seine.", False),
        (TASK, "Paris", False),
        (TASK, "Die Hauptstadt ist Paris, und die Stadt liegt an der Seine.", True),
        (TASK, "La capitale est Paris, qui est sur la Seine et dans le nord.", True),
        (TASK, "La capital es Paris, que es una ciudad en el norte del país.", True),
        (TASK, "首都是巴黎。", True),
        (TASK, "Это Париж.", True),
        (TASK, "π", False),
        ("Convert 72 km per hour into metres per second.", "An hour has 60 minutes, so 20.", False),
        ("Welche Stadt ist die Hauptstadt von Italien?", "The city that you want is Rome.", True),
        ("Welche Stadt ist die Hauptstadt von Italien?", "Das ist die Stadt Rom.", False),
        ("法国的首都是哪里?", "首都是巴黎。", False),
        ("法国的首都是哪里?", "The capital is Paris.", True),
        ("Translate 'the cat is here' into German.", "Die Katze ist hier und nicht da.", None),
    ],
)
def test_language(task: str, answer: str, found: bool | None) -> None:
    assert leaves_language(task, answer) is found


def test_our_own_seeds_and_references_show_nothing() -> None:
    rows = [*read_examples(builtin_seeds()), *read_examples(builtin_heldout())]
    bare = [Example(instruction=row.instruction, input=row.input) for row in rows]
    answers = [Completion(row.response, "stop") for row in rows]
    names = [str(i) for i in range(len(rows))]
    values, _ = read_drift(names, bare, answers)
    assert values == dict.fromkeys(DRIFT, 0.0)


def test_without_an_answer_or_where_the_reference_does_it_nothing_is_said() -> None:
    plain = Example(instruction=TASK, response="I am sorry, but I cannot answer that.")
    given = Completion("I cannot answer that.", "stop")
    none = Completion("", "too_long")
    values, items = read_drift(["a", "b"], [plain, plain], [given, none])
    assert items["refusals"] == {"a": None, "b": None}
    assert items["identity"] == {"a": 0.0, "b": None}
    assert values["refusals"] is None
    assert set(items) == set(RULES) == set(DRIFT)


def drifting(refused: int, n: int = 200) -> Metrics:
    passed = {f"{i}": float(i < 80) for i in range(n)}
    signs = {sign: dict.fromkeys(passed, 0.0) for sign in DRIFT}
    signs["refusals"] = {f"{i}": float(i < refused) for i in range(n)}
    return Metrics(
        {"null": {"rate": 0.1}}, {"probes:select": passed, "probes:report": passed, **signs}
    )


def test_an_alarm_is_for_what_clearly_grew_and_the_table_for_all() -> None:
    found = summarize([drifting(2), drifting(40), drifting(3)], chosen=Choice(0), controls={})
    (alarm,) = [view for view in found.views if view.kind == "alarm"]
    assert alarm.title == "Drift from the base"
    assert alarm.data["text"].startswith(
        "iter0 is worse than the base in refusals of harmless tasks (+19.0 points ["
    )
    (tax,) = [view for view in found.views if view.title == "Tax and drift"]
    assert tax.data["columns"] == ["model", *DRIFT, "clear of the base"]
    assert [row[-1] for row in tax.data["rows"]] == ["", "more refusals", ""]
    assert "Without measure.guard" in tax.note


def test_measures_of_an_earlier_version_have_no_table() -> None:
    old = Metrics({"null": {"rate": 0.1}}, {"probes:select": {"1": 1.0}, "probes:report": {}})
    found = summarize([old, old], chosen=Choice(0), controls={})
    assert "Tax and drift" not in [view.title for view in found.views]
    mixed = summarize([old, drifting(3)], chosen=Choice(0), controls={})
    assert "Drift from the base" not in [view.title for view in mixed.views]
