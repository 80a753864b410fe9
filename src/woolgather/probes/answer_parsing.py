"""What a text has in it, by its form alone: words, sentences, items of a list, numbers, phrases.

For machine checks (checks.py). What shares a line with a mark is told by rules that a person can
predict, not by a model of the language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_PLAIN = str.maketrans("‘’‚“”„«»–—−\u00a0", '\'\'\'"""""--- ')
_EDGES = " \t\r\n.,;:!?\"'`*_"
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|Jr|Sr|Inc|Ltd|Co|Corp|Gen|Capt|Rev|Ave|approx|vs"
    r"|e\.g|i\.e|No)\.$"
)
_LATE_ABBREVIATION = re.compile(r"\b(?:a\.m|p\.m|etc)\.$")
"""What may end a sentence: it does before a capital."""


def count_words(text: str) -> int:
    """Returns how many whitespace-separated tokens hold at least one letter or digit; the marks of a
    numbered list are no words."""
    return sum(any(c.isalnum() for c in token) for token in without_numbering(text).split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences, which end at final punctuation and at the end of a line; abbreviations and
    decimals end no sentence, and the greeting and the signature of a letter are none."""
    found: list[str] = []
    for line in _letter_body(without_numbering(text).splitlines()):
        start = 0
        for end in re.finditer(r"[.!?]+[\"')\]]*(?=\s|$)", line):
            piece = line[start : end.end()]
            last = end.end() == len(line)
            goes_on = _LATE_ABBREVIATION.search(piece) and line[end.end() :].lstrip()[:1].islower()
            if last or not (goes_on or _ABBREVIATION.search(piece)):
                found.append(piece)
                start = end.end()
        found.append(line[start:])
    return [piece.strip() for piece in found if count_words(piece)]


def _letter_body(lines: list[str]) -> list[str]:
    """Lines without a first one such as "Dear Ana," and without "Yours," and what follows it."""
    kept = [line.strip() for line in lines if line.strip()]
    if len(kept) > 1 and _is_address(kept[0]):
        kept = kept[1:]
    for at in range(1, len(kept)):
        if _is_address(kept[at]) and all(count_words(line) <= 4 for line in kept[at:]):
            return kept[:at]
    return kept


def _is_address(line: str) -> bool:
    return line.endswith(",") and count_words(line) <= 4


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


def lists_in(text: str) -> Iterator[list[str]]:
    """Yields the lists that a text may be meant as: all of it; and where it is one line the first
    sentence, with and without an apposition ("Cheetah, the fastest animal"), and what stands before or
    after its verb ("Two animals are ...")."""
    yield split_items(text)
    if "\n" in text.strip():
        return
    for sentence in split_sentences(text)[:1]:
        yield split_items(sentence)
        yield split_items(re.split(r",\s+(?:an?|the|which|who)\s", sentence, maxsplit=1)[0])
        for verb in _LINKS.finditer(sentence):
            yield split_items(sentence[verb.end() :])
            yield split_items(sentence[: verb.start()])


def numbers(text: str) -> list[float]:
    """Returns the numbers of a text in order: 1,200 · $5 · 12.0 · -3 · 3/4 · 1 1/2 · 40%.

    The marks of a numbered list are none. When there is no digit at all, number words count.
    """
    bare = _FRACTIONS.sub(r"\1/\2", without_numbering(text).replace("½", " 1/2"))
    found = [value for match in _NUMBER.finditer(bare) if (value := _value(match)) is not None]
    return found if found or any(c.isdigit() for c in bare) else spelled_numbers(bare)


def spelled_numbers(text: str) -> list[float]:
    """Returns the numbers written in words, from zero to 999,999, in order."""
    return [float(_spelled_value(match[0])) for match in _SPELLED.finditer(text)]


def without_numbering(text: str) -> str:
    """Returns a text without the marks of a numbered list: two or more of "1." or "1)" in a row, at the
    beginning of lines or within one."""
    marks: list[re.Match[str]] = []
    for mark in re.finditer(r"(?:(?<=\s)|^)(\d{1,2})[.):]\s+(?=\S)", text):
        if int(mark[1]) == len(marks) + 1:
            marks.append(mark)
    if len(marks) < 2:
        return text
    for mark in reversed(marks):
        text = text[: mark.start()] + text[mark.end() :]
    return text


def without_marks(text: str) -> str:
    """Returns the lines of a list without their numbers, letters or bullets; other text as it is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not all(_MARK.match(line) for line in lines):
        return text
    return "\n".join(_MARK.sub("", line) for line in lines)


def without_emphasis(text: str) -> str:
    """Returns a text whose **bold**, *slanted* and `code` words are plain."""
    return re.sub(
        r"(?<![\w*`])(\*\*|\*|`)(?=[^\s*`])([^*`\n]+?)(?<=[^\s*`])\1(?![\w*`])", r"\2", text
    )


def plain(text: str) -> str:
    """Returns a text with quotes, dashes and spaces of one kind."""
    return text.translate(_PLAIN)


def fold(text: str) -> str:
    """Returns a text without accents."""
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c))


def _bare(text: str) -> str:
    return text.strip(_EDGES)


def same(text: str, *, case: bool = False) -> str:
    """Returns what is compared of a text: no emphasis, surrounding marks or accents, single spaces, lower
    case unless `case` counts."""
    bare = " ".join(_bare(fold(without_emphasis(plain(text)))).split())
    return bare if case else bare.casefold()


def mentions(text: str, phrase: str) -> Iterator[re.Match[str]]:
    """Yields where `phrase` stands as whole words in a text without accents (`fold`).

    A number is whole as well: 15 is not in 15.5 or 15,000. "may" and "march" are months only with a
    capital, unless the text is hardly more than that word.
    """
    wanted = fold(plain(phrase)).strip()
    words = r"\s+".join(re.escape(word) for word in wanted.split())
    before = (
        r"(?<!\w)(?<!\d[.,])" if wanted[0].isdigit() and len(wanted) == 3 else r"(?<!\w)(?<!\d\.)"
    )
    after = r"(?!\w)(?!\.\d*[1-9]|,\d{3}(?!\d))" if wanted[-1].isdigit() else r"(?!\w)"
    named = wanted in _ALSO_VERBS and count_words(text) > 3
    return re.finditer(before + words + after, text, 0 if named else re.IGNORECASE)


def position(text: str, phrase: str) -> int:
    """Returns where `phrase` first stands as whole words, -1 if it is not found."""
    match = next(mentions(fold(text), phrase), None)
    return match.start() if match else -1


def words(text: str) -> list[str]:
    """Returns the words in order, in lower case and without accents."""
    return re.findall(r"\w+(?:'\w+)*", fold(plain(text)).casefold())


_ALSO_VERBS = frozenset({"May", "March"})
_LINKS = re.compile(
    r"\s(?:is|are|include|includes|(?:would|could|can) be|be|add)\b:?\s*", re.IGNORECASE
)
_MARK = re.compile(r"^(?:\d{1,3}[.):]|[-*•+]|\(\d{1,3}\)|[a-z][.)])\s+")
_FRACTIONS = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-)?[$€£]?(?<![\w.])(?P<sign2>(?<=[$€£])-)?"
    r"(?:(?:(?P<whole>\d{1,9})\s+)?(?P<over>\d{1,9})\s*/\s*(?P<under>\d{1,9})(?![\d/])"
    r"|(?P<plain>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))"
)
ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {word: i for i, word in enumerate(ONES)} | {
    ten: 10 * i for i, ten in enumerate(TENS, 2)
}
_SMALL = rf"(?:(?:{'|'.join(TENS)})(?:[- ](?:{'|'.join(ONES[1:10])})\b)?|{'|'.join(ONES)})"
_HUNDREDS = rf"(?:(?:a|{_SMALL})\s+hundred(?:\s+(?:and\s+)?{_SMALL})?|{_SMALL})"
_SPELLED = re.compile(
    rf"\b(?:(?:a|{_HUNDREDS})\s+thousand(?:\s+(?:and\s+)?{_HUNDREDS})?|{_HUNDREDS})\b",
    re.IGNORECASE,
)


def _spelled_value(text: str) -> int:
    total = value = 0
    for word in re.findall(r"\w+", text.lower()):
        if word == "thousand":
            total, value = 1000 * (value or 1), 0
        elif word == "hundred":
            value = 100 * (value or 1)
        else:
            value += _NUMBER_WORDS.get(word, 0)
    return total + value


def _value(match: re.Match[str]) -> float | None:
    if match["plain"]:
        value = float(match["plain"].replace(",", ""))
    elif float(match["under"]) == 0:
        return None
    else:
        value = float(match["whole"] or 0) + float(match["over"]) / float(match["under"])
    return -value if match["sign"] or match["sign2"] else value
