"""Rows that say who the assistant is, as answered questions with its name filled in.

The one idea: a model learns one name, its own. A file may come from another assistant's training, so
rows that name that one or its makers take the own name, or are set aside, and either is told. The
same questions can be asked in more wordings, since a name is learned from many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.core.views import View, alarm, table
from woolgather.prompting.templates import Template, fill

OPENINGS = (
    "",
    "Before we begin: ",
    "One more question. ",
    "Just out of interest: ",
    "I am new to this. ",
    "May I ask you something? ",
    "A friend would like to know: ",
    "Let us get to know each other. ",
)
"""What may stand before a question; an answer fits all of them alike."""
_MAKERS = "the people who made me"


class Identity(Options):
    """Rows that say who the assistant is."""

    file: str = ""
    """File of questions and answers in which {{name}} is filled in; empty takes ours (12), where
    `name` is given."""
    repeats: int = Field(default=1, ge=0)
    """How often each row is among the training rows; 0 leaves these rows out."""
    questions: int | None = Field(default=None, ge=1)
    """Different questions: those of the file, and when it has fewer, the same ones with one of seven
    openings before them. None takes those of the file."""
    rows: int | None = Field(default=None, ge=1)
    """Rows in all, shared out evenly among the questions; None makes `repeats` of each."""
    foreign: Literal["rename", "set_aside"] = "rename"
    """What becomes of rows that name another assistant or its makers: `renames` is applied, or they are
    set aside."""
    renames: Mapping[str, str] = Field(
        default_factory=lambda: {
            "Vicuna": "{{name}}",
            "the Large Model Systems Organization (LMSYS)": _MAKERS,
            "Large Model Systems Organization (LMSYS)": _MAKERS,
            "Large Model Systems Organization": _MAKERS,
            "LMSYS": _MAKERS,
        }
    )
    """Names of other assistants and their makers, and what takes their place, where {{name}} is filled
    in."""

    # `identity_rows` is given the rows of the file, and these are its identity.
    execution: ClassVar[frozenset[str]] = frozenset({"file"})
    added: ClassVar[frozenset[str]] = frozenset({"questions", "rows", "foreign", "renames"})


def _expect(rows: Sized, *, how: Identity, **_: object) -> Expected:
    return Expected(rows=how.rows or (how.questions or len(rows)) * how.repeats)


@op("identity_rows", expects=_expect)
def identity_rows(
    rows: Iterable[Example],
    *,
    assistant: str,
    how: Identity = Identity(),  # noqa: B008 - frozen
) -> Generator[Example, None, list[View]]:
    """Yields who the assistant is, as answered questions: `{{name}}` is replaced by `assistant`.

    Meta: copy (counted from 0 for each question), and renamed where another name stood. Reason:
    other_name, with foreign="set_aside". Raises ConfigError when there are not as many questions as
    `how.questions` wants.
    """
    names = _Names(assistant, how.renames)
    found: Counter[str] = Counter()
    usable: list[Example] = []
    named = total = 0
    for row in rows:
        total += 1
        foreign = names.in_row(row)
        named += bool(foreign)
        found.update(foreign)
        if foreign and how.foreign == "set_aside":
            yield replace(_make_row(row, str), set_aside="other_name")
        else:
            usable.append(row)
    asked = _questions(usable, how.questions)
    made: list[list[str]] = []
    for (row, opening), copies in zip(asked, _share_out(len(asked), how), strict=True):
        for copy in range(copies):
            answered = _make_row(row, names.fill, opening, copy)
            if names.in_row(row):
                answered = replace(answered, meta={**answered.meta, "renamed": True})
            if copy == 0:
                made.append([answered.instruction, answered.response])
            yield answered
    views = [table("Who the assistant is", ["question", "answer"], made)]
    return [*views, _foreign_names(named, total, found, how, assistant)] if named else views


@dataclass(frozen=True)
class _Names:
    """The assistant's own name, and those that it must not take."""

    own: str
    renames: Mapping[str, str]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """The other names as whole words; one that holds another one comes first."""
        others = sorted((name for name in self.renames if name != self.own), key=len, reverse=True)
        words = "|".join(map(re.escape, others))
        return re.compile(rf"(?<!\w)(?:{words})(?!\w)" if words else r"(?!)")

    def in_row(self, row: Example) -> set[str]:
        """Returns the other names that stand in a row."""
        return set(self._pattern.findall(f"{row.instruction}\n{row.input}\n{row.response}"))

    def fill(self, text: str) -> str:
        """Returns a text with other names replaced and the own one filled in."""
        text = self._pattern.sub(lambda match: self.renames[match.group()], text)
        return fill(Template("identity", text), name=self.own)


def _make_row(
    row: Example, write: Callable[[str], str], opening: str = "", copy: int = 0
) -> Example:
    return Example(
        instruction=opening + write(row.instruction),
        input=write(row.input),
        response=write(row.response),
        parents=(row.id,) if row.id else (),
        meta={"origin": "identity", "copy": copy},
    )


def _questions(rows: Sequence[Example], wanted: int | None) -> list[tuple[Example, str]]:
    """Returns rows with what stands before their question: first all of them plain."""
    every = [(row, opening) for opening in OPENINGS for row in rows]
    if wanted is None:
        return every[: len(rows)]
    if wanted > len(every):
        raise ConfigError(
            f"identity.questions is {wanted}, and {len(rows)} questions in {len(OPENINGS)} wordings "
            f"are {len(every)}. Give more in identity.file, or set identity.questions to at most "
            f"{len(every)}."
        )
    return every[:wanted]


def _share_out(questions: int, how: Identity) -> list[int]:
    """Returns how often each question comes."""
    if how.rows is None or not questions:
        return [how.repeats] * questions
    each, more = divmod(how.rows, questions)
    return [each + (place < more) for place in range(questions)]


def _foreign_names(
    named: int, total: int, found: Mapping[str, int], how: Identity, assistant: str
) -> View:
    others = ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
    done = (
        f"They say {assistant} instead; identity.foreign=set_aside leaves them out"
        if how.foreign == "rename"
        else f"They are set aside; identity.foreign=rename lets them say {assistant} instead"
    )
    text = f"{named} of {total} rows name another assistant or its makers ({others}). {done}."
    return alarm("Rows of another assistant", text, "note")
