"""How a reply may be read: as it stands, and without what people wrap an answer in.

The one idea: "Sure! Here is the list:" is no part of an answer, and neither is a code fence, a pair
of quotation marks or a bold face around all of it. `readings` takes them off one after the other,
so that a check which holds for what is left holds for the reply. It never adds a word, and takes
none from the end except what follows a code fence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from woolgather.probes.answer_parsing import without_emphasis, without_marks

_OPENERS = re.compile(
    r"(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|gladly|no problem|got it|alright"
    r"|here you go|great question)\s*[!.,:]+\s*)+"
    r"(?:i(?:'d| would|'ll| will) be (?:happy|glad) to[^\n.!:]*[.!]\s+)?",
    re.IGNORECASE,
)
_LEAD_LINE = re.compile(r"[^\n]*:[ \t*_]*\n\s*")
_LEAD_IN = re.compile(
    r"(?:here(?:'s| is| are| it is| they are)|the|this|your|my|answer|result|output|response|solution"
    r"|sentence|note)\b[^\n:.!?]{0,100}:\s+"
    r"|(?:so,? )?(?:the |my )?(?:correct |right |final )?answer is:?\s+",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```\w*[ \t]*\n?(.*?)\n?[ \t]*```.*", re.DOTALL)
_SAYS = re.compile(
    r"(?:the|this|that|it|your|my)\b[^\"\n]{0,100}\b(?:is|are|becomes|reads|would be)\s*:?\s*"
    r"\"([^\"\n]+)\"[\s.!]*",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"(\"|'|`|\*\*)(?!\1)((?:(?!\1).|(?<=\w)'(?=\w))+)\1\.?", re.DOTALL)


def readings(text: str) -> Iterator[str]:
    """Yields the stripped text, then what is left of it after each step that takes something off."""
    text = text.strip()
    yield text
    for step in _STEPS:
        left = step(text).strip()
        if left and left != text:
            text = left
            yield text


def _without_match(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def step(text: str) -> str:
        match = pattern.match(text)
        return text[match.end() :] if match else text

    return step


def _within_match(pattern: re.Pattern[str], group: int) -> Callable[[str], str]:
    def step(text: str) -> str:
        match = pattern.fullmatch(text)
        return match[group] if match else text

    return step


_STEPS: tuple[Callable[[str], str], ...] = (
    _without_match(_OPENERS),
    _without_match(_LEAD_LINE),
    _without_match(_LEAD_IN),
    _within_match(_FENCE, 1),
    _within_match(_SAYS, 1),
    _within_match(_WRAPPED, 2),
    without_emphasis,
    without_marks,
)
