"""Rules of responses, and the op that applies them.

The one idea: as with instructions (instruction_rules.py), a rule is a named function and its name is
the reason. Every rule looks for a fault at the place where it is one (a role label at a line's
start, an option marker beside others), so "e.g.", "vitamin C.", "nonetheless", HTML, generics and
"do you" pass. Truth and style are the assessor's matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question, set_aside
from woolgather.core.views import View, funnel
from woolgather.ops.curate.instruction_rules import (
    CONTROL,
    INSTRUCTION_RULES,
    InstructionRules,
    Scripts,
    expand,
    foreign,
    repeats_input,
)
from woolgather.ops.text.words import (
    copied_share,
    loops,
    ngrams,
    scripts_of,
    tokens,
    without_last_word,
)

__all__ = [
    "INSTRUCTION_RULES",
    "RESPONSE_RULES",
    "InstructionRules",
    "ResponseRules",
    "apply_rules",
    "broken_instruction_rule",
    "broken_response_rule",
]


class ResponseRules(Options):
    """Which responses are set aside, whatever a model thinks of them."""

    use: tuple[str, ...] = Field(default=("default",), validate_default=True)
    """Rules by name, or `paper`, `default`, `none`; `-name` takes one out."""
    max_foreign: float = 0.1
    """`foreign_script` above this share of letters in scripts that neither a seed nor the task has."""
    max_copied: float = 0.8
    """`mostly_copied` above this share of 4-grams that stand in instruction and input."""
    min_chars: int = Field(default=160, ge=0)
    """`short_finished` and `short_unfinished` below this many characters of response."""

    added: ClassVar[frozenset[str]] = frozenset({"min_chars"})

    @field_validator("use", mode="before")
    @classmethod
    def _expand(cls, use: str | Iterable[str]) -> tuple[str, ...]:
        return expand(use, "response", RESPONSE_RULES, RESPONSE_PRESETS)


Rule = Callable[[Example, ResponseRules, Scripts], bool]
RESPONSE_RULES: dict[str, Rule] = {}
RESPONSE_PRESETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "paper": (
        "empty",
        "role_label",
        "answer_choices",
        "no_input_mark",
        "option_marker",
        "foreign_script",
        "input_in_instruction",
    ),
    "default": (
        "empty",
        "unfinished",
        "role_label",
        "chat_token",
        "answer_choices",
        "no_input_mark",
        "option_marker",
        "foreign_script",
        "input_in_instruction",
        "echo",
        "loop",
    ),
}
"""In no list: `mostly_copied`, which belongs to an assessor that rewards copying, and the filters of
Dromedary's stages: `short_finished`, `short_unfinished`, `reference_heading` and `persona_text`."""


@op("apply_rules")
def apply_rules(
    rows: Iterable[Example], *, rules: ResponseRules, seeds: Iterable[Example] = ()
) -> Generator[Example, None, list[View]]:
    """Yields every row, set aside with the name of the first rule it breaks.

    `seeds` say which scripts are at home; without any, no script is foreign.
    """
    scripts = scripts_of(seeds) or None
    reasons: Counter[str] = Counter()
    count = 0
    for row in rows:
        count += 1
        reason = broken_response_rule(row, rules, scripts)
        if reason:
            reasons[reason] += 1
            row = set_aside(row, reason)
        yield row
    stages = [("responses", count), ("pass the rules", count - reasons.total())]
    return [funnel("Rules", stages, dict(reasons.most_common()))]


def broken_response_rule(row: Example, rules: ResponseRules, scripts: Scripts) -> str | None:
    """Returns the name of the first rule that the response breaks; None when it breaks none."""
    return next((name for name in rules.use if RESPONSE_RULES[name](row, rules, scripts)), None)


def broken_instruction_rule(row: Example, rules: InstructionRules, scripts: Scripts) -> str | None:
    """Returns the name of the first rule that the instruction breaks; None when it breaks none."""
    return next((name for name in rules.use if INSTRUCTION_RULES[name](row, rules, scripts)), None)


def _rule(function: Rule) -> Rule:
    RESPONSE_RULES[function.__name__] = function
    return function


@_rule
def empty(row: Example, _: object, __: object) -> bool:
    """Nothing that could be read: no letter, digit or other sign."""
    return not row.response.strip()


@_rule
def unfinished(row: Example, _: object, __: object) -> bool:
    """Cut at the length limit: teaches to stop in the middle."""
    return row.finish_reason == "length"


_FENCED = re.compile(r"```.*?(?:```|\Z)", re.S)
_ROLE = re.compile(
    r"^\s{0,3}(?:[*#]+\s*)?(?:"
    r"(?P<label>Assistant|Human|User|System|Question|Output|Instruction|Input|Task|Response|Answer"
    r"|ASSISTANT|HUMAN|USER|SYSTEM|QUESTION|OUTPUT|INSTRUCTION|INPUT|TASK|RESPONSE|ANSWER)"
    r"(?:\s*\d+)?\s*\**\s*:(?!:)"
    r"|(?P<bare>assistant|human|user)\s*(?::\s|$))",
    re.M,
)
_TALK = re.compile(
    r"\b(?:dialog(?:ue)?|conversation|interview|chat|transcript|script|quiz|faq|q&a|template|form)"
    r"s?\b"
)


@_rule
def role_label(row: Example, _: object, __: object) -> bool:
    """A role of the prompt's format starts a line, and neither the task's own words nor its kind
    (a dialogue, a quiz) call for it. Code between fences is not looked at."""
    task = question(row).lower()
    if _TALK.search(task):
        return False
    found = _ROLE.finditer(_FENCED.sub("", row.response))
    labels = {(m.group("label") or m.group("bare")).lower() for m in found}
    return any(not re.search(rf"\b{label}s?\b", task) for label in labels)


@_rule
def chat_token(row: Example, _: object, __: object) -> bool:
    """A control token of some chat format, as text."""
    return bool(CONTROL.search(row.response))


@_rule
def answer_choices(row: Example, _: object, __: object) -> bool:
    """Speaks of "answer choices" that the task does not have."""
    says = re.compile(r"\banswer choices\b", re.I)
    return bool(says.search(row.response)) and not says.search(question(row))


_NO_INPUT = re.compile(
    r"<no ?input>|^\W*(?:no|without) input\W*$|^\W*input\s*:\s*(?:none|n/?a)\W*$", re.I | re.M
)


@_rule
def no_input_mark(row: Example, _: object, __: object) -> bool:
    """The mark for "this task has no input", copied into the response."""
    return bool(_NO_INPUT.search(row.response))


_MARKER = re.compile(r"^\s*\(?([A-E])[.)]\s+\S", re.M)
_LISTS = re.compile(r"\b(?:options?|choices?|multiple|quiz|outline|list|exam|test)\b", re.I)


@_rule
def option_marker(row: Example, _: object, __: object) -> bool:
    """Made-up options: lines start with both "A." and "B.", and the task has or wants no options."""
    marks = set(_MARKER.findall(row.response))
    task = question(row)
    return {"A", "B"} <= marks and not (_MARKER.search(task) or _LISTS.search(task))


@_rule
def echo(row: Example, _: object, __: object) -> bool:
    """Repeats the instruction (four words or more), alone or before going on."""
    said, task = tokens(row.response), tokens(row.instruction)
    return len(task) >= 4 and said[: len(task)] == task


@_rule
def mostly_copied(row: Example, rules: ResponseRules, _: object) -> bool:
    """Most of the response stands in the instruction or input: right for few tasks, and what an
    assessor that compares log p(y|x) with log p(y) likes best."""
    share = copied_share(row)
    return share is not None and share > rules.max_copied


@_rule
def foreign_script(row: Example, rules: ResponseRules, scripts: Scripts) -> bool:
    """Written in a script that neither a seed nor the task uses."""
    if scripts is None:
        return False
    home = scripts | scripts_of([Example(instruction=question(row))])
    return foreign(row.response, home) > rules.max_foreign


@_rule
def loop(row: Example, _: object, __: object) -> bool:
    """Goes round in circles, and repeating was not what was asked for."""
    asked = re.search(r"\b(?:repeat\w*|times|refrain|chorus)\b", question(row), re.I)
    return not asked and loops(row.response)


@_rule
def input_in_instruction(row: Example, _: object, __: object) -> bool:
    """The input stands in the instruction once more (three words or more)."""
    return repeats_input(row)


@_rule
def short_finished(row: Example, rules: ResponseRules, _: object) -> bool:
    """Ended by itself with fewer than `min_chars` characters: says little for its prompt."""
    return row.finish_reason != "length" and len(row.response.strip()) < rules.min_chars


@_rule
def short_unfinished(row: Example, rules: ResponseRules, _: object) -> bool:
    """Cut at the length limit, with fewer than `min_chars` characters to its last whole word."""
    cut = row.finish_reason == "length"
    return cut and len(without_last_word(row.response.strip())) < rules.min_chars


_REFERENCE = re.compile(r"^\s{0,3}#{2,6}\s*(?:See also|External links)\b", re.I | re.M)


@_rule
def reference_heading(row: Example, _: object, __: object) -> bool:
    """A heading "See also" or "External links": ends as a page of an encyclopedia, with made-up links."""
    return bool(_REFERENCE.search(row.response))


_PERSONA_WORDS = 8
"""Words of a run that is no chance: two people rarely hit on the same eight."""


@_rule
def persona_text(row: Example, _: object, __: object) -> bool:
    """Says what its system turn says of the assistant, eight words in a row."""
    told = set(ngrams(tokens(row.system), _PERSONA_WORDS))
    return any(gram in told for gram in ngrams(tokens(row.response), _PERSONA_WORDS))
