"""Prompts for Dromedary-2: the first turns of four data sets, cleaned, without their answers.

The one idea: prompts are people's own questions, so the only thing done to them is to take away what
nobody sees; whatever cannot be asked alone is left out by a filter with a reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from woolgather.core.rows import Example, question
from woolgather.data.record_files import Place
from woolgather.prepare.counting import FilterCounts
from woolgather.prepare.reading import Wanted, field_of, first_question, messages, opening
from woolgather.prepare.sources import PublishedSource

ROWS = {
    "sharegpt": 90_000,
    "dolly": 10_000,
    "openassistant": 10_000,
    "openorca": 40_000,
}
TOKENS = (2, 256)


def dromedary2_prompts(
    sources: Mapping[str, PublishedSource], wanted: Wanted, tally: FilterCounts
) -> Iterator[Example]:
    """Yields first turns of people, without their answers: prompts for Dromedary-2.

    The numbers are drawn from what is left after cleaning. Memory: the rows drawn from one source,
    and 16 bytes (about 80 in a set) for each different prompt of it."""
    read = {
        "sharegpt": _of_sharegpt,
        "dolly": _of_dolly,
        "openassistant": _of_openassistant,
        "openorca": _of_openorca,
    }
    within = _within(wanted.tokens)
    known: set[bytes] = set()
    for name, source in sources.items():
        tally.source = name
        rows = (_clean(row) for pair in source for row in read[name](*pair))
        good = tally.sift(rows, asks_first, legible, within, _new(known.copy()))
        number = wanted.rows or ROWS[name]
        for row in tally.draw(good, number, wanted.seed, ROWS[name]):
            known.add(_digest(row))
            yield replace(row, id=f"{name}-{_digest(row).hex()[:12]}")


def asks_first(row: Example) -> bool:
    """It is the person's first turn of a conversation that is there from its beginning."""
    return bool(row.instruction.strip())


def legible(row: Example) -> bool:
    """There are letters in it, and none were lost in a wrong encoding."""
    text = question(row)
    return "\ufffd" not in text and any(c.isalpha() for c in text)


def _within(tokens: Callable[[str], int] | None) -> Callable[[Example], bool]:
    count = tokens or (lambda text: len(text.split()))

    def keep(row: Example) -> bool:
        return TOKENS[0] <= count(question(row)) <= TOKENS[1]

    unit = "tokens" if tokens else "words"
    keep.__name__ = f"{TOKENS[0]}_to_{TOKENS[1]}_{unit}"
    keep.__doc__ = "A word alone asks nothing, and long prompts leave no room for an answer"
    keep.__doc__ += "." if tokens else "; words, since no --tokenizer was named."
    return keep


def _new(known: set[bytes]) -> Callable[[Example], bool]:
    def not_there_yet(row: Example) -> bool:
        """The same text, letter for letter, is there once."""
        before = len(known)
        known.add(_digest(row))
        return len(known) > before

    return not_there_yet


def _digest(row: Example) -> bytes:
    return hashlib.blake2b(question(row).encode(), digest_size=16).digest()


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff\ud800-\udfff]"
)
_MANY = re.compile(r"\n{3,}")


def _clean(row: Example) -> Example:
    """Returns the row without characters that nobody sees, and without space around it."""

    def clean(text: str) -> str:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return _MANY.sub("\n\n", _UNSEEN.sub("", text)).strip()

    return replace(row, instruction=clean(row.instruction), input=clean(row.input))


def _of_sharegpt(place: Place, record: object) -> Iterator[Example]:
    """Long conversations are cut into parts `<id>_0`, `<id>_7`, ...: only part 0 is a beginning."""
    good = '{"id": "abc_0", "conversations": [{"from": "human", "value": "..."}, ...]}'
    fields = record if isinstance(record, Mapping) else {}
    turns = fields.get("conversations")
    if turns == []:
        yield _prompt("", "sharegpt")
        return
    _, asked, _ = opening(turns, "from", "value", "human", place, good)
    part = re.search(r"_(\d+)$", str(fields.get("id") or ""))
    yield _prompt("" if part and int(part[1]) else asked, "sharegpt")


def _of_dolly(place: Place, record: object) -> Iterator[Example]:
    good = '{"instruction": "...", "context": "", "response": "...", "category": "..."}'
    asked = field_of(place, record, "instruction", good)
    context = record.get("context") if isinstance(record, Mapping) else None
    yield replace(_prompt(asked, "dolly"), input=str(context or ""))


def _of_openassistant(place: Place, record: object) -> Iterator[Example]:
    """Yields questions in every language, each once; other messages are no prompts at all."""
    for message in messages(place, record):
        if first_question(message):
            yield _prompt(message.text, "openassistant")


def _of_openorca(place: Place, record: object) -> Iterator[Example]:
    """Yields the question alone: its system prompt asks another model for a style."""
    good = '{"id": "...", "system_prompt": "...", "question": "...", "response": "..."}'
    yield _prompt(field_of(place, record, "question", good), "openorca")


def _prompt(text: str, source: str) -> Example:
    return Example(instruction=text, meta={"origin": "prompt", "source": source})
