"""How a principle-driven reply is written, read and judged fit: a thought, then an answer.

The one idea: the labels of one block template say everything. They open the thought, part it from
the answer, and stand where a model begins a question of its own, so a user who words the block anew
changes writing and reading together. What is taken from a reply is its answer up to the first clause
that it says twice; what is wrong with it is a reason. Whether it is a good answer is not asked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from woolgather.core.errors import ConfigError
from woolgather.ops.principles.files import Exemplar
from woolgather.ops.text.words import ngrams, tokens
from woolgather.prompting.templates import FIELD, Template, fill

BLOCK_FIELDS = ("question", "thought", "answer")
"""Fields of a block template, in the order in which they must stand."""
GRAM = 5
"""Words of a run by which copying is seen: two people rarely hit on the same five."""
_SAME = 5
"""Words from which a clause said twice is a loop; shorter ones ("In that case") recur in good text."""
_CLAUSE = re.compile(r"[^.!?;\n]+[.!?;]*[^\S\n]*|\n")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.S)
_PRINCIPLES = re.compile(r"\bprinciples?\b[^:\n]{0,40}:[ \t]*(?P<names>[^\n.]*)\.?", re.I)
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|regret|unable|(?:can|could)(?:not|n['’]t| not)|"
    r"(?:will|would) not|won['’]t|wouldn['’]t|not able|don['’]t know|do not know|not allowed|"
    r"as an? (?:ai|language|text))\b",
    re.I,
)
_REFUSAL_WORDS = 20
"""Longer replies say more than that they cannot, whatever their sentences hold."""


@dataclass(frozen=True)
class Form:
    """A block template, taken apart at its labels."""

    block: Template
    question: str
    """Label before the question; where it comes again, the model has begun a question of its own."""
    thought: str
    """Label before the thought."""
    answer: str
    """Label before the answer."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which a reply ends: where the model begins a question of its own."""
        return (f"\n{self.question.strip()}",)


def form_of(block: Template) -> Form:
    """Returns a block template taken apart. Raises ConfigError when fields or labels are missing."""
    found = {m.group(1): m for m in FIELD.finditer(block.text)}
    if [name for name in found if name in BLOCK_FIELDS] != list(BLOCK_FIELDS):
        raise ConfigError(
            f"template {block.name}: a block needs {{{{question}}}}, {{{{thought}}}} and "
            "{{answer}}, in this order."
        )
    ends = [0, *(found[name].end() for name in BLOCK_FIELDS)]
    labels = [
        block.text[end : found[name].start()] for end, name in zip(ends, BLOCK_FIELDS, strict=False)
    ]
    if not all(label.strip() for label in labels) or len({x.strip() for x in labels}) < 3:
        raise ConfigError(
            f"template {block.name}: each field needs a label of its own before it, by which "
            "replies are read."
        )
    return Form(block, *labels)


def format_exemplar(form: Form, question: str, exemplar: Exemplar) -> str:
    """Returns an exemplar laid out as a block, after `question`."""
    return fill(form.block, question=question, thought=exemplar.thinking, answer=exemplar.answer)


def split_reply(text: str, form: Form) -> tuple[str, str | None]:
    """Returns thought and answer of a reply that goes on after the thought's label; the answer is None
    where no label begins one.

    The label of the answer is known by its word at a line's start, however marked up. Without it
    the thought ends where it has named its principles.
    """
    own = _label(form.thought)
    text = own.sub("", text, count=1) if own.match(text) else text
    mark = _label(form.answer).search(text)
    if mark is None:
        named = _PRINCIPLES.search(text)
        return (text[: named.end()] if named else text).strip(), None
    answer = text[mark.end() :]
    # The labels to the letter only: an answer may well have a line "Question: ..." of its own.
    labels = (form.question, form.thought, form.answer)
    again = [at for x in labels if (at := f"\n{answer}".find(f"\n{x.strip()}")) >= 0]
    return text[: mark.start()].strip(), answer[: min(again, default=len(answer))].strip()


def _label(label: str) -> re.Pattern[str]:
    word = re.sub(r"^[\W_]+|[\W_]+$", "", label.strip().splitlines()[-1])
    edge = r"[ \t]*[#*_>]*[ \t]*"
    if not word:
        return re.compile(rf"^{re.escape(label.strip())}\s*", re.M)
    # Bare, it is a label on a line of its own only: "Answer the door" is none.
    return re.compile(rf"^{edge}{re.escape(word)}[*_]*(?:[ \t]*:[*_]*|[ \t]*$)\s*", re.I | re.M)


def find_principles(thought: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the principles that the thought names, in its order, and the names in its list that are
    no principles.

    It names them only where it lists them ("Principles: ..."): "helpful" elsewhere is a word like others.
    """
    known: list[str] = []
    unknown: list[str] = []
    for match in _PRINCIPLES.finditer(thought):
        for part in re.split(r"[,;]|\band\b", match["names"]):
            name = " ".join(re.sub(r"^[\W\d_]+|[\W_]+$", "", part).lower().split())
            if name in names:
                known.append(name)
            elif name:
                unknown.append(name)
    return list(dict.fromkeys(known)), list(dict.fromkeys(unknown))


def cut_at_repeat(text: str) -> str:
    """Returns the text up to the first clause of five words or more that it has said before.

    Clauses end at a full stop, a question or exclamation mark, a semicolon or a line end. Code
    between fences is passed over: its lines recur for good reasons.
    """
    hidden = _FENCE.sub(lambda m: " " * len(m.group()), text)
    seen: set[tuple[str, ...]] = set()
    for clause in _CLAUSE.finditer(hidden):
        words = tuple(tokens(clause.group()))
        if len(words) >= _SAME:
            if words in seen:
                return text[: clause.start()].rstrip()
            seen.add(words)
    return text


class CopiedText:
    """Five-word runs of the texts that answers must not be copied from."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._grams = {gram for text in texts for gram in ngrams(tokens(text), GRAM)}

    def share(self, answer: str) -> float:
        """Returns the share of the answer's five-word runs that stand in those texts, in [0, 1]."""
        grams = list(ngrams(tokens(answer), GRAM))
        return sum(g in self._grams for g in grams) / len(grams) if grams else 0.0


def bare_refusal(answer: str) -> bool:
    """Returns whether an answer does nothing but refuse: it has at most 20 words, and every sentence
    apologises or declines. It knows English alone; refusals in other languages pass."""
    sentences = [s for s in re.split(r"(?<=[.!?])\s+|\n+", answer) if len(tokens(s)) > 1]
    return (
        bool(sentences)
        and len(tokens(answer)) <= _REFUSAL_WORDS
        and all(_REFUSAL.search(s) for s in sentences)
    )
