"""Values as short text for people: numbers, intervals, durations, and what a model wrote.

The one idea: text from a model is made visible before it is shown. Control characters become their
pictures and direction overrides their code points, so that neither a terminal escape nor a reversed
line can hide; escaping for HTML is the template's work.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from woolgather.records import JSON

UNKNOWN = "–"
_CONTROL = {c: chr(0x2400 + c) for c in range(0x20) if chr(c) not in "\n\t"}
_CONTROL |= {0x7F: "\u2421", **{c: f"[U+{c:04X}]" for c in range(0x80, 0xA0)}}
_CONTROL |= {c: f"[U+{c:04X}]" for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_NUMBER = r"([+\-−]?\d+(?:\.\d+)?)"
_INTERVAL = re.compile(rf"{_NUMBER} ?\[{_NUMBER}, ?{_NUMBER}\]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str, limit: int | None = None) -> str:
    """`text` with controls made visible, cut to `limit` characters and saying how many are left."""
    more = 0 if limit is None else len(text) - limit
    if more > 0:
        text = text[:limit]
    text = _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").translate(_CONTROL))
    return f"{text} … ({more:,} more characters)" if more > 0 else text


def is_estimate(value: JSON) -> bool:
    """Whether it is a number with its interval: {"value", "low", "high", ...}."""
    return isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys()


def as_estimate(value: JSON) -> JSON:
    """A text like "0.31 [0.27, 0.35]" as {"value", "low", "high"}; anything else as it is."""
    found = _INTERVAL.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return value
    middle, low, high = (float(g.replace("−", "-")) for g in found.groups())
    return {"value": middle, "low": low, "high": high, "text": value}


def is_number(value: JSON) -> bool:
    """A finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: float, places: int | None = None) -> str:
    """Counts in full with separators, other numbers to about three digits; `places` fixes them."""
    if not math.isfinite(value):
        return UNKNOWN
    if (value and not 1e-3 <= abs(value) < 1e15) or (abs(value) >= 1e6 and value % 1):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    elif places is not None:
        text = f"{value:,.{places}f}"
    else:
        text = f"{value:,.{_digits(value)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def places_of(values: Iterable[JSON]) -> int:
    """Places after the point that all numbers of a column share; 0 where each has its own, as in a
    column of counts and rates."""
    found = [v for v in values if is_number(v)]
    texts = [t for t in map(number, found) if "e" not in t]
    places = max((len(t.partition(".")[2]) for t in texts), default=0)
    return 0 if places > 2 and max(abs(v) for v in found) >= 10 else places


def _digits(value: float) -> int:
    if float(value).is_integer():
        return 0
    return 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1


def cell(value: JSON, limit: int = 300, places: int | None = None) -> str:
    """Any JSON value as the text of a table's cell; None is a dash. `places` is for numbers."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, places)
    if isinstance(value, str):
        return visible(value, limit)
    if is_estimate(value):
        if isinstance(value.get("text"), str):
            return visible(value["text"], limit)
        parts = [value[k] for k in ("value", "low", "high")]
        some = places_of(parts) or None if places is None else places
        middle, low, high = (cell(value[k], places=some) for k in ("value", "low", "high"))
        return f"{middle} [{low}, {high}]"
    if isinstance(value, list | tuple) and all(not isinstance(v, dict | list) for v in value):
        return visible(", ".join(cell(v, limit) for v in value), limit)
    return visible(json.dumps(value, ensure_ascii=False, default=str), limit)


def flatten(value: JSON, prefix: str = "", depth: int = 8) -> Iterator[tuple[str, JSON]]:
    """Dotted keys and leaves of nested mappings; an estimate is a leaf."""
    if isinstance(value, Mapping) and value and not is_estimate(value) and depth:
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key), depth - 1)
    else:
        yield prefix, value


def duration(seconds: float | None) -> str:
    """E.g. "0.4 s", "12 s", "3 min 20 s", "5 h 3 min"."""
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
    """An ISO time as "2025-03-01 14:05 UTC"; what is no time is shown as it is."""
    if not stamp:
        return UNKNOWN
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return visible(stamp, 40)
    zone = " UTC" if time.utcoffset() is not None and not time.utcoffset() else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def between(started: str | None, finished: str | None) -> float | None:
    """Seconds from one ISO time to another; None where either is unknown."""
    try:
        return (
            datetime.fromisoformat(finished or "") - datetime.fromisoformat(started or "")
        ).total_seconds()
    except (ValueError, TypeError):
        return None


def words(name: str) -> str:
    """A snake_case name as words: "too_short" -> "too short"."""
    return visible(name.replace("_", " "), 80)
