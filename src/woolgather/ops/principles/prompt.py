"""What a principle-driven prompt is made of, and how replies to it are asked for.

The one idea (SELF-ALIGN, arXiv 2305.03047): one prompt holds who the assistant is, its principles,
and a few questions worked through, so that a base model answers as it would after alignment. Every
prompt shares that long beginning to the letter, and an engine computes it once. Whether a reply is
any good is not asked here (align.py), nor how it is read (replies.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TypeVar

from woolgather.core.artifacts import PromptFormat
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.options import Options
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.principles.files import Exemplar, Principle
from woolgather.ops.principles.replies import (
    Form,
    cut_at_repeat,
    form_of,
    format_exemplar,
    split_reply,
)
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.prompting.forms import is_text
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.templates import Template, fill

T = TypeVar("T")

BATCH = 512
"""Questions asked before the answers of those that need a second call are asked for."""
QUESTION_TOKENS = 60
"""For plans."""


class Replying(Options):
    """How replies are asked for."""

    sampling: Sampling = Sampling(temperature=0.7, max_tokens=512)
    nudge: bool = True
    """A reply with a thought and no answer is given the answer's label and asked to go on."""


@dataclass(frozen=True)
class Guide:
    """Everything that a principle-driven prompt is made of."""

    template: Template
    """Says who the assistant is, with the fields `name` and `principles`."""
    block: Template
    """How a worked question is laid out; see `form_of`."""
    principles: tuple[Principle, ...]
    exemplars: tuple[Exemplar, ...]
    """Questions worked through, in the order in which they are shown."""
    name: str = "an assistant"
    """What the assistant is called."""

    @cached_property
    def form(self) -> Form:
        """The labels of the block. Raises ConfigError when the block has none to read replies by."""
        return form_of(self.block)

    @cached_property
    def opening(self) -> str:
        """Says who the assistant is, and lists its principles, numbered."""
        listed = "\n".join(
            f"{i}. {p.name}: {p.text}" for i, p in enumerate(self.principles, start=1)
        )
        return fill(self.template, name=self.name, principles=listed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the principles, in their order."""
        return tuple(p.name for p in self.principles)

    def prompt(self, asked: str, prompt_format: PromptFormat, thought: str = "") -> Prompt:
        """Returns the prompt that goes on with the thought; given the thought, with the answer."""
        form = self.form
        begun = f"{form.thought}{thought}{form.answer}" if thought else form.thought
        if is_text(prompt_format):
            blocks = [format_exemplar(form, e.question, e) for e in self.exemplars]
            return "\n\n".join([self.opening, *blocks, f"{form.question}{asked}{begun}"])
        turns = [Message("system", self.opening)]
        for e in self.exemplars:
            reply = f"{form.thought}{e.thinking}{form.answer}{e.answer}".strip()
            turns += [Message("user", e.question), Message("assistant", reply)]
        return (*turns, Message("user", asked), Message("assistant", begun.lstrip()))

    @property
    def prompt_tokens(self) -> int:
        """Estimates how many tokens the shared beginning has, for plans."""
        texts = [self.opening, *(e.question + e.thinking + e.answer for e in self.exemplars)]
        return sum(map(len, texts)) // 4


def expect_replies(guide: Guide, how: Replying, questions: int) -> Expected:
    """Returns the cost of that many questions, for plans: a nudge is a second call."""
    calls = 2 * questions if how.nudge else questions
    return Expected(
        calls=calls,
        prompt_tokens=calls * (guide.prompt_tokens + QUESTION_TOKENS),
        new_tokens=questions * how.sampling.max_tokens,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """One question's thought and answer, as they came back."""

    thought: str
    answer: str | None
    """None where none was begun."""
    completion: Completion
    """The last completion of the reply."""
    nudged: bool = False
    """Whether the answer's label was written for the model."""


def replies(
    rows: Iterable[T],
    engine: Engine,
    guide: Guide,
    question_of: Callable[[T], str],
    how: Replying,
    seed: int = 0,
) -> Iterator[tuple[T, Reply]]:
    """Yields each row with the reply to its question, in order. With `how.nudge`, a reply with a thought
    and no answer is given the answer's label and asked to go on: one more call."""
    source = enumerate(rows)

    def complete(
        questions: Sequence[tuple[int, str]], thoughts: Mapping[int, str]
    ) -> list[Completion]:
        """Completes the numbered questions: their thoughts, or, given `thoughts`, the answers."""
        form = engine.model.prompt_format
        asked = ask_rows(
            questions,
            engine,
            lambda each: guide.prompt(each[1], form, thoughts.get(each[0], "")),
            how.sampling.model_copy(update={"stop": (*how.sampling.stop, *guide.form.stops)}),
            lambda each: seed_of(seed, each[0], "answer") if thoughts else seed_of(seed, each[0]),
        )
        return [completion for _, completion, _ in asked]

    while batch := list(islice(source, BATCH)):
        questions = [(i, question_of(row)) for i, row in batch]
        found = [_read_reply(completion, guide.form) for completion in complete(questions, {})]
        open_ = {
            i: reply.thought
            for (i, _), reply in zip(batch, found, strict=True)
            if how.nudge and not reply.answer and reply.thought and not no_reply(reply.completion)
        }
        # Numbers count all rows, not those of the batch: seeds follow from them.
        second = iter(complete([(i, asked) for i, asked in questions if i in open_], open_))
        for (i, row), reply in zip(batch, found, strict=True):
            if i in open_:
                done = next(second)
                answer = split_reply(guide.form.answer.lstrip() + done.text, guide.form)[1]
                reply = Reply(reply.thought, None if no_reply(done) else answer, done, nudged=True)
            yield row, reply


def _read_reply(completion: Completion, form: Form) -> Reply:
    thought, answer = split_reply(completion.text, form)
    return Reply(thought if answer else cut_at_repeat(thought), answer, completion)
