"""Load and fill templates, in one pass over named fields.

A template is a Markdown text; a first line `<!-- ... -->` says what it is for and is not sent.
Fields are written `{{name}}`. Filling is one pass, so a filled-in text that itself holds `{{...}}`
is left as it is. A setting of this type is written as a name or a path, and loaded and checked with
the other settings; its text is what an op gets, so an edit is a change of identity:

    template: Annotated[Template, takes("question", "response")] = load("my-template")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from woolgather.core.errors import InputError

FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with named fields. As a setting it is shown and stored as its name."""

    name: str
    """One of ours (`synthesize`), or a path ending in .md."""
    text: str

    def __str__(self) -> str:
        return self.name

    @property
    def fields(self) -> frozenset[str]:
        """Returns the names of the fields in the text."""
        return frozenset(FIELD.findall(self.text))

    def __canonical__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[object], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: object, as_text: Callable[[object], str]) -> Template:
            return value if isinstance(value, Template) else load(as_text(value))

        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def takes(*fields: str, must: Collection[str] = ()) -> AfterValidator:
    """Annotates a setting: its template may use these `fields`, and must have those of `must`."""

    def check(template: Template) -> Template:
        return check_fields(template, frozenset(fields), frozenset(must))

    return AfterValidator(check)


def load(
    name: str, needs: frozenset[str] = frozenset(), must: frozenset[str] = frozenset()
) -> Template:
    """Returns a template by the name of one of ours (`synthesize`) or by a path ending in .md.

    Raises InputError when it is not there, is not UTF-8, asks for a field outside `needs` (when
    given), or lacks one of those it `must` have.
    """
    if name.endswith(".md"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"template {name}: no such file. Give a path to a .md file.")
        text = read_utf8(path, f"template {name}")
    else:
        source = resources.files("woolgather") / "templates" / f"{name}.md"
        if not source.is_file():
            known = ", ".join(available())
            raise InputError(f"template {name!r} is not one of ours ({known}) and not a .md path.")
        text = source.read_text(encoding="utf-8")
    text = re.sub(r"\A<!--.*?-->\s*\n", "", text, flags=re.DOTALL).rstrip("\n")
    template = Template(name, text)
    return check_fields(template, needs or template.fields, must)


def read_utf8(path: Path, said: str) -> str:
    """Returns the text of a file. Raises InputError, which begins with `said`, where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{said}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8."
        ) from None


def check_fields(
    template: Template, may: frozenset[str], must: frozenset[str] = frozenset()
) -> Template:
    """Returns the template. Raises InputError for a field that it uses and is not one it `may` use,
    and for a missing one that it `must` have."""
    if unknown := template.fields - may:
        given = ", ".join(sorted(may)) or "no field at all"
        raise InputError(
            f"template {template.name}: field {{{{{sorted(unknown)[0]}}}}} is not given here. "
            f"Use only: {given}."
        )
    if lacking := must - template.fields:
        raise InputError(
            f"template {template.name}: it must have the field {{{{{sorted(lacking)[0]}}}}}. Put it "
            f"where its text belongs; all it must have: {', '.join(sorted(must))}."
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
