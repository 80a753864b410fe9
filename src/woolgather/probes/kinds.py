"""The kinds of checks: each a function from a text and the parameters of a check to yes or no.

The one idea: the first line of a kind's docstring is what a person reads of it (`checks.describe`).
How a check is written down, and which parameters a kind takes, stands in checks.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from woolgather.probes import given_answers
from woolgather.probes.answer_parsing import (
    count_words,
    fold,
    lists_in,
    mentions,
    numbers,
    position,
    same,
    split_sentences,
    without_numbering,
    words,
)

Params = Mapping[str, Any]
"""A check's kind and parameters, JSON values; `validate` holds each to the type that KINDS gives it."""

_EMPTY = frozenset({"a", "an", "the", "is", "are", "was", "were"})
_SMALL = frozenset(
    re.findall(r"\w+", "a an and as at but by for from in into of on or the to with")
)


def _within(count: int, p: Params) -> bool:
    return bool(p.get("min", 0) <= count <= p.get("max", math.inf))


def exact(text: str, p: Params) -> bool:
    """the response is `value`, but for surrounding quotes and punctuation"""
    case = p.get("case", False)
    return same(text, case=case) == same(p["value"], case=case)


def one_of(text: str, p: Params) -> bool:
    """the response is one of `values`, but for surrounding quotes and punctuation"""
    return same(text) in {same(value) for value in p["values"]}


def contains(text: str, p: Params) -> bool:
    """has every phrase of `all`, and at least one phrase of `any`"""
    every = all(position(text, phrase) >= 0 for phrase in p.get("all", ()))
    return every and ("any" not in p or any(position(text, phrase) >= 0 for phrase in p["any"]))


def excludes(text: str, p: Params) -> bool:
    """has none of `words`"""
    return all(position(text, phrase) < 0 for phrase in p["words"])


def names(text: str, p: Params) -> bool:
    """gives one of `any` as its answer, and none of `not`; what explains the answer may name them"""
    return given_answers.names(text, p["any"], p.get("not", ()))


def number(text: str, p: Params) -> bool:
    """the last number (or the only one; not `given` in the question; before a `unit`) is `value`"""
    if p.get("which", "last") == "only" and len(set(numbers(text))) > 1:
        return False
    found = given_answers.answer_number(text, p.get("given", ()), p.get("unit", ()))
    slack = p.get("tolerance", 0) + 1e-9 * max(1.0, abs(p["value"]))
    return found is not None and bool(abs(found - p["value"]) <= slack)


def regex(text: str, p: Params) -> bool:
    """`pattern` matches the stripped response, in full, or anywhere ("search"), or nowhere ("absent")"""
    pattern = re.compile(p["pattern"], re.IGNORECASE if p.get("ignore_case") else 0)
    mode = p.get("mode", "full")
    if mode == "full":
        return pattern.fullmatch(text) is not None
    found = pattern.search(text) is not None
    return found if mode == "search" else not found


def parses_as_json(text: str, p: Params) -> bool:
    """parses as JSON, with `keys` and `values` at the top (`typed`: of the same types)"""
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL | re.IGNORECASE)
    try:
        data = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    if isinstance(data, list):
        return p.get("type", "array") == "array" and not p.get("keys") and not p.get("values")
    if not isinstance(data, dict):
        return False
    values: Params = p.get("values", {})
    wanted = {*p.get("keys", ()), *values}
    if p.get("type", "object") != "object" or not wanted <= set(data):
        return False
    alike = _equal if p.get("typed", False) else _alike
    return all(alike(data[key], value) for key, value in values.items())


def _alike(one: object, other: object) -> bool:
    return same(str(one)) == same(str(other))


def _equal(one: object, other: object) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return same(one) == same(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and one == other


def word_count(text: str, p: Params) -> bool:
    """from `min` to `max` words, at least `distinct` different ones ("a" and "is" do not count)"""
    different = set(words(text)) - _EMPTY
    return _within(count_words(text), p) and len(different) >= p.get("distinct", 0)


def sentence_count(text: str, p: Params) -> bool:
    """from `min` to `max` sentences"""
    return _within(len(split_sentences(text)), p)


def line_count(text: str, p: Params) -> bool:
    """from `min` to `max` lines that are not blank"""
    return _within(sum(bool(line.strip()) for line in text.splitlines()), p)


def items(text: str, p: Params) -> bool:
    """a list of exactly `count` different items, in a `style`, each `among` these, with this `initial`"""
    style = p.get("style", "any")
    if style in STYLES:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if sum(bool(STYLES[style].match(line)) for line in lines) != p["count"]:
            return False
    allowed = _bare_set(tuple(p.get("among", ())))
    return any(_are_items(found, p, allowed) for found in lists_in(text))


@lru_cache(maxsize=256)
def _bare_set(values: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(same, values))


def _are_items(found: Sequence[str], p: Params, allowed: frozenset[str]) -> bool:
    """Returns whether a list meets a check. An article and a remark do not count, and a kind of an
    allowed item is allowed ("polar bear")."""
    items = [_ARTICLE.sub("", same(item)) for item in found]
    heads = [_head(item) for item in items]
    if len(items) != p["count"] or len({_singular(head) for head in heads}) != len(items):
        return False
    if any(count_words(item) > p.get("max_item_words", math.inf) for item in items):
        return False
    if any(not item.startswith(p.get("initial", "").casefold()) for item in items):
        return False
    return not allowed or all(
        {item, head, head.split()[-1] if 0 < count_words(head) <= 3 else head} & allowed
        for item, head in zip(items, heads, strict=True)
    )


def _head(item: str) -> str:
    """What stands before a remark on the item: "oslo" of "oslo (norway)" and of "oslo: cold"."""
    return same(re.split(r"\s*[:(]|\s+-\s", item, maxsplit=1)[0])


def _singular(item: str) -> str:
    """About the singular: "dogs" and "dog" are one item, and so are "berries" and "berry"."""
    return re.sub(r"(?:es|s)$", "", re.sub(r"ies$", "y", item))


_ARTICLE = re.compile(r"^(?:a|an|the|some)\s+(?=\S)")
STYLES = {"numbered": re.compile(r"\d{1,3}[.):]\s"), "bulleted": re.compile(r"[-*•+]\s")}


def letter_case(text: str, p: Params) -> bool:
    """every letter is lower or upper, or (title) every word but small ones is capitalised"""
    if not any(c.isalpha() for c in text):
        return False
    if p["value"] != "title":
        return text == (text.lower() if p["value"] == "lower" else text.upper())
    words = re.findall(r"[^\W\d_][\w'-]*", text)
    return all(w[0].isupper() or (i > 0 and w in _SMALL) for i, w in enumerate(words))


def starts_with(text: str, p: Params) -> bool:
    """begins with the words of `value`"""
    return re.match(re.escape(same(p["value"])) + r"(?!\w)", same(text)) is not None


def ends_with(text: str, p: Params) -> bool:
    """ends with the words of `value`, before closing punctuation"""
    return re.search(r"(?<!\w)" + re.escape(same(p["value"])) + "$", same(text)) is not None


def ordered(text: str, p: Params) -> bool:
    """has all `values`, first mentioned in that order, or each of them only `once`"""
    bare = fold(without_numbering(text))
    every = [[match.start() for match in mentions(bare, value)] for value in p["values"]]
    if not all(every) or (p.get("once", False) and any(len(places) > 1 for places in every)):
        return False
    found = [places[0] for places in every]
    return found == sorted(found) and len(set(found)) == len(found)


def yes_no(text: str, p: Params) -> bool:
    """the first word is `value`, and not "yes or no" """
    start = words(text)[:3]
    other = "no" if p["value"] == "yes" else "yes"
    return bool(start) and start[0] == p["value"] and other not in start


def not_echo(text: str, p: Params) -> bool:
    """repeats no `run` (8) consecutive words of `text`, nor all of a shorter one"""
    source, said = words(p["text"]), words(text)
    run = min(p.get("run", 8), len(source))
    if not run:
        return True
    known = {tuple(source[i : i + run]) for i in range(len(source) - run + 1)}
    return not any(tuple(said[i : i + run]) in known for i in range(len(said) - run + 1))


def no_loop(text: str, p: Params) -> bool:
    """says no run of one to six words three times in a row"""
    said = words(text)
    return not any(
        said[i : i + n] == said[i + n : i + 2 * n] == said[i + 2 * n : i + 3 * n]
        for n in range(1, 7)
        for i in range(len(said) - 3 * n + 1)
    )
