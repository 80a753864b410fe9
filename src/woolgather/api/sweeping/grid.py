"""What a sweep varies: `key=v1,v2,...` read as the values of a setting, and a point per combination.

The one idea: a point is nothing but the words that `woolgather run` would get. A comma parts values
unless it stands in brackets or quotes, so that `keep.on=[quality],[quality,following]` has two.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.rows import JSON
from woolgather.report.sweep import REPLICATE

NAME = 100
"""Characters of a directory's name, at most."""
_OPEN, _CLOSE, _QUOTES = "[{(", "]})", "\"'"
Meanings = Mapping[str, Mapping[float, Sequence[str]]]
"""By setting and value: the settings that such a point has instead."""


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    values: Mapping[str, str]
    """By key, as they were written, `replicate` among them where it is swept."""
    settings: Sequence[str]
    """The words `key=value`: what all points have in common, then what is the point's own."""

    @property
    def replicate(self) -> int:
        """Returns the number of the replicate, 0 where none is swept."""
        return int(self.values.get(REPLICATE, 0))

    @property
    def name(self) -> str:
        """Returns the point in words."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    @property
    def folder(self) -> str:
        """Returns the name of its directory: the values, with a hash where they cannot be spelled so."""
        said = {key: re.sub(r"[^\w.+-]+", "_", v).strip("_") for key, v in self.values.items()}
        name = ",".join(f"{key}={value}" for key, value in said.items())
        if said == self.values and len(name) <= NAME:
            return name
        return f"{name[:NAME]}-{fingerprint(canonical(dict(self.values)))[:6]}"


@dataclass(frozen=True)
class Grid:
    """The settings of a sweep: those with several values, and those that all points have."""

    axes: Mapping[str, Sequence[str]]
    """By key, the values in the order they were given."""
    fixed: Sequence[str]
    """Words `key=value`."""

    def points(self, meanings: Meanings) -> list[Point]:
        """Returns a point per combination, the last key's values changing first."""
        return [
            self._point(dict(zip(self.axes, values, strict=True)), meanings)
            for values in itertools.product(*self.axes.values())
        ]

    def _point(self, values: Mapping[str, str], meanings: Meanings) -> Point:
        own = [f"{key}={value}" for key, value in values.items() if key != REPLICATE]
        for key, value in values.items():
            own += meaning_of(key, value, meanings)
        return Point(values, (*self.fixed, *own))


def meaning_of(key: str, value: str, meanings: Meanings) -> Sequence[str]:
    """Returns the settings that a value stands for; none where it stands for itself."""
    try:
        return meanings.get(key, {}).get(float(value), ())
    except ValueError:
        return ()


def read_grid(words: Iterable[str]) -> Grid:
    """Returns what `key=value` and `key=v1,v2` say. Raises ConfigError for a word that is no setting, a
    key or a value that is given twice, a value that is empty, a replicate that is no whole number from
    0, and where nothing has several values."""
    axes: dict[str, list[str]] = {}
    fixed: dict[str, str] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"{word!r} is not a setting. Write key=v1,v2, e.g. keep.above=4,6,8.")
        if key in axes or key in fixed:
            raise ConfigError(
                f"{key}: given twice. Write all of its values in one: {key}=v1,v2, or as a list that "
                f"every point has: {key}=[v1,v2]."
            )
        values = split_values(text)
        if key == REPLICATE or len(values) > 1:
            axes[key] = _check_values(key, values)
        else:
            fixed[key] = word
    if all(len(values) < 2 for values in axes.values()):
        raise ConfigError(
            "sweep: no setting has several values. Write them with commas, e.g. keep.above=4,6,8; for "
            "one value of each there is `woolgather run`."
        )
    return Grid(axes, tuple(fixed.values()))


def write_words(points: Mapping[str, Iterable[JSON]]) -> list[str]:
    """Returns `key=v1,v2` for each setting with its values. Raises ConfigError where those are no list,
    or a value cannot be written."""
    words = []
    for key, values in points.items():
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise ConfigError(f"{key}: give a list of values, e.g. {{{key!r}: [4, 6, 8]}}.")
        written = [write_value(key, value) for value in values]
        if not written:
            raise ConfigError(f"{key}: the list of values is empty. Give one value or more.")
        words.append(f"{key}={','.join(written)}")
    return words


def write_value(key: str, value: JSON) -> str:
    """Returns a value as it is written in a word; quotes only where a text would be parted or trimmed.
    Raises ConfigError for a `value` of `key` that has no text."""
    value = value.item() if hasattr(value, "item") else value  # a number of numpy's
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str) and value and split_values(value) == [value]:
        return value
    if isinstance(value, list | tuple):
        return f"[{','.join(write_value(key, inner) for inner in value)}]"
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise ConfigError(
            f"{key}: {value!r} is no value of a setting. Give texts, numbers, true, false, None, or "
            "lists of them."
        ) from None


def check_fixed(fixed: Mapping[str, JSON], points: Mapping[str, Iterable[JSON]]) -> None:
    """Raises ConfigError for a setting that all points have, and that has several values as well."""
    for word in write_settings(fixed):
        key = word.partition("=")[0]
        if key in points:
            raise ConfigError(
                f"{key}: given twice, for all points and as a value of each. Leave one of them out."
            )


def write_settings(values: Mapping[str, JSON], prefix: str = "") -> list[str]:
    """Returns settings as words `key=value`, groups within groups by dotted keys."""
    words = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            words += write_settings(value, f"{prefix}{key}.")
        else:
            words.append(f"{prefix}{key}={write_value(prefix + key, value)}")
    return words


def split_values(text: str) -> list[str]:
    """Returns the parts of `text` between its commas; those in brackets or quotes part nothing."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign in _OPEN + _CLOSE:
            depth += 1 if sign in _OPEN else -1
        if sign == "," and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _check_values(key: str, values: list[str]) -> list[str]:
    for place, value in enumerate(values):
        if not value:
            raise ConfigError(
                f"{key}: value {place + 1} of {len(values)} is empty. Write "
                f"{key}={','.join(v for v in values if v)}, or '' in quotes for an empty text."
            )
        same = next((v for v in values[:place] if v == value or _same_number(v, value)), "")
        if same:
            spelled = f" (as {same}, too)" if same != value else ""
            raise ConfigError(f"{key}: {value} is given twice{spelled}. Give each value once.")
        if key == REPLICATE and not re.fullmatch(r"\d{1,9}", value):
            raise ConfigError(f"{key}={value}: give whole numbers from 0, e.g. {key}=0,1,2.")
    return values


def _same_number(one: str, other: str) -> bool:
    """Returns whether two texts spell one number."""
    try:
        return float(one) == float(other)
    except ValueError:
        return False
