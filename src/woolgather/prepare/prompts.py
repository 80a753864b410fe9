"""Prompts for Dromedary-2: the first turns of four data sets, cleaned, without their answers.

The one idea: prompts are people's own questions, so the only thing done to them is to take away what
nobody wrote (residue.py); whatever cannot be asked alone is left out by a filter with a reason. The
filters are those of IBM/Dromedary, training/step1_prompt_cleaning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from woolgather.core.rows import Example
from woolgather.data.record_files import Place
from woolgather.prepare.counting import FilterCounts
from woolgather.prepare.reading import Wanted, field_of, first_question, messages
from woolgather.prepare.residue import strip_residue
from woolgather.prepare.sources import PublishedSource

ROWS = {
    "sharegpt": 90_000,
    "dolly": 10_000,
    "openassistant": 10_000,
    "openorca": 40_000,
}
STRATA = ("niv", "flan", "t0", "cot")
"""OpenOrca's sources, in the order in which an id is looked through; as many rows from each."""
CATEGORIES = ("creative_writing", "brainstorming", "open_qa", "general_qa", "classification")
"""Dolly's categories without a context."""
TOKENS = (2, 256)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The first turn of a conversation, and what the filters ask about it."""

    text: str
    turns: int = 2
    """Turns of the conversation; 1 means that nobody answered."""
    kind: str = ""
    """Dolly: its category. OpenOrca: the one of `STRATA` that it is from."""
    file: str = ""
    """Name of its file, where one data set is in several."""


def dromedary2_prompts(
    sources: Mapping[str, PublishedSource], wanted: Wanted, tally: FilterCounts
) -> Iterator[Example]:
    """Yields first turns of people, without their answers: prompts for Dromedary-2.

    The numbers are drawn from what is left after cleaning. Memory: the rows drawn from one source,
    16 bytes (about 80 in a set) for each different prompt of it, and the ids of oasst1's questions.
    """
    within = _within(wanted.tokens)
    known: set[bytes] = set()
    for name, source in sources.items():
        tally.source = name
        prompts, filters = _SOURCES[name]
        found = _clean(tally.sift(prompts(source), *filters), tally)
        good = tally.sift(found, legible, within, _new(known.copy()))
        number = wanted.rows or ROWS[name]
        if name == "openorca":
            each = max(1, number // len(STRATA))
            paper = ROWS[name] // len(STRATA)
            chosen = tally.draw_each(good, _kind, STRATA, each, wanted.seed, paper)
        else:
            chosen = tally.draw(good, number, wanted.seed, ROWS[name])
        for prompt in chosen:
            known.add(_digest(prompt))
            yield Example(
                id=f"{name}-{_digest(prompt).hex()[:12]}",
                instruction=prompt.text,
                meta={"origin": "prompt", "source": name},
            )


# -- filters ---------------------------------------------------------------------------------------


def asks_first(prompt: Prompt) -> bool:
    """It is the person's first turn of a conversation that is there from its beginning."""
    return bool(prompt.text.strip())


def is_answered(prompt: Prompt) -> bool:
    """The conversation has at least two turns: somebody thought it worth an answer."""
    return prompt.turns >= 2


def asked_without_context(prompt: Prompt) -> bool:
    """It is of a category whose questions stand alone; the others speak of a text."""
    return prompt.kind in CATEGORIES


def answered_by_gpt4(prompt: Prompt) -> bool:
    """It is of the part that GPT-4 answered; the other part is told by its file's name."""
    return "GPT3" not in prompt.file


def no_entailment(prompt: Prompt) -> bool:
    """It does not ask whether a premise entails a hypothesis."""
    text = prompt.text.replace("Premise", "premise").replace("Hypothesis", "hypothesis")
    return not any(word in text for word in ("premise", "hypothesis", "it is not possible to tell"))


def legible(prompt: Prompt) -> bool:
    """There are letters in it, and none were lost in a wrong encoding."""
    return "\ufffd" not in prompt.text and any(c.isalpha() for c in prompt.text)


def _within(tokens: Callable[[str], int] | None) -> Callable[[Prompt], bool]:
    count = tokens or (lambda text: len(text.split()))

    def keep(prompt: Prompt) -> bool:
        return TOKENS[0] <= count(prompt.text) <= TOKENS[1]

    unit = "tokens" if tokens else "words"
    keep.__name__ = f"{TOKENS[0]}_to_{TOKENS[1]}_{unit}"
    keep.__doc__ = "A word alone asks nothing, and long prompts leave no room for an answer"
    keep.__doc__ += "." if tokens else "; words, since no --tokenizer was named."
    return keep


def _new(known: set[bytes]) -> Callable[[Prompt], bool]:
    def not_there_yet(prompt: Prompt) -> bool:
        """The same text, letter for letter, is there once."""
        before = len(known)
        known.add(_digest(prompt))
        return len(known) > before

    return not_there_yet


def _digest(prompt: Prompt) -> bytes:
    return hashlib.blake2b(prompt.text.encode(), digest_size=16).digest()


def _kind(prompt: Prompt) -> str:
    return prompt.kind


def _clean(prompts: Iterator[Prompt], tally: FilterCounts) -> Iterator[Prompt]:
    """Returns all prompts, without what nobody wrote; its line says how many were changed."""
    line = tally.line("cleaned", "")

    def clean() -> Iterator[Prompt]:
        changed = 0
        for prompt in prompts:
            text, had_residue = strip_residue(prompt.text)
            changed += had_residue
            line.before += 1
            line.after += 1
            line.why = f"buttons and marks of the page were taken out of {changed:,}"
            yield replace(prompt, text=text)

    return clean()


# -- sources ---------------------------------------------------------------------------------------


def _of_sharegpt(source: PublishedSource) -> Iterator[Prompt]:
    """Yields first turns of each of the three layouts. Long conversations are cut into parts
    `<id>_0`, `<id>_7`, ...: only part 0 is a beginning."""
    for place, record in source:
        fields = record if isinstance(record, Mapping) else {}
        if "conversations" not in fields and isinstance(text := fields.get("text"), str):
            asked, bot, _ = text.partition("<bot>")
            yield Prompt(asked.strip().removeprefix("<human>:").strip(), 2 if bot else 1)
            continue
        turns = fields.get("conversations")
        part = re.search(r"_(\d+)$", str(fields.get("id") or ""))
        asked = "" if part and int(part[1]) else _first_turn(turns, place)
        yield Prompt(asked, len(turns) if isinstance(turns, list) else 0)


def _first_turn(turns: object, place: Place) -> str:
    good = '{"id": "abc_0", "conversations": [{"from": "human", "value": "..."}, ...]}'
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise place.wrong("no list of messages.", good)
    if turns and turns[0].get("from") == "system":
        turns = turns[1:]
    if not turns:
        return ""
    texts = [turns[0].get(key) for key in ("markdown", "value", "text")]
    said = next((text for text in texts if isinstance(text, str)), None)
    if said is None:
        raise place.wrong("a message without 'value', 'markdown' or 'text'.", good)
    return said if turns[0].get("from") in ("human", "user") else ""


def _of_dolly(source: PublishedSource) -> Iterator[Prompt]:
    good = '{"instruction": "...", "context": "", "response": "...", "category": "..."}'
    for place, record in source:
        asked = field_of(place, record, "instruction", good)
        yield Prompt(asked, kind=field_of(place, record, "category", good))


def _of_openassistant(source: PublishedSource) -> Iterator[Prompt]:
    """Yields questions in every language, each once. Reads twice: replies stand after what they reply
    to, or in another file."""
    answered = {m.parent for pair in source for m in messages(*pair) if m.parent}
    for pair in source:
        for message in messages(*pair):
            if first_question(message):
                yield Prompt(message.text, 2 if message.id in answered else 1)


def _of_openorca(source: PublishedSource) -> Iterator[Prompt]:
    """Yields the question alone: its system prompt asks another model for a style."""
    good = '{"id": "niv.1", "system_prompt": "...", "question": "...", "response": "..."}'
    for place, record in source:
        name = field_of(place, record, "id", good)
        kind = next((kind for kind in STRATA if kind in name), None)
        if kind is None:
            raise place.wrong(f"id {name!r} names none of {', '.join(STRATA)}.", good)
        yield Prompt(field_of(place, record, "question", good), kind=kind, file=place.path.name)


_SOURCES: Mapping[
    str,
    tuple[Callable[[PublishedSource], Iterator[Prompt]], tuple[Callable[[Prompt], bool], ...]],
] = {
    "sharegpt": (_of_sharegpt, (asks_first, is_answered)),
    "dolly": (_of_dolly, (asks_first, asked_without_context)),
    "openassistant": (_of_openassistant, (asks_first, is_answered)),
    "openorca": (_of_openorca, (asks_first, answered_by_gpt4, no_entailment)),
}
"""How a source is read, and the filters before its prompts are cleaned."""
