"""Machine checks of a response: does a text do what it was asked, decided without a model.

The one idea: a check is data, so that it travels in a JSON line beside its prompt, in a row's
`meta`, and into a fingerprint. A check is a mapping with a `kind` and that kind's parameters, or a
list of such mappings that must all hold:

    {"kind": "contains", "all": ["Paris"], "max_words": 12}
    [{"kind": "sentences", "min": 2, "max": 2}, {"kind": "contains", "any": ["river", "rivers"]}]

What all kinds share: an empty response never passes; letter case, accents, curly quotes and doubled
spaces do not count unless a parameter says so; words and numbers match whole; and every kind takes
`max_words`, the bound that keeps a right but verbose answer ("The capital of France is Paris.") and
turns away a rambling continuation that meets the word by accident.

A check judges as a person would: `passes` takes off a lead-in, a code fence and the like
(answer_readings.py), `passes_strictly` does not, and `outcome` knows an answer that was cut.

`python -c "import woolgather.probes.checks as c;
print(c.describe())"` lists the kinds. This module does not judge style or truth beyond these forms.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeGuard

from woolgather.core.errors import InputError
from woolgather.probes import kinds
from woolgather.probes.answer_parsing import count_words, plain
from woolgather.probes.answer_readings import readings
from woolgather.probes.kinds import Params

Check = Params | Sequence[Params]
"""One check, or several that must all hold."""


class EngineReply(Protocol):
    """What an engine gives back for a prompt, as far as a check needs it."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...


def passes(response: str, check: Check) -> bool:
    """Returns whether `response` satisfies `check` in one of its readings: as it stands, or without a
    lead-in, a code fence or other wrapping. Raises InputError if the check is malformed."""
    validate(check)
    return any(_all_hold(text, check) for text in readings(plain(response)))


def passes_strictly(response: str, check: Check) -> bool:
    """Returns whether `response` satisfies `check` as it stands. Raises InputError if the check is
    malformed."""
    validate(check)
    return _all_hold(plain(response).strip(), check)


def outcome(reply: EngineReply, check: Check) -> bool | None:
    """Returns whether a reply passes; False where it was cut by its length, and None where the engine
    gave no answer at all ("too_long", "error", or any other reason than "stop"), which is neither
    right nor wrong. Raises InputError if the check is malformed."""
    validate(check)
    if reply.finish_reason not in ("stop", "length"):
        return None
    return reply.finish_reason == "stop" and passes(reply.text, check)


def _all_hold(text: str, check: Check) -> bool:
    return bool(text) and all(_holds(text, part) for part in _parts(check))


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
_NUMS = _Is("a list of finite numbers", lambda v: isinstance(v, list) and all(map(_is_number, v)))
_SLACK = _Is("a number >= 0", lambda v: _is_number(v) and v >= 0)
_REGEX = _Is("a valid regular expression", _is_pattern)
_FIELDS = _Is("a non-empty mapping", lambda v: isinstance(v, Mapping) and bool(v))
_RANGE = {"min": _COUNT, "max": _COUNT}

KINDS: Mapping[str, _Kind] = {
    "exact": _Kind(kinds.exact, {"value": _SAID}, {"case": _FLAG}),
    "one_of": _Kind(kinds.one_of, {"values": _TEXTS}),
    "contains": _Kind(kinds.contains, {}, {"all": _TEXTS, "any": _TEXTS}, some=True),
    "excludes": _Kind(kinds.excludes, {"words": _TEXTS}),
    "names": _Kind(kinds.names, {"any": _TEXTS}, {"not": _TEXTS}),
    "number": _Kind(
        kinds.number,
        {"value": _NUM},
        {"tolerance": _SLACK, "which": _choice("last", "only"), "given": _NUMS, "unit": _TEXTS},
    ),
    "regex": _Kind(
        kinds.regex,
        {"pattern": _REGEX},
        {"mode": _choice("full", "search", "absent"), "ignore_case": _FLAG},
    ),
    "json": _Kind(
        kinds.parses_as_json,
        {},
        {
            "type": _choice("object", "array"),
            "keys": _TEXTS,
            "values": _FIELDS,
            "typed": _FLAG,
        },
    ),
    "words": _Kind(kinds.word_count, {}, {**_RANGE, "distinct": _COUNT}, some=True),
    "sentences": _Kind(kinds.sentence_count, {}, _RANGE, some=True),
    "lines": _Kind(kinds.line_count, {}, _RANGE, some=True),
    "items": _Kind(
        kinds.items,
        {"count": _SIZE},
        {
            "style": _choice("any", *kinds.STYLES),
            "among": _TEXTS,
            "max_item_words": _SIZE,
            "initial": _TEXT,
        },
    ),
    "case": _Kind(kinds.letter_case, {"value": _choice("lower", "upper", "title")}),
    "starts_with": _Kind(kinds.starts_with, {"value": _SAID}),
    "ends_with": _Kind(kinds.ends_with, {"value": _SAID}),
    "ordered": _Kind(kinds.ordered, {"values": _TEXTS}, {"once": _FLAG}),
    "yes_no": _Kind(kinds.yes_no, {"value": _choice("yes", "no")}),
    "not_echo": _Kind(kinds.not_echo, {"text": _TEXT}, {"run": _SIZE}),
    "no_loop": _Kind(kinds.no_loop),
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
