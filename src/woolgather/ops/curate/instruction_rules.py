"""Rules of new instructions, and what a rule is.

The one idea: a rule is a small named function, and its name is the reason that stands on a row it
sets aside. Which rules apply is a list of names; `paper`, `default` and `none` are lists too, and
`-name` takes one out. A rule looks for a form at the place where it is a fault, not for a few
characters anywhere. Scripts are judged by those of the seeds. Rules that read words know English;
texts in other languages pass them. What the task is worth is not judged here.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from pydantic import Field, field_validator

from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.ops.text.words import count_words, loops, script_of, script_shares, tokens

Scripts = frozenset[str] | None
"""Scripts of the seeds; None when they are not known, and then no script is foreign."""


def expand(
    use: str | Iterable[str],
    kind: str,
    rules: Mapping[str, object],
    presets: Mapping[str, tuple[str, ...]],
) -> tuple[str, ...]:
    """Returns names of rules from names of rules and presets, in the order in which `rules` has them.

    A text is split at commas; `-name` takes a rule out. Raises ValueError for an unknown name.
    """
    names = use.split(",") if isinstance(use, str) else list(use)
    chosen: set[str] = set()
    for name in (str(n).strip() for n in names):
        bare = name.removeprefix("-")
        group = presets.get(bare, (bare,))
        for one in group:
            if one not in rules:
                near = get_close_matches(one, [*rules, *presets], 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                known = ", ".join([*presets, *rules])
                raise ValueError(f"{one!r} is no {kind} rule.{hint} There are: {known}.")
        chosen = chosen - set(group) if name != bare else chosen | set(group)
    return tuple(name for name in rules if name in chosen)


class InstructionRules(Options):
    """Which new instructions are set aside, whatever a model thinks of them."""

    use: tuple[str, ...] = Field(default=("default",), validate_default=True)
    """Rules by name, or `paper`, `default`, `none`; `-name` takes one out."""
    min_words: int = 4
    """`too_short` below this many words of instruction."""
    max_words: int = 150
    """`too_long` above this many words of instruction."""
    max_foreign: float = 0.1
    """`foreign_script` above this share of letters in scripts that no seed is written in."""

    @field_validator("use", mode="before")
    @classmethod
    def _expand(cls, use: str | Iterable[str]) -> tuple[str, ...]:
        return expand(use, "instruction", INSTRUCTION_RULES, INSTRUCTION_PRESETS)


Rule = Callable[[Example, InstructionRules, Scripts], bool]
"""Whether a row breaks it. The function's name is the reason, its docstring says why."""
INSTRUCTION_RULES: dict[str, Rule] = {}
INSTRUCTION_PRESETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "paper": ("too_short", "too_long", "media_word", "odd_start", "format_leak", "url"),
    "default": (
        "too_short",
        "too_long",
        "needs_media",
        "symbol_start",
        "format_leak",
        "url",
        "foreign_script",
        "placeholder",
        "missing_input",
        "input_in_instruction",
        "loop",
    ),
}


def _rule(function: Rule) -> Rule:
    INSTRUCTION_RULES[function.__name__] = function
    return function


@_rule
def too_short(row: Example, rules: InstructionRules, _: object) -> bool:
    """A task of one or two words is rarely one."""
    return count_words(row.instruction) < rules.min_words


@_rule
def too_long(row: Example, rules: InstructionRules, _: object) -> bool:
    """A long instruction is mostly several items run together."""
    return count_words(row.instruction) > rules.max_words


_MEDIA = re.compile(
    r"\b(?:images?|graphs?|pictures?|files?|maps?|draw|plot|go to|videos?|audio|music|flowcharts?"
    r"|diagrams?)\b",
    re.I,
)


@_rule
def media_word(row: Example, _: object, __: object) -> bool:
    """A word for something a text model cannot see or make, anywhere (the paper's list)."""
    return bool(_MEDIA.search(row.instruction) or _MEDIA.search(row.input))


_SEEN = r"(?:images?|pictures?|photos?|photographs?|videos?|audio|recordings?|screenshots?|clips?)"
_SHOWN = r"(?:graphs?|charts?|diagrams?|files?|maps?|figures?|links?|websites?|documents?)"
_POINTED = r"(?:attached|following|given|above|below|shown|provided|uploaded|linked)"
_SEES = re.compile(rf"\b{_POINTED}\s+{_SEEN}\b|\b{_SEEN}\s+{_POINTED}\b|\bin the {_SEEN}\b", re.I)
_POINTS = re.compile(rf"\b{_POINTED}\s+{_SHOWN}\b|\b{_SHOWN}\s+{_POINTED}\b", re.I)
_MAKES = re.compile(
    r"\b(?:draw|sketch|paint|plot|create|make|design|generate|produce|record|film|take|upload)"
    r"(?:\s+(?!for\b|of\b|about\b|from\b|to\b|that\b|with\b)\w+){0,3}\s+"
    rf"(?:{_SEEN}|graphs?|charts?|diagrams?|flowcharts?|drawings?|illustrations?|infographics?)\b",
    re.I,
)
_ACTS = re.compile(
    r"^(?:draw|sketch|paint)\b(?!\s+(?:(?:a|an|any|the|some|your)\s+)?(?:\w+\s+)?"
    r"(?:conclusions?|comparisons?|parallels?|inferences?|lessons?|distinctions?|lines?|up))"
    r"|^(?:watch\b(?! out)|listen to)\b"
    r"|\b(?:go to|visit|open|click|browse|download)\b[^.]*\b(?:website|web ?page|link|browser|url)\b",
    re.I,
)


@_rule
def needs_media(row: Example, _: object, __: object) -> bool:
    """Points at, or asks for, something a text model cannot see, make or visit."""
    task = row.instruction.strip()
    pointless = not row.input and _POINTS.search(task)
    return bool(_SEES.search(task) or _MAKES.search(task) or _ACTS.search(task) or pointless)


@_rule
def odd_start(row: Example, _: object, scripts: Scripts) -> bool:
    """Starts with punctuation, or with a letter of a script that no seed is written in (the paper:
    with any non-ASCII character)."""
    first = row.instruction.strip()[:1]
    if not first.isascii():
        return script_of(first) not in (scripts or {"LATIN"})
    return first in string.punctuation


@_rule
def symbol_start(row: Example, _: object, __: object) -> bool:
    """Starts with neither a letter, a digit, an opening quote nor an opening bracket."""
    first = row.instruction.strip()[:1]
    return not first.isalnum() and first not in "\"'`“‘«„「『¿¡([{<$"


CONTROL = re.compile(
    r"<\|\w+\|>|\[/?INST\]|<</?SYS>>|</s>|<(?:start|end)_of_turn>|<\|?no ?input", re.I
)
_LABELLED = re.compile(
    r"^\W{0,4}(?:task|instruction|input|output|response|answer)s?\s*\d*\s*\**:", re.I | re.M
)
_NEXT_ITEM = re.compile(
    r"^\W{0,4}(?:\d+[.)]\s*)?(?:task|instruction)\s*\d*\s*\**:|^#+\s*(?:task|instruction|response)\b",
    re.I | re.M,
)


@_rule
def format_leak(row: Example, _: object, __: object) -> bool:
    """Labels or control tokens of the prompt stand in the task itself."""
    leaks = CONTROL.search(question(row)) or _NEXT_ITEM.search(row.input)
    return bool(leaks or _LABELLED.search(row.instruction))


@_rule
def url(row: Example, _: object, __: object) -> bool:
    """An address cannot be opened, and generated ones lead nowhere."""
    return bool(re.search(r"https?://|\bwww\.\w", question(row), re.I))


_PLACE = r"(?:insert|your|enter|paste|add|provide|text|paragraph|article|passage|sentence|here)"
_PLACEHOLDER = re.compile(rf"[\[<({{]+[^\[\]<>,]*\b{_PLACE}\b[^\[\]<>,]*[\]>)}}]+\W*|[\W_]+", re.I)
_INSERT = re.compile(r"[\[<](?:insert|enter|paste)\b", re.I)


@_rule
def placeholder(row: Example, _: object, __: object) -> bool:
    """The input is a place for one ("[insert text here]", "...") or the task has a blank to fill."""
    whole = row.input.strip() and _PLACEHOLDER.fullmatch(row.input.strip())
    return bool(whole or _INSERT.search(question(row)))


_REFERS = re.compile(
    r"\b(?:the|these)\s+(?:following|given|provided)\b"
    r"(?!\s+(?:day|night|morning|evening|week|month|year)s?\b)"
    r"|\b(?:text|sentences?|paragraphs?|passage|article|list|code|words|numbers) (?:below|above)\b",
    re.I,
)


@_rule
def missing_input(row: Example, _: object, __: object) -> bool:
    """Speaks of "the following text" and there is none, neither as input nor in the task."""
    refers = _REFERS.search(row.instruction)
    if row.input or not refers:
        return False
    rest = row.instruction[refers.end() :]
    return not re.search(r"[:\n]\s*\S|[\"“'`«]", rest)


@_rule
def foreign_script(row: Example, rules: InstructionRules, scripts: Scripts) -> bool:
    """Written in a script that no seed uses."""
    return scripts is not None and foreign(row.instruction, scripts) > rules.max_foreign


def foreign(text: str, home: frozenset[str]) -> float:
    """Returns the share of letters in other scripts than `home`."""
    return sum(part for script, part in script_shares(text).items() if script not in home)


@_rule
def input_in_instruction(row: Example, _: object, __: object) -> bool:
    """The input stands in the instruction once more (three words or more)."""
    return repeats_input(row)


def repeats_input(row: Example) -> bool:
    inner, outer = tokens(row.input), tokens(row.instruction)
    return len(inner) >= 3 and f" {' '.join(inner)} " in f" {' '.join(outer)} "


@_rule
def loop(row: Example, _: object, __: object) -> bool:
    """Instruction or input goes round in circles."""
    return loops(row.instruction) or loops(row.input)
