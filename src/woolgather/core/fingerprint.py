"""Identity: the canonical form of a value, its hash, and the difference between two, in words.

A step is identified by its op, the op's version and its arguments, all in canonical form: JSON with
sorted keys. Artifacts stand for themselves by fingerprint; an engine is its model and prompt format;
a trainer and an output directory are nothing. A value without a canonical form is an error, never
`str(value)`: a path or an address in a fingerprint would make two equal runs differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from woolgather.core.rows import JSON


def name_of(function: Callable[..., object]) -> str:
    """Returns `module:function`. Raises TypeError for what has no importable name."""
    name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name:
        raise TypeError(f"{name} has no identity: use a function defined at the top of a module")
    return name


def canonical(value: object, where: str = "value") -> JSON:
    """Returns `value` as JSON, one form for one meaning. Raises TypeError, naming the place, for a value
    that has no such form."""
    if hasattr(value, "__canonical__") and not isinstance(value, type):
        return canonical(value.__canonical__(), where)
    if value is None or isinstance(value, bool | str | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}: only finite numbers have an identity")
        return value + 0.0  # -0.0 is 0.0
    if isinstance(value, Enum):
        return canonical(value.value, where)
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError(f"{where} has keys that are not text")
        return {k: canonical(v, f"{where}.{k}") for k, v in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [canonical(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((canonical(v, where) for v in value), key=json.dumps)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        inner = {k: canonical(v, f"{where}.{k}") for k, v in sorted(fields.items())}
        return {"type": type(value).__name__, **inner}
    if inspect.isfunction(value):
        return {"function": name_of(value), "version": 1}
    raise TypeError(f"{where} is a {type(value).__name__}, which has no canonical form")


def fingerprint(payload: JSON) -> str:
    """Returns the sha256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(_text(payload).encode()).hexdigest()


def _text(payload: JSON) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def seed_of(*parts: JSON) -> int:
    """Returns a random seed in [0, 2**31) that follows from `parts`."""
    return int(fingerprint(canonical(list(parts)))[:8], 16) & 0x7FFFFFFF


def explain_change(old: JSON, new: JSON) -> list[str]:
    """Returns what differs, one line per field, e.g. `args.above: 8 -> 7`; empty when nothing does."""
    return list(_differences(old, new, ""))


def _differences(old: JSON, new: JSON, path: str) -> Iterator[str]:
    # Python holds 1, 1.0 and True for equal; a fingerprint does not.
    if _text(old) == _text(new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in old:
                yield f"{inner}: added {_short(new[key])}"
            elif key not in new:
                yield f"{inner}: removed {_short(old[key])}"
            else:
                yield from _differences(old[key], new[key], inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{path}[{i}]")
    else:
        yield f"{path or 'value'}: {_short(old)} -> {_short(new)}"


def _short(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
