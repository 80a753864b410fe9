"""Edits of a right answer, by the kind of check that they may break.

The one idea: an edit is of what its kind looks at: a digit, a label, the order of two items, a letter's
case, a word too many. An editor may guess, and yields the most telling edits first; whether one breaks
the check is for the check to say (near_misses.py).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from woolgather.probes.answer_parsing import (
    count_words,
    mentions,
    plain,
    same,
    split_sentences,
    words,
)
from woolgather.probes.kinds import Params

_WORD = re.compile(r"\w+(?:'\w+)*")
_ITEM = re.compile(r"(?:^|[,\n])\s*(?:(?:\d{1,2}[.)]|[-*•])\s+)?(?P<item>[^,\n]*[^,\s])")
_STRANGE = 24
"""Strange items that are tried in a list, at most."""
_MARKS = "*-#=<>[]"
_FILLERS = ("really", "also", "still", "often")


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a right answer, and lends an editor its words."""

    prompt: str
    """Instruction and input."""
    material: str
    """What the instruction speaks of: the input, or else what it quotes or ends with."""
    siblings: Sequence[str]
    """Right answers to other tasks of the family, the most alike first."""
    rng: random.Random


Editor = Callable[[str, Params, Around], Iterator[str]]
"""Yields edits of a right answer that may fail one check, the most telling ones first."""


# What many editors do


def _put(text: str, start: int, end: int, new: str) -> str:
    """`text` with `new` in a place of it, with a capital if one was there."""
    if text[start : start + 1].isupper() and new[:1].islower():
        new = new[0].upper() + new[1:]
    return text[:start] + new + text[end:]


def _exchange(text: str, spans: Sequence[tuple[int, int]], around: Around) -> Iterator[str]:
    """Two of the places have their texts exchanged; neighbours first."""
    pairs = list(combinations(range(len(spans)), 2))
    around.rng.shuffle(pairs)
    for i, j in sorted(pairs, key=lambda pair: pair[1] - pair[0]):
        (a, b), (c, d) = spans[i], spans[j]
        yield text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(text)]


def _swap_words(text: str, around: Around) -> Iterator[str]:
    return _exchange(text, _spans(text), around)


def _change_digits(text: str, around: Around) -> Iterator[str]:
    """One digit is another, the last one of a number by one; or a number of the prompt stands there."""
    found = list(re.finditer(r"\d+", text))[::-1]
    for number in found:
        for step in around.rng.sample((1, -1), 2):
            other = int(number[0]) + step
            if len(str(other)) == len(number[0]) and other >= 0:
                yield _put(text, *number.span(), str(other))
    for number in found:
        for at, digit in enumerate(number[0]):
            others = [d for d in "123456789" if d != digit]
            place = number.start() + at
            yield _put(text, place, place + 1, around.rng.choice(others))
    for number in found:
        for given in re.findall(r"\d+", around.prompt):
            yield _put(text, *number.span(), given)
    for number in found:
        yield _put(text, *number.span(), str(int(number[0]) + 1))


def _replace(text: str, phrases: Iterable[str], others: Sequence[str]) -> Iterator[str]:
    """The first place where one of the phrases stands, the longest first, has another word."""
    for phrase in sorted(phrases, key=len, reverse=True):
        place = next(mentions(plain(text), phrase), None)
        if place:
            yield from (_put(text, *place.span(), other) for other in others)


def _most_alike(right: str, others: Sequence[str], around: Around) -> list[str]:
    """The others at random, those about as long first: they often have as many tokens."""
    mixed = around.rng.sample(others, len(others))
    return sorted(mixed, key=lambda other: abs(len(other) - len(right)) // 2)


def _lend(around: Around, asked: Iterable[str] = ()) -> list[str]:
    """Longer words of the material that are not asked for."""
    found = _WORD.findall(around.material or around.prompt)
    return [word for word in found if len(word) > 3 and word.casefold() not in asked]


def _replace_from_siblings(
    text: str, wanted: Callable[[str], bool], around: Around
) -> Iterator[str]:
    """A word is, wherever it stands, the one in the same place of a sibling with as many words."""
    spans = _spans(text)
    for sibling in around.siblings:
        others = _WORD.findall(sibling)
        if len(others) == len(spans):
            for (start, end), other in zip(spans, others, strict=True):
                if wanted(text[start:end]) and _fits(text[:start], other):
                    if len(re.findall(rf"\b{text[start:end]}\b", text)) > 1:
                        yield re.sub(rf"\b{text[start:end]}\b", other, text)
                    else:
                        yield _put(text, start, end, other)


def _fits(before: str, word: str) -> bool:
    """Returns whether a word may follow, if what stands before it ends with an article."""
    article = re.search(r"\b(an?) $", before, re.IGNORECASE)
    return not article or (word[0] in "aeiou") == (article[1].lower() == "an")


def _echo(text: str, around: Around) -> Iterator[str]:
    """The material as it was, where the task is to change little in it."""
    own, said = words(text), words(around.material)
    if own and len(set(own) ^ set(said)) <= 2:
        yield around.material


def _change_case(text: str) -> Iterator[str]:
    """One word in the other case: capital letters become small ones, and small ones a capital or more."""
    spans = _spans(text)
    for start, end in [*spans[1:], *spans[:1]]:
        word = text[start:end]
        for other in (word.lower(), word.capitalize(), word.upper()):
            if other != word:
                yield text[:start] + other + text[end:]


# An editor per kind


def _edit_text(right: str, p: Params, around: Around) -> Iterator[str]:
    if p.get("case"):
        yield from _change_case(right)
    yield from _echo(right, around)
    yield from _change_digits(right, around)
    yield from _replace_from_siblings(right, bool, around)
    yield from _swap_words(right, around)
    if not around.siblings:
        yield from _lend(around, words(right))


def _edit_contents(right: str, p: Params, around: Around) -> Iterator[str]:
    phrases = [*p.get("all", ()), *p.get("any", ())]
    asked = {word for phrase in phrases for word in words(phrase)}
    yield from _replace_from_siblings(right, lambda word: word.casefold() in asked, around)
    if any(word.isdigit() for word in asked):
        yield from _change_digits(right, around)
    if not around.siblings:
        yield from _replace(right, phrases, _lend(around, asked))


def _edit_exclusion(right: str, p: Params, around: Around) -> Iterator[str]:
    spans = _spans(right)
    for word in p["words"]:
        yield from (_put(right, *span, word) for span in around.rng.sample(spans, len(spans)))


def _edit_names(right: str, p: Params, around: Around) -> Iterator[str]:
    known = set(words(around.prompt))
    # The other words of a sentence fit its own label alone, so a sentence is exchanged as a whole.
    short = len(words(right)) <= 2
    yield from (each for each in around.siblings if not short or set(words(each)) <= known)
    figures = any(c.isdigit() for c in right)
    wrong = [word for word in p.get("not", ()) if word.isdigit() == figures]
    yield from _replace(right, p["any"], _most_alike(right, wrong, around))
    if len(around.material.split()) == 1:
        yield from _replace(right, p["any"], [around.material])
    yield from _change_digits(right, around)
    if not around.siblings and not wrong:
        yield from _replace(right, p["any"], _lend(around))


def _edit_number(right: str, p: Params, around: Around) -> Iterator[str]:
    yield from _change_digits(right, around)


def _edit_pattern(right: str, p: Params, around: Around) -> Iterator[str]:
    yield from _change_digits(right, around)
    if right[-1:] in ".?":
        yield right[:-1] + ("." if right[-1] == "?" else "?")
    yield from _change_marks(right, around)
    yield from _echo(right, around)
    yield from _replace_from_siblings(right, bool, around)
    yield from _swap_words(right, around)
    yield from _change_case(right)
    yield from _edit_lines(right, p, around)


def _change_marks(text: str, around: Around) -> Iterator[str]:
    """The marks around the text are those around a sibling: both, since a text with two kinds of them
    is unlikely whatever was asked."""
    inner = text.strip(_MARKS)
    if inner == text:
        return
    for sibling in around.siblings:
        yield sibling.replace(sibling.strip(_MARKS), inner)


def _edit_json(right: str, p: Params, around: Around) -> Iterator[str]:
    try:
        data = json.loads(right)
    except ValueError:
        return
    yield from _change_digits(right, around)
    if not isinstance(data, dict):
        return
    for key in around.rng.sample(list(data), len(data)):
        for sibling in around.siblings:
            value = json.loads(sibling).get(key)
            if type(value) is type(data[key]):
                yield json.dumps({**data, key: value}, ensure_ascii=False)
    for one, other in combinations(data, 2):
        exchanged = {**data, one: data[other], other: data[one]}
        yield json.dumps(exchanged, ensure_ascii=False)


def _edit_length(right: str, p: Params, around: Around) -> Iterator[str]:
    inner = _spans(right)[1:-1]
    if count_words(right) not in (p.get("min"), p.get("max")):
        return
    for start, end in around.rng.sample(inner, len(inner)):
        yield f"{right[:start]}{around.rng.choice(_FILLERS)} {right[start:]}"
        yield f"{right[:start].rstrip()} {right[end:].lstrip()}"


def _edit_sentences(right: str, p: Params, around: Around) -> Iterator[str]:
    found = split_sentences(right)
    for sentence in found[:-1]:
        end = right.find(sentence) + len(sentence)
        yield f"{right[: end - 1]},{right[end:]}"
    for comma in re.finditer(r",? (?=and |who |which )|, ", right):
        rest = right[comma.end() :]
        yield f"{right[: comma.start()]}. {rest[:1].upper()}{rest[1:]}"


def _edit_lines(right: str, p: Params, around: Around) -> Iterator[str]:
    yield from (
        _put(right, *end.span(), mark) for end in re.finditer(r"\n+", right) for mark in " ,"
    )


def _edit_items(right: str, p: Params, around: Around) -> Iterator[str]:
    """An item has another initial, is of another list, stands there twice, or has another mark."""
    spans = [match.span("item") for match in _ITEM.finditer(right)]
    around.rng.shuffle(spans)
    allowed = [item for item in p.get("among", ()) if "initial" in p]
    around.rng.shuffle(allowed)
    known = set(map(same, p.get("among", ())))
    strange = [
        match["item"]
        for sibling in around.siblings
        for match in _ITEM.finditer(sibling)
        if same(match["item"]) not in known
    ]
    for item in (allowed + strange)[:_STRANGE]:
        yield from (_put(right, *span, item) for span in spans[:1])
    for one, other in combinations(spans, 2):
        yield _put(right, *one, right[slice(*other)])
    for mark in re.finditer(r"^(?:\d{1,2}[.)]|[-*•])(?= )", right, re.MULTILINE):
        yield _put(right, *mark.span(), "1." if mark[0] in "-*•" else "-")


def _edit_case(right: str, p: Params, around: Around) -> Iterator[str]:
    yield from _change_case(right)


def _edit_beginning(right: str, p: Params, around: Around) -> Iterator[str]:
    first = words(p["value"])[:1]
    yield from _replace_from_siblings(right, lambda word: words(word) == first, around)
    begins = [found[0] for each in around.siblings if (found := _WORD.search(each))]
    yield from _replace(right, [p["value"]], begins)
    yield from _swap_words(right, around)


def _edit_end(right: str, p: Params, around: Around) -> Iterator[str]:
    last = words(p["value"])[-1:]
    yield from _replace_from_siblings(right, lambda word: words(word) == last, around)
    yield from _swap_words(right, around)


def _edit_order(right: str, p: Params, around: Around) -> Iterator[str]:
    places = [next(mentions(plain(right), value), None) for value in p["values"]]
    spans = sorted({place.span() for place in places if place})
    yield from _exchange(right, spans, around)


def _edit_yes_no(right: str, p: Params, around: Around) -> Iterator[str]:
    yield from _replace(right, [p["value"]], ["no" if p["value"] == "yes" else "yes"])


EDITORS: Mapping[str, Editor] = {
    "yes_no": _edit_yes_no,
    "names": _edit_names,
    "number": _edit_number,
    "json": _edit_json,
    "case": _edit_case,
    "sentences": _edit_sentences,
    "lines": _edit_lines,
    "words": _edit_length,
    "contains": _edit_contents,
    "ends_with": _edit_end,
    "regex": _edit_pattern,
    "excludes": _edit_exclusion,
    "ordered": _edit_order,
    "items": _edit_items,
    "exact": _edit_text,
    "one_of": _edit_text,
    "starts_with": _edit_beginning,
}
"""By kind of check. Of several checks the first of these is edited first: it leaves the text the most
natural. An echo and a loop (not_echo, no_loop) are not one edit away from an answer."""
