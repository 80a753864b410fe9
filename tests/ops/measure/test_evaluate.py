from dataclasses import replace

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, LogProb
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate
from woolgather.ops.measure.null_answers import expected_best_null
from woolgather.ops.measure.probe_sets import BOTH
from woolgather.probes import families_of, family_of, generate
from woolgather.recipes.settings import Measuring

RAW = Model(path="fake", fingerprint="raw", prompt_format="raw")
TASKS = [
    Example(
        id=f"h{i}",
        instruction=f"Say the word {w} and nothing else.",
        response=w,
        meta={"check": {"kind": "exact", "value": w}} if i < 6 else {},
    )
    for i, w in enumerate("oak elm ash fir yew box bay fig".split())  # noqa: SIM905
]

OF_ALL = ["heldout", "stops", "loops", "identity", "refusals", "language"]
"""What is known of every answer, whichever probes are asked."""


def knows(share, purposes=("select", "report"), n=60):
    """A model that answers this share of the probes rightly, and every held-out task."""
    right = {}
    for purpose in purposes:
        for k, probe in enumerate(generate(n, 1, purpose)):
            ok = (k * 7) % 10 < 10 * share
            right[probe.instruction, probe.input] = probe.reference if ok else "zzz qqq"

    def answer(prompt, sampling):
        for (instruction, material), text in right.items():
            if instruction in prompt and material in prompt:
                return text
        return prompt.split()[-4] if "nothing else" in prompt else "zzz qqq"

    return FakeEngine(answer=answer)


def test_the_headline_is_what_is_above_the_best_null():
    found = evaluate(TASKS, knows(0.7), how=EvaluationOptions(probes=60))
    name, rate = expected_best_null(generate(60, 1, "report"))
    assert found.values["null"] == {"name": name, "rate": rate}
    assert found.values["probes"]["value"] == pytest.approx(0.7, abs=0.07)
    above = found.values["above_null"]
    assert above["value"] == pytest.approx(found.values["probes"]["value"] - rate)
    assert above["low"] < above["value"] < above["high"]


def test_some_families_select_and_others_report():
    found = evaluate(TASKS, knows(1.0, purposes=("select",)), how=EvaluationOptions(probes=60))
    assert found.values["probes_select"]["value"] > 0.95
    assert found.values["probes"]["value"] < 0.2
    assert set(found.items) == {"probes:select", "probes:report", *OF_ALL}
    asked = {key: {family_of(name) for name in found.items[key]} for key in list(found.items)[:2]}
    assert asked["probes:select"] == set(families_of("select"))
    assert asked["probes:report"] == set(families_of("report"))


def test_a_control_is_asked_what_reports_alone():
    how = EvaluationOptions(probes=60, likelihood=False)
    found = evaluate([], knows(1.0), how=how, purposes=("report",))
    assert set(found.items) == {"probes:report", *OF_ALL}
    assert found.values["probes_select"] is None
    both = evaluate([], knows(1.0), how=how)
    assert found.items["probes:report"] == both.items["probes:report"]
    assert len(found.views[0].data["rows"]) == len(both.views[0].data["rows"]) - 1


def test_one_tier_selects_and_all_report():
    how = EvaluationOptions(probes=60, likelihood=False, tier="easy")
    found = evaluate([], knows(1.0), how=how)
    asked = {family_of(name) for name in found.items["probes:select"]}
    assert asked == set(families_of("select", "easy"))
    tiers = found.values["tiers"]
    assert list(tiers) == ["easy", "middle", "hard"]
    assert sum(rate["count"] for rate in tiers.values()) == 60
    assert {rate["value"] for rate in tiers.values()} == {1.0}


def test_the_strict_rate_is_of_answers_as_they_stand():
    """Every answer is right, within a sentence that leads to it."""
    how = EvaluationOptions(probes=43, likelihood=False)
    right = {p.instruction: p.reference for p in generate(43, 1, "report")}

    def lead(prompt, _):
        return f"Sure! {right.get(prompt.split(chr(10))[0][6:], 'x')}"

    found = evaluate([], FakeEngine(answer=lead), how=how, purposes=("report",))
    lenient, strict = found.values["probes"], found.values["strict"]
    assert lenient["value"] > strict["value"] + 0.2
    assert strict["count"] == lenient["count"] == 43
    shown = dict(found.views[0].data["rows"])
    assert shown["probes passed as they stand"]["value"] == strict["value"]


def test_held_out_tasks_count_where_they_have_a_check():
    found = evaluate(TASKS, knows(0.0), how=EvaluationOptions(probes=10))
    assert found.items["heldout"] == {f"h{i}": 1.0 for i in range(6)}
    assert found.values["heldout"]["value"] == 1.0
    assert evaluate([], knows(0.0), how=EvaluationOptions(probes=10)).values["heldout"] is None


def test_degeneration_and_families_are_there():
    found = evaluate(TASKS, knows(0.5), how=EvaluationOptions(probes=60))
    assert found.values["stops"] == 1.0
    assert found.values["loops"] == 0.0
    assert found.values["length_ratio"] == 1.0
    assert found.values["win_rate"] is None
    assert len(found.values["families"]) >= 20
    assert found.values["nll"] > 0


def test_max_tokens_ends_answers_alike():
    found = evaluate(
        TASKS, FakeEngine(["one two three four"]), how=EvaluationOptions(probes=20, max_tokens=2)
    )
    assert found.values["stops"] == 0.0


def test_without_probes_they_are_not_measured():
    found = evaluate(TASKS, knows(0.5), how=EvaluationOptions(probes=0))
    assert found.values["probes"] is None
    assert found.values["above_null"] is None
    assert list(found.items) == OF_ALL
    assert found.values["tiers"] is None


@pytest.mark.parametrize("purposes", [(), ("train",), ("report", "report")])
def test_purposes_that_measure_nothing_are_refused(purposes):
    with pytest.raises(ConfigError, match="name select, report, or both, each once"):
        evaluate(TASKS, knows(0.5), purposes=purposes, how=EvaluationOptions(probes=5))


class Faulty(FakeEngine):
    """Right on every probe, and every question of a kind ends in another way than by itself."""

    def __init__(self, ends, n):
        right = {p.instruction: p.reference for s in BOTH for p in generate(n, 1, s)}
        super().__init__(answer=lambda prompt, _: right.get(prompt.split(chr(10))[0][6:], "x"))
        self.ends = ends

    def complete(self, requests):
        for index, answer in super().complete(requests):
            reason = self.ends(index)
            text = answer.text if reason in ("stop", "length") else ""
            yield index, Completion(text, reason)


def test_an_unfinished_answer_does_not_pass_and_an_absent_one_is_neither_right_nor_wrong():
    """Of 60 probes per set the first 10 are cut, the next 6 get no answer, the others are right."""

    def ends(index):
        place = index % 60
        if index >= 120 or place >= 16:
            return "stop"
        return "length" if place < 10 else "too_long" if place < 13 else "error"

    found = evaluate([], Faulty(ends, 60), how=EvaluationOptions(probes=60, likelihood=False))
    outcomes = list(found.items["probes:report"].values())
    assert outcomes[:10] == [0.0] * 10
    assert outcomes[10:16] == [None] * 6
    assert sum(outcomes[16:]) >= 40
    rate = found.values["probes"]
    assert rate["count"] == 54
    assert rate["value"] == pytest.approx(sum(outcomes[16:]) / 54)
    assert found.values["unfinished"] == pytest.approx(20 / 120)
    assert found.values["unanswered"] == pytest.approx(12 / 120)
    assert found.values["stops"] == pytest.approx(88 / 108)
    rows = dict(found.views[0].data["rows"])
    assert rows["cut at the limit, and so failed"]["value"] == pytest.approx(20 / 120)
    assert rows["without an answer, and so not counted"]["value"] == pytest.approx(12 / 120)
    shown = {row[-1] for v in found.views if v.title == "Some probes" for row in v.data["rows"]}
    assert {"pass", "unfinished", "no answer"} <= shown


@pytest.mark.parametrize(("absent", "told"), [(6, False), (7, True)])
def test_there_is_an_alarm_when_more_than_one_in_twenty_questions_got_no_answer(absent, told):
    engine = Faulty(lambda index: "error" if index < absent else "stop", 60)
    found = evaluate([], engine, how=EvaluationOptions(probes=60, likelihood=False))
    alarms = [v.data["text"] for v in found.views if v.kind == "alarm"]
    assert bool(alarms) == told
    if told:
        assert alarms[0].startswith("6 % of the questions got no answer")


@pytest.mark.parametrize(("cut", "told"), [(30, False), (31, True)])
def test_it_is_told_when_more_than_a_quarter_of_the_answers_were_cut(cut, told):
    engine = Faulty(lambda index: "length" if index < cut else "stop", 60)
    found = evaluate([], engine, how=EvaluationOptions(probes=60, likelihood=False))
    alarms = [v.data["text"] for v in found.views if v.kind == "alarm"]
    assert [a.startswith("26 % of the answers were cut at the limit of 128") for a in alarms] == (
        [True] if told else []
    )


def test_held_out_tasks_with_one_id_are_told_and_kept_apart():
    twice = [TASKS[0], replace(TASKS[1], id="h0"), TASKS[2]]
    how = EvaluationOptions(probes=0, likelihood=False)
    found = evaluate(twice, knows(0.0), how=how)
    assert found.items["heldout"] == {"h0": 1.0, "h0#2": 1.0, "h2": 1.0}
    assert found.values["heldout"]["count"] == 3
    (told,) = [v.data["text"] for v in found.views if v.kind == "alarm"]
    assert told.startswith("1 held-out task has an id that an earlier one has.")
    assert "h0#2" in told
    assert not [v for v in evaluate(TASKS, knows(0.0), how=how).views if v.kind == "alarm"]


def test_a_rate_of_none_is_no_point():
    found = evaluate(TASKS, FakeEngine(["zzz"]), how=EvaluationOptions(probes=10, likelihood=False))
    heldout = found.values["heldout"]
    assert (heldout["value"], heldout["low"]) == (0, 0)
    assert heldout["high"] == pytest.approx(0.39, abs=0.01)


def test_likelihood_is_optional():
    class Chat(FakeEngine):
        def sequence_logprobs(self, prompts, continuations, temperature=1.0):
            raise CapabilityError("no log-probabilities here")

    found = evaluate(TASKS, Chat(), how=EvaluationOptions(probes=5, margin=5))
    assert found.values["nll"] is found.values["margin"] is None
    told = [v.title for v in found.views if "no log-probabilities" in str(v.data)]
    assert told == ["Likelihood not measured", "Margin not measured"]
    asked = []

    class Counting(FakeEngine):
        def sequence_logprobs(self, prompts, continuations, temperature=1.0):
            asked.append(temperature)
            return [LogProb(-1.0, 1) for _ in prompts]

    evaluate(TASKS, Counting(), how=EvaluationOptions(probes=5, likelihood=False))
    assert asked == []


def test_every_model_is_asked_the_same_zero_shot_or_with_shots():
    seen = []

    def note(prompt, sampling):
        seen.append((prompt, sampling.temperature, sampling.stop))
        return "x"

    evaluate(TASKS, FakeEngine(answer=note), how=EvaluationOptions(probes=5))
    (first, *_) = generate(5, 1, "select")
    assert seen[0][0] == f"user: {_question(first)}"
    assert {t for _, t, _ in seen} == {0.0}
    assert len(seen) == 10 + len(TASKS)
    zero, seen[:] = list(seen), []
    evaluate(
        TASKS, FakeEngine(answer=note, model=RAW), shots=TASKS[:1], how=EvaluationOptions(probes=5)
    )
    assert all(p.startswith("### Task\nSay the word oak") for p, _, _ in seen)
    assert all(stop for _, _, stop in seen)
    assert not any(stop for _, _, stop in zero)


def _question(probe):
    return f"{probe.instruction}\n\n{probe.input}" if probe.input else probe.instruction


def test_it_follows_from_its_arguments():
    a, b = (evaluate(TASKS, knows(0.5), how=EvaluationOptions(probes=40)) for _ in range(2))
    assert (a.values, a.items) == (b.values, b.items)


def test_the_plan_counts_the_questions():
    how = EvaluationOptions(probes=50, max_tokens=10, likelihood=False)
    work = evaluate.expects(TASKS, None, how=how, purposes=BOTH)
    assert work.calls == 108
    assert work.new_tokens == 1080
    with_margin = how.model_copy(update={"margin": 30})
    work = evaluate.expects(TASKS, None, how=with_margin, purposes=BOTH)
    assert work.calls == 108 + 2 * 30 + 2 * 8
    assert work.new_tokens == 1080  # a text that is scored is not generated


def test_a_measure_without_a_margin_is_what_it_was() -> None:
    """Also where the settings are those of a recipe, which measures it by default."""
    assert "margin" not in EvaluationOptions().__canonical__()
    assert "margin" not in Measuring(margin=0).__canonical__()
    assert Measuring().__canonical__()["margin"] == Measuring().margin == 250


def test_margins_are_of_right_answers_and_those_of_a_bad_model_are_negative() -> None:
    """One model finds the right answers likelier, another everything else."""

    class Preferring(FakeEngine):
        def __init__(self, sign):
            super().__init__(["x"])
            self.sign = sign

        def sequence_logprobs(self, prompts, continuations, temperature=1.0):
            right = {p.reference for p in generate(50, 1, "select")} | {t.response for t in TASKS}
            return [LogProb(self.sign * float(text in right) - 5, 1) for text in continuations]

    how = EvaluationOptions(probes=0, likelihood=False, margin=50)
    good, bad = (evaluate(TASKS, Preferring(sign), how=how) for sign in (1, -1))
    # A near miss may be the right answer to another probe, such as "Yes".
    assert good.values["margin"]["value"] > 0.8
    assert good.values["margin"]["count"] == 25
    assert good.values["margin_right"]["value"] > 0.8
    assert bad.values["margin"]["value"] == pytest.approx(-good.values["margin"]["value"])
    assert good.values["margin_heldout"]["count"] == 6
    assert set(good.items) == {*OF_ALL, "margin", "margin_heldout"}
    shown = dict(good.views[0].data["rows"])
    assert shown["margin over a near miss, nats"]["value"] > 0.8


def test_one_line_for_a_list_of_steps() -> None:
    found = evaluate([], FakeEngine(["yes"]), how=EvaluationOptions(probes=10, likelihood=False))
    assert found.headline.startswith("probes ")
    assert "best null answer" in found.headline
    assert not found.concludes
    nothing = EvaluationOptions(probes=0, likelihood=False)
    assert evaluate([], FakeEngine(["yes"]), how=nothing).headline == "nothing to measure"
