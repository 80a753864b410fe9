import random
from dataclasses import replace

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.judge.audition_pairs import SampledAnswers, build_pairs, sample_pairs
from woolgather.ops.text.words import count_words
from woolgather.probes import generate, task_of
from woolgather.probes.checks import passes

SOUNDS = [a + b for a in "bdfg" for b in "aeiou"]


def made_up(rng, n):
    return " ".join("".join(rng.choice(SOUNDS) for _ in range(3)) for _ in range(n))


def seeds(n=40):
    rng = random.Random(7)
    return [
        Example(
            id=f"s{i}",
            instruction=f"Tell me of {made_up(rng, 4)}.",
            input=made_up(rng, 12) if i % 2 else "",
            response=made_up(rng, 6 + i % 9),
        )
        for i in range(n)
    ]


def of_kind(pairs, kind):
    return [p for p in pairs if p.kind == kind]


def test_pairs_follow_from_the_seed():
    assert build_pairs(seeds(), 10, 1) == build_pairs(seeds(), 10, 1)
    assert build_pairs(seeds(), 10, 1) != build_pairs(seeds(), 10, 2)
    assert [len(of_kind(build_pairs(seeds(), 10, 1), k)) for k in ("mismatched", "edited")] == [
        10,
        10,
    ]


def test_a_mismatched_answer_is_anothers_of_like_length():
    own = {s.instruction: s.response for s in seeds()}
    for pair in of_kind(build_pairs(seeds(), 40, 1), "mismatched"):
        assert pair.good.response == own[pair.good.instruction]
        assert pair.bad.instruction == pair.good.instruction
        assert pair.bad.response != pair.good.response
        assert pair.bad.response in own.values()
        assert abs(count_words(pair.bad.response) - count_words(pair.good.response)) <= 2


def test_an_edited_task_keeps_the_answer_and_breaks_it():
    forms = set()
    for pair in of_kind(build_pairs(seeds(), 40, 1), "edited"):
        assert pair.good.response == pair.bad.response
        if pair.good.input != pair.bad.input:
            assert pair.good.instruction == pair.bad.instruction
            forms.add("input")
            continue
        good, bad = (p.instruction.split(". ", 1)[1] for p in (pair.good, pair.bad))
        said = pair.good.response.split()
        if good.startswith("Use at most"):
            assert int(bad.split()[3]) < len(said) <= int(good.split()[3])
        elif good.startswith("Use at least"):
            assert int(good.split()[3]) <= len(said) < int(bad.split()[3])
        else:
            good_word, bad_word = good.split('"')[1], bad.split('"')[1]
            if good.startswith("Begin"):
                assert said[0] == good_word != bad_word
            else:
                assert good_word not in said
                assert bad_word in said
        forms.add(good.split(" ")[0])
    assert forms == {"input", "Use", "Begin", "Do"}


def test_scrambled_has_the_same_words_in_another_order():
    found = of_kind(build_pairs(seeds(), 40, 1), "scrambled")
    assert len(found) == 40
    for pair in found:
        assert pair.good.response != pair.bad.response
        assert sorted(pair.good.response.split()) == sorted(pair.bad.response.split())


def test_a_misstated_answer_has_one_fact_exchanged():
    sums = [
        Example(instruction=f"What is {i} plus 90?", response=f"The sum is {i + 90}.")
        for i in range(12)
    ]
    found = of_kind(build_pairs(sums, 10, 1), "misstated")
    assert len(found) == 10
    for pair in found:
        assert pair.good in sums
        assert pair.bad.instruction == pair.good.instruction
        good, bad = (row.response.split() for row in (pair.good, pair.bad))
        assert [a == b for a, b in zip(good, bad, strict=True)] == [True, True, True, False]
    assert not of_kind(build_pairs(seeds(), 40, 1), "misstated")


def test_short_answers_and_missing_ones_make_fewer_pairs():
    short = [replace(s, response="Yes" if i % 2 else "") for i, s in enumerate(seeds())]
    found = build_pairs(short, 40, 1)
    assert not of_kind(found, "scrambled")
    assert not of_kind(found, "mismatched")
    assert build_pairs([], 10, 1) == []
    assert [pair.kind for pair in build_pairs(seeds(1), 10, 1)] == ["edited", "scrambled"]


def half_right(prompt_text, sampling):
    for probe in generate(20, HALF_SEED, "train"):
        if probe.instruction in prompt_text and probe.input in prompt_text:
            return probe.reference if sampling.seed % 2 else "I would rather not say that here"
    raise AssertionError(prompt_text)


HALF_SEED = 0


@pytest.fixture
def engine(monkeypatch):
    from woolgather.core.fingerprint import seed_of

    monkeypatch.setattr(f"{__name__}.HALF_SEED", seed_of(5, "audition"))
    return FakeEngine(answer=half_right)


def drawn(engine, **settings):
    probes, samples = settings.pop("probes", 20), settings.pop("samples", 6)
    sampled = SampledAnswers(samples=samples, sampling=Sampling(max_tokens=200))
    given = {"limit": 40, "shots": [], "seed": 5}
    return sample_pairs(engine, probes, sampled, **{**given, **settings})


def test_own_samples_are_labelled_by_the_check(engine):
    found = drawn(engine)
    assert len(found) >= 10
    assert engine.calls == 120
    for pair in found:
        assert pair.kind == "sampled"
        assert pair.good.instruction == pair.bad.instruction
        assert passes(pair.good.response, pair.good.meta["check"])
        assert not passes(pair.bad.response, pair.bad.meta["check"])


def test_unfinished_samples_are_no_evidence(engine):
    cut = SampledAnswers(samples=6, sampling=Sampling(max_tokens=1))
    short = sample_pairs(engine, 20, cut, limit=40, shots=[], seed=5)
    assert len(short) < len(drawn(engine))


def test_a_model_that_never_passes_makes_no_pairs():
    assert drawn(FakeEngine([""])) == []
    assert drawn(FakeEngine(["xyzzy xyzzy."]), probes=0) == []


def test_a_raw_model_is_shown_answers_first():
    prompts = []
    raw = Model(path="fake", fingerprint="raw", prompt_format="raw")
    engine = FakeEngine(answer=lambda p, s: prompts.append((p, s.stop)) or "x", model=raw)
    drawn(engine, shots=seeds(2), probes=2, samples=1)
    assert all(seeds(2)[0].response in p and stop == ("\n### ",) for p, stop in prompts)


def test_a_probe_is_a_task_with_its_check():
    probe = generate(1, 3, "train")[0]
    row = task_of(probe)
    assert (row.id, row.instruction, row.input) == (probe.id, probe.instruction, probe.input)
    assert passes(probe.reference, row.meta["check"])
    assert row.response == ""
