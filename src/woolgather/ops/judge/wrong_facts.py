"""An answer with one fact exchanged: fluent, on its topic, as long as before, and wrong.

The one idea: a program need not know whether a fact is true, only that the task settles it. An answer
that begins with yes or no answers a question; a name, or a number of something, that the task itself
gives may not be another in the answer; and a number in a short answer to a question, or in a
calculation, is what was asked for. Any other number may be anybody's choice ("a tale of seven bears")
and stays as it is, as all code does.

What stands in the task is exchanged for something else that stands in it, and what does not for
something that does not: so the wrong answer has as many words in common with the task as the right one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from woolgather.core.rows import Example, question
from woolgather.ops.text.words import count_words

SHORT = 40
"""Words of an answer up to which a number in it is taken for what was asked."""
LARGE = 13
"""A number from here on that task and answer share is no coincidence, whatever it counts."""
_CALCULATION = re.compile(r"[=×÷]")
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_VERDICT = re.compile(r"\A\s*(yes|no|true|false)(?=\s*(?:[,.;:!]|[-–—]|\Z))", re.IGNORECASE)
_COUNTS = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_NUMBER = re.compile(
    rf"(?<![\w.,:/-])(?:[0-9]+(?:\.[0-9]+)?|{'|'.join(_COUNTS)})(?!\w|[.,:/-]\w)", re.IGNORECASE
)
_ITEM = re.compile(r"^\s*[0-9]+[.)]", re.MULTILINE)
_NAME = re.compile(r"(?:(?<=\w )|(?<=[,;] ))([^\W\d_][^\W\d_]{2,})(?!\w)")


def misstate(row: Example, rng: random.Random) -> str | None:
    """Returns the response with one fact exchanged; None where no fact of it can be told by program."""
    if "```" in row.response:
        return None
    found = [text for change in _CHANGES if (text := change(row, rng)) is not None]
    return rng.choice(found) if found else None


def _other_verdict(row: Example, _: random.Random) -> str | None:
    match = _VERDICT.match(row.response)
    if match is None:
        return None
    said = match[1]
    other = _OPPOSITES[said.lower()]
    return _put(row.response, match.span(1), other.title() if said[0].isupper() else other)


def _other_number(row: Example, rng: random.Random) -> str | None:
    task = question(row)
    given = {match[0].lower() for match in _NUMBER.finditer(task)}
    counted = {_what_is_counted(match) for match in _NUMBER.finditer(task)} - {None}
    marks = [match.span() for match in _ITEM.finditer(row.response)]
    said = [
        match
        for match in _NUMBER.finditer(row.response)
        if not any(start <= match.start() < end for start, end in marks)
    ]
    taken = {match[0].lower() for match in said}
    asked = "?" in task or bool(given)
    sought = _CALCULATION.search(row.response) or count_words(row.response) <= SHORT
    choices: list[tuple[re.Match[str], list[str]]] = []
    for match in said:
        if match[0].lower() not in given:
            near = _numbers_near(match[0]) if asked and sought else []
            others = [number for number in near if number.lower() not in given | taken]
        elif _what_is_counted(match) in counted or _is_large(match[0]):
            others = sorted(n for n in given - taken if n[0].isdigit() == match[0][0].isdigit())
        else:
            others = []
        if others:
            choices.append((match, others))
    if not choices:
        return None
    chosen, others = rng.choice(choices)
    number = rng.choice(others)
    return _put(row.response, chosen.span(), number.title() if chosen[0][0].isupper() else number)


def _is_large(number: str) -> bool:
    return number[0].isdigit() and float(number) >= LARGE


def _what_is_counted(match: re.Match[str]) -> tuple[str, str] | None:
    """Returns a number with the word behind it, singular and plural alike; None where none follows."""
    after = re.match(r" ([^\W\d_]+)", match.string[match.end() :])
    return (match[0].lower(), after[1].lower().rstrip("s")) if after else None


def _numbers_near(number: str) -> list[str]:
    """Returns numbers that could stand in the same place, as many digits behind the point."""
    if number.lower() in _COUNTS:
        place = _COUNTS.index(number.lower())
        return [*_COUNTS[max(0, place - 2) : place], *_COUNTS[place + 1 : place + 3]]
    whole, point, rest = number.partition(".")
    size = int(whole)
    # Up to a fifth off, and no less than a tenth: 61 for 60 is hardly wrong.
    near, far = max(1, size // 10), max(3, size // 5)
    return [
        f"{value}{point}{rest}"
        for value in range(max(1, size - far), size + far + 1)
        if abs(value - size) >= near
    ]


def _other_name(row: Example, rng: random.Random) -> str | None:
    names = _names(question(row))
    words = set(re.findall(r"\w+", row.response))
    said = [name for name in names if name in words]
    # Neither in the answer nor a plural of what is.
    free = [name for name in names if words.isdisjoint({name, name.rstrip("s")})]
    if not said or not free:
        return None
    name = re.escape(rng.choice(said))
    return re.sub(rf"(?<!\w){name}(?!\w)", rng.choice(free), row.response)


def _names(text: str) -> list[str]:
    """Returns the words with a capital within sentences, each once, in order."""
    found = (match[1] for match in _NAME.finditer(text))
    return list(dict.fromkeys(name for name in found if name[0].isupper() and name[1:].islower()))


def _put(text: str, span: tuple[int, int], word: str) -> str:
    return text[: span[0]] + word + text[span[1] :]


_CHANGES: tuple[Callable[[Example, random.Random], str | None], ...] = (
    _other_verdict,
    _other_number,
    _other_name,
)
