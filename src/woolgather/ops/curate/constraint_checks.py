"""Our checks of constraints: form that a text either has or lacks, whatever it speaks of.

The one idea: breadth. None asks for what a reporting or selecting family of probes asks for (the number
of words or sentences, a word that is in or out, first or last, the case of all letters, a marked list, a
question). A test compares, over some texts, what each decides with what parts of such probes' checks
decide; parts that few texts meet, such as a rare word, it cannot see. A text is split at white space into
words, and a mark at a word's edge is no part of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from woolgather.ops.curate.constraints import Propose, check

NO_SOME = ("no", "at least one")
SOME_NONE = ("something", "nothing")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EDGE = re.compile(r"^\W+|\W+$")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def _words(text: str) -> list[str]:
    return [word for word in (_EDGE.sub("", each) for each in text.split()) if word]


def _sentences(text: str) -> list[int]:
    """Words of each sentence; a line end ends one, too."""
    return [n for n in (len(_words(each)) for each in _SENTENCE_END.split(text)) if n]


def _some(found: object, value: str) -> bool:
    return bool(found) == (value in ("at least one", "something", "a"))


def _number(count: Callable[[str], int], least: int = 0, most: int = 12) -> Propose:
    """Proposes the number that a text has, where it lies between `least` and `most`."""
    return lambda text: [n for n in (count(text),) if least <= n <= most]


@check("Use {} exclamation mark.", NO_SOME)
def exclamation(text: str, value: str) -> bool:
    return _some("!" in text, value)


@check("Put {} in parentheses.", SOME_NONE)
def parentheses(text: str, value: str) -> bool:
    return _some(re.search(r"\([^()]+\)", text), value)


@check("Put {} in double quotation marks.", SOME_NONE)
def quotation(text: str, value: str) -> bool:
    return _some(re.search(r'"[^"]+"|“[^”]+”', text), value)


@check("Put {} in bold between two pairs of asterisks.", SOME_NONE)
def bold(text: str, value: str) -> bool:
    return _some(re.search(r"\*\*[^*\n]+\*\*", text), value)


@check("Use {} word with a hyphen in it.", NO_SOME)
def hyphen(text: str, value: str) -> bool:
    return _some(re.search(r"\w-\w", text), value)


@check("Use {} colon.", NO_SOME)
def colon(text: str, value: str) -> bool:
    return _some(":" in text, value)


@check("Use {} semicolon.", NO_SOME)
def semicolon(text: str, value: str) -> bool:
    return _some(";" in text, value)


@check("Use {} dash that stands between two spaces.", NO_SOME)
def dash(text: str, value: str) -> bool:
    return _some(re.search(r"\S [-–—] \S", text), value)


@check("Use {} row of three dots.", NO_SOME)
def ellipsis(text: str, value: str) -> bool:
    return _some("..." in text or "…" in text, value)


@check("Write {} number in digits.", NO_SOME)
def digits(text: str, value: str) -> bool:
    return _some(re.search(r"\d", text), value)


@check("Use {} contraction, such as don't or it's.", NO_SOME)
def contraction(text: str, value: str) -> bool:
    return _some(re.search(r"\w(?:n['’]t|['’](?:s|re|ve|ll|d|m))\b", text), value)


@check("Set {} heading above a part of the text, on a line that begins with #.", ("no", "a"))
def heading(text: str, value: str) -> bool:
    return _some(re.search(r"(?m)^#+ \S", text), value)


SIGNS = "&%$/+="


@check("Use the sign {} somewhere.", tuple(SIGNS))
def sign(text: str, value: str) -> bool:
    return value in text


@check(
    "Leave out the letter {} altogether.",
    lambda text: [c for c in LETTERS if c not in text.lower()],
)
def without_letter(text: str, value: str) -> bool:
    return value not in text.lower()


MARKS = {
    ".": "a full stop",
    "!": "an exclamation mark",
    ":": "a colon",
    ")": "a closing parenthesis",
    '"': "a quotation mark",
}
BARE = "a letter or a digit"


@check("Let the very last character be {}.", (*MARKS.values(), BARE))
def last_character(text: str, value: str) -> bool:
    end = text.strip()[-1:]
    return end.isalnum() if value == BARE else MARKS.get(end) == value


@check("Let the first letter be {}.", ("a vowel", "a consonant"))
def first_sound(text: str, value: str) -> bool:
    first = next((char for char in text.lower() if char in LETTERS), "")
    return bool(first) and (first in "aeiou") == (value == "a vowel")


def _commas(text: str) -> int:
    return text.count(",")


@check("The number of commas has to be {}.", _number(_commas, most=8))
def commas(text: str, value: int) -> bool:
    return _commas(text) == value


def _paragraphs(text: str) -> int:
    return len([part for part in re.split(r"\n\s*\n", text) if part.strip()])


@check("Let blank lines divide the text into {} parts.", _number(_paragraphs, least=2))
def paragraphs(text: str, value: int) -> bool:
    return _paragraphs(text) == value


def _lines(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip()])


@check("Spread the text over {} lines; blank ones do not count.", _number(_lines, least=2))
def lines(text: str, value: int) -> bool:
    return _lines(text) == value


def _capitals(text: str) -> int:
    return sum(word[0].isupper() for word in _words(text))


@check("Begin {} words with a capital letter, neither more nor fewer.", _number(_capitals, least=2))
def capitals(text: str, value: int) -> bool:
    return _capitals(text) == value


def _articles(text: str) -> int:
    return sum(word.lower() == "the" for word in _words(text))


@check('Say "the" {} times in all.', _number(_articles, least=2))
def articles(text: str, value: int) -> bool:
    return _articles(text) == value


def _small(text: str) -> int:
    return sum(len(word) == 2 for word in _words(text))


@check("The number of words of two letters has to be {}.", _number(_small, least=1))
def small_words(text: str, value: int) -> bool:
    return _small(text) == value


def _adverbs(text: str) -> int:
    return sum(word.lower().endswith("ly") for word in _words(text))


@check("Let the number of words that end in -ly be {}.", _number(_adverbs, least=1))
def adverbs(text: str, value: int) -> bool:
    return _adverbs(text) == value


def _doubles(text: str) -> int:
    return sum(bool(re.search(r"([a-z])\1", word.lower())) for word in _words(text))


@check(
    "Let the number of words with a doubled letter, as in bell, be {}.", _number(_doubles, least=1)
)
def double_letters(text: str, value: int) -> bool:
    return _doubles(text) == value


def _first(text: str) -> int:
    return len("".join(_words(text)[:1]))


@check("The first word has to be {} letters long.", _number(_first, least=2))
def first_word_length(text: str, value: int) -> bool:
    return _first(text) == value


def _last(text: str) -> int:
    return len("".join(_words(text)[-1:]))


@check("The last word has to be {} letters long.", _number(_last, least=2))
def last_word_length(text: str, value: int) -> bool:
    return _last(text) == value


def _longest(text: str) -> int:
    return max(map(len, _words(text)), default=0)


@check("Use no word of more than {} letters.", _number(_longest, least=3, most=9))
def short_words(text: str, value: int) -> bool:
    return 0 < _longest(text) <= value


@check("Use a word of {} letters or more.", _number(_longest, least=10, most=20))
def long_word(text: str, value: int) -> bool:
    return _longest(text) >= value


def _commonest(text: str) -> int:
    return max(Counter(map(str.lower, _words(text))).values(), default=0)


@check("Use the commonest of your words {} times.", _number(_commonest, least=2))
def commonest_word(text: str, value: int) -> bool:
    return _commonest(text) == value


def _longest_sentence(text: str) -> int:
    return max(_sentences(text), default=0)


@check("Let no sentence run to more than {} words.", _number(_longest_sentence, least=3, most=15))
def short_sentences(text: str, value: int) -> bool:
    return len(_sentences(text)) > 1 and _longest_sentence(text) <= value


@check("Make the first sentence {} than the last one.", ("longer", "shorter"))
def first_against_last(text: str, value: str) -> bool:
    sizes = _sentences(text)
    if len(sizes) < 2 or sizes[0] == sizes[-1]:
        return False
    return (sizes[0] > sizes[-1]) == (value == "longer")
