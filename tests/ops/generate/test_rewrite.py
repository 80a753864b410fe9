"""Texts rewritten as answers: what the model sees, what comes out, what is set aside."""

from __future__ import annotations

from woolgather.core.rows import Example, Verdict
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.generate.rewrite import Rewriting, rewrite

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


def test_reasons() -> None:
    assert rewritten("").set_aside == "empty"
    assert rewritten("word " * 30).set_aside == "unfinished"
    assert rewritten(f"{ROW.instruction} Because.").set_aside == "echo"
