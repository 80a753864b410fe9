"""Which answer a reply gives, a name or a number, by rules that a person can predict.

A name is looked for clause by clause: in what concludes ("So ...", "the answer is ..."), in the first
sentence up to an explanation ("because", "not", "than", a bracket), in all of it, and then in the
last sentence likewise. The first clause that names right candidates alone, or wrong ones alone,
decides; a clause that names none or both says nothing. A candidate that is denied ("not cold", "Amman
is not the capital") is not named, and of two that are joined by "or" both must be right. A list that
has a wrong candidate on a line of its own names both, whichever comes first, unless it is concluded from.

A number is the one after "the answer is"; else the last one with its unit, where a unit is given;
else the last one that the question does not state, outside brackets if there is one; else the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from woolgather.probes.answer_parsing import (
    fold,
    mentions,
    numbers,
    spelled_numbers,
    split_sentences,
)

_EXPLAINS = re.compile(
    r"\s*[(;]|\s*[-=]>|(?<!\d)\s--?\s|,?\s+(?:because|since|whereas|while|unlike|neither|rather than"
    r"|instead of|than|and not|but not|which|who|where|as (?:it|they|the|all))\b"
    r"|,\s*(?:not|as|after|before|followed by|(?:and )?(?:all )?(?:the )?(?:others?|rest))\b",
    re.IGNORECASE,
)
_MARK = re.compile(r"^\s*(?:[-*•]|\(?\w{1,2}[.)])\s+")
"""What stands before an item of a list."""
_CONCLUDES = re.compile(
    r"(?:(?:^|[,;]\s+)(?:so|therefore|thus|hence)\b,?|\banswer\s+is\b:?)\s+", re.IGNORECASE
)
_NOT_BEFORE = re.compile(
    r"(?:\bnot|n't|\bnever|\bno|\bneither|\bnor|\bthan|\binstead of|\bexcept|\bunlike)\s+"
    r"(?:(?:a|an|the|called|in|on)\s+)*[\"'*`]*$",
    re.IGNORECASE,
)
_NOT_AFTER = re.compile(
    r"[\"'*`]*\s+(?:is|are|was)(?:n't| not) (?:the (?!same|name|kind|only)|right\b|correct\b)"
    r"|[\"'*`]*\s+(?:is|are|was) (?:wrong|incorrect)\b",
    re.IGNORECASE,
)


def names(text: str, right: Sequence[str], wrong: Sequence[str] = ()) -> bool:
    """Returns whether the answer of `text` is one of `right` and none of `wrong`."""
    sentences = split_sentences(fold(text))
    concluded = list(_conclusions(sentences))
    for clause in (*concluded, *_clauses(sentences)):
        good = _named(clause, right)
        if good != _named(clause, wrong):
            listed = clause not in concluded and _lists(text, wrong)
            return good and not listed and not _hedged(clause, right)
    return False


def _lists(text: str, wrong: Sequence[str]) -> bool:
    """Returns whether a line of several holds a wrong candidate and nothing else."""
    lines = [
        _MARK.sub("", line).strip(" \t.,;:*\"'`") for line in fold(text).casefold().splitlines()
    ]
    candidates = {fold(phrase).casefold() for phrase in wrong}
    return any(line in candidates for line in lines[1:])


def _conclusions(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in reversed(sentences):
        for end in [match.end() for match in _CONCLUDES.finditer(sentence)][::-1]:
            yield _before_explanation(sentence[end:])


def _clauses(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in (*sentences[:1], *sentences[-1:]):
        head = _before_explanation(sentence)
        yield head.split(": ")[0]
        yield head
        yield sentence


def _before_explanation(sentence: str) -> str:
    return _EXPLAINS.split(sentence, maxsplit=1)[0]


def _named(clause: str, phrases: Sequence[str]) -> bool:
    return any(
        not _NOT_BEFORE.search(clause[: found.start()])
        and not _NOT_AFTER.match(clause[found.end() :])
        and not re.match(r"'s\b", clause[found.end() :])
        for phrase in phrases
        for found in mentions(clause, phrase)
    )


def _hedged(clause: str, right: Sequence[str]) -> bool:
    sides = re.split(r"\s+or\s+", _before_explanation(clause))
    return not all(_named(side, right) for side in sides) if len(sides) > 1 else False


def answer_number(
    text: str, given: Sequence[float] = (), units: Sequence[str] = ()
) -> float | None:
    """Returns the number that `text` answers with, None where there is none.

    `given` are the numbers of the question, `units` the words that may follow the answer.
    """
    for place in _find_stated(text):
        found = numbers(place)
        if found:
            return next((value for value in reversed(found) if value not in given), found[-1])
    for place in _places(text, units):
        found = [value for value in numbers(place) if value not in given]
        if found:
            return found[-1]
    words = [value for value in spelled_numbers(text) if value not in given]
    rest = words or numbers(text)
    return rest[-1] if rest else None


def _find_stated(text: str) -> list[str]:
    """What follows the last "the answer is" of a text, to the end of the sentence."""
    return [
        re.split(r"\banswer\s*(?:is|:|=)", sentence, flags=re.IGNORECASE)[-1]
        for sentence in split_sentences(text)
        if re.search(r"\banswer\s*(?:is|:|=)", sentence, re.IGNORECASE)
    ][-1:]


def _places(text: str, units: Sequence[str]) -> Iterator[str]:
    """The parts of a text in which its number is looked for, the most telling one first."""
    for unit in units:
        yield " ".join(re.findall(rf"(\S+)\s+{re.escape(unit)}\b", text, re.IGNORECASE))
    yield re.sub(r"\([^()]*\)", " ", text)
    yield text
