"""The prompted teacher is measured by its answers alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from woolgather.core.errors import CapabilityError
from woolgather.core.rows import Example
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.principles.files import builtin, read_exemplars, read_principles
from woolgather.ops.principles.prompt import Guide, Replying
from woolgather.ops.principles.teacher import Prompted, evaluate_teacher
from woolgather.prompting.templates import load

PRINCIPLES = read_principles(builtin("principles", "v1"))
GUIDE = Guide(
    load("align"),
    load("align-block"),
    PRINCIPLES,
    read_exemplars(builtin("exemplars", "v1"), PRINCIPLES, 2),
)
CHECK = {"kind": "exact", "value": "42"}
TASKS = [Example(id="t", instruction="What is 6 x 7?", response="42", meta={"check": CHECK})]


@pytest.mark.parametrize("form", ["raw", "blocks", "chat", "chatml"])
def test_thoughts_do_not_reach_the_check(form: str) -> None:
    seen: list[str] = []

    def answer(prompt: str, sampling: Sampling) -> str:
        seen.append(prompt)
        assert sampling.temperature == 0
        return "Six sevens, not 41. Principles: reasoning.\n\n### Answer\n42"

    model = replace(FAKE_MODEL, prompt_format=form)  # type: ignore[arg-type]
    engine = FakeEngine(answer=answer, model=model)
    how = Replying(sampling=Sampling(max_tokens=50))
    found = evaluate_teacher(TASKS, engine, guide=GUIDE, how=how, probes=6)
    assert found.items["heldout"] == {"t": 1.0}
    assert found.values["prompted"] == f"{form}, 16 principles"
    assert found.values["nll"] is None
    assert all(PRINCIPLES[0].text in prompt for prompt in seen)
    assert sum("What is 6 x 7?" in prompt for prompt in seen) == 1
    assert not any("### Task" in prompt for prompt in seen), "the question and nothing around it"
    assert len(seen) == 7, "the probes that report, and the held-out task"


def test_it_has_no_likelihoods() -> None:
    teacher = Prompted(FakeEngine(), GUIDE, Replying())
    with pytest.raises(CapabilityError, match="prompted teacher"):
        teacher.sequence_logprobs(["a"], ["b"])
