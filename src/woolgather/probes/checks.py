"""Machine checks of a response: does a text do what it was asked, decided without a model.

The one idea: a check is data, so that it travels in a JSON line beside its prompt, in a row's
`meta`, and into a fingerprint. A check is a mapping with a `kind` and that kind's parameters, or a
list of such mappings that must all hold:

    {"kind": "contains", "all": ["Paris"], "max_words": 12}
    [{"kind": "sentences", "min": 2, "max": 2}, {"kind": "contains", "any": ["river", "rivers"]}]

What all kinds share: an empty response never passes; letter case, curly quotes and doubled spaces
do not count unless a parameter says so; words match whole; and every kind takes `max_words`, the
bound that keeps a right but verbose answer ("The capital of France is Paris.") and turns away a
rambling continuation that meets the word by accident. `python -c "import woolgather.probes.checks as c;
print(c.describe())"` lists the kinds. This module does not judge style or truth beyond these forms.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from woolgather.core.errors import InputError
from woolgather.probes.answer_parsing import (
    count_words,
    numbers,
    plain,
    position,
    same,
    split_items,
    split_sentences,
    words,
)

Params = Mapping[str, Any]
"""A check's kind and parameters, JSON values; `validate` holds each to the type that KINDS gives it."""
Check = Params | Sequence[Params]
"""One check, or several that must all hold."""

_SMALL = frozenset(
    re.findall(r"\w+", "a an and as at but by for from in into of on or the to with")
)


def passes(response: str, check: Check) -> bool:
    """Returns whether `response` satisfies `check`. Raises InputError if the check is malformed."""
    validate(check)
    text = plain(response).strip()
    if not text:
        return False
    return all(_holds(text, part) for part in _parts(check))


def validate(check: Check) -> None:
    """Raise InputError, naming the kind and the parameter, unless `check` is well formed."""
    if isinstance(check, str) or not isinstance(check, Mapping | Sequence):
        raise InputError(f"a check is a mapping or a list of mappings, not {check!r}")
    if not check:
        raise InputError('a check must not be empty; use null for "no check"')
    for part in _parts(check):
        _validate_one(part)


def describe() -> str:
    """Returns the kinds with their parameters, one per line, for docs and people."""
    lines = []
    for name, kind in KINDS.items():
        needs = [f"{key}: {value.what}" for key, value in kind.needs.items()]
        may = [f"[{key}: {value.what}]" for key, value in kind.may.items()]
        lines.append(f"{name}({', '.join(needs + may)})  {kind.holds.__doc__}")
    return "\n".join(lines)


def _within(count: int, p: Params) -> bool:
    return bool(p.get("min", 0) <= count <= p.get("max", math.inf))


# The kinds


def _exact(text: str, p: Params) -> bool:
    """the response is `value`, but for surrounding quotes and punctuation"""
    case = p.get("case", False)
    return same(text, case=case) == same(p["value"], case=case)


def _one_of(text: str, p: Params) -> bool:
    """the response is one of `values`, but for surrounding quotes and punctuation"""
    return same(text) in {same(value) for value in p["values"]}


def _contains(text: str, p: Params) -> bool:
    """has every phrase of `all`, and at least one phrase of `any`"""
    every = all(position(text, phrase) >= 0 for phrase in p.get("all", ()))
    return every and ("any" not in p or any(position(text, phrase) >= 0 for phrase in p["any"]))


def _excludes(text: str, p: Params) -> bool:
    """has none of `words`"""
    return all(position(text, phrase) < 0 for phrase in p["words"])


def _number(text: str, p: Params) -> bool:
    """the last number (or the only one: all mentions agree) is `value`, within `tolerance`"""
    found = numbers(text)
    if not found or (p.get("which", "last") == "only" and len(set(found)) > 1):
        return False
    slack = p.get("tolerance", 0) + 1e-9 * max(1.0, abs(p["value"]))
    return bool(abs(found[-1] - p["value"]) <= slack)


def _regex(text: str, p: Params) -> bool:
    """`pattern` matches the stripped response, in full or (mode "search") anywhere"""
    pattern = re.compile(p["pattern"], re.IGNORECASE if p.get("ignore_case") else 0)
    matcher = pattern.search if p.get("mode", "full") == "search" else pattern.fullmatch
    return matcher(text) is not None


def _json(text: str, p: Params) -> bool:
    """parses as JSON (a code fence around it is allowed), with `keys` and `values` at the top"""
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
    return all(same(str(data[key])) == same(str(value)) for key, value in values.items())


def _words_kind(text: str, p: Params) -> bool:
    """from `min` to `max` words"""
    return _within(count_words(text), p)


def _sentences(text: str, p: Params) -> bool:
    """from `min` to `max` sentences"""
    return _within(len(split_sentences(text)), p)


def _lines(text: str, p: Params) -> bool:
    """from `min` to `max` lines that are not blank"""
    return _within(sum(bool(line.strip()) for line in text.splitlines()), p)


def _items(text: str, p: Params) -> bool:
    """a list of exactly `count` different items, in a `style`, each (but for a remark) `among`"""
    found = [same(item) for item in split_items(text)]
    style = p.get("style", "any")
    if style in _STYLES:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if sum(bool(_STYLES[style].match(line)) for line in lines) != p["count"]:
            return False
    if len(found) != p["count"] or len(set(found)) != len(found):
        return False
    if any(count_words(item) > p.get("max_item_words", math.inf) for item in found):
        return False
    allowed = {same(item) for item in p.get("among", ())}
    return not allowed or all(item in allowed or _head(item) in allowed for item in found)


def _head(item: str) -> str:
    """What stands before a remark on the item: "oslo" of "oslo (norway)" and of "oslo: cold"."""
    return same(re.split(r"\s*[:(]|\s+-\s", item, maxsplit=1)[0])


_STYLES = {"numbered": re.compile(r"\d{1,3}[.):]\s"), "bulleted": re.compile(r"[-*•+]\s")}


def _case(text: str, p: Params) -> bool:
    """every letter is lower or upper, or (title) every word but small ones is capitalised"""
    if not any(c.isalpha() for c in text):
        return False
    if p["value"] != "title":
        return text == (text.lower() if p["value"] == "lower" else text.upper())
    words = re.findall(r"[^\W\d_][\w'-]*", text)
    return all(w[0].isupper() or (i > 0 and w in _SMALL) for i, w in enumerate(words))


def _starts_with(text: str, p: Params) -> bool:
    """begins with the words of `value`"""
    return re.match(re.escape(same(p["value"])) + r"(?!\w)", same(text)) is not None


def _ends_with(text: str, p: Params) -> bool:
    """ends with the words of `value`, before closing punctuation"""
    return re.search(r"(?<!\w)" + re.escape(same(p["value"])) + "$", same(text)) is not None


def _ordered(text: str, p: Params) -> bool:
    """has all `values`, first mentioned in that order"""
    found = [position(text, value) for value in p["values"]]
    return min(found) >= 0 and found == sorted(found) and len(set(found)) == len(found)


def _yes_no(text: str, p: Params) -> bool:
    """the first word is `value`, and not "yes or no" """
    start = words(text)[:3]
    other = "no" if p["value"] == "yes" else "yes"
    return bool(start) and start[0] == p["value"] and other not in start


def _not_echo(text: str, p: Params) -> bool:
    """repeats no `run` (8) consecutive words of `text`, nor all of a shorter one"""
    source, said = words(p["text"]), words(text)
    run = min(p.get("run", 8), len(source))
    if not run:
        return True
    known = {tuple(source[i : i + run]) for i in range(len(source) - run + 1)}
    return not any(tuple(said[i : i + run]) in known for i in range(len(said) - run + 1))


# The form of a check


@dataclass(frozen=True, slots=True)
class _Is:
    """A type of parameter, in words and as a test."""

    what: str
    test: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class _Kind:
    holds: Callable[[str, Params], bool]
    needs: Mapping[str, _Is] = field(default_factory=dict)
    may: Mapping[str, _Is] = field(default_factory=dict)
    some: bool = False
    """At least one of `may` must be given."""


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


def _choice(*names: str) -> _Is:
    return _Is(" or ".join(f'"{name}"' for name in names), lambda value: value in names)


_TEXT = _Is("a non-empty text", _is_text)
_SAID = _Is("a text with a letter or digit", lambda v: _is_text(v) and count_words(v) > 0)
_TEXTS = _Is(
    "a non-empty list of texts", lambda v: isinstance(v, list) and bool(v) and all(map(_is_text, v))
)
_FLAG = _Is("true or false", lambda v: isinstance(v, bool))
_COUNT = _Is("a whole number >= 0", lambda v: _is_number(v) and isinstance(v, int) and v >= 0)
_SIZE = _Is("a whole number >= 1", lambda v: _is_number(v) and isinstance(v, int) and v >= 1)
_NUM = _Is("a finite number", _is_number)
_SLACK = _Is("a number >= 0", lambda v: _is_number(v) and v >= 0)
_REGEX = _Is("a valid regular expression", _is_pattern)
_FIELDS = _Is("a non-empty mapping", lambda v: isinstance(v, Mapping) and bool(v))
_RANGE = {"min": _COUNT, "max": _COUNT}

KINDS: Mapping[str, _Kind] = {
    "exact": _Kind(_exact, {"value": _SAID}, {"case": _FLAG}),
    "one_of": _Kind(_one_of, {"values": _TEXTS}),
    "contains": _Kind(_contains, {}, {"all": _TEXTS, "any": _TEXTS}, some=True),
    "excludes": _Kind(_excludes, {"words": _TEXTS}),
    "number": _Kind(
        _number, {"value": _NUM}, {"tolerance": _SLACK, "which": _choice("last", "only")}
    ),
    "regex": _Kind(
        _regex, {"pattern": _REGEX}, {"mode": _choice("full", "search"), "ignore_case": _FLAG}
    ),
    "json": _Kind(
        _json, {}, {"type": _choice("object", "array"), "keys": _TEXTS, "values": _FIELDS}
    ),
    "words": _Kind(_words_kind, {}, _RANGE, some=True),
    "sentences": _Kind(_sentences, {}, _RANGE, some=True),
    "lines": _Kind(_lines, {}, _RANGE, some=True),
    "items": _Kind(
        _items,
        {"count": _SIZE},
        {"style": _choice("any", *_STYLES), "among": _TEXTS, "max_item_words": _SIZE},
    ),
    "case": _Kind(_case, {"value": _choice("lower", "upper", "title")}),
    "starts_with": _Kind(_starts_with, {"value": _SAID}),
    "ends_with": _Kind(_ends_with, {"value": _SAID}),
    "ordered": _Kind(_ordered, {"values": _TEXTS}),
    "yes_no": _Kind(_yes_no, {"value": _choice("yes", "no")}),
    "not_echo": _Kind(_not_echo, {"text": _TEXT}, {"run": _SIZE}),
}
"""Every kind by name."""


def _parts(check: Check) -> Sequence[Params]:
    return [check] if isinstance(check, Mapping) else check


def _holds(text: str, part: Params) -> bool:
    if count_words(text) > part.get("max_words", math.inf):
        return False
    return KINDS[part["kind"]].holds(text, part)


def _nearest(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, 1)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(known)}"


def _validate_one(part: Params) -> None:
    if not isinstance(part, Mapping):
        raise InputError(f"each check in a list is a mapping, not {part!r}")
    if "kind" not in part:
        raise InputError(f'check {dict(part)!r} has no "kind"; known: {", ".join(KINDS)}')
    name = part["kind"]
    if not isinstance(name, str) or name not in KINDS:
        raise InputError(f"unknown kind of check {name!r}{_nearest(name, list(KINDS))}")
    kind = KINDS[name]
    forms = {**kind.needs, **kind.may, "max_words": _SIZE}
    for key, value in part.items():
        if key == "kind":
            continue
        if key not in forms:
            raise InputError(f'check "{name}" takes no {key!r}{_nearest(key, list(forms))}')
        if not forms[key].test(value):
            raise InputError(f'check "{name}": {key} must be {forms[key].what}, not {value!r}')
    for key, form in kind.needs.items():
        if key not in part:
            raise InputError(f'check "{name}" needs {key}: {form.what}')
    if kind.some and not any(key in part for key in kind.may):
        raise InputError(f'check "{name}" needs at least one of: {", ".join(kind.may)}')
    if part.get("min", 0) > part.get("max", math.inf):
        raise InputError(f'check "{name}": min {part["min"]} is greater than max {part["max"]}')
