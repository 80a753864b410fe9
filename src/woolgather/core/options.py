"""The base class of every group of settings: frozen, closed, and its own help.

A field's docstring is its help text, on the command line and in the docs. An unknown key is an
error. All fields are identity (see fingerprint.py) unless a subclass names them in `execution`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Frozen settings with a canonical form."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    execution: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how, not what, or what another argument of the op holds: they never change a
    fingerprint."""

    def __canonical__(self) -> dict[str, object]:
        return {k: getattr(self, k) for k in type(self).model_fields if k not in self.execution}
