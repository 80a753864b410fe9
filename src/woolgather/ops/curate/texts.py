"""Documents become texts that could be answers: segmented, filtered by named rules, no two alike.

The one idea: a stream in and a stream out. A document is cut into segments, each segment is a row
whose response is the text and whose instruction is still to be found; a rule is a named function
and its name is the reason on a row it sets aside, as with instructions. The only thing that grows
with the number of texts is the index of near-duplicates, and it says how many bytes it takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example, set_aside
from woolgather.core.views import View, funnel, table
from woolgather.ops.curate.instruction_rules import expand, foreign
from woolgather.ops.text.words import loops, scripts_of

if TYPE_CHECKING:
    from woolgather.ops.curate.minhash import NearDuplicates

BINS = 20


class TextWithSource(Protocol):
    """A document: documents.py has one."""

    @property
    def text(self) -> str: ...

    @property
    def source(self) -> str: ...


class TextOptions(Options):
    """Which documents are read, how they are cut, and which pieces may be answers."""

    column: str | tuple[str, ...] = "text"
    """The column that holds the text, in JSONL, JSON, CSV, Parquet and hub data sets; of several names
    the first that a record has."""
    split: str = "train"
    """The split of a hub data set."""
    subset: str = ""
    """The subset of a hub data set that has several."""
    cut: Literal["auto", "whole", "headings"] = "auto"
    """whole: a document is one text; headings: what stands under each heading is; auto: a document
    that is not too long stays whole, a longer one is cut at headings, and what is still too long is
    packed paragraph by paragraph."""
    min_chars: int = Field(default=300, ge=1)
    """`too_short` below this many characters."""
    max_chars: int = Field(default=2500, ge=1)
    """`too_long` above this many characters."""
    rules: tuple[str, ...] = Field(default=("default",), validate_default=True)
    """Rules by name, or `paper`, `default`, `none`; `-name` takes one out."""
    near_duplicate: float | None = Field(default=0.8, gt=0, le=1)
    """`near_duplicate` from this Jaccard similarity of five-token runs on; None compares nothing."""
    limit: int | None = Field(default=None, ge=1)
    """Texts at most; reading ends there."""

    @field_validator("rules", mode="before")
    @classmethod
    def _expand(cls, rules: str | Iterable[str]) -> tuple[str, ...]:
        return expand(rules, "text", TEXT_RULES, TEXT_PRESETS)

    @model_validator(mode="after")
    def _window(self) -> TextOptions:
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} is above max_chars {self.max_chars}")
        return self


def _work(documents: object, *, options: TextOptions, **_: object) -> Expected:
    most = max(1, int(getattr(documents, "size", 0)) // options.min_chars)
    return Expected(rows=min(most, options.limit) if options.limit else most)


@op("prepare_texts", expects=_work)
def prepare_texts(
    documents: Iterable[TextWithSource],
    *,
    options: TextOptions,
    seeds: Iterable[Example] = (),
    avoid: Sequence[Iterable[Example]] = (),
) -> Generator[Example, None, list[View]]:
    """Yields every segment as a row without an instruction, those that cannot be used set aside.

    A row has the text as its response, and meta origin "text", source, heading where it stood under
    one, and segment (from 1) where the document was cut. Reasons: the name of the first rule it
    breaks; near_duplicate, of an earlier text or of a response in `avoid`. `seeds` say which
    scripts are at home; without any, none is foreign. Raises YieldError when no text is left.
    """
    from woolgather.ops.curate.minhash import NearDuplicates

    scripts = scripts_of(seeds) or None
    index = NearDuplicates(options.near_duplicate) if options.near_duplicate else None
    for row in (row for rows in avoid for row in rows):
        if index is not None:
            index.add(row.response)
    counts = _Counts()
    for document in documents:
        counts.read += 1
        pieces = list(segments(document.text, options))
        for number, (heading, text) in enumerate(pieces, 1):
            counts.cut += 1
            meta: dict[str, JSON] = {"origin": "text", "source": document.source}
            if heading:
                meta["heading"] = heading
            if len(pieces) > 1:
                meta["segment"] = number
            row = Example(instruction="", response=text, meta=meta)
            reason = broken_text_rule(text, options, scripts)
            if reason is None and index is not None and index.add(text):
                reason = "near_duplicate"
            if reason:
                counts.reasons[reason] += 1
                yield set_aside(row, reason)
                continue
            counts.used += 1
            counts.lengths[min(BINS - 1, len(text) * BINS // (options.max_chars + 1))] += 1
            yield row
            if counts.used == options.limit:
                break
        if counts.used == options.limit:
            break
    if not counts.used:
        why = ", ".join(f"{name} {n}" for name, n in counts.reasons.most_common())
        raise YieldError(
            f"none of {counts.cut} texts in {counts.read} documents can be used ({why}). Widen the "
            "window (text.min_chars, text.max_chars), cut otherwise (text.cut), or leave rules out "
            "(text.rules=[default,-name])."
        )
    return _views(options, counts, index)


@dataclass
class _Counts:
    """What came of the documents so far."""

    read: int = 0
    """Documents."""
    cut: int = 0
    """Texts that they were cut into."""
    used: int = 0
    """Texts that are not set aside."""
    reasons: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=lambda: [0] * BINS)
    """Used texts by length, in equal bins up to the longest that may be."""


def segments(text: str, options: TextOptions) -> Iterator[tuple[str, str]]:
    """Yields (heading or "", text) of each piece of a document; one empty piece of an empty document."""
    whole = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    whole = re.sub(r"\n{3,}", "\n\n", whole)
    if options.cut == "whole" or not whole or (
        options.cut == "auto" and len(whole) <= options.max_chars
    ):  # fmt: skip
        yield "", whole
        return
    for heading, section in _sections(whole):
        if options.cut == "headings" or len(section) <= options.max_chars:
            yield heading, section
        else:
            for part in _pack(section, options.max_chars):
                yield heading, part


_HEADING = re.compile(r"#{1,6}\s+(?P<text>\S.*?)\s*#*$")
_PLAIN_HEADING = re.compile(r"[^\W_][^\n]{0,78}[^\W_]\)?")
_END = re.compile(r"[.!?:;,…。！？]$")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yields what stands under each heading. A heading begins with # signs, is underlined, or is a short
    line by itself that does not end like a sentence. Fenced code has none."""
    lines = text.split("\n")
    heading, body, fenced = "", list[str](), False
    i = 0
    while i < len(lines):
        line, found, taken = lines[i], "", 1
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            found, taken = _heading_at(lines, i)
        if found:
            if section := "\n".join(body).strip("\n"):
                yield heading, section
            heading, body = found, []
        else:
            body.append(line)
        i += taken
    if section := "\n".join(body).strip("\n"):
        yield heading, section


def _heading_at(lines: Sequence[str], i: int) -> tuple[str, int]:
    """Returns (the heading that begins at line `i` or "", the lines it takes)."""
    line = lines[i].strip()
    if match := _HEADING.fullmatch(line):
        return match["text"], 1
    below = lines[i + 1].strip() if i + 1 < len(lines) else ""
    if line and len(below) >= 3 and set(below) in ({"="}, {"-"}) and len(line) <= 80:
        return line, 2
    alone = (i == 0 or not lines[i - 1].strip()) and not below and i + 1 < len(lines)
    short = alone and _PLAIN_HEADING.fullmatch(line) and len(line.split()) <= 10
    cased = line[:1].isupper() or line[:1].isdigit() or not line[:1].islower()
    return (line, 1) if short and cased and not _END.search(line) else ("", 1)


def _pack(text: str, most: int) -> Iterator[str]:
    """Yields paragraphs joined as long as they fit."""
    part = ""
    for paragraph in re.split(r"\n\n+", text):
        if part and len(part) + 2 + len(paragraph) > most:
            yield part
            part = ""
        part = f"{part}\n\n{paragraph}" if part else paragraph
    if part:
        yield part


Rule = Callable[[str, TextOptions, "frozenset[str] | None"], bool]
"""Whether a text breaks it. The function's name is the reason, its docstring says why."""
TEXT_RULES: dict[str, Rule] = {}
TEXT_PRESETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "paper": ("empty", "too_short", "too_long", "short_line"),
    "default": (
        "empty",
        "too_short",
        "too_long",
        "short_line",
        "few_letters",
        "shouting",
        "foreign_script",
        "boilerplate",
        "many_links",
        "menu",
        "unfinished",
        "repeated_lines",
        "loop",
    ),
}


def broken_text_rule(
    text: str, options: TextOptions, scripts: frozenset[str] | None = None
) -> str | None:
    """Returns the name of the first rule that a text breaks; None when it breaks none."""
    return next((name for name in options.rules if TEXT_RULES[name](text, options, scripts)), None)


def _rule(function: Rule) -> Rule:
    TEXT_RULES[function.__name__] = function
    return function


@_rule
def empty(text: str, _: object, __: object) -> bool:
    """Nothing that could be read."""
    return not any(char.isalnum() for char in text)


@_rule
def too_short(text: str, options: TextOptions, _: object) -> bool:
    """A caption or a scrap answers nothing."""
    return len(text) < options.min_chars


@_rule
def too_long(text: str, options: TextOptions, _: object) -> bool:
    """Longer than an answer, and than training takes."""
    return len(text) > options.max_chars


@_rule
def short_line(text: str, _: object, __: object) -> bool:
    """A line of fewer than five characters: page numbers, menus, broken tables."""
    return any(0 < len(line.strip()) < 5 for line in _prose(text))


@_rule
def few_letters(text: str, _: object, __: object) -> bool:
    """Tables, logs and code: less than .65 of what is no space is a letter."""
    solid = [char for char in text if not char.isspace()]
    return sum(char.isalpha() for char in solid) < 0.65 * len(solid)


@_rule
def shouting(text: str, _: object, __: object) -> bool:
    """More than a fifth of the letters that have a case are capitals."""
    cased = [char for char in text if char.isupper() or char.islower()]
    return sum(char.isupper() for char in cased) > 0.2 * max(len(cased), 1)


@_rule
def foreign_script(text: str, _: object, scripts: frozenset[str] | None) -> bool:
    """Written in a script that no seed uses."""
    return scripts is not None and foreign(text, scripts) > 0.1


_BOILERPLATE = re.compile(
    r"\b(?:all rights reserved|accept (?:all )?cookies|(?:we|this (?:web)?site) uses? cookies"
    r"|privacy policy|terms (?:of (?:use|service)|and conditions)|subscribe to (?:our|the|my)"
    r"|sign up for (?:our|the)|add to cart|free shipping|click here|read more\b[ .…]*$"
    r"|log ?in to (?:post|comment|reply)|leave a (?:comment|reply)|share this (?:post|page|article)"
    r"|enable javascript|lorem ipsum|page not found|follow us on|advertisement$)",
    re.I | re.M,
)


@_rule
def boilerplate(text: str, _: object, __: object) -> bool:
    """What surrounds a text on a page, or sells something."""
    return bool(_BOILERPLATE.search(text))


@_rule
def many_links(text: str, _: object, __: object) -> bool:
    """More than one address in fifty words: a list of links."""
    links = len(re.findall(r"https?://|\bwww\.\w", text, re.I))
    return links > 0 and 50 * links > len(text.split())


@_rule
def menu(text: str, _: object, __: object) -> bool:
    """Most lines have fewer than four words, and there are at least six."""
    lines = [line for line in _prose(text) if line.strip()]
    return len(lines) >= 6 and 2 * sum(len(line.split()) < 4 for line in lines) > len(lines)


@_rule
def unfinished(text: str, _: object, __: object) -> bool:
    """Ends in the middle of a sentence, or says that it goes on elsewhere."""
    end = text.rstrip()
    if re.search(r"(?:\.\.\.|…|\[(?:more|…|\.\.\.)\])$", end):
        return True
    last = end.rpartition("\n")[2]
    listed = re.match(r"\s*(?:[-*•+]|\d+[.)])\s", last) or end.endswith("```")
    signed = "\n" in end and len(last.split()) <= 4
    return not (listed or signed or re.search(r"[.!?。！？۔।][\"'”’»)\]*_]*$", end))


@_rule
def repeated_lines(text: str, _: object, __: object) -> bool:
    """A third of the lines stand there before."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return len(lines) >= 6 and 3 * (len(lines) - len(set(lines))) >= len(lines)


@_rule
def loop(text: str, _: object, __: object) -> bool:
    """Goes round in circles."""
    return loops(text)


def _prose(text: str) -> list[str]:
    """Lines that are not between code fences."""
    return re.sub(r"```.*?(?:```|\Z)", "", text, flags=re.S).split("\n")


def _views(options: TextOptions, counts: _Counts, index: NearDuplicates | None) -> list[View]:
    edges = [(options.max_chars + 1) * i / BINS for i in range(BINS + 1)]
    data = {"edges": edges, "series": {"texts": counts.lengths}, "x": "characters"}
    stages = [("documents", counts.read), ("texts", counts.cut), ("used", counts.used)]
    views = [
        funnel("Texts", stages, dict(counts.reasons.most_common())),
        View("histogram", "Length of texts", data),
    ]
    if index is not None and len(index):
        rows = [[len(index), index.nbytes, round(index.nbytes / len(index))]]
        columns = ["texts", "bytes", "bytes per text"]
        views.append(table("Index of near-duplicates", columns, rows))
    return views
