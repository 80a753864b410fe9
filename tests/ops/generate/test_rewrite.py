"""Texts rewritten as answers: what the model sees, what comes out, what is set aside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from woolgather.core.artifacts import PromptFormat
from woolgather.core.rows import Example, Verdict
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.generate.rewrite import Rewriting, rewrite
from woolgather.prompting.templates import Template

ROW = Example(
    id="r1",
    instruction="Explain why a kettle sings.",
    response="Kettles, dear readers, have always sung.",
    verdicts={"curation": Verdict(5, "Score: 5")},
    meta={"origin": "backtranslated", "source": "a.txt"},
)


def rewritten(reply: str) -> Example:
    engine = FakeEngine([reply])
    (row,) = rewrite([ROW], engine, how=Rewriting(sampling=Sampling(max_tokens=20)))
    return row


def test_a_new_answer_with_the_old_one_as_its_parent() -> None:
    row = rewritten(" Bubbles collapse in the cooler water. ")
    assert row.response == "Bubbles collapse in the cooler water."
    assert (row.parents, row.id, row.set_aside) == (("r1",), "", None)
    assert row.verdicts == {}
    assert row.meta == {"origin": "backtranslated", "source": "a.txt", "rewritten": True}


def test_what_the_model_is_shown() -> None:
    seen: list[str] = []
    engine = FakeEngine(answer=lambda prompt, _: seen.append(prompt) or "Yes.")  # type: ignore[func-returns-value]
    list(rewrite([ROW], engine))
    assert ROW.instruction in seen[0]
    assert ROW.response in seen[0]


@pytest.mark.parametrize(
    ("form", "begin", "end", "stop"),
    [
        ("raw", "", "\n", ()),
        ("blocks", "### Task\n", "\n\n### Answer\n", ("\n### ",)),
        ("chat", "user: ", "", ()),
        ("chatml", "user: ", "", ("<|im_end|>",)),
    ],
)
def test_it_is_asked_as_the_model_is(
    form: PromptFormat, begin: str, end: str, stop: tuple[str, ...]
) -> None:
    seen: list[tuple[str, Sampling]] = []

    def answer(prompt: str, sampling: Sampling) -> str:
        seen.append((prompt, sampling))
        return "Yes."

    engine = FakeEngine(answer=answer, model=replace(FAKE_MODEL, prompt_format=form))
    how = Rewriting(template=Template("t", "Rewrite: {{response}}"))
    list(rewrite([ROW], engine, how=how))
    ((prompt, sampling),) = seen
    assert prompt == f"{begin}Rewrite: {ROW.response}{end}"
    assert sampling.stop == stop


def test_reasons() -> None:
    assert rewritten("").set_aside == "empty"
    assert rewritten("word " * 30).set_aside == "unfinished"
    assert rewritten(f"{ROW.instruction} Because.").set_aside == "echo"
