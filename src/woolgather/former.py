"""How earlier versions wrote what a step is, so that what they made still counts.

The one idea: nothing on disk is rewritten. A payload of an earlier version is read as what this version
would have written for the same work; where its hash is then that of the step, its record stands.
"""

from __future__ import annotations

import re

from woolgather.records import JSON

_OURS = re.compile(r"woolgather\.ops\.\w+:(\w+)")
"""How an op of ours was named by its place. Those functions had the names that ops have now."""


def modern(payload: JSON) -> JSON:
    """A step's payload as this version writes it; one of this version comes back as it is."""
    if isinstance(payload, dict) and isinstance(payload.get("op"), str):
        placed = _OURS.fullmatch(payload["op"])
        return {**_settings(payload), **({"op": placed.group(1)} if placed else {})}
    return _settings(payload)


def _settings(value: JSON) -> JSON:
    if isinstance(value, dict):
        found = {key: _settings(inner) for key, inner in value.items()}
        if found.get("precision") == "auto":  # it was bfloat16 on every machine
            found["precision"] = "bfloat16"
        return found
    return [_settings(inner) for inner in value] if isinstance(value, list) else value
