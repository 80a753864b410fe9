"""Conversations to token ids, in one place, for asking a model and for training it.

The one idea: what a model is trained on begins with exactly what it is asked with. A `Renderer`
belongs to one model directory; it renders the template itself (with a pinned date), tokenizes once
(so no second start token), and ends a training row with a token that generation stops at (see
end_tokens.py).

System turns are sent when the caller gives one or when the model was saved with lines of its own
(`Renderer.save(system=...)`), and otherwise there is none, whatever its template would put in, unless
that template was chosen by name (see template_choice.py). Templates that refuse a system turn (Gemma's
first) get its text at the head of the first user turn.

transformers is imported when a Renderer is made, never with this module (see tokenizer.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Protocol, Self

from woolgather.core.artifacts import PromptFormat, TemplateVariables
from woolgather.core.errors import InputError
from woolgather.prompting.chat_templates import (
    REPLY,
    USER,
    default_system_of,
    default_system_turn,
    environment,
    save_chat_template,
    takes_system,
    with_default_system,
    with_variables,
    without_default_system,
)
from woolgather.prompting.end_tokens import (
    base_end_token,
    find_reply_end,
    find_stop_ids,
    find_turn_end,
    save_end_tokens,
    set_end_token,
    special_ids,
)
from woolgather.prompting.forms import is_text, spell_out
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.reasoning import WORDS, closing, ends_opened
from woolgather.prompting.template_choice import choose_template, with_origin
from woolgather.prompting.tokenizer import Tokenizer, load_tokenizer

IGNORE = -100
"""Label of a token without loss."""


class TemplatedModel(Protocol):
    """A model, as far as it matters for what it is asked with."""

    @property
    def path(self) -> str: ...

    @property
    def chat_template(self) -> str: ...

    @property
    def chat_template_kwargs(self) -> TemplateVariables: ...


class Renderer:
    """Renders and tokenizes for the model at `path` (a directory, or `repo@revision`).

    `template` is the text of a `ChatTemplate`; empty takes what fits. `date` (YYYY-MM-DD) is what a
    template's `strftime_now` sees; empty is today. `variables` are told to the template, and saved with
    it. Raises InputError when there is no usable tokenizer, when it has no end token, or when the
    template is not for it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        template: str = "",
        date: str = "",
        variables: TemplateVariables | None = None,
        trust_remote_code: bool = False,
    ):
        self.path = str(path)
        self.tokenizer: Tokenizer = load_tokenizer(self.path, trust_remote_code)
        self._environment = environment(datetime.fromisoformat(date) if date else datetime.now())
        self.eos_token: str = base_end_token(self.tokenizer)
        self.origin, text = choose_template(self.tokenizer, template, bool(self._start))
        """Where the template is from, in words."""
        self.system, text = default_system_of(text)
        """System lines that are sent when no system turn is given; empty for none."""
        text = with_variables(text, variables or {})
        self.folds_system = not takes_system(lambda m: self._render(text, m, False))
        self.template: str = text
        if not self.folds_system:
            self._take_default_out(keep=bool(template))
        self.eos_id = int(self.tokenizer.convert_tokens_to_ids(self.eos_token))
        self.end_id: int = find_reply_end(self.tokenizer, self._ids_behind_reply(), self.eos_id)
        """The end token of a response: trained on, and generation stops at it."""
        self.end_ids: tuple[int, ...] = find_stop_ids(
            self.path, self.end_id, self.eos_id, *find_turn_end(self.tokenizer)
        )
        """Tokens at which generation stops."""
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = self.eos_id if pad is None else int(pad)

    @classmethod
    def of(cls, model: TemplatedModel, date: str = "") -> Self:
        """Returns the renderer of a model, as it is asked and trained."""
        return cls(
            model.path,
            template=model.chat_template,
            date=date,
            variables=model.chat_template_kwargs,
        )

    def _take_default_out(self, *, keep: bool) -> None:
        """Takes the template's own system line out of it, to be sent like any other, or not at all."""

        def render(template: str, messages: list[dict[str, str]]) -> str:
            return self._render(template, messages, False)

        line = default_system_turn(self.template, render)
        self.template = without_default_system(self.template, render)
        if keep:
            self.system = self.system or line
        elif line:
            self.origin += f", without its system line {_quote(line)}"

    @property
    def about(self) -> str:
        """Returns what is asked and trained with, in words: where the template is from, and what it
        sends when no system turn is given."""
        sent = f"; it sends the system line {_quote(self.system)} where none is given"
        return self.origin + (sent if self.system else "")

    def prompt_ids(self, prompt: Prompt, prompt_format: PromptFormat = "chat") -> list[int]:
        """Returns the token ids of a prompt, ready for the model to continue.

        A text is tokenized as it is, with the start token if the tokenizer adds one, and so is a
        conversation that is spelt out as ChatML. Another goes through the template; for a model that
        completes text its texts are joined by empty lines instead. Raises InputError for a
        conversation that is empty or that the template refuses.
        """
        prompt = spell_out(prompt, prompt_format)
        if isinstance(prompt, str):
            return self._raw_ids(prompt)
        if is_text(prompt_format):
            texts = [m.content for m in prompt]
            if prompt[-1].role != "assistant":
                texts.append("")
            return self._raw_ids("\n\n".join(texts))
        return self._text_ids(self.prompt_text(prompt))

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """Returns a conversation as the template writes it, up to where the next reply begins (or,
        after a last message of the assistant, right behind it). Such a beginning is one of an answer:
        reasoning that the template opens is closed before it.

        Raises InputError when there is no message, or when the template refuses these roles.
        """
        if not messages:
            raise InputError("a conversation without a message cannot be rendered")
        opened = list(messages)
        if self.system and opened[0].role != "system":
            opened.insert(0, Message("system", self.system))
        begun = opened.pop().content if opened[-1].role == "assistant" else ""
        rows = [{"role": m.role, "content": m.content} for m in opened]
        if self.folds_system and rows and rows[0]["role"] == "system":
            head = rows.pop(0)["content"]
            if rows and head:
                rows[0] = {**rows[0], "content": f"{head}\n\n{rows[0]['content']}"}
            elif head:
                rows = [{"role": "user", "content": head}]
        text = self._render(self.template, rows, True)
        return text + closing(text) + begun if begun else text

    def begins_in_reasoning(self, prompt: Prompt, prompt_format: PromptFormat = "chat") -> bool:
        """Returns whether what a model writes after a prompt begins within reasoning, which the template
        or the prompt itself has opened."""
        if isinstance(prompt, str) or prompt_format != "chat" or prompt[-1].role == "assistant":
            return ends_opened(prompt if isinstance(prompt, str) else prompt[-1].content)
        return bool(self.answer_lead)

    @cached_property
    def answer_lead(self) -> list[int]:
        """Ids between a conversation's prompt and an answer without reasoning: what closes the reasoning
        that the template opens, and nothing for a template that opens none."""
        return self._text_ids(closing(self.prompt_text((Message("user", USER),))))

    def training_ids(
        self, messages: Sequence[Message], response: str
    ) -> tuple[list[int], list[int]]:
        """Returns (input_ids, labels) of a conversation and its reply, two lists of one length.

        The ids begin with `prompt_ids(messages)`. Labels are -100 (no loss) up to the reply, then the
        ids: what closes reasoning that the template opened, the reply and exactly one end token. An
        earlier reply among `messages` has them, too, where it stands there as it would be written; a
        template that writes replies of the past otherwise (without an end, say) leaves it without loss.
        Nothing is cut: compare the length with the limit and set aside what is too long. Raises
        InputError as `prompt_text` does.
        """
        prompt = self.prompt_ids(tuple(messages), "chat")
        labels = [IGNORE] * len(prompt)
        for i, message in enumerate(messages):
            if message.role == "assistant":
                asked, earlier = self.prompt_ids(tuple(messages[:i])), self._reply(message.content)
                end = len(asked) + len(earlier)
                if prompt[:end] == asked + earlier:
                    labels[len(asked) : end] = earlier
        reply = self._reply(response)
        return prompt + reply, labels + reply

    def _reply(self, response: str) -> list[int]:
        return [*self.answer_lead, *self.continuation_ids(response), self.end_id]

    def continuation_ids(self, text: str) -> list[int]:
        """Returns the token ids of a text that follows a prompt: no start token, no special token,
        no space put before it."""
        if not self._puts_space:
            return self._plain_ids(text)
        anchor, joined = self._plain_ids("\n"), self._plain_ids("\n" + text)
        if joined[: len(anchor)] == anchor:
            return joined[len(anchor) :]
        return self._plain_ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids, spaces as they are; special tokens are left out, but for the tags of
        reasoning."""
        kept, special = list(ids), self._special_without_tags
        if special is not None:
            kept = [i for i in kept if i not in special]
        return str(
            self.tokenizer.decode(
                kept, skip_special_tokens=special is None, clean_up_tokenization_spaces=False
            )
        )

    @cached_property
    def _special_without_tags(self) -> frozenset[int] | None:
        """The special tokens but for the tags of reasoning; None where no tag is special."""
        special = special_ids(self.tokenizer)
        tags = {
            int(i)
            for word in WORDS & self.tokenizer.get_vocab().keys()
            if (i := self.tokenizer.convert_tokens_to_ids(word)) in special
        }
        return frozenset(special - tags) if tags else None

    def continuation_text(self, ids: Sequence[int]) -> str:
        """Returns the text of ids that follow a prompt; the inverse of `continuation_ids`."""
        if not self._puts_space:
            return self.decode(ids)
        anchor = self._plain_ids("\n")
        return self.decode([*anchor, *ids])[len(self.decode(anchor)) :]

    def template_to_save(self, system: str = "") -> str:
        """Returns a template by which other programs render what this renderer does, with its system
        lines or those given as the default."""
        lines = system or self.system
        template = with_default_system(self.template, lines, folds=self.folds_system)
        return with_origin(template, self.origin)

    def save(self, path: Path, system: str = "") -> None:
        """Writes into a model's directory what this renderer asks and trains with: the tokenizer, the
        chat template (see chat_templates.py) and the end tokens (see end_tokens.py).

        `system` are lines for every conversation without a system turn; empty keeps those there are.
        Sampling defaults of the model at `self.path` are kept.
        """
        set_end_token(self.tokenizer, self.eos_token)
        save_chat_template(self.tokenizer, self.template_to_save(system), path)
        save_end_tokens(Path(path), self.path, self.tokenizer, self.end_ids, self.pad_id)

    @cached_property
    def _start(self) -> list[int]:
        """What the tokenizer puts before every text."""
        with_special = self.tokenizer("a").input_ids
        plain = self.tokenizer("a", add_special_tokens=False).input_ids
        for n in range(len(with_special) - len(plain) + 1):
            if with_special[n : n + len(plain)] == plain:
                return [int(i) for i in with_special[:n]]
        return []

    @cached_property
    def _puts_space(self) -> bool:
        """Whether a text alone is tokenized unlike the same text behind another one."""
        alone, anchor = self._plain_ids("a"), self._plain_ids("\n")
        return self._plain_ids("\na") != anchor + alone

    def _raw_ids(self, text: str) -> list[int]:
        ids = self._text_ids(text)
        start = self._start
        return ids if ids[: len(start)] == start else start + ids

    def _text_ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return [int(i) for i in ids]

    def _plain_ids(self, text: str) -> list[int]:
        """The same for a text that must not hold a special token, whatever it spells."""
        ids = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        return [int(i) for i in ids]

    def _ids_behind_reply(self) -> list[int]:
        """Ids of what the template writes right behind a reply."""
        rows = [{"role": "user", "content": USER}, {"role": "assistant", "content": REPLY}]
        text = self._render(self.template, rows, False)
        return self._text_ids(text[text.rindex(REPLY) + len(REPLY) :])

    def _render(self, template: str, messages: list[dict[str, str]], open_reply: bool) -> str:
        import jinja2

        try:
            compiled = self._environment.from_string(template)
            return str(
                compiled.render(
                    messages=messages,
                    add_generation_prompt=open_reply,
                    tools=None,
                    documents=None,
                    **{**self.tokenizer.special_tokens_map, "eos_token": self.eos_token},
                )
            )
        except (jinja2.TemplateError, TypeError) as error:
            roles = ", ".join(m["role"] for m in messages)
            raise InputError(
                f"the chat template of {self.path} refuses a conversation of {roles}: {error}"
            ) from error


def _quote(text: str) -> str:
    """A text on one line in quotation marks, shortened where it is long."""
    return f'"{shorten(text, 80, placeholder="...")}"'
