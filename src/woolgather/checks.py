"""Machine checks of a response: does a text do what it was asked, decided without a model.

The one idea: a check is data, so that it travels in a JSON line beside its prompt, in a row's
`meta`, and into a fingerprint. A check is a mapping with a `kind` and that kind's parameters, or a
list of such mappings that must all hold:

    {"kind": "contains", "all": ["Paris"], "max_words": 12}
    [{"kind": "sentences", "min": 2, "max": 2}, {"kind": "contains", "any": ["river", "rivers"]}]

What all kinds share: an empty response never passes; letter case, curly quotes and doubled spaces
do not count unless a parameter says so; words match whole; and every kind takes `max_words`, the
bound that keeps a right but verbose answer ("The capital of France is Paris.") and turns away a
rambling continuation that meets the word by accident. `python -c "import woolgather.checks as c;
print(c.describe())"` lists the kinds. This module does not judge style or truth beyond these forms.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from woolgather.errors import InputError

Params = Mapping[str, Any]
Check = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""One check, or several that must all hold. Only JSON values."""

_PLAIN = str.maketrans("‘’‚“”„«»–—−\u00a0", '\'\'\'"""""--- ')
_EDGES = " \t\r\n.,;:!?\"'`*_()[]{}<>"
_SMALL = frozenset(
    re.findall(r"\w+", "a an and as at but by for from in into of on or the to with")
)
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No|a\.m|p\.m)\.$")


def passes(response: str, check: Check) -> bool:
    """Whether `response` satisfies `check`. Raises InputError if the check itself is malformed."""
    validate(check)
    text = _plain(response).strip()
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
    """The kinds with their parameters, one a line, for docs and people."""
    lines = []
    for name, kind in KINDS.items():
        needs = [f"{key}: {value.what}" for key, value in kind.needs.items()]
        may = [f"[{key}: {value.what}]" for key, value in kind.may.items()]
        lines.append(f"{name}({', '.join(needs + may)})  {kind.holds.__doc__}")
    return "\n".join(lines)


def count_words(text: str) -> int:
    """Whitespace-separated tokens that hold at least one letter or digit."""
    return sum(any(c.isalnum() for c in token) for token in text.split())


def split_sentences(text: str) -> list[str]:
    """Sentences by final punctuation and line ends; abbreviations and decimals do not end one."""
    found: list[str] = []
    for line in text.splitlines():
        start = 0
        for end in re.finditer(r"[.!?]+[\"')\]]*(?=\s|$)", line):
            piece = line[start : end.end()]
            last = end.end() == len(line)
            if last or not _ABBREVIATION.search(piece):
                found.append(piece)
                start = end.end()
        found.append(line[start:])
    return [piece.strip() for piece in found if count_words(piece)]


def split_items(text: str) -> list[str]:
    """The items of a list, without their marks: marked lines, else lines, else a comma list.

    A lead-in that ends with a colon ("Three colours: red, blue and green") is not an item.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [_MARK.sub("", line) for line in lines if _MARK.match(line)]
    if len(marked) > 1:
        return [_bare(item) for item in marked]
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    if len(lines) > 1:
        return [_bare(_MARK.sub("", line)) for line in lines]
    line = re.sub(r"^[^:,;]*:\s+", "", lines[0]) if lines else ""
    inline = re.split(r"(?:^|\s)\d{1,2}[.)]\s+", line)
    if len(inline) > 2:
        pieces = inline
    else:
        line = _MARK.sub("", line)
        pieces = re.split(r"\s*[,;]\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+", line)
    return [bare for bare in map(_bare, pieces) if bare]


def numbers(text: str) -> list[float]:
    """The numbers of a text in order: 1,200 · $5 · 12.0 · -3 · 3/4 · 1 1/2 · 40%.

    When there is no digit at all, words from zero to ninety-nine count.
    """
    found = [value for match in _NUMBER.finditer(text) if (value := _value(match)) is not None]
    if found or any(c.isdigit() for c in text):
        return found
    return [float(_NUMBER_WORDS[w.lower().replace(" ", "-")]) for w in _SPELLED.findall(text)]


# Reading text


def _plain(text: str) -> str:
    return text.translate(_PLAIN)


def _bare(text: str) -> str:
    return text.strip(_EDGES)


def _same(text: str, *, case: bool = False) -> str:
    bare = " ".join(_bare(_plain(text)).split())
    return bare if case else bare.casefold()


def _position(text: str, phrase: str) -> int:
    """Where `phrase` first stands as whole words, -1 if nowhere."""
    words = r"\s+".join(re.escape(word) for word in _plain(phrase).split())
    match = re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
    return match.start() if match else -1


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)*", _plain(text).casefold())


_MARK = re.compile(r"^(?:\d{1,3}[.):]|[-*•+]|\(\d{1,3}\)|[a-z][.)])\s+")
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-)?[$€£]?(?<![\w.])(?P<sign2>(?<=[$€£])-)?"
    r"(?:(?:(?P<whole>\d{1,9})\s+)?(?P<over>\d{1,9})\s*/\s*(?P<under>\d{1,9})(?![\d/])"
    r"|(?P<plain>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))"
)
_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {word: i for i, word in enumerate(_ONES)} | {
    f"{ten}-{_ONES[one]}" if one else ten: 10 * i + one
    for i, ten in enumerate(_TENS, 2)
    for one in range(10)
}
_SPELLED = re.compile(
    rf"\b(?:(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_ONES[1:10])})|{'|'.join(_TENS + _ONES)})\b",
    re.IGNORECASE,
)


def _value(match: re.Match[str]) -> float | None:
    if match["plain"]:
        value = float(match["plain"].replace(",", ""))
    elif float(match["under"]) == 0:
        return None
    else:
        value = float(match["whole"] or 0) + float(match["over"]) / float(match["under"])
    return -value if match["sign"] or match["sign2"] else value


def _within(count: int, p: Params) -> bool:
    return bool(p.get("min", 0) <= count <= p.get("max", math.inf))


# The kinds


def _exact(text: str, p: Params) -> bool:
    """the response is `value`, but for surrounding quotes and punctuation"""
    case = p.get("case", False)
    return _same(text, case=case) == _same(p["value"], case=case)


def _one_of(text: str, p: Params) -> bool:
    """the response is one of `values`, but for surrounding quotes and punctuation"""
    return _same(text) in {_same(value) for value in p["values"]}


def _contains(text: str, p: Params) -> bool:
    """has every phrase of `all` and at least one of `any`"""
    every = all(_position(text, phrase) >= 0 for phrase in p.get("all", ()))
    return every and ("any" not in p or any(_position(text, phrase) >= 0 for phrase in p["any"]))


def _excludes(text: str, p: Params) -> bool:
    """has none of `words`"""
    return all(_position(text, phrase) < 0 for phrase in p["words"])


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
    return all(_same(str(data[key])) == _same(str(value)) for key, value in values.items())


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
    found = [_same(item) for item in split_items(text)]
    style = p.get("style", "any")
    if style in _STYLES:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if sum(bool(_STYLES[style].match(line)) for line in lines) != p["count"]:
            return False
    if len(found) != p["count"] or len(set(found)) != len(found):
        return False
    if any(count_words(item) > p.get("max_item_words", math.inf) for item in found):
        return False
    allowed = {_same(item) for item in p.get("among", ())}
    return not allowed or all(item in allowed or _head(item) in allowed for item in found)


def _head(item: str) -> str:
    """What stands before a remark on the item: "oslo" of "oslo (norway)" and of "oslo: cold"."""
    return _same(re.split(r"\s*[:(]|\s+-\s", item, maxsplit=1)[0])


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
    return re.match(re.escape(_same(p["value"])) + r"(?!\w)", _same(text)) is not None


def _ends_with(text: str, p: Params) -> bool:
    """ends with the words of `value`, before closing punctuation"""
    return re.search(r"(?<!\w)" + re.escape(_same(p["value"])) + "$", _same(text)) is not None


def _ordered(text: str, p: Params) -> bool:
    """has all `values`, first mentioned in that order"""
    found = [_position(text, value) for value in p["values"]]
    return min(found) >= 0 and found == sorted(found) and len(set(found)) == len(found)


def _yes_no(text: str, p: Params) -> bool:
    """the first word is `value`, and not "yes or no" """
    start = _words(text)[:3]
    other = "no" if p["value"] == "yes" else "yes"
    return bool(start) and start[0] == p["value"] and other not in start


def _not_echo(text: str, p: Params) -> bool:
    """repeats no `run` (8) consecutive words of `text`, nor all of a shorter one"""
    source, said = _words(p["text"]), _words(text)
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
    test: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Kind:
    holds: Callable[[str, Params], bool]
    needs: Mapping[str, _Is] = field(default_factory=dict)
    may: Mapping[str, _Is] = field(default_factory=dict)
    some: bool = False
    """At least one of `may` must be given."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pattern(value: Any) -> bool:
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
