"""Questions to a judge, and how its replies are read.

The one idea: a rubric is data. Its template is a file a user may replace. Its fixed text comes
first and the row last, so that an engine computes what all rows share once; its last line is the
slot where the judge begins to write, so that a raw base model and a chat model are asked alike. A
reply is read by a grammar that would rather answer "unreadable" than guess: a stray number in free
text is no score, a number off the scale is no score, and unreadable is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.templates import Template, fill, load

Style = Literal["full", "simple", "icl"]
Read = Literal["first_score", "last_line_score", "last_line_number"]
FIELDS = frozenset({"question", "instruction", "input", "response"})
STYLES: Mapping[Style, Mapping[str, str]] = {
    "full": {"quality": "rubric-quality", "following": "rubric-following"},
    "simple": {"quality": "rubric-quality-simple", "following": "rubric-following-simple"},
    "icl": {"overall": "rubric-overall-icl"},
}
"""Template names of each style by rubric name (arXiv 2408.08072, the assessment prompts of its
ablation: detailed criteria, one-phrase criteria, three worked examples with one score)."""


class Rubric(Options):
    """A question to a judge, its scale, and how the reply is read."""

    name: str
    """The verdict's name in a row."""
    template: Template
    """Asks for the score of {{question}} (or {{instruction}} and {{input}}) and {{response}}."""
    low: float = 1
    """Worst score."""
    high: float = 10
    """Best score."""
    read: Read = "first_score"
    """first_score: the reply begins with it; last_line_score: reasons first, the last line begins
    with the score; last_line_number: the score is anywhere on the last line."""

    @model_validator(mode="after")
    def _check(self) -> Rubric:
        if self.low >= self.high:
            raise ValueError(f"rubric {self.name}: low {self.low} is not below high {self.high}")
        return self

    def score(self, reply: str) -> float | None:
        """Returns what `reply` says; None where it cannot be read."""
        return read_score(reply, self.low, self.high, self.read)


class RubricOptions(Options):
    """How rows are rated by rubric."""

    style: Style = "full"
    """full: quality and following by detailed criteria, two calls per row; simple: the same two by
    one phrase each; icl: three worked examples and one score, named "overall"."""
    templates: Mapping[str, str] = Field(default_factory=dict)
    """Replaces the template of a rubric: name of the rubric to the path of a .md file."""


def rubrics_of(style: Style = "full", templates: Mapping[str, str] | None = None) -> list[Rubric]:
    """Returns the rubrics of a style, with templates replaced by name. Raises ConfigError for a name that
    the style lacks, InputError for a template that cannot be read."""
    names = STYLES[style]
    for name in templates or {}:
        if name not in names:
            raise ConfigError(
                f"rubric template {name!r}: style {style!r} has no such rubric. "
                f"It has: {', '.join(names)}."
            )
    return [rubric(name, (templates or {}).get(name, own)) for name, own in names.items()]


def rubric(name: str, template: str) -> Rubric:
    """Returns a rubric on 1..10 from a template's name or path. Raises InputError where {{response}} is
    missing."""
    loaded = load(template, FIELDS)
    if "response" not in loaded.fields:
        raise InputError(
            f"template {template}: a rubric must show the response. Add the field {{{{response}}}}."
        )
    return Rubric(name=name, template=loaded)


def curation_rubric(template: str = "rubric-curation") -> Rubric:
    """Returns the rubric of five levels of a text as an assistant's answer, reasons first and the score
    on the last line (instruction backtranslation, arXiv 2308.06259)."""
    asked = rubric("curation", template)
    return asked.model_copy(update={"low": 1.0, "high": 5.0, "read": "last_line_number"})


def slot_prompt(template: Template, row: Example, prompt_format: PromptFormat) -> Prompt:
    """Returns the filled template, to be continued after its last line.

    raw: the whole text; chat: all but the last line is the user's turn, and the last line is how
    the assistant's turn begins.
    """
    text = fill(
        template,
        question=question(row),
        instruction=row.instruction,
        input=row.input,
        response=row.response,
    )
    if prompt_format == "raw":
        return text
    body, _, slot = text.rpartition("\n")
    if not body or not slot.endswith(":"):
        return (Message("user", text),)
    return (Message("user", body.rstrip("\n")), Message("assistant", slot))


_EDGE = r"[\s*_`\"'#>(\[{<]*"
_NUMBER = r"[+]?[0-9]+(?:\.[0-9]+|,[0-9](?![0-9]))?"
_WHOLE = r"(?!\w|[.,:][0-9])"
_LABEL = (
    r"(?:[-•]\s+)?(?:(?:the|my|your|final|overall|total|quality)\s+){0,3}"
    r"(?:score|rating|grade|mark|verdict|quality|following)"
    r"(?:\s+(?:is|of|for\s+\w+(?:\s+\w+)?))?[*_`\"']*\s*(?:[:=–—-]|is\b|would be\b)?"
)
_OF = r"[*_`]*\s*(?:/|out\s+of|of)\s*[*_`]*(?P<of>[0-9]+(?:\.[0-9]+)?)(?![\w%])"
_TAIL = r"(?:\s*(?:points?|stars?)\b)?"
_END = r"[*_`\"')\]}>]*\s*(?:$|[-–—:;,.|!(<\n]|because\b|since\b|as\b)"
_HEAD = re.compile(
    rf"{_EDGE}(?:{_LABEL}{_EDGE})?(?P<score>-?{_NUMBER}){_WHOLE}(?:{_OF})?{_TAIL}{_END}",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    rf"^{_EDGE}{_LABEL}{_EDGE}(?P<score>-?{_NUMBER}){_WHOLE}(?:{_OF})?{_TAIL}{_END}",
    re.IGNORECASE | re.MULTILINE,
)
_FRACTION = re.compile(
    rf"(?<![\w.,/])(?P<score>{_NUMBER})[*_`]*\s*(?:/|out\s+of)\s*(?P<of>[0-9]+)(?![\w.,]*[\w/])",
    re.IGNORECASE,
)
_RANGE = re.compile(
    rf"{_EDGE}(?:{_LABEL}{_EDGE})?[0-9.]+(?:\s*(?:[-–—]|to|or)\s*|,\s+)[0-9.]+\s*(?:$|[^\w\s%])",
    re.IGNORECASE,
)
_LIST = re.compile(r"^\s*1[.)]\s", re.MULTILINE)
_NEXT = re.compile(r"^\s*2[.)]\s", re.MULTILINE)


def read_score(
    reply: str,
    low: float,
    high: float,
    read: Read = "first_score",
) -> float | None:
    """Returns the one score that a reply states, or None where it states none on this scale.

    Read in turn: a number where the reply begins ("8", "**9**", "7 - clear", "Score: 7/10"); a
    labelled number at the start of a later line ("Final score: 6"), if all such agree; a fraction
    of this scale's top in running text ("I would give it 7/10"), if all such agree. None: a range
    ("7-8"), several numbers ("10, 2"), a numbered list, another scale ("4/5"), a number outside
    `low`..`high`, prose.

    With last_line_number only the last line counts, and a number anywhere on it (see
    `literal_score`).
    """
    if read == "last_line_number":
        literal = literal_score(reply)
        if literal is None or (literal.of is not None and literal.of != high):
            return None
        return literal.value if low <= literal.value <= high else None
    text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", reply.strip()))
    if read == "last_line_score":
        last = text.rpartition("\n")[2]
        found = _at_start(last, low, high)
        return found if found is not None else _anywhere(text, low, high)
    if _RANGE.match(text) or (_LIST.match(text) and _NEXT.search(text)):
        return None
    if match := _HEAD.match(text):
        return _value(match, low, high)
    return _anywhere(text, low, high)


class Literally(NamedTuple):
    """A number as a reply states it, on whatever scale."""

    value: float
    of: float | None = None
    """The scale's top where the reply names it: 5 in "4/5"."""


_ANY = r"(?<![\w.,/])(?P<score>(?:(?<![\w)])-)?[0-9]+(?:[.,][0-9]+)?)(?![\w]|[.,][0-9])"
_TOP = r"(?:\s*[*_`]*\s*(?:/|out\s+of)\s*[*_`]*(?P<of>[0-9]+(?:\.[0-9]+)?)(?![\w%]))?"
_NO_RANGE = r"(?!\s*(?:[-–—]|to\b|or\b|,)\s*[0-9])"
_ON_LINE = re.compile(_ANY + _TOP, re.IGNORECASE)
_NAMED = re.compile(
    rf"\b(?:score|rating|grade|level)\b(?:\s+(?:is|of))?[\s*_`\"':=–—<(\[-]{{0,8}}{_ANY}{_TOP}{_NO_RANGE}",
    re.IGNORECASE,
)
_VERY_END = re.compile(rf"{_ANY}{_TOP}[\s.*_`)\]>\"']*\Z", re.IGNORECASE)


def literal_score(reply: str, *, strict: bool = False) -> Literally | None:
    """Returns the number that the last line of a reply states, in range or not; None without one.

    Lenient: one called a score, a rating, a grade or a level, the last of these; else the only
    number there is ("5", "5.", "5/5", "I give it 4"). `strict`: it must also be the very end of the
    reply. Several numbers, or a range, state none.
    """
    last = reply.strip().rpartition("\n")[2]
    found = list(_NAMED.finditer(last))[-1:] or list(_ON_LINE.finditer(last))
    if len({(m["score"], m["of"]) for m in found}) != 1:
        return None
    if strict and not ((end := _VERY_END.search(last)) and end["score"] == found[-1]["score"]):
        return None
    match = found[-1]
    top = match["of"]
    return Literally(float(match["score"].replace(",", ".")), float(top) if top else None)


def _at_start(line: str, low: float, high: float) -> float | None:
    if _RANGE.match(line):
        return None
    match = _HEAD.match(line)
    return _value(match, low, high) if match else None


def _anywhere(text: str, low: float, high: float) -> float | None:
    for pattern in (_LABELLED, _FRACTION):
        if matches := list(pattern.finditer(text)):
            found = {_value(match, low, high) for match in matches}
            return found.pop() if len(found) == 1 else None
    return None


def _value(match: re.Match[str], low: float, high: float) -> float | None:
    of = match["of"]
    if of and float(of) != high:
        return None
    score = float(match["score"].replace(",", "."))
    return score if low <= score <= high else None
