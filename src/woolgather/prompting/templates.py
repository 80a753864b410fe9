"""Load and fill templates, in one pass over named fields.

A template is a Markdown text; a first line `<!-- ... -->` says what it is for and is not sent.
Fields are written `{{name}}`. Filling is one pass, so a filled-in text that itself holds `{{...}}`
is left as it is. Templates are passed to ops as arguments: an edit is a change of identity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from woolgather.core.errors import InputError

FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with fields to fill in."""

    name: str
    """What it was loaded by, for messages."""
    text: str

    @property
    def fields(self) -> frozenset[str]:
        """Returns the names of the fields in the text."""
        return frozenset(FIELD.findall(self.text))

    def __canonical__(self) -> str:
        return self.text


def load(
    name: str, needs: frozenset[str] = frozenset(), must: frozenset[str] = frozenset()
) -> Template:
    """Returns the template of that name among ours (`synthesize`), or at that path (ending in .md).

    Raises InputError when it is not there, is not UTF-8, asks for a field outside `needs` (when
    given), or lacks one of those it `must` have.
    """
    if name.endswith(".md"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"template {name}: no such file. Give a path to a .md file.")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(
                f"template {name}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8."
            ) from None
    else:
        source = resources.files("woolgather") / "templates" / f"{name}.md"
        if not source.is_file():
            known = ", ".join(available())
            raise InputError(f"template {name!r} is not one of ours ({known}) and not a .md path.")
        text = source.read_text(encoding="utf-8")
    text = re.sub(r"\A<!--.*?-->\s*\n", "", text, flags=re.DOTALL).rstrip("\n")
    template = Template(name, text)
    if needs and (unknown := template.fields - needs):
        given = ", ".join(sorted(needs))
        raise InputError(
            f"template {name}: field {{{{{sorted(unknown)[0]}}}}} is not given here. "
            f"Use only: {given}."
        )
    if lacking := must - template.fields:
        raise InputError(
            f"template {name}: it must have the field {{{{{sorted(lacking)[0]}}}}}. Put it where its "
            f"text belongs; all it must have: {', '.join(sorted(must))}."
        )
    return template


def available() -> list[str]:
    """Returns the names of the templates that ship with woolgather, sorted."""
    folder = resources.files("woolgather") / "templates"
    return sorted(f.name[:-3] for f in folder.iterdir() if f.name.endswith(".md"))


def fill(template: Template, **values: str) -> str:
    """Returns the text with every field replaced. Raises InputError for a field without a value."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            given = ", ".join(sorted(values)) or "none"
            raise InputError(
                f"template {template.name}: field {{{{{name}}}}} has no value (given: {given})."
            )
        return values[name]

    return FIELD.sub(value, template.text)
