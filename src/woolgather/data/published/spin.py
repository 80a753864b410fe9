"""SPIN's records: the answer that people wrote, and the one that the opponent generated."""

from __future__ import annotations

from dataclasses import replace

from woolgather.core.rows import Example
from woolgather.data.fields import Fields
from woolgather.data.published.layout import Layout, Part
from woolgather.data.shapes import GOOD


def _read(fields: Fields, part: Part) -> Example:
    row = fields.talk(fields.require("generated" if part == "made" else "real"))
    if part == "made" and not row.response.strip():
        return replace(row, set_aside="empty")
    return row


PAIRS = Layout(
    name="spin",
    source="uclaml/SPIN, spin/reformat.py and spin/generate.py",
    becomes={
        "real": "seeds: instruction and response; pairs: the chosen side",
        "generated": "a given step of answers: instruction and response; pairs: the rejected side",
    },
    good=GOOD["spin"],
    fits=lambda record: {"real", "generated"} <= record.keys(),
    read=_read,
    once=True,
    reasons={"empty": "nothing was generated"},
)
