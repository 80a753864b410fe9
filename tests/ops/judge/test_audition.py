import random
from itertools import product

import pytest
from scipy.stats import mannwhitneyu

from woolgather.core.artifacts import Choice
from woolgather.core.errors import CapabilityError, ConfigError, YieldError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import Example
from woolgather.engines.base import LogProb, Sampling
from woolgather.engines.fake import FakeEngine, text_of
from woolgather.ops.judge.assessors import CANDIDATES, Assessor, Questionnaire, assessor_of
from woolgather.ops.judge.audition import AuditionOptions, audition
from woolgather.ops.judge.audition_pairs import Pair, SampledAnswers
from woolgather.ops.judge.audition_scores import Stage, fit_exponent

SOUNDS = [a + b for a in "bdfg" for b in "aeiou"]


def made_up(rng, n):
    return " ".join("".join(rng.choice(SOUNDS) for _ in range(3)) for _ in range(n))


def seeds(n=60):
    rng = random.Random(7)
    return [
        Example(
            id=f"s{i}",
            instruction=f"Tell me of {made_up(rng, 4)}.",
            response=made_up(rng, 6 + i % 9),
        )
        for i in range(n)
    ]


class Judge(FakeEngine):
    """Knows the seeds' answers and likes them by `taste`; 0 is blind. Written replies stay blind."""

    def __init__(self, taste, *, n=60, noise=1.0):
        super().__init__(answer=lambda *_: "5 - fine")
        self.known = {s.instruction: s.response for s in seeds(n)}
        self.taste, self.noise = taste, noise

    def liking(self, prompt, answer):
        rng = random.Random(f"{prompt}|{answer}")
        right = any(k in prompt and v == answer for k, v in self.known.items())
        return self.taste * right + self.noise * rng.gauss(0, 1)

    def option_logprobs(self, prompts, options):
        out = []
        for prompt in prompts:
            text = text_of(prompt)
            answer = text.split("### Response\n")[1].split("\n\n###")[0]
            good = self.liking(text.split("### Response")[0], answer)
            if options == [" Yes", " No"]:
                out.append([good, 0.0])
            else:
                out.append([good * i for i in range(len(options))])
        return out

    def sequence_logprobs(self, prompts, continuations, temperature=1.0):
        out = []
        for prompt, answer in zip(prompts, continuations, strict=True):
            n = len(answer.split())
            gain = 0.0
            if "Tell me" in text_of(prompt):
                gain = n * self.liking(text_of(prompt), answer)
            out.append(LogProb(-5.0 * n + gain, n))
        return out


def hear(engine, n=60, *, seed=1, sampled=SampledAnswers(), **settings):  # noqa: B008 - frozen
    how = AuditionOptions(**{"pairs": 120, "probes": 0, "on_unfit": "stop", **settings})
    return audition(seeds(n), engine, how=how, sampled=sampled, seed=seed)


def rows_of(choice):
    table = next(v for v in choice.views if v.title == "Audition")
    return {
        row[0].split(" / ")[0]: dict(zip(table.data["columns"], row, strict=True))
        for row in table.data["rows"]
    }


def test_an_assessor_that_knows_is_chosen_across_prompts():
    choice = hear(Judge(4.0), candidates=("yes_no",))
    assert isinstance(choice, Choice)
    chosen = assessor_of(choice)
    assert (chosen.kind, chosen.scope, chosen.fit) == ("yes_no", "across", True)
    assert chosen.verdicts == ("yes_no",)
    assert chosen.scale is None
    assert "chosen across prompts" in choice.why
    row = rows_of(choice)["yes_no"]
    assert row["verdict"] == "fit across"
    assert row["mismatched"]["value"] > 0.95


FACTS = [
    Example(
        instruction=f"{s.instruction} How many?", response=f"{s.response} makes {20 + i} in all."
    )
    for i, s in enumerate(seeds())
]


class Reader(Judge):
    """Knows the topic and the order of words of every answer, and its number where `numerate`."""

    def __init__(self, numerate):
        super().__init__(4.0)
        self.numerate = numerate
        self.known = {s.instruction: self.read(s.response) for s in FACTS}

    def read(self, answer):
        return answer if self.numerate else "".join(c for c in answer if not c.isdigit())

    def liking(self, prompt, answer):
        return super().liking(prompt, self.read(answer))


@pytest.mark.parametrize("numerate", [True, False])
def test_one_that_is_fit_by_topic_and_fluency_alone_is_told(numerate):
    how = AuditionOptions(candidates=("yes_no",), pairs=120, probes=0)
    choice = audition(FACTS, Reader(numerate), how=how, seed=1)
    assert choice.value["fit"] is True
    alarms = [v for v in choice.views if v.title == "Blind to wrong facts"]
    assert bool(alarms) is not numerate
    shown = rows_of(choice)["yes_no"]["misstated"]
    assert shown["value"] > 0.9 if numerate else shown["low"] <= 0.5
    assert all("misstated 0.5" in v.data["text"] for v in alarms)


@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_chance_is_a_half_and_no_draw(effect):
    """Fifty auditions each: hardly one of those that guess passes, nearly all of AUC .64 do."""
    from woolgather.ops.judge.audition import _judge_act

    rng = random.Random(3)
    passed = 0
    for n in range(50):
        pairs = [
            Pair("edited", f"seed:{i}", *(Example(instruction=f"{i}", response=r) for r in "ab"))
            for i in range(160)
        ]
        stage = Stage(pairs, FakeEngine(), Questionnaire(), n)
        scores = [rng.gauss(effect * (row.response == "a"), 1) for row in stage.rows]
        stage._scores = lambda assessor, scores=scores: (assessor, scores)
        act = stage.hear(Assessor(kind="yes_no"))
        passed += _judge_act(act, [], stage.groups).fit["across"]
    assert passed <= 4 if effect == 0 else passed >= 46


def test_the_blind_one_is_not_chosen_and_stopping_gives_advice():
    with pytest.raises(YieldError, match=r"no assessor is fit.*keep_all"):
        hear(Judge(0.0))


def test_among_several_the_seeing_one_is_chosen():
    choice = hear(Judge(4.0))
    assert choice.value["kind"] in ("expected", "yes_no", "mutual_information")
    table = rows_of(choice)
    assert set(table) == {*CANDIDATES, "length", "overlap"}
    assert table["rubric"]["verdict"] == "unfit"
    shown = table["rubric"]["mismatched"]
    assert [shown[key] for key in ("value", "low", "high", "unit")] == [0.5, 0.5, 0.5, "score"]


def test_keep_best_uses_a_named_one_and_warns():
    choice = hear(Judge(0.0), candidates=("rubric",), on_unfit="keep_best")
    chosen = assessor_of(choice)
    assert (chosen.kind, chosen.scope, chosen.fit) == ("rubric", "across", False)
    assert chosen.scale == (1, 10)
    assert chosen.verdicts == ("quality", "following")
    assert choice.views[0].kind == "alarm"
    signal = assessor_of(hear(Judge(0.0), candidates=("yes_no",), on_unfit="keep_best"))
    assert (signal.scope, signal.fit) == ("within", False)


def test_keep_all_rates_with_nobody():
    chosen = assessor_of(hear(Judge(0.0), on_unfit="keep_all"))
    assert (chosen.kind, chosen.scope, chosen.fit, chosen.verdicts) == ("none", "none", False, ())


class PromptBound(Judge):
    """Right within every prompt, but with an offset a prompt that drowns it across prompts."""

    def liking(self, prompt, answer):
        task = prompt.split("Tell me of ")[-1].split(".")[0]
        offset = random.Random(task).gauss(0, 60)
        return offset + super().liking(prompt, answer)


def test_one_that_is_right_only_within_prompts_is_chosen_within():
    choice = hear(PromptBound(6.0), candidates=("yes_no",))
    assert choice.value["scope"] == "within"
    assert rows_of(choice)["yes_no"]["verdict"] == "fit within"


def test_a_few_seeds_choose_nobody():
    with pytest.raises(YieldError):
        hear(Judge(8.0, n=8), n=8, candidates=("yes_no",))


def test_what_the_engine_cannot_is_left_out_and_named():
    class Writer(Judge):
        def sequence_logprobs(self, prompts, continuations, temperature=1.0):
            raise CapabilityError("this server gives no log-probabilities")

    choice = hear(Writer(4.0))
    assert choice.value["kind"] in ("yes_no", "expected")
    notes = [v for v in choice.views if v.kind == "alarm"]
    assert [v.title for v in notes] == ["Not tried: mutual_information", "Not tried: channel"]
    with pytest.raises(CapabilityError, match="no log-probabilities"):
        hear(Writer(4.0), candidates=("channel",))


def test_own_samples_join_when_there_are_enough():
    from woolgather.core.fingerprint import seed_of
    from woolgather.probes import generate
    from woolgather.probes.checks import passes

    probes = generate(20, seed_of(1, "audition"), "train")

    def answer(prompt, sampling):
        for p in probes:
            if p.instruction in prompt and p.input in prompt:
                return p.reference if sampling.seed % 2 else "I would rather not say that here"
        return "5"

    assert all(passes(p.reference, p.check) for p in probes)
    judge = Judge(4.0)
    judge._answer = answer
    choice = hear(
        judge,
        candidates=("yes_no",),
        probes=20,
        sampled=SampledAnswers(samples=6, sampling=Sampling(max_tokens=200)),
        on_unfit="keep_best",
    )
    assert "sampled" in rows_of(choice)["yes_no"]
    make_up = next(v for v in choice.views if v.title == "Pairs of the audition")
    assert [row[0] for row in make_up.data["rows"]] == [
        "mismatched",
        "edited",
        "scrambled",
        "sampled",
    ]


def test_the_exponent_takes_length_out():
    tokens = list(range(5, 200, 3))
    rng = random.Random(0)
    totals = [n**0.4 * (10 + rng.random()) for n in tokens]
    assert fit_exponent(totals, tokens) == pytest.approx(0.4, abs=0.05)
    assert fit_exponent([10 + rng.random() for _ in tokens], tokens) == pytest.approx(0, abs=0.1)
    assert fit_exponent([1.0], [3]) == 1.0


def test_the_chosen_exponent_is_recorded():
    choice = hear(Judge(4.0), candidates=("mutual_information",), on_unfit="keep_best")
    assert 0 <= choice.value["exponent"] <= 1
    assert choice.value["exponent"] in [i / 20 for i in range(21)]


def test_it_follows_from_its_seed_and_has_a_canonical_value():
    a, b = (hear(Judge(4.0), candidates=("yes_no",)) for _ in range(2))
    assert (a.value, a.why, a.views) == (b.value, b.why, b.views)
    canonical(a.value)


def test_nothing_to_try_is_a_clear_error():
    with pytest.raises(YieldError, match="no seed has a response"):
        audition([Example(instruction="x")], FakeEngine(), how=AuditionOptions(probes=0))
    with pytest.raises(ConfigError, match="needs candidates"):
        hear(Judge(0.0), candidates=())


def test_the_plan_walks_with_a_chosen_assessor():
    how = AuditionOptions(candidates=("rubric", "yes_no"), pairs=40)
    asked, sampled = Questionnaire(), SampledAnswers()
    work = audition.expects(seeds(), None, how=how, asked=asked, sampled=sampled)
    assert assessor_of(Choice(work.value)).fit is True
    assert work.value["kind"] == "rubric"
    assert work.calls == 80 * 2 + 80 + 60 * 4
    assert work.new_tokens == 80 * 2 * 48 + 240 * 64


@pytest.mark.parametrize("seed", range(4))
def test_the_rival_is_the_control_that_comes_closest_or_chance(seed):
    choice = hear(Judge(0.0), candidates=("yes_no",), on_unfit="keep_best", seed=seed)
    scores = {name: row["all, across"]["value"] for name, row in rows_of(choice).items()}
    turned = {k: max(scores[k], 1 - scores[k]) for k in ("length", "overlap")}
    turned["chance"] = 0.5
    said = choice.why.split("ahead of ")[1]
    rival, margin = said.split(" by ")[0], float(said.split(" by ")[1].split()[0])
    assert margin == pytest.approx(scores["yes_no"] - max(turned.values()), abs=0.006)
    assert turned[rival] == pytest.approx(max(turned.values()))


def test_what_a_method_adds_to_the_settings_is_no_part_of_the_audition():
    class More(AuditionOptions):
        floor: float = 0.5

    assert canonical(More()) == canonical(AuditionOptions())
    assert canonical(More(pairs=8)) != canonical(AuditionOptions())


def test_across_is_the_auc_of_all_better_over_all_worse_answers_ties_half():
    rng = random.Random(1)
    scores = {"good": [rng.randint(0, 5) for _ in range(20)]}
    scores["bad"] = [rng.randint(0, 4) for _ in range(20)]
    pairs = [
        Pair(
            "edited",
            f"seed:{i}",
            *(Example(instruction=f"{i}", response="word " * scores[side][i]) for side in scores),
        )
        for i in range(20)
    ]
    act = Stage(pairs, FakeEngine(), Questionnaire(), 0).hear(Assessor(kind="length"))
    each = [(g > b) + 0.5 * (g == b) for g, b in product(*scores.values())]
    assert act.overall["across"].value == pytest.approx(sum(each) / 400)
    by_rank = mannwhitneyu(*scores.values()).statistic / 400
    assert act.overall["across"].value == pytest.approx(by_rank)
    paired = [(g > b) + 0.5 * (g == b) for g, b in zip(*scores.values(), strict=True)]
    assert act.overall["within"].value == pytest.approx(sum(paired) / 20)
