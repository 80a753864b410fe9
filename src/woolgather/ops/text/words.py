"""Words, scripts and repetition of a text, in any language: what rules and novelty count with.

The one idea: nothing here assumes spaces between words or the Latin alphabet. Scripts written
without spaces (Han, kana, Thai, ...) count a character as a word, so that "4 to 150 words" and
"nearly the same text" mean something there too. Nothing here judges.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from woolgather.core.rows import Example, question

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
# Marks that sit inside words but are no letters to `re`: without them Hindi, Arabic with vowels
# and decomposed accents would fall apart into fragments.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u0900-\u0963\u0966-\u0df3"  # Indic blocks, their full stops left out
    "\u200c\u200d"
)
_TOKEN = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\W_]|[{_MARKS}])+")
_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\S)+")
# First words of Unicode names that say how a letter looks, not which script it belongs to.
_NO_SCRIPT = re.compile(
    "MODIFIER|MATHEMATICAL|MICRO|OHM|KELVIN|ANGSTROM|FEMININE|MASCULINE|DOUBLE-STRUCK|SCRIPT|"
    "BLACK-LETTER|SUPERSCRIPT|SUBSCRIPT|ROMAN|EULER|INFORMATION|IDEOGRAPHIC"
)


def tokens(text: str) -> list[str]:
    """Returns lower-case runs of letters, digits and their marks.

    On ASCII exactly what the reference ROUGE tokenizer gives without stemming: lower-case, split at
    `[^a-z0-9]+`.
    """
    return _TOKEN.findall(text.lower())


def answer_of(response: str) -> str:
    """Returns a response as it is compared with others: letter case, spaces and the marks around it do
    not count."""
    return " ".join(response.lower().split()).strip(" .!\"'")


def count_words(text: str) -> int:
    """Returns the number of words between spaces; in scripts without spaces every character counts."""
    return sum(1 for _ in _WORD.finditer(text))


@lru_cache(maxsize=1 << 16)
def script_of(char: str) -> str | None:
    """Returns the script of a letter ("LATIN", "HAN", "KANA", "CYRILLIC", ...), else None."""
    if not char.isalpha():
        return None
    name = unicodedata.name(char, "").split()
    if name and name[0] in ("FULLWIDTH", "HALFWIDTH"):
        name = name[1:]
    if not name or _NO_SCRIPT.fullmatch(name[0]):
        return None
    return {"CJK": "HAN", "HIRAGANA": "KANA", "KATAKANA": "KANA"}.get(name[0], name[0])


def script_shares(text: str) -> dict[str, float]:
    """Returns the share of each script among the letters of a text, in [0, 1]; empty without letters."""
    counts = Counter(s for s in map(script_of, text) if s)
    total = sum(counts.values())
    return {script: n / total for script, n in counts.items()}


def scripts_of(rows: Iterable[Example], share: float = 0.1) -> frozenset[str]:
    """Returns scripts that make up at least `share` of the letters of some instruction, input or
    response.

    Counted by text, not over all of them, so that one seed that translates into Greek allows Greek
    and a lone pi in a formula does not.
    """
    found: set[str] = set()
    for row in rows:
        for text in (row.instruction, row.input, row.response):
            found.update(s for s, part in script_shares(text).items() if part >= share)
    return frozenset(found)


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yields every run of `n` words, in order."""
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def loops(text: str) -> bool:
    """Returns whether a text goes round in circles.

    It does when its end is the same stretch of up to 30 tokens four times over (12 tokens at least);
    when a line of three or more tokens stands there four times and fills a third of the lines; or
    when it has 50 or more tokens and more than half of its 5-grams are repeats.
    """
    words = tokens(text)
    for period in range(1, min(30, len(words) // 4) + 1):
        repeats = max(4, -(-12 // period))
        tail = words[-period * repeats :]
        if len(tail) == period * repeats and tail == tail[:period] * repeats:
            return True
    lines = [" ".join(tokens(line)) for line in text.splitlines() if len(tokens(line)) >= 3]
    if lines:
        most = Counter(lines).most_common(1)[0][1]
        if most >= 4 and 3 * most >= len(lines):
            return True
    if len(words) >= 50:
        grams = list(ngrams(words, 5))
        return len(set(grams)) < len(grams) / 2
    return False


def without_last_word(text: str) -> str:
    """Returns a text that was cut at a limit without its last word, which may be half of one. A text
    whose last 40 characters have no space stays: it is not written in words."""
    return re.sub(r"\s+\S{1,40}\s*\Z", "", text)


def copied_share(row: Example, n: int = 4) -> float | None:
    """Returns the share of the response's n-grams that stand in its instruction and input, in [0, 1].

    None when the response has fewer than 2n tokens: a short answer that is a word of the text
    (extraction, choice) is no copying.
    """
    words = tokens(row.response)
    if len(words) < 2 * n:
        return None
    source = set(ngrams(tokens(question(row)), n))
    grams = list(ngrams(words, n))
    return sum(g in source for g in grams) / len(grams)
