"""Values as short text for people, on a terminal and on a page: the one place where they are written.

Numbers, quantities with their interval and unit, durations, sizes, and what a model wrote. The one
idea: text from a model is made safe before it is shown. On a page control characters become their
pictures and direction overrides their code points (`visible`), on a terminal they are taken out
(`harmless`), so that neither an escape sequence nor a reversed line can hide; escaping for HTML is
the template's work.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from woolgather.runs.record import StepRecord

UNKNOWN = "–"
TOP_REASONS = 3
"""Reasons for which rows were set aside that a line names."""
_CONTROL = {c: chr(0x2400 + c) for c in range(0x20) if chr(c) not in "\n\t"}
_CONTROL |= {0x7F: "\u2421", **{c: f"[U+{c:04X}]" for c in range(0x80, 0xA0)}}
_CONTROL |= {c: f"[U+{c:04X}]" for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but newline and tab, changes of writing direction, lone surrogates."""


# Texts


def visible(text: str, limit: int | None = None) -> str:
    """Returns `text` with control characters made visible; cut to `limit` characters, it says how
    many more there are."""
    more = 0 if limit is None else len(text) - limit
    if more > 0:
        text = text[:limit]
    text = _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").translate(_CONTROL))
    return f"{text} … ({number(more)} more characters)" if more > 0 else text


def harmless(text: str) -> str:
    """Returns `text` without what a terminal would obey: escape sequences, control characters."""
    return _UNSEEN.sub("", _SEQUENCE.sub("", text))


def one_line(text: str, width: int = 100) -> str:
    """Returns a text that is harmless and on one line, shortened to `width` characters."""
    flat = " ".join(harmless(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def words(name: str) -> str:
    """Returns a snake_case name as words: "too_short" -> "too short"."""
    return visible(name.replace("_", " "), 80)


def measure_name(key: str) -> str:
    """Returns a dotted key of a measure as words: "null.rate" -> "null rate"."""
    return words(key.replace(".", " "))


# Numbers


@dataclass(frozen=True)
class _Unit:
    sign: str = ""
    """Written behind the number."""
    head: str = ""
    """Written behind the name of a column whose numbers all have it."""
    factor: float = 1
    places: int | None = None
    signed: bool = False
    """Whether numbers above zero have a plus."""


_UNITS: Mapping[object, _Unit] = {
    "percent": _Unit("%", "%", 100, 1),
    "points": _Unit("points", "(points)", 100, 1, signed=True),
    "score": _Unit(places=2),
    "change": _Unit(signed=True),
}
"""How each unit of `core.views` is written; a number of another unit is written plainly."""
_PLAIN = _Unit()


def _unit_of(value: object) -> _Unit:
    return _UNITS.get(value.get("unit"), _PLAIN) if isinstance(value, Mapping) else _PLAIN


def is_number(value: object) -> TypeGuard[int | float]:
    """Returns whether a value is a finite number; True and False are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_estimate(value: object) -> TypeGuard[Mapping[str, object]]:
    """Returns whether a value is a number with its interval: {"value", "low", "high", ...}."""
    return isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys()


def is_quantity(value: object) -> TypeGuard[Mapping[str, object]]:
    """Returns whether a value is a number with an interval, a unit or both, as
    `core.views.table_cell` gives it."""
    return is_estimate(value) or (isinstance(value, Mapping) and {"value", "unit"} == value.keys())


def number(value: float, places: int | None = None, *, signed: bool = False) -> str:
    """Returns a count in full with separators, another number to about three digits.

    `places` fixes the digits after the point; `signed` puts a plus before 0 and numbers above.
    """
    if not math.isfinite(value):
        return UNKNOWN
    plus = "+" if signed else ""
    if (value and not 1e-3 <= abs(value) < 1e15) or (abs(value) >= 1e6 and value % 1):
        mantissa, _, exponent = f"{value:{plus}.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    elif places is not None:
        text = f"{value:{plus}z,.{places}f}"
    else:
        text = f"{value:{plus}z,.{_digits(value)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def _digits(value: float) -> int:
    if float(value).is_integer():
        return 0
    return 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0


def places_of(values: Iterable[object]) -> int:
    """Returns the places after the point that all numbers of a column share; 0 where each number
    has its own, as in a column of counts and rates."""
    found = [v for v in values if is_number(v)]
    texts = [t for t in map(number, found) if "e" not in t]
    places = max((len(t.partition(".")[2]) for t in texts), default=0)
    return 0 if places > 2 and max(map(abs, found)) >= 10 else places


def parts_of(value: object) -> list[object]:
    """Returns the numbers of a cell; a quantity has its value and the ends of its interval."""
    if not isinstance(value, Mapping):
        return [value]
    return [value[key] for key in ("value", "low", "high") if key in value]


def quantity(value: Mapping[str, object], places: int | None = None, *, bare: bool = False) -> str:
    """Returns a number with its unit and interval: "0.31 [0.28, 0.34]", "17.3 % [10.0, 25.5]".

    A difference has its sign. `places` replaces the places of its unit; `bare` leaves the unit out,
    for a column whose head names it.
    """
    unit = _unit_of(value)
    if places is None:
        places = unit.places
    if places is None and is_estimate(value):
        places = places_of(parts_of(value)) or None

    def written(one: object) -> str:
        if not is_number(one):
            return UNKNOWN
        scaled = unit.factor * one if places is None else round(unit.factor * one, places)
        return number(scaled, places, signed=unit.signed)

    text = written(value["value"])
    if unit.sign and not bare and text != UNKNOWN:
        text += f" {unit.sign}"
    if is_estimate(value):
        text += f" [{written(value['low'])}, {written(value['high'])}]"
    return text


def speed(tokens_per_second: float) -> str:
    """Returns a speed as text, e.g. "410 tok/s"."""
    return f"{number(round(tokens_per_second))} tok/s"


def bottleneck(place: str, share: float | None = None) -> str:
    """Returns what takes most of a step's time, as text: "bottleneck: server (93 %)"."""
    return f"bottleneck: {place}" + ("" if share is None else f" ({round(100 * share)} %)")


def size(count: float) -> str:
    """Returns a number of bytes as text: "740 B", "1.4 MiB"."""
    if count < 1024:
        return f"{number(round(count))} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{number(count, 1)} {unit}"
    return f"{number(count / 1024, 1)} TiB"


def gigabytes(count: float) -> str:
    """Returns a number of bytes as those who make devices count them: "0.4 GB", "81 GB"."""
    value = count / 1e9
    return f"{number(value, 0 if value >= 10 else 1)} GB"


# Cells and columns


def cell(
    value: object,
    limit: int = 300,
    places: int | None = None,
    *,
    clean: Callable[[str], str] | None = None,
) -> str:
    """Returns a JSON value as the text of a table's cell; None becomes a dash.

    `places` fixes the digits of numbers after the point. Texts are made visible and cut to `limit`
    characters; where `clean` is given (`harmless`, for a terminal) it makes them safe instead.
    """

    def shown(text: str) -> str:
        return visible(text, limit) if clean is None else clean(text)

    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, places)
    if isinstance(value, str):
        return shown(value)
    if is_quantity(value):
        return quantity(value, places)
    if isinstance(value, list | tuple) and all(not isinstance(v, dict | list) for v in value):
        return shown(", ".join(cell(v, limit, clean=clean) for v in value))
    if isinstance(value, Mapping) and value and not any(map(_is_nested, value.values())):
        return shown(", ".join(f"{k} {cell(v, limit, clean=clean)}" for k, v in value.items()))
    return shown(json.dumps(value, ensure_ascii=False, default=str))


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and not is_quantity(value)


@dataclass(frozen=True)
class WrittenColumn:
    """A column of a table as it is written."""

    head: str
    cells: Sequence[str]
    numeric: bool
    """Whether it stands to the right: numbers, a few short words such as "not measured" aside."""


def column(
    title: str, values: Sequence[object], *, clean: Callable[[str], str] | None = None
) -> WrittenColumn:
    """Returns the cells of a column, its numbers with as many places as the finest of them needs.

    A unit that all of its numbers share stands in the head, not in the cells.
    """
    groups: dict[_Unit, list[object]] = {}
    others = []
    for value in values:
        if is_number(value) or is_quantity(value):
            groups.setdefault(_unit_of(value), []).append(value)
        elif value is not None:
            others.append(cell(value, clean=clean))
    shared = next(iter(groups)).head if len(groups) == 1 else ""
    places = {unit: _shared_places(unit, group) for unit, group in groups.items()}

    def written(value: object) -> str:
        if is_quantity(value):
            return quantity(value, places[_unit_of(value)], bare=bool(shared))
        return cell(value, places=places.get(_PLAIN), clean=clean)

    return WrittenColumn(
        f"{words(title)} {shared}" if shared else words(title),
        [written(value) for value in values],
        sum(map(len, groups.values())) > len(others) and all(len(text) <= 24 for text in others),
    )


def _shared_places(unit: _Unit, values: Sequence[object]) -> int | None:
    """Places of the numbers of one unit in a column; None where each has its own."""
    parts = [part for value in values for part in parts_of(value) if is_number(part)]
    if unit.places is None:
        return places_of(parts) or None
    if any(map(is_estimate, values)):
        return unit.places
    return places_of(round(unit.factor * part, unit.places) for part in parts)


def flatten(value: object, prefix: str = "", depth: int = 8) -> Iterator[tuple[str, object]]:
    """Yields the dotted keys and the leaves of nested mappings; a quantity is a leaf."""
    if isinstance(value, Mapping) and value and not is_quantity(value) and depth:
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key), depth - 1)
    else:
        yield prefix, value


# Times


def duration(seconds: float | None) -> str:
    """Returns a time as text: "0.4 s", "12 s", "3 min 20 s", "5 h 3 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = whole // 60
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def when(stamp: str | None) -> str:
    """Returns an ISO time as "2025-03-01 14:05 UTC"; any other text as it is."""
    if not stamp:
        return UNKNOWN
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return visible(stamp, 40)
    zone = " UTC" if time.utcoffset() is not None and not time.utcoffset() else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def between(started: str | None, finished: str | None) -> float | None:
    """Returns the seconds from one ISO time to another; None where either is unknown."""
    try:
        return (
            datetime.fromisoformat(finished or "") - datetime.fromisoformat(started or "")
        ).total_seconds()
    except (ValueError, TypeError):
        return None


# Steps


def row_count(record: StepRecord) -> int:
    """Returns how many rows of a step are in use; 0 for a step that makes no rows."""
    count = record.result.get("count")
    return count if isinstance(count, int) else 0


def values_of(record: StepRecord) -> Mapping[str, object]:
    """Returns what a step measured, by name; empty for a step that measures nothing."""
    values = record.result.get("values")
    return values if isinstance(values, Mapping) else {}


def outcome(record: StepRecord) -> str:
    """Returns what came of a step: its rows, its choice and why, or what its metrics say."""
    result = record.result
    if record.kind == "dataset":
        return f"{number(row_count(record))} rows"
    if record.kind == "choice":
        value = result.get("value")
        shown = value.get("kind", value) if isinstance(value, dict) else value
        return f"{cell(shown, clean=harmless)}: {result.get('why') or ''}".rstrip(": ")
    if record.kind == "metrics":
        return record.headline or "measured"
    return "model"


def aside(reasons: Mapping[str, int]) -> str:
    """Returns how many rows were set aside, and the commonest reasons: "12 (echo 9, empty 3)"."""
    top = sorted(reasons.items(), key=lambda item: -item[1])
    some = ", ".join(f"{reason} {number(count)}" for reason, count in top[:TOP_REASONS])
    more = ", ..." if len(top) > TOP_REASONS else ""
    return f"{number(sum(reasons.values()))} ({some}{more})" if top else ""


def summary(record: StepRecord) -> str:
    """Returns a line for a finished step: its outcome, the calls it took, and its time."""
    parts = [outcome(record)]
    if record.set_aside:
        parts.append(f"set aside {aside(record.set_aside)}")
    if asked := record.calls.get("requests", 0):
        old = record.calls.get("remembered", 0)
        parts.append(f"{number(asked)} calls" + (f" ({number(old)} remembered)" if old else ""))
        tokens = record.calls.get("completion_tokens", 0)
        if tokens and record.seconds > 0.5:
            parts.append(speed(tokens / record.seconds))
    return " · ".join([*parts, duration(record.seconds)])
