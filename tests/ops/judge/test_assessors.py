import math

import pytest

from woolgather.core.artifacts import Choice, Model
from woolgather.core.rows import Example, Verdict
from woolgather.engines.base import LogProb
from woolgather.engines.fake import FakeEngine, text_of
from woolgather.ops.judge.assessors import (
    CANDIDATES,
    CONTROLS,
    Assessor,
    Questionnaire,
    assessor_of,
    calls_per_row,
    combine_verdicts,
    information,
    length,
    overlap,
    questions_of,
    rate,
    scale_of,
    score_options,
    verdict_names,
)
from woolgather.prompting.messages import Message

RAW = Model(path="fake", fingerprint="fake-raw", prompt_format="raw")
RUBRICS = Questionnaire().rubrics
ROW = Example(instruction="Name a red fruit.", response="The cherry is red.")


class Likely(FakeEngine):
    """Log-probabilities from a table of functions, prompts remembered."""

    def __init__(self, *, options=None, sequence=None, **settings):
        super().__init__(["8 - fine"], **settings)
        self.options, self.sequence, self.seen = options, sequence, []

    def option_logprobs(self, prompts, options):
        self.seen += [(p, o) for p in prompts for o in options]
        return [[self.options(o) for o in options] for _ in prompts]

    def sequence_logprobs(self, prompts, continuations, temperature=1.0):
        self.seen += list(zip(prompts, continuations, strict=True))
        return [self.sequence(p, c) for p, c in zip(prompts, continuations, strict=True)]


def one(engine, kind, row=ROW, **settings):
    (verdicts,) = rate([row], engine, Assessor(kind=kind, **settings))
    return verdicts


def test_rubric_reads_each_question_and_keeps_the_reply():
    found = one(FakeEngine(["9 - right", "no idea"]), "rubric")
    assert found == {"quality": Verdict(9.0, "9 - right"), "following": Verdict(None, "no idea")}


def test_rubric_asks_with_a_seed_of_its_own_for_each_row_and_question():
    seeds = []
    engine = FakeEngine(answer=lambda _, sampling: seeds.append(sampling.seed) or "5")
    rate([ROW, ROW], engine, Assessor(), seed=1)
    assert len(set(seeds)) == 4
    again = []
    engine = FakeEngine(answer=lambda _, sampling: again.append(sampling.seed) or "5")
    rate([ROW], engine, Assessor(), seed=1, start=1)
    assert again == [seeds[1], seeds[3]]


def test_a_raw_judge_stops_before_it_invents_a_task():
    engine = FakeEngine(["7 - fine\n\n### Task\nName a score: 3"], model=RAW)
    assert one(engine, "rubric")["quality"] == Verdict(7.0, "7 - fine")


def test_a_prompt_that_does_not_fit_has_no_verdict():
    class Full(FakeEngine):
        def complete(self, requests):
            from woolgather.engines.base import Completion

            for i, _ in enumerate(requests):
                yield i, Completion("", "too_long")

    assert one(Full(), "rubric")["quality"] == Verdict(None, "no reply: too_long")


def test_expected_is_the_mean_of_the_distribution_over_scores():
    chances = {" 9 -": 0.25, " 5 -": 0.75}
    engine = Likely(options=lambda o: math.log(chances.get(o, 1e-12)))
    found = one(engine, "expected")
    assert found["quality"].score == pytest.approx(6.0, abs=1e-6)
    assert "most likely 5" in found["quality"].text
    assert len(engine.seen) == 20


def test_scores_that_begin_others_are_closed():
    assert score_options([1, 2, 3]) == [" 1", " 2", " 3"]
    assert score_options([1, 10]) == [" 1 -", " 10 -"]
    assert score_options([0.5, 1.5]) == [" 0.5", " 1.5"]


def test_no_likelihood_is_unknown():
    engine = Likely(options=lambda _: -math.inf, sequence=lambda *_: LogProb(math.nan, 3))
    for kind in ("expected", "yes_no", "mutual_information", "channel"):
        assert [v.score for v in one(engine, kind).values()] in ([None], [None, None])


def test_yes_no_is_log_odds():
    engine = Likely(options=lambda o: {" Yes": -1.0, " No": -3.0}[o])
    assert one(engine, "yes_no")["yes_no"].score == pytest.approx(2.0)
    prompt, _ = engine.seen[0]
    assert prompt[-1] == Message("assistant", "Answer:")


@pytest.mark.parametrize(("exponent", "score"), [(0, 6.0), (1, 1.5), (0.5, 3.0)])
def test_mutual_information_is_what_the_task_adds(exponent, score):
    engine = Likely(sequence=lambda p, _: LogProb(-4.0 if "fruit" in text_of(p) else -10.0, 4))
    found = one(engine, "mutual_information", exponent=exponent)
    assert found["mutual_information"].score == pytest.approx(score)


def test_the_answer_alone_follows_an_empty_task():
    chat = Likely(sequence=lambda *_: LogProb(-1.0, 2))
    information([ROW], chat)
    assert [p for p, _ in chat.seen] == [
        (Message("user", "Name a red fruit."),),
        (Message("user", ""),),
    ]
    raw = Likely(sequence=lambda *_: LogProb(-1.0, 2), model=RAW)
    information([ROW], raw)
    assert [p for p, _ in raw.seen] == ["Name a red fruit.\n", "\n"]
    assert {c for _, c in raw.seen} == {"The cherry is red."}


def test_an_empty_response_is_never_asked_about():
    engine = Likely(sequence=lambda *_: LogProb(-1.0, 2))
    rows = [Example(instruction="x"), ROW]
    for kind in ("mutual_information", "channel"):
        found = rate(rows, engine, Assessor(kind=kind))
        assert found[0][kind].score is None
        assert found[1][kind].score is not None


def test_channel_is_per_token_of_the_task():
    engine = Likely(sequence=lambda *_: LogProb(-6.0, 3))
    assert one(engine, "channel")["channel"].score == -2.0
    (prompt, continuation) = engine.seen[0]
    assert "The cherry is red." in text_of(prompt)
    assert "fruit" not in text_of(prompt)
    assert continuation == " Name a red fruit."


def test_controls_ask_no_model():
    engine = FakeEngine()
    for kind in CONTROLS:
        assert one(engine, kind)[kind].score is not None
    assert engine.calls == 0
    assert one(engine, "length")["length"].score == 4
    same = Example(instruction="one two", response="Two one")
    assert overlap(same) == pytest.approx(1)
    assert overlap(Example(instruction="one", response="three")) == 0
    assert length(Example(instruction="x")) == 0


def test_one_number_needs_every_verdict():
    assert combine_verdicts({"a": Verdict(4.0), "b": Verdict(8.0)}) == 6
    assert combine_verdicts({"a": Verdict(4.0), "b": Verdict(None)}) is None
    assert combine_verdicts({}) is None


def test_names_scales_and_calls():
    for kind in (*CANDIDATES, *CONTROLS):
        assessor = Assessor(kind=kind)
        written = one(Likely(options=lambda _: -1.0, sequence=lambda *_: LogProb(-1.0, 1)), kind)
        assert tuple(written) == verdict_names(assessor, RUBRICS)
    assert scale_of(Assessor(), RUBRICS) == (1, 10)
    assert scale_of(Assessor(kind="yes_no"), RUBRICS) is None
    assert calls_per_row(Assessor(), RUBRICS) == 2
    assert calls_per_row(Assessor(kind="length"), RUBRICS) == 0
    assert rate([ROW], FakeEngine(), Assessor(kind="none")) == [{}]


def test_an_audition_hands_over_the_assessor():
    choice = Choice({"kind": "mutual_information", "exponent": 0.4, "scope": "within", "fit": True})
    assert assessor_of(choice) == Assessor(
        kind="mutual_information", exponent=0.4, scope="within", fit=True
    )


def test_questions_are_templates_a_user_may_replace(tmp_path):
    mine = tmp_path / "mine.md"
    mine.write_text("{{response}}\nRight?\nSay:")
    engine = Likely(options=lambda _: -1.0)
    rate(
        [ROW],
        engine,
        Assessor(kind="yes_no"),
        Questionnaire(questions=questions_of(yes_no=str(mine))),
    )
    assert engine.seen[0][0][-1] == Message("assistant", "Say:")
