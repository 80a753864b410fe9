"""Questions to a judge, and how its replies are read.

The one idea: a rubric is data. Its template is a file a user may replace. Its fixed text comes
first and the row last, so that an engine computes what all rows share once; its last line is the
slot where the judge begins to write, so that a raw base model and a chat model are asked alike. How
a reply is read is in score_reading.py: unreadable is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.options import Options
from woolgather.core.rows import Example, Verdict, question
from woolgather.ops.judge.score_reading import CUT, Read, Stated, find_score
from woolgather.prompting.forms import is_text
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.templates import Template, fill, load

Style = Literal["full", "simple", "icl"]
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
    """first_score: the reply begins with it; last_line_score: reasons first, the last line holds the
    score; last_line_number: the same, and the last line may end with a level ("So level 4")."""

    @model_validator(mode="after")
    def _check(self) -> Rubric:
        if self.low >= self.high:
            raise ValueError(f"rubric {self.name}: low {self.low} is not below high {self.high}")
        return self

    def find(self, reply: str) -> Stated | None:
        """Returns the score that `reply` states, on the scale or not; None where it states none."""
        return find_score(reply, (self.low, self.high), self.read, self.name)

    def score(self, reply: str) -> float | None:
        """Returns the score from `low` to `high` that `reply` states; None where it cannot be read."""
        found = self.find(reply)
        return None if found is None else found.on(self.low, self.high)

    def verdict(self, reply: str, *, cut: bool) -> Verdict:
        """Returns what a reply says; `cut` where it ran into its limit. The last line of a cut reply is
        missing, and a number that the limit may have broken off is none."""
        if cut and self.read != "first_score":
            reply = f"{reply}\n{CUT}"
        found = self.find(reply)
        broken = cut and found is not None and found.last and reply.endswith(_UNSURE_ENDS)
        return Verdict(None if broken or found is None else found.on(self.low, self.high), reply)


_UNSURE_ENDS = tuple("0123456789./,")
"""A limit behind one of these may have cut "10" to "1", or "8.5" to "8."."""


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
    """Returns the filled template, to be continued after its last line."""
    text = fill(
        template,
        question=question(row),
        instruction=row.instruction,
        input=row.input,
        response=row.response,
    )
    return open_slot(text, prompt_format)


def open_slot(text: str, prompt_format: PromptFormat) -> Prompt:
    """Returns `text` as a prompt that is continued after its last line.

    As a text it is whole; in turns all but the last line is the user's, and the last line is how
    the assistant's begins.
    """
    if is_text(prompt_format):
        return text
    body, _, slot = text.rpartition("\n")
    if not body or not slot.endswith(":"):
        return (Message("user", text),)
    return (Message("user", body.rstrip("\n")), Message("assistant", slot))
