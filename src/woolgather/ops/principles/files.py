"""The files that steer principle-driven alignment, read and checked: principles, kinds, exemplars.

The one idea: a user changes what a model is aligned to by editing three short files, so a file is
either right as a whole or refused with its line and the remedy, before anything is asked of a model.
Principles and kinds of question are Markdown lists of `- name: text`; exemplars are a JSON object a
line, and may name only principles that there are. What is done with them is the business of ops.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from woolgather.core.errors import ConfigError, InputError
from woolgather.data.record_files import Place, read_records
from woolgather.data.values import kind_of

Variant = Literal["v1", "v2"]
GOOD_EXEMPLAR = (
    '{"question": "...", "thought": "what is asked and why ...", "principles": ["candor"], '
    '"answer": "..."}'
)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_ITEM = re.compile(r"[ \t]{0,3}(?:[-*+]|\d+[.)])(?:[ \t]+(?P<body>.*))?$")


@dataclass(frozen=True, slots=True)
class Principle:
    """One rule that answers go by."""

    name: str
    """By which a thought calls it; lower case."""
    text: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question that new ones are asked for."""

    name: str
    """Lower case."""
    text: str
    """What such questions are about."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A question worked through: what is thought, by which principles, and what is answered."""

    question: str
    thought: str
    principles: tuple[str, ...]
    answer: str

    @property
    def thinking(self) -> str:
        """The thought as the model is to write it, with the principles named at its end."""
        return f"{self.thought.strip()} Principles: {', '.join(self.principles)}."


def builtin(name: str, variant: Variant | None = None) -> Path:
    """Returns the path of a file of ours: `principles` or `exemplars` of a variant, `kinds`, or
    `identity`."""
    stem = f"{name}-{variant}" if variant else name
    folder = Path(str(resources.files("woolgather") / "seeds" / "dromedary"))
    return next(p for p in sorted(folder.iterdir()) if p.stem == stem)


def read_principles(path: Path | str) -> tuple[Principle, ...]:
    """Returns the principles of a file, in its order. Raises InputError with file, line and remedy."""
    return tuple(Principle(name, text) for name, text in _items(Path(path), "principle"))


def read_kinds(path: Path | str) -> tuple[Kind, ...]:
    """Returns the kinds of question of a file, in its order. Raises InputError with file, line
    and remedy."""
    return tuple(Kind(name, text) for name, text in _items(Path(path), "kind of question"))


def read_exemplars(
    path: Path | str, principles: Sequence[Principle], count: int | None = None
) -> tuple[Exemplar, ...]:
    """Returns the first `count` exemplars of a file, all when None; each one in the file is checked.

    Raises InputError with file, line and remedy, ConfigError when the file has fewer than `count`.
    """
    names = [p.name for p in principles]
    found: dict[str, Place] = {}
    out: list[Exemplar] = []
    for place, record in read_records(Path(path)):
        exemplar = _exemplar(place, record, names)
        if exemplar.question in found:
            raise place.wrong(
                f"this question stands in line {found[exemplar.question].number} already. "
                "Take one of the two out."
            )
        found[exemplar.question] = place
        out.append(exemplar)
    if not out:
        raise InputError(f"{path} holds no exemplars. A good line: {GOOD_EXEMPLAR}")
    if count is not None and count > len(out):
        raise ConfigError(
            f"align.exemplars is {count}, and {path} holds {len(out)}. Set it to {len(out)} or "
            "less, or write more."
        )
    return tuple(out[:count])


def _items(path: Path, what: str) -> list[tuple[str, str]]:
    """(name, text) of a list of `- name: text`; `what` says in errors what an item is."""
    good = f"- name of the {what}: what it asks, in a sentence or two"
    items: list[tuple[int, list[str]]] = []
    for number, line in enumerate(_lines(path), start=1):
        place = Place(path, number)
        if match := _ITEM.match(line):
            items.append((number, [match["body"] or ""]))
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        elif items:
            items[-1][1].append(line)
        else:
            raise place.wrong(
                f"text that belongs to no {what}. Make it an item of the list, a heading (#) or a "
                "comment (<!-- -->).",
                good,
            )
    out: dict[str, tuple[int, str]] = {}
    for number, lines in items:
        place = Place(path, number)
        head, colon, text = " ".join(part.strip() for part in lines).partition(":")
        name = " ".join(re.sub(r"[*_`]", "", head).lower().split())
        text = text.strip().removeprefix("**").strip()
        if not colon or not name:
            raise place.wrong(f"a {what} without a name. Put a name and a colon first.", good)
        if not text:
            raise place.wrong(f"the {what} {name!r} has no text. Say what it asks.", good)
        if len(name.split()) > 6 or re.search(r"[,;.]", name):
            raise place.wrong(
                f"{name!r} is no name: a name is up to six words without commas or full stops.",
                good,
            )
        if name in out:
            raise place.wrong(
                f"the {what} {name!r} stands in line {out[name][0]} already. Rename one, or take it out."
            )
        out[name] = (number, text)
    if not out:
        many = "kinds of question" if what.startswith("kind") else f"{what}s"
        raise InputError(f"{path} holds no {many}. A good line: {good}")
    return [(name, text) for name, (_, text) in out.items()]


def _lines(path: Path) -> list[str]:
    """Lines of a text file, comments blanked so that line numbers stay."""
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise Place(path, line).wrong("not UTF-8. Save the file as UTF-8.") from None
    return _COMMENT.sub(lambda m: "\n" * m.group().count("\n"), text).splitlines()


def _exemplar(place: Place, record: object, names: Sequence[str]) -> Exemplar:
    if not isinstance(record, dict):
        raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", GOOD_EXEMPLAR)
    texts = {}
    for field in ("question", "thought", "answer"):
        value = record.get(field)
        if not isinstance(value, str) or not value.strip():
            said = f"{kind_of(value)}, not text" if field in record else "missing"
            said = "empty" if isinstance(value, str) else said
            raise place.wrong(f"field {field!r} is {said}.", GOOD_EXEMPLAR)
        texts[field] = place.whole(value.strip(), f"field {field!r}", GOOD_EXEMPLAR)
    invoked = record.get("principles")
    if not isinstance(invoked, list) or not invoked:
        raise place.wrong(
            "field 'principles' is not a list with something in it. Name the principles that the "
            "thought goes by.",
            GOOD_EXEMPLAR,
        )
    for name in invoked:
        if not isinstance(name, str) or name.strip().lower() not in names:
            near = difflib.get_close_matches(str(name).lower(), names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."
            raise place.wrong(
                f"unknown principle {name!r}. {hint} Correct the name, or add "
                "the principle to the file of principles."
            )
    return Exemplar(principles=tuple(n.strip().lower() for n in invoked), **texts)
