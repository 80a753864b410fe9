"""The base class of every group of settings: frozen, closed, and its own help.

A field's docstring is its help text, on the command line and in the docs. An unknown key is an
error. All fields are identity (see fingerprint.py) unless a subclass names them in `execution`; one
that it names in `added` is so from the moment that it is used.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Frozen settings with a canonical form."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    execution: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how, not what, or what another argument of the op holds: they never change a
    fingerprint."""
    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came when there were runs already, with a default that changes nothing. At its default
    such a field is left out of the canonical form, so that steps and answers of before it stand."""

    @property
    def unused(self) -> frozenset[str]:
        """Returns the names of the added fields that are at their default."""
        fields = type(self).model_fields
        return frozenset(
            name
            for name in self.added
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        )

    def __canonical__(self) -> dict[str, object]:
        left_out = self.execution | self.unused
        return {k: getattr(self, k) for k in type(self).model_fields if k not in left_out}
