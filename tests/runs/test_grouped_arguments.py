"""A step that an earlier version wrote with one argument per setting is the step that this one writes
with a group of settings."""

from __future__ import annotations

from typing import Any

import pytest

from woolgather.core.fingerprint import canonical
from woolgather.core.op import Op
from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.curate.response_rules import ResponseRules
from woolgather.ops.generate.backtranslate import Backward, backtranslate
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.generate.rewrite import Rewriting, rewrite
from woolgather.ops.generate.synthesize import Synthesis, synthesize
from woolgather.ops.generate.topics import Questions, Topics, ask_about, brainstorm
from woolgather.ops.principles.adherence import Adherence, adherence
from woolgather.ops.principles.align import Aligning, align
from woolgather.ops.principles.identity import Identity, identity_rows
from woolgather.ops.principles.prompt import Replying
from woolgather.ops.principles.teacher import evaluate_teacher
from woolgather.runs.earlier.payloads import modern

GROUPED: list[tuple[Op[..., Any], Any, set[str], dict[str, str]]] = [
    (
        synthesize,
        Synthesis(format="raw", wave=8),
        {"seeds", "engine", "n", "template", "sampling", "demos", "rules", "novelty", "avoid",
         "machine", "items", "format", "wave", "max_prompts", "minimum", "seed"},
        {},
    ),
    (
        brainstorm,
        Topics(format="chat", rounds=2),
        {"kinds", "engine", "template", "sampling", "rounds", "calls", "per_call", "max_words",
         "format", "seed"},
        {},
    ),
    (
        ask_about,
        Questions(format="chat", n=7),
        {"topics", "engine", "n", "template", "sampling", "rules", "novelty", "seeds", "avoid",
         "format", "wave", "max_prompts", "minimum", "seed"},
        {},
    ),
    (
        respond,
        Responding(samples=3),
        {"tasks", "engine", "sampling", "template", "shots", "n", "system", "unfinished", "seed"},
        {"n": "samples"},
    ),
    (
        backtranslate,
        Backward(min_pairs=4),
        {"texts", "engine", "template", "sampling", "rules", "novelty", "seeds", "avoid", "seed"},
        {},
    ),
    (rewrite, Rewriting(), {"rows", "engine", "template", "sampling", "rules", "seed"}, {}),
    (
        align,
        Aligning(exemplars=2, nudge=False),
        {"tasks", "engine", "guide", "sampling", "rules", "nudge", "must_keep", "seed"},
        {},
    ),
    (identity_rows, Identity(repeats=3), {"rows", "assistant", "repeats"}, {}),
    (
        evaluate_teacher,
        Replying(nudge=False),
        {"tasks", "engine", "guide", "sampling", "nudge", "probes", "seed"},
        {},
    ),
]  # fmt: skip
"""Op, its group of settings, the arguments that it had before, and the fields of other names."""
LATER = {"measured", "probe_seed"}
"""Arguments that came when the others were a group already: no earlier step is a step with them."""


@pytest.mark.parametrize(
    ("op", "how", "before", "renamed"), GROUPED, ids=[o.name for o, *_ in GROUPED]
)
def test_arguments_that_are_a_group_now_are_found_in_it(
    op: Op[..., Any], how: Any, before: set[str], renamed: dict[str, str]
) -> None:
    kept = op.signature.parameters.keys() - LATER
    now = {k: f"any {k}" for k in kept} | {"how": canonical(how)}
    flat = {k: now[k] if k in now else now["how"][renamed.get(k, k)] for k in before}
    old = {"op": f"woolgather.ops.generate:{op.name}", "version": 1, "args": flat}
    # The version stays the record's: an op that makes something else since is not that step.
    new = {"op": op.name, "version": 1, "args": now}
    assert modern(old) == new
    assert modern({**old, "op": op.name}) == new
    assert modern(new) == new


BEFORE: list[tuple[Options, set[str]]] = [
    (Sampling(), {"temperature", "top_p", "top_k", "max_tokens", "stop", "repetition_penalty",
                  "seed"}),
    (Topics(), {"template", "format", "sampling", "rounds", "calls", "per_call", "max_words"}),
    (Questions(), {"template", "format", "sampling", "rules", "novelty", "wave", "max_prompts",
                   "minimum", "n"}),
    (ResponseRules(), {"use", "max_foreign", "max_copied"}),
    (Identity(), {"repeats"}),
]  # fmt: skip
"""Groups of settings that have grown, with the fields that steps of before were made with."""


@pytest.mark.parametrize(("group", "fields"), BEFORE, ids=[type(g).__name__ for g, _ in BEFORE])
def test_a_field_that_came_later_is_read_as_its_default(group: Options, fields: set[str]) -> None:
    assert set(canonical(group)) == fields


def test_the_questions_to_a_judge_of_adherence_were_a_mapping() -> None:
    how = canonical(Adherence(sample=3))
    now = {k: f"any {k}" for k in adherence.signature.parameters} | {"how": how}
    templates = {"rubric": how["rubric"], "yes_no": how["yes_no"]}
    flat = {k: v for k, v in now.items() if k != "how"} | {"templates": templates}
    new = {"op": "adherence", "version": 1, "args": now}
    assert modern({"op": "adherence", "version": 1, "args": flat}) == new
    assert modern(new) == new
