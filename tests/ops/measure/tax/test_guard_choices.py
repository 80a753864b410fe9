"""The guard: who answers what, who is vetoed, and that it says where it sees nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from woolgather.core.artifacts import Choice, Metrics
from woolgather.engines.base import LogProb
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.select import select_guarded, select_model, should_stop
from woolgather.ops.measure.summary import summarize
from woolgather.ops.measure.tax.choices import answer_questions, find_vetoes, warn_of_vetoes
from woolgather.ops.measure.tax.questions import GuardQuestion, QuestionSet
from woolgather.prompting.messages import Prompt

ASKED = QuestionSet(
    "guard.jsonl",
    tuple(
        GuardQuestion(f"Question {i}?", tuple(f"option {k}" for k in range(3 + i % 2)), i % 3)
        for i in range(100)
    ),
)


class Knowing(FakeEngine):
    """Knows the answers to the first so many questions, and takes the next option otherwise."""

    def __init__(self, known: int) -> None:
        super().__init__()
        self.known = known
        self.prompts: list[Prompt] = []

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        self.prompts += prompts
        return [self._score(str(prompt), len(options)) for prompt in prompts]

    def _score(self, prompt: str, count: int) -> list[float]:
        number = int(prompt.split()[1].rstrip("?"))
        likely = number % 3 if number < self.known else (number + 1) % 3
        return [-0.1 if k == likely else -3.0 for k in range(count)]


def guards(*known: int, margin: float = 0.02) -> list[Metrics]:
    return [answer_questions(ASKED, Knowing(n), margin=margin) for n in known]


def measured(passed: int) -> Metrics:
    items = {f"{i}": float(i < passed) for i in range(200)}
    return Metrics({"null": {"rate": 0.1}}, {"probes:select": items, "probes:report": items})


def test_the_likeliest_letter_is_the_answer_in_plain_text() -> None:
    engine = Knowing(70)
    found = answer_questions(ASKED, engine, margin=0.02)
    assert found.values["accuracy"]["value"] == pytest.approx(0.7)
    assert found.values["chance"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert sum(v or 0 for v in found.items["guard"].values()) == 70
    assert engine.prompts[0] == "Question 0?\nA. option 0\nB. option 1\nC. option 2\nAnswer:", (
        "whatever the form in which the model answers tasks"
    )
    assert found.headline.startswith("70.0 % [")


def test_texts_are_scored_per_byte_of_them() -> None:
    """A long option is less likely as a whole, and is the answer all the same."""
    asked = QuestionSet(
        "q", (GuardQuestion("Which?", ("no", "the one that is right", "yes"), 1),) * 50
    )

    class PerByte(FakeEngine):
        def sequence_logprobs(
            self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
        ) -> list[LogProb]:
            assert set(prompts) == {"Which?\nAnswer:"}
            rates = [0.5 if "right" in text else 1.0 for text in continuations]
            return [LogProb(-r * len(t), 1) for r, t in zip(rates, continuations, strict=True)]

    found = answer_questions(asked, PerByte(), margin=0.02, by="texts")
    assert found.values["accuracy"]["value"] == 1.0
    for by, calls in (("letters", 50), ("texts", 150)):
        assert answer_questions.expects(asked, None, margin=0.02, by=by).calls == calls


def test_a_tie_is_wrong_and_no_number_is_no_answer() -> None:
    class Even(FakeEngine):
        def option_logprobs(
            self, prompts: Sequence[Prompt], options: Sequence[str]
        ) -> list[list[float]]:
            return [
                [float("nan") if "Question 1?" in str(p) else -1.0] * len(options) for p in prompts
            ]

    found = answer_questions(ASKED, Even(), margin=0.0)
    assert found.items["guard"]["question-00001"] is None
    assert set(found.items["guard"].values()) == {None, 0.0}


def test_only_a_loss_clear_of_the_margin_is_vetoed() -> None:
    assert [*find_vetoes(guards(80, 60, 79, 95))] == [1]
    assert [*find_vetoes(guards(80, 60, margin=0.3))] == []
    assert find_vetoes([]) == {}


def test_the_best_is_vetoed_and_the_next_is_handed_over() -> None:
    measures = [measured(60), measured(140), measured(100)]
    assert select_model(measures).value == 1
    lost = guards(80, 50, 80)
    chosen = select_guarded(measures, lost)
    assert chosen.value == 2
    assert "iter0 is vetoed by the guard: it answers -30.0 points [" in chosen.why
    told = summarize(measures, lost, chosen=chosen, controls={})
    assert told.headline.startswith("Result: iter1; iter0 is vetoed by the guard")
    assert [v.title for v in told.views if v.kind == "alarm"] == ["Vetoed by the guard"]
    (tax,) = [v for v in told.views if v.title == "Tax and drift"]
    assert [row[0] for row in tax.data["rows"]] == ["base", "iter0", "iter1"]
    assert [row[-1] for row in tax.data["rows"]] == ["", "vetoed", ""]
    assert tax.data["rows"][1][2]["value"] == pytest.approx(-0.3)


def test_where_all_are_vetoed_the_base_is_handed_over() -> None:
    measures, lost = [measured(60), measured(140)], guards(80, 50)
    for by in ("probes", "last"):
        chosen = select_guarded(measures, lost, by=by)
        assert chosen.value == 0
        told = summarize(measures, lost, chosen=chosen, controls={}, by=by).headline
        assert told.startswith("Result: the base itself; iter0 is vetoed by the guard")


def test_a_guard_that_loses_nothing_changes_nothing() -> None:
    measures, kept = [measured(60), measured(140)], guards(80, 79)
    for by in ("probes", "last"):
        guarded, plain = select_guarded(measures, kept, by=by), select_model(measures, by=by)
        assert guarded.value == plain.value == 1
    told = summarize(measures, kept, chosen=Choice(1), controls={})
    assert "veto" not in told.headline
    assert not [v for v in told.views if v.kind == "alarm"]


def test_a_base_at_chance_is_told() -> None:
    (note,) = warn_of_vetoes(guards(30, 10), {0: "base", 1: "iter0"}, {})[-1:]
    assert note.title == "The guard sees little"
    assert "30.0 % of the guard questions, not clear of guessing (29.2 %)" in note.data["text"]
    assert warn_of_vetoes(guards(80, 80), {}, {}) == []


def test_a_control_that_forgot_is_shown_and_is_no_rival() -> None:
    controls = {"seeds alone": measured(150), "random rows": measured(100)}
    forgot, kept = guards(40, 79)
    told = summarize(
        [measured(60), measured(140)],
        guards(80, 80),
        chosen=Choice(1),
        controls=controls,
        control_guards={"seeds alone": forgot, "random rows": kept},
    )
    assert told.values["rival"] == "random rows"
    assert "seeds alone" not in told.headline
    (note,) = [view for view in told.views if view.kind == "alarm"]
    assert note.data["text"].startswith(
        "The control seeds alone is no rival, since the guard would veto it: it answers -40.0 points ["
    )
    (tax,) = [view for view in told.views if view.title == "Tax and drift"]
    assert {row[0]: row[-1] for row in tax.data["rows"]} == {
        "base": "",
        "iter0": "",
        "seeds alone": "would be vetoed",
        "random rows": "",
    }
    (rivals,) = [view for view in told.views if "each rival" in view.title]
    verdicts = {row[0]: row[-1] for row in rivals.data["rows"]}
    assert verdicts["seeds alone"].endswith("no rival: it forgot")
    assert "rival" not in verdicts["random rows"]


def test_an_accuracy_that_did_not_change_has_an_interval_all_the_same() -> None:
    known = guards(80, 80)
    told = summarize([measured(60)] * 2, known, chosen=Choice(0), controls={})
    (tax,) = [view for view in told.views if view.title == "Tax and drift"]
    change = tax.data["rows"][1][2]
    assert change["value"] == 0
    assert -0.05 < change["low"] < 0 < change["high"] < 0.05
    assert not find_vetoes(known)


def test_an_iteration_that_is_vetoed_is_no_gain_to_wait_for() -> None:
    measures, lost = [measured(60), measured(140), measured(60)], guards(80, 50, 80)
    assert should_stop(measures, patience=2).value is False
    told = should_stop(measures, lost, patience=2)
    assert told.value is True
    assert told.why.startswith(
        "best on probes so far, without iter0, vetoed by the guard: the base (0.300), 2 iterations ago"
    )
