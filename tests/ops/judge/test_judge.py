from dataclasses import replace

import pytest

from woolgather.core.artifacts import Choice
from woolgather.core.errors import CapabilityError, YieldError
from woolgather.core.rows import Example, Verdict
from woolgather.engines.base import LogProb, Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.judge.assessors import Assessor, Questionnaire
from woolgather.ops.judge.judge import BATCH, InformationLimits, judge
from woolgather.ops.judge.rubrics import rubrics_of

ROW = Example(instruction="Name a red fruit.", response="The cherry is red.", id="r1")


def rows(n):
    return [replace(ROW, id=f"r{i}") for i in range(n)]


def drain(generator):
    out = []
    while True:
        try:
            out.append(next(generator))
        except StopIteration as stop:
            return out, stop.value


def views_of(views, kind):
    return [v for v in views if v.kind == kind]


def test_rows_come_out_in_order_with_their_verdicts():
    earlier = replace(ROW, verdicts={"yes_no": Verdict(0.5)})
    found = list(judge([earlier, ROW], FakeEngine(["Score: 5"])))
    assert [r.id for r in found] == ["r1", "r1"]
    assert found[0].verdicts == {
        "yes_no": Verdict(0.5),
        "quality": Verdict(5.0, "Score: 5"),
        "following": Verdict(5.0, "Score: 5"),
    }
    assert found[1].set_aside is None


def test_it_streams_in_batches():
    pulled = []

    def source():
        for row in rows(3 * BATCH):
            pulled.append(row)
            yield row

    generator = judge(source(), FakeEngine(["5"]))
    next(generator)
    assert len(pulled) == BATCH


def test_a_verdict_does_not_depend_on_the_size_of_batches(monkeypatch):
    def once():
        return list(judge(rows(7), FakeEngine(), floor=0, seed=3))

    whole = once()
    monkeypatch.setattr("woolgather.ops.judge.judge.BATCH", 2)
    assert once() == whole


def test_few_unreadable_replies_are_none_and_said():
    found, views = drain(judge(rows(10), FakeEngine(["8", "8", "8", "8", "what?"])))
    assert sum(r.verdicts["quality"].score is None for r in found) == 2
    (alarm,) = views_of(views, "alarm")
    assert "2 of 10" in alarm.data["text"]
    (table,) = views_of(views, "table")
    assert [row[1:3] for row in table.data["rows"]] == [[10, 8], [10, 8]]


def test_too_many_unreadable_replies_end_the_work_with_advice():
    with pytest.raises(YieldError, match=r"only 0 of 3 rows.*style icl"):
        list(judge(rows(3), FakeEngine(["I like it"])))
    assert len(list(judge(rows(3), FakeEngine(["I like it"]), floor=0))) == 3


def test_a_hopeless_judge_is_stopped_early():
    engine = FakeEngine(["I like it"])
    with pytest.raises(YieldError, match=f"of {BATCH} rows"):
        list(judge(rows(5 * BATCH), engine))
    assert engine.calls == 2 * BATCH


def test_rows_set_aside_pass_unrated():
    aside = replace(ROW, set_aside="empty")
    engine = FakeEngine(["5"])
    found = list(judge([aside, ROW, aside], engine))
    assert [r.set_aside for r in found] == ["empty", None, "empty"]
    assert found[0] == aside
    assert engine.calls == 2


class Informing(FakeEngine):
    def sequence_logprobs(self, prompts, continuations, temperature=1.0):
        half = len(prompts) // 2
        gain = {"good": 4.0, "bad": -1.0}
        given = [LogProb(-10 + gain.get(c.split()[0], 1.0), 4) for c in continuations[:half]]
        return given + [LogProb(-10.0, 4)] * half


def test_mutual_information_sets_aside_what_its_task_did_not_help():
    task = "Say after me: one two three four five six seven eight"
    given = [
        Example(instruction=task, response="good answer here"),
        Example(instruction=task, response="bad answer here"),
        Example(instruction=task, response="one two three four five six seven eight"),
    ]
    assessor = Choice({"kind": "mutual_information", "exponent": 0.5})
    found = list(judge(given, Informing(), assessor=assessor))
    assert [r.set_aside for r in found] == [None, "uninformed", "copied"]
    assert found[0].verdicts["mutual_information"].score == pytest.approx(2.0)
    limits = InformationLimits(min_information=None, max_copied=None)
    found = list(judge(given, Informing(), assessor=assessor, limits=limits))
    assert [r.set_aside for r in found] == [None, None, None]


def test_without_a_fit_assessor_rows_pass_and_the_report_says_so():
    assessor = Choice({"kind": "none", "scope": "none", "fit": False})
    found, views = drain(judge(rows(2), FakeEngine(), assessor=assessor))
    assert [r.verdicts for r in found] == [{}, {}]
    assert views_of(views, "alarm")


def test_where_no_rating_was_asked_for_it_is_a_note_and_no_warning():
    out, views = drain(judge(rows(3), FakeEngine(), assessor=Assessor(kind="none")))
    assert len(out) == 3
    assert views[0].data == {"text": "No rating was asked for (assessor none).", "level": "note"}


def test_an_engine_without_likelihoods_says_so():
    class Chat(FakeEngine):
        def option_logprobs(self, prompts, options):
            raise CapabilityError("no log-probabilities here; use the transformers engine")

    with pytest.raises(CapabilityError, match="transformers"):
        list(judge([ROW], Chat(), assessor=Assessor(kind="yes_no")))


def test_the_plan_counts_calls():
    asked = Questionnaire(sampling=Sampling(max_tokens=20))
    work = judge.expects(rows(10), None, assessor=Assessor(), asked=asked)
    assert (work.rows, work.calls, work.new_tokens) == (10, 20, 400)
    one = Questionnaire(rubrics=rubrics_of("icl"))
    icl = judge.expects(rows(10), None, assessor=Assessor(), asked=one)
    assert icl.calls == 10
    informed = judge.expects(
        rows(10), None, assessor=Choice({"kind": "mutual_information"}), asked=one
    )
    assert (informed.calls, informed.new_tokens) == (20, 0)
