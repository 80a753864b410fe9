"""The score that a judge's reply states, or nothing.

The one idea: a number is a score only where the reply says so. It does by beginning with it, by a
label, in a box or a JSON field, or by giving it in so many words ("I would rate this a 7"). Any other
number is about something else, and two different scores are none: the reader would rather answer
"unreadable" than guess. Reasoning before the answer is no part of the reply.

Scripts other than ours are read as far as digits (any), wide letters and the words for "score" go.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from woolgather.prompting.reasoning import split_reasoning

Read = Literal["first_score", "last_line_score", "last_line_number"]
Scale = tuple[float, float]

CUT = "[cut at its limit]"
"""The last line of a kept reply that ran into its limit where its last line should hold the score."""


class Stated(NamedTuple):
    """A score as a reply states it, on whatever scale."""

    value: float
    of: float | None = None
    """The scale's top where the reply names it: 5 in "4/5"."""
    last: bool = False
    """Whether it is the very end of the reply."""

    def on(self, low: float, high: float) -> float | None:
        """Returns it as a score from `low` to `high`; None where it is outside, or on another scale."""
        fits = low <= self.value <= high and self.of in (None, high)
        return self.value if fits else None


def read_score(
    reply: str, low: float, high: float, read: Read = "first_score", name: str = ""
) -> float | None:
    """Returns the one score from `low` to `high` that a reply states; None where it states none.

    `name` is the rubric's: a number labelled with another rubric's name is not its score.
    """
    stated = find_score(reply, (low, high), read, name)
    return None if stated is None else stated.on(low, high)


def find_score(
    reply: str, scale: Scale, read: Read = "first_score", name: str = ""
) -> Stated | None:
    """Returns the one score that a reply states, on the scale or not; None where it states none.

    first_score: a number where the reply begins ("8", "**9**", "7 - clear", "Score: 7/10"); else what
    the reply calls its score anywhere, if all such places agree. In the other modes the last line
    counts: what it begins with, else what it calls its score; where it says nothing ("Thank you!"),
    the lines that are labelled, if they agree. last_line_number also takes a level or a conclusion
    that ends the last line ("So level 4."). A reply that ends with `CUT` has no last line.
    """
    text = _tidy(reply, scale)
    if (fields := _as_json(text)) is not None:
        return _in_fields(fields, name)
    if read == "first_score":
        return _first(text, name)
    if text.endswith(CUT):
        return None
    before, _, last = text.rpartition("\n")
    found = _on_last_line(last, name)
    if found is None and read == "last_line_number":
        found = _agree(_read(m) for m in _CONCLUDED.finditer(last) if not _is_hedged(m))
    if found is not None:
        return _unless_other(found, before.rpartition("\n")[2], name)
    if _SPEAKS_OF_SCORES.search(last):
        return None
    earlier = _agree(_read(m) for m in _LABELLED.finditer(text) if _concerns(m, name))
    return None if earlier is None else earlier._replace(last=False)


# What the text is

_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)


def _tidy(reply: str, scale: Scale) -> str:
    """Returns the reply without reasoning, code fences and talk of its own scale, one space or line end
    between words, wide letters and foreign digits as ours."""
    text = "".join(map(_narrow, _FENCE.sub("", split_reasoning(reply).answer)))
    low, high = (f"{bound:g}" for bound in scale)
    ends = (
        rf"(?<![\w.,]){re.escape(low)}\s?(?:-|–|—|to|and|\.\.)\s?{re.escape(high)}(?![\w%]|[.,]\d)"
    )
    talk = (
        rf"\(?(?:(?:on|from|in|using)\s)?(?:(?:the|a)\s)?(?:scale\s(?:of|from)\s(?:{ends}|{high}\b)"
        rf"|{ends}\sscale|{ends}(?=\s?[):]))\)?\s?:?|\(out of {high}\)\s?:?|\Aout of {high}\s?:"
    )
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(talk, "", text, flags=re.IGNORECASE)
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def _narrow(letter: str) -> str:
    if letter < "\x80":
        return letter
    if "\uff01" <= letter <= "\uff5e":  # the wide forms of ASCII, in its order
        return chr(ord(letter) - 0xFEE0)
    digit = unicodedata.decimal(letter, None)
    return letter if digit is None else str(digit)


# How a score is written

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SPELT = "|".join(_WORDS)
_EDGE = r"[\s*_`\"'#>(\[{<$]{0,12}"
_CLOSE = r"[*_`\"')\]}>$]{0,8}"
_DIGITS = r"[+]?[0-9]+(?:\.[0-9]+|,[0-9](?![0-9]))?"
_NUMBER = rf"(?:{_DIGITS}|(?:{_SPELT})(?!\w))"
_WHOLE = r"(?:(?=分|点|點|점)|(?!\w|[.,:][0-9]))"
_UNIT = r"(?:\s?(?:points?|stars?|分|点|點|점|балл\w{0,2}|Punkte|puntos|pontos|punti)(?!\w))?"
_OF = rf"(?:{_CLOSE}\s?(?:/|out\sof\s|of\s)\s?[*_`]{{0,4}}(?P<of>[0-9]+(?:\.[0-9]+)?|ten|five)(?![\w%]))?"
_VALUE = rf"(?P<score>-?{_NUMBER}){_WHOLE}\+?{_OF}{_UNIT}"
_BOUNDED = r"(?!\s?[,(]?\s?(?:if|unless|or)\b)"
"""A score under a condition, or one of two, is none."""
_ALONE = r"(?!\s?(?:[-–—&,;/]|(?:to|or|and)\b)\s?[0-9])"
_REASON = r"because\b|since\b|as\b"
_END = rf"{_BOUNDED}{_CLOSE}\s?(?:$|[-–—:;,.|!(<\n。]|{_REASON})"

_ASPECTS = frozenset({"quality", "following"})
"""Names of our rubrics that judges use for labels."""
_SCORE = "score|rating|grade|mark|verdict"
_ABROAD = (
    "评分|分数|得分|打分|总分|評分|分數|スコア|評価|点数|점수|평점|оценка|балл|puntuaci[oó]n|puntaje|"
    "calificaci[oó]n|bewertung|punktzahl|punteggio|voto|pontua[cç][aã]o|درجة|الدرجة|التقييم|स्कोर|अंक"
)
_WORD = (
    rf"(?:(?:the|my|your|our|final|overall|total|quality|following|最终|итоговая|общая)\s?){{0,3}}"
    rf"(?:{_SCORE}|quality|following|overall|{_ABROAD})(?!\w)"
    r"(?:\s(?:of|for\s\w+(?:\s\w+)?))?"
)
_ABOUT = r"(?:(?:about|around|roughly|approximately)\s|[~≈]\s?)?"
_LABEL = (
    rf"(?:[-•]\s)?{_WORD}(?:\sis)?[*_`\"']{{0,4}}\s?"
    rf"(?:[:=–—-]|is\b|would\sbe\b|为|為|は)?{_EDGE}{_ABOUT}"
)
_OWN = (
    r"is\s(?:useless|good)\b|has\s(?:serious|no)\sfaults?\b|meets\s(?:half|it|all)\b|ignores\sthe\b"
    r"|could\snot\s(?:be|keep)\b|goes\sagainst\b|keeps\sto\b"
)
"""How our rubrics go on after a score."""
_ARTICLE = r"an?\s(?=\S+(?:/\S+)?\s?(?:$|[\n(–—-]|because))"

_I = re.IGNORECASE
_HEAD = re.compile(
    rf"{_EDGE}(?P<label>{_LABEL})?(?:{_ABOUT}|{_ARTICLE}){_VALUE}(?:{_END}|{_BOUNDED}\s(?:{_OWN}))",
    _I,
)
_ANCHOR = re.compile(rf"(?<![\w.,]){_DIGITS}:?\s(?:{_OWN})", _I)
_LINE = re.compile(rf"{_EDGE}(?:{_LABEL})?{_VALUE}[.!]?{_CLOSE}", _I)
_TOP = r"(?:\s?/\s?[0-9]+|\sout\sof\s\w+)?"
_RANGE = re.compile(
    rf"{_EDGE}(?:{_LABEL})?{_NUMBER}{_TOP}(?:\s?(?:[-–—&]|(?:to|or|and)\b)\s?|[,;]\s)"
    rf"{_NUMBER}{_TOP}\s?(?:$|[^\w\s%])",
    _I,
)
_LIST = re.compile(rf"{_EDGE}1[.)][*_]{{0,2}} \S")
_ITEM = re.compile(rf"{_EDGE}[0-9]+[.)][*_]{{0,2}} \S")

_LABELLED = re.compile(
    rf"(?:^{_EDGE}{_LABEL}|(?:(?<=[.!?:;)\]}}{{(*\"。；—–-])|(?<=,)(?!\sthe\b)){_EDGE}{_WORD}[*_`\"']{{0,4}}\s?[:=为為]"
    rf"{_EDGE}{_ABOUT}){_VALUE}{_ALONE}{_END}",
    _I | re.MULTILINE,
)
_BOXED = re.compile(rf"\\boxed\s?\{{\s?(?:\\text\{{)?{_VALUE}\s?\}}", _I)
_THIS = r"(?:it|this|that|(?:this|that|the)\s(?:response|answer|reply|text|candidate|output))"
_CALLED = (
    r"(?:(?:only|just|overall|final|total|solid|strong|clear|quality)\s){0,2}"
    rf"(?:(?:{_SCORE})(?:\s(?:is|of)|:)?\s)?(?:an?\s)?{_ABOUT}"
)
_NO_MORE = (
    r"(?!\s?[,(]?\s?(?:if|unless|or|but|had|were|except|minus|though|although|when|only|not)\b)"
)
_GIVEN = re.compile(
    r"\b(?:"
    r"(?:I|we)(?:['’](?:d|ll)|\swould|\swill)?(?:\s(?:also|still|therefore|thus|personally))?\s"
    rf"(?:(?:rate|give|score|grade|assign|award)\s(?:{_THIS}\s)?(?:(?:as|at|with)\s)?(?:an?\s|the\s)?"
    rf"|say\s(?:it['’]s\s|it\sis\s)?(?:an?\s)?){_CALLED}"
    rf"|{_THIS}\s(?:deserves|merits|earns|gets|receives)\san?\s{_CALLED}"
    rf"|{_THIS}(?:\sis|['’]s)\s(?:worth\s)?an?\s{_CALLED}"
    rf"|(?:(?:so|thus|hence|therefore),?\s(?:the|my)|my)\s(?:final\s|overall\s)?(?:{_SCORE})"
    rf"\s(?:is|would\sbe)\s(?:an?\s)?{_ABOUT}"
    rf"){_EDGE}{_VALUE}{_ALONE}{_NO_MORE}{_CLOSE}\s?(?:$|[-–—:;,.!)(\n]|{_REASON}|for\b|overall\b)",
    _I,
)
_FRACTION = re.compile(
    rf"(?<![\w.,/])(?<![0-9]-)(?<!\bor )(?<!\bto )(?P<score>{_DIGITS})[*_`]{{0,4}}"
    r"\s?(?:/|out\sof)\s?(?P<of>[0-9]+)(?![\w/]|[.,][0-9])"
    rf"{_NO_MORE}{_CLOSE}\s?(?:$|[-–—:;,.!)\n]|{_REASON}|for\b|overall\b)",
    _I,
)
_CONCLUDED = re.compile(
    rf"(?:^{_EDGE}|\b(?:so|thus|hence|therefore|overall)\b[,:]?\s)(?:an?\s|level:?\s)?{_VALUE}[.!]?{_CLOSE}$",
    _I,
)
_SPEAKS_OF_SCORES = re.compile(rf"(?<!\w)(?:{_SCORE}|level)\b|[0-9](?! \w{{2,}}s\b)", _I)
"""A line with one of these is not "Thank you!"; numbers of things ("3 faults") aside."""
_REST = re.compile(rf"[\s.!]*{_CLOSE}(?:</\w+>)?[\s.!]*\Z")


# Where it is looked for


def _first(text: str, name: str) -> Stated | None:
    if _RANGE.match(text) or _LIST.match(text):
        return None
    head = _HEAD.match(text)
    if head is not None and _concerns(head, name) and not _is_prose(head):
        after = text[head.start("score") :].partition("\n")[2].partition("\n")[0]
        return _unless_other(_read(head), after, name)
    return _anywhere(text, name)


def _unless_other(found: Stated, line: str, name: str) -> Stated | None:
    """Returns what was found, unless the line beside it is another score and nothing else."""
    match = _LINE.fullmatch(line)
    other = match is not None and _concerns(match, name) and _read(match).value != found.value
    return None if other else found


def _on_last_line(line: str, name: str) -> Stated | None:
    if _RANGE.match(line) or _ITEM.match(line):
        return None
    head = _HEAD.match(line)
    if head is not None and _concerns(head, name) and not _is_prose(head):
        return _read(head)
    return _anywhere(line, name)


def _anywhere(text: str, name: str) -> Stated | None:
    """What the text calls its score; else what it gives, in words or as a fraction of some top."""
    boxed = list(_BOXED.finditer(text))
    labelled = [m for m in _LABELLED.finditer(text) if _concerns(m, name) and not _is_hedged(m)]
    # "one" is a score behind a label, and a pronoun in a sentence.
    given = [m for m in _GIVEN.finditer(text) if m["score"].lower() != "one" and not _is_hedged(m)]
    if not boxed and not labelled:
        given += [m for m in _FRACTION.finditer(text) if not _is_hedged(m)]
    return _agree(_read(match) for match in [*boxed, *labelled, *given])


def _as_json(text: str) -> dict[str, object] | None:
    """Returns the fields of a reply that is a JSON object as a whole."""
    if not text.startswith("{") or not text.endswith("}"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _in_fields(fields: Mapping[str, object], name: str) -> Stated | None:
    wanted = {*_SCORE.split("|"), "overall", name}
    given = [str(value) for key, value in fields.items() if key.strip().lower() in wanted]
    found = [match for value in given if (match := _LINE.fullmatch(value))]
    return _agree(map(_read, found)) if len(found) == len(given) else None


def _concerns(match: re.Match[str], name: str) -> bool:
    """Whether the number is labelled with no other rubric's name."""
    start = match.start()
    label = match.string[start : match.start("score")].lower()
    named = _ASPECTS.intersection(re.findall(r"\w+", label))
    return not named or not name or name in named


def _is_prose(head: re.Match[str]) -> bool:
    """Whether what looks like a score begins a sentence or a list: a number word that text follows, or
    a level named among others."""
    after = head.string[head.end("score") :]
    if head["label"] is None and head["score"].isalpha():
        line = after.partition("\n")[0]
        said = re.sub(r"^\s?(?:out\sof|of|/)\s?\w+", "", line).strip(" .!*_`\"'")
        return bool(said) and (head["score"].lower() == "one" or said[0] not in "-–—(")
    own = re.match(rf":?\s(?:{_OWN})", after, _I)
    return own is not None and len(_ANCHOR.findall(head.string)) > 1


_CONDITION = re.compile(r"\b(?:if|unless)\b|^\W*(?:had|were|should)\b", _I)
_DENIAL = re.compile(r"\b(?:not|never|no|nor|cannot|than|hardly|nobody)\b|n['’]t\b", _I)


def _is_hedged(match: re.Match[str]) -> bool:
    """Whether the sentence denies the score before it comes to it, or makes it depend on something."""
    before = match.string[max(0, match.start() - 400) : match.start()]
    sentence = re.split(r"[.!?](?=\s)|\n", before)[-1]
    clause = re.split(r"[,;:—–]|\b(?:so|but|and|therefore)\b", sentence)[-1]
    return bool(_CONDITION.search(sentence) or _DENIAL.search(clause))


def _read(match: re.Match[str]) -> Stated:
    of = match["of"]
    end = match.end("of") if of else match.end("score")
    last = _REST.match(re.sub(rf"\A\+?{_UNIT}", "", match.string[end:], flags=_I)) is not None
    return Stated(_number(match["score"]), _number(of) if of else None, last)


def _number(text: str) -> float:
    spelt = text.lower()
    return float(_WORDS.index(spelt) if spelt in _WORDS else text.replace(",", "."))


def _agree(found: Iterable[Stated]) -> Stated | None:
    """The one score that all these are; None without any, or where two differ."""
    every = list(found)
    tops = {one.of for one in every} - {None}
    if len({one.value for one in every}) != 1 or len(tops) > 1:
        return None
    return every[-1]._replace(of=next(iter(tops), None))
