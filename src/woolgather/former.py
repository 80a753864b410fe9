"""How earlier versions wrote what a step is, so that what they made still counts.

The one idea: nothing on disk is rewritten. A payload of an earlier version is read as what this version
would have written for the same work; where its hash is then that of the step, its record stands.
"""

from __future__ import annotations

from woolgather.records import JSON


def modern(payload: JSON) -> JSON:
    """A step's payload as this version writes it; one of this version comes back as it is."""
    if isinstance(payload, dict):
        found = {key: modern(value) for key, value in payload.items()}
        if found.get("precision") == "auto":  # it was bfloat16 on every machine
            found["precision"] = "bfloat16"
        return found
    return [modern(value) for value in payload] if isinstance(payload, list) else payload
