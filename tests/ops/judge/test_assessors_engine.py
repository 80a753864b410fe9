"""Every assessor on the transformers engine with a tiny random model, in both prompt formats."""

import math
from dataclasses import replace

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.engines.base import EngineOptions
from woolgather.ops.judge.assessors import CANDIDATES, Assessor, Questionnaire, information, rate
from woolgather.ops.judge.rubrics import rubrics_of
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate

ROWS = [
    Example(id="a", instruction="Name a red fruit.", response="The cherry."),
    Example(id="b", instruction="Say it again.", input="One two.", response="One two."),
    Example(id="c", instruction="Count.", response="1, 2, 3, 4, 5"),
    Example(id="d", instruction="Count back.", response="5, 4, 3"),
]


@pytest.fixture(scope="module")
def open_tiny(tiny_model):
    from woolgather.engines.local.engine import TransformersEngine

    options = EngineOptions(dtype="float32")
    engines = {
        form: TransformersEngine(Model(str(tiny_model), f"tiny-{form}", form), options)
        for form in ("chat", "raw")
    }
    yield engines
    for engine in engines.values():
        engine.close()


@pytest.mark.parametrize("form", ["chat", "raw"])
@pytest.mark.parametrize("kind", [k for k in CANDIDATES if k != "rubric"])
def test_likelihoods_are_numbers_and_alone_equal_in_company(open_tiny, kind, form):
    engine = open_tiny[form]
    asked = Questionnaire(rubrics=rubrics_of("simple"))
    together = rate(ROWS, engine, Assessor(kind=kind), asked)
    assert all(math.isfinite(v.score) for verdicts in together for v in verdicts.values())
    for row, verdicts in zip(ROWS, together, strict=True):
        (alone,) = rate([row], engine, Assessor(kind=kind), asked)
        for name, verdict in alone.items():
            assert verdict.score == pytest.approx(verdicts[name].score, abs=1e-2)
    values = [v.score for verdicts in together for v in verdicts.values()]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("form", ["chat", "raw"])
def test_information_is_of_the_response_alone(open_tiny, form):
    found = information([*ROWS, replace(ROWS[0], response="")], open_tiny[form])
    assert found[-1] is None
    assert all(info is not None and info.given < 0 and info.alone < 0 for info in found[:-1])
    other = information([replace(ROWS[0], instruction="Something else entirely")], open_tiny[form])
    assert other[0] is not None
    assert found[0] is not None
    assert other[0].alone == pytest.approx(found[0].alone, abs=1e-2)
    assert other[0].given != pytest.approx(found[0].given, abs=1e-3)


def test_a_random_model_writes_no_score_but_is_asked(open_tiny):
    (verdicts,) = rate(
        ROWS[:1], open_tiny["raw"], Assessor(), Questionnaire(rubrics=rubrics_of("simple"))
    )
    assert set(verdicts) == {"quality", "following"}


def test_evaluate_measures_a_random_model(open_tiny):
    found = evaluate(
        ROWS, open_tiny["chat"], how=EvaluationOptions(probes=12, max_tokens=8, margin=10)
    )
    assert 0 <= found.values["probes"]["value"] < 0.5
    assert found.values["nll"] > 0
    assert found.values["stops"] is not None
    assert found.values["length_ratio"] is not None
