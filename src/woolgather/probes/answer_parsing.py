"""What a text has in it, by its form alone: words, sentences, items of a list, numbers, phrases.

For machine checks (checks.py). What shares a line with a mark is told by rules that a person can
predict, not by a model of the language.
"""

from __future__ import annotations

import re

_PLAIN = str.maketrans("‘’‚“”„«»–—−\u00a0", '\'\'\'"""""--- ')
_EDGES = " \t\r\n.,;:!?\"'`*_()[]{}<>"
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No|a\.m|p\.m)\.$")


def count_words(text: str) -> int:
    """Returns how many whitespace-separated tokens hold at least one letter or digit."""
    return sum(any(c.isalnum() for c in token) for token in text.split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences, which end at final punctuation and at the end of a line; abbreviations and
    decimals end no sentence."""
    found: list[str] = []
    for line in text.splitlines():
        start = 0
        for end in re.finditer(r"[.!?]+[\"')\]]*(?=\s|$)", line):
            piece = line[start : end.end()]
            last = end.end() == len(line)
            if last or not _ABBREVIATION.search(piece):
                found.append(piece)
                start = end.end()
        found.append(line[start:])
    return [piece.strip() for piece in found if count_words(piece)]


def split_items(text: str) -> list[str]:
    """Returns the items of a list without their marks: marked lines, else lines, else what commas
    separate.

    A lead-in that ends with a colon ("Three colours: red, blue and green") is not an item.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [_MARK.sub("", line) for line in lines if _MARK.match(line)]
    if len(marked) > 1:
        return [_bare(item) for item in marked]
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    if len(lines) > 1:
        return [_bare(_MARK.sub("", line)) for line in lines]
    line = re.sub(r"^[^:,;]*:\s+", "", lines[0]) if lines else ""
    inline = re.split(r"(?:^|\s)\d{1,2}[.)]\s+", line)
    if len(inline) > 2:
        pieces = inline
    else:
        line = _MARK.sub("", line)
        pieces = re.split(r"\s*[,;]\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+", line)
    return [bare for bare in map(_bare, pieces) if bare]


def numbers(text: str) -> list[float]:
    """Returns the numbers of a text in order: 1,200 · $5 · 12.0 · -3 · 3/4 · 1 1/2 · 40%.

    When there is no digit at all, words from zero to ninety-nine count.
    """
    found = [value for match in _NUMBER.finditer(text) if (value := _value(match)) is not None]
    if found or any(c.isdigit() for c in text):
        return found
    return [float(_NUMBER_WORDS[w.lower().replace(" ", "-")]) for w in _SPELLED.findall(text)]


def plain(text: str) -> str:
    """Returns a text with quotes, dashes and spaces of one kind."""
    return text.translate(_PLAIN)


def _bare(text: str) -> str:
    return text.strip(_EDGES)


def same(text: str, *, case: bool = False) -> str:
    """Returns what is compared of a text: no surrounding marks, single spaces, lower case unless `case`
    counts."""
    bare = " ".join(_bare(plain(text)).split())
    return bare if case else bare.casefold()


def position(text: str, phrase: str) -> int:
    """Returns where `phrase` first stands as whole words, -1 if it is not found."""
    words = r"\s+".join(re.escape(word) for word in plain(phrase).split())
    match = re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
    return match.start() if match else -1


def words(text: str) -> list[str]:
    """Returns the words in order, in lower case."""
    return re.findall(r"\w+(?:'\w+)*", plain(text).casefold())


_MARK = re.compile(r"^(?:\d{1,3}[.):]|[-*•+]|\(\d{1,3}\)|[a-z][.)])\s+")
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-)?[$€£]?(?<![\w.])(?P<sign2>(?<=[$€£])-)?"
    r"(?:(?:(?P<whole>\d{1,9})\s+)?(?P<over>\d{1,9})\s*/\s*(?P<under>\d{1,9})(?![\d/])"
    r"|(?P<plain>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))"
)
_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {word: i for i, word in enumerate(_ONES)} | {
    f"{ten}-{_ONES[one]}" if one else ten: 10 * i + one
    for i, ten in enumerate(_TENS, 2)
    for one in range(10)
}
_SPELLED = re.compile(
    rf"\b(?:(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_ONES[1:10])})|{'|'.join(_TENS + _ONES)})\b",
    re.IGNORECASE,
)


def _value(match: re.Match[str]) -> float | None:
    if match["plain"]:
        value = float(match["plain"].replace(",", ""))
    elif float(match["under"]) == 0:
        return None
    else:
        value = float(match["whole"] or 0) + float(match["over"]) / float(match["under"])
    return -value if match["sign"] or match["sign2"] else value
