"""Multiple-choice questions from a file of the user's: the knowledge that a tuned model must not lose.

The one idea: an answer key that is read wrongly vetoes good models, so only what has one reading is read.

    own, MMLU     {"question": "...", "options" or "choices": ["...", ...], "answer": 2 or "C"}
    named         {"question": "...", "options" or "choices": {"A": "...", "B": "..."}, "answer": "B"}
    ARC           {"question" or "question_stem": "...", "answerKey": "C",
                   "choices": {"text": ["...", ...], "label": ["A", ...]}}

An index counts from 0; a letter counts from A, and a label is one of those that stand there. `answer` may
also be the text of an option. Other fields are not looked at.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.rows import JSON, Example
from woolgather.data.record_files import Place, read_records
from woolgather.data.values import kind_of

FEWEST = 50
"""Questions below which a paired interval is wider than any loss that matters."""
LETTERS = string.ascii_uppercase
"""What options are called when a model is asked."""
GOOD = '{"question": "...", "options": ["...", "..."], "answer": "B"}'


@dataclass(frozen=True, slots=True)
class GuardQuestion:
    """A question, its options in order, and which of them is right."""

    text: str
    options: tuple[str, ...]
    """From 2 to 26 of them."""
    answer: int
    """Index of the right option, from 0."""


@dataclass(frozen=True)
class QuestionSet:
    """The questions of a file; a step that is given them is known by their content. Iterating yields them
    as tasks, with the right option for a reference."""

    name: str
    """The file's name, for people."""
    questions: tuple[GuardQuestion, ...]

    def __canonical__(self) -> dict[str, str]:
        return {"questions": fingerprint(canonical(self.questions))}

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Example]:
        for question in self.questions:
            yield Example(instruction=question.text, response=question.options[question.answer])


def read_questions(source: str) -> QuestionSet:
    """Returns the questions of a local file. Raises ConfigError for a file that is not there or holds
    fewer than `FEWEST`, and InputError, naming the line, for one that has no single reading."""
    path = Path(source).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ConfigError(
            f"measure.guard={source}: {what}. Give a local file with a question per line: {GOOD}"
        )
    found = tuple(_read(place, record) for place, record in read_records(path))
    if len(found) < FEWEST:
        raise ConfigError(
            f"measure.guard={source}: holds {len(found)} questions, and fewer than {FEWEST} cannot tell "
            "a loss from luck. Give some hundred, or leave measure.guard out."
        )
    return QuestionSet(path.name, found)


def _read(place: Place, record: object) -> GuardQuestion:
    if not isinstance(record, Mapping):
        raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", GOOD)
    text = _first(place, record, "question", "question_stem")
    if not isinstance(text, str) or not text.strip():
        raise place.wrong("'question' has to be a text that is not empty.", GOOD)
    options, labels = _options(place, _first(place, record, "options", "choices"))
    answer = _answer(place, _first(place, record, "answer", "answerKey"), options, labels)
    return GuardQuestion(text.strip(), options, answer)


def _first(place: Place, record: Mapping[str, JSON], *names: str) -> JSON:
    """Returns the value of the one field of `names` that the record has."""
    given = [name for name in names if record.get(name) is not None]
    if len(given) == 1:
        return record[given[0]]
    spelt = " or ".join(map(repr, names))
    if given:
        raise place.wrong(
            f"has both {' and '.join(map(repr, given))}: leave one of them out.", GOOD
        )
    raise place.wrong(f"field {spelt} is missing.", GOOD)


def _options(place: Place, found: JSON) -> tuple[tuple[str, ...], Sequence[str]]:
    """Returns the options and what they are called here; without names of their own by letters."""
    labels: Sequence[JSON] = LETTERS
    if isinstance(found, Mapping) and {"text", "label"} <= found.keys():
        found, labels = found["text"], found["label"]
    elif isinstance(found, Mapping):
        found, labels = [*found.values()], [*found]
    if not isinstance(found, list) or not all(isinstance(o, str) and o.strip() for o in found):
        raise place.wrong("the options have to be a list of texts that are not empty.", GOOD)
    if not 2 <= len(found) <= len(LETTERS):
        raise place.wrong(
            f"has {len(found)} options, where 2 to {len(LETTERS)} are possible.", GOOD
        )
    if len(set(found)) < len(found):
        raise place.wrong("two options are the same text: leave one of them out.", GOOD)
    names = [str(label).strip() for label in labels[: len(found)]]
    if len(set(names)) < len(found):
        raise place.wrong(f"{len(found)} options have {len(set(names))} different labels.", GOOD)
    return tuple(option.strip() for option in found), names


def _answer(place: Place, found: JSON, options: Sequence[str], labels: Sequence[str]) -> int:
    """Returns the index of the right option, by index, by label or by its text."""
    if isinstance(found, int) and not isinstance(found, bool):
        if str(found) in labels:
            return labels.index(str(found))
        if 0 <= found < len(options):
            return found
        raise place.wrong(
            f"'answer' is {found}, and the {len(options)} options count from 0 to {len(options) - 1}.",
            GOOD,
        )
    if not isinstance(found, str):
        raise place.wrong(f"'answer' is {kind_of(found)}: give an index or a letter.", GOOD)
    named = found.strip()
    meant = {names.index(named) for names in (labels, options) if named in names}
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise place.wrong(
            f"'answer' is {named!r}, the label of one option and the text of another. Give its index, "
            "from 0.",
            GOOD,
        )
    raise place.wrong(
        f"'answer' is {named!r}, which is none of {', '.join(labels)} and no option's text. Give a "
        "label, or the index from 0.",
        GOOD,
    )
