"""Which chat template a model is asked and trained with: its tokenizer's own, one of ours, or a file.

The one idea: the choice is a setting, and what came of it is written at the head of the template that
is saved with every model trained from it, as a comment. So a template says itself where it is from, to
people and to later steps.

    chat_template: ChatTemplate = AUTO

Where it is auto, the tokenizer's own is taken, without the system line that it puts in, and one of ours
where it has none. Any other choice is taken as it is, its system line with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from woolgather.core.errors import InputError
from woolgather.prompting.chat_templates import REPLY, USER, environment
from woolgather.prompting.templates import read_utf8
from woolgather.prompting.tokenizer import Tokenizer

OWN = "own"
"""What stands for the tokenizer's own template where the text of one is told."""
THEIRS = "the tokenizer's own template"
_CHATML = ("<|im_start|>", "<|im_end|>")
_HEAD = re.compile(r"\A\{# woolgather: (.*?) #\}")
_SUFFIX = ".jinja"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template as a setting, shown and stored as its name."""

    name: str
    """auto, own, the name of one of ours (`chatml`), or a path ending in .jinja."""
    text: str
    """What a model is told to use: nothing for auto, `OWN`, or the template with its head."""

    def __str__(self) -> str:
        return self.name

    def __canonical__(self) -> str:
        return self.text

    @property
    def told(self) -> str:
        """Returns the choice in words, as far as it is known before the tokenizer is."""
        if self.text == OWN:
            return THEIRS
        if self.text:
            return read_origin(self.text)[0]
        return (
            f"{THEIRS}, without a system line that it puts in; chatml or blocks where it has none"
        )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[object], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: object, as_text: Callable[[object], str]) -> ChatTemplate:
            return value if isinstance(value, ChatTemplate) else load_chat_template(as_text(value))

        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


AUTO = ChatTemplate("auto", "")


def load_chat_template(name: str) -> ChatTemplate:
    """Returns a chat template by its name or by a path ending in .jinja.

    Raises InputError when it is not there, is not UTF-8 or not jinja, or does not render the user's
    turn, the assistant's turn or the opening of a reply.
    """
    if name == AUTO.name:
        return AUTO
    if name == OWN:
        return ChatTemplate(OWN, OWN)
    said = f"chat_template={name}"
    if name.endswith(_SUFFIX):
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"{said}: no such file. Give a path to a {_SUFFIX} file.")
        text = read_origin(read_utf8(path, said))[1]
        _check(text, said)
        return ChatTemplate(name, with_origin(text, f"the template {path.name}"))
    if name not in available():
        known = ", ".join((AUTO.name, OWN, *available()))
        raise InputError(f"{said}: it is none of {known}, and not the path of a {_SUFFIX} file.")
    return ChatTemplate(name, _ours(name, f"woolgather's template {name}"))


def available() -> list[str]:
    """Returns the names of the chat templates that ship with woolgather, sorted."""
    folder = resources.files("woolgather") / "templates"
    found = (f.name for f in folder.iterdir() if f.name.endswith(_SUFFIX))
    return sorted(name.removesuffix(_SUFFIX) for name in found)


def choose_template(tokenizer: Tokenizer, told: str, adds_start: bool) -> tuple[str, str]:
    """Returns where the template of a model is from, in words, and its text; `told` is the text of a
    `ChatTemplate`. One that is not the tokenizer's own begins with the start token where `adds_start`.

    Raises InputError where the tokenizer has no template and its own was asked for, and where its
    vocabulary lacks the tokens of ChatML and that was: in pieces they would be no marks.
    """
    own = tokenizer.chat_template
    own = own.get("default") if isinstance(own, dict) else own
    vocabulary = tokenizer.get_vocab()
    lacking = [token for token in _CHATML if token not in vocabulary]
    if told == OWN and not own:
        raise InputError(
            "chat_template=own: the tokenizer has no chat template. Leave chat_template out, which "
            f"takes one of ours, or name one: {', '.join(available())}, or a {_SUFFIX} file."
        )
    if own and told in ("", OWN):
        origin, text = read_origin(own)
        return origin or THEIRS, text
    if not told:
        name = "blocks" if lacking else "chatml"
        told = _ours(name, f"woolgather's template {name}, since the tokenizer has none")
    origin, text = read_origin(told)
    for token in lacking:
        if token in text:
            raise InputError(
                f"{origin} cannot be used: it writes {token}, which is no token of this tokenizer. "
                "Set chat_template=blocks, or chat_template=auto, which takes what fits."
            )
    start = tokenizer.bos_token
    if adds_start and start and "bos_token" not in text and start not in text:
        text = "{{- bos_token -}}" + text
    return origin, text


def with_origin(template: str, origin: str) -> str:
    """Returns the template with a head that says where it is from; `read_origin` is the inverse. One
    that begins with white space is left alone: to jinja it would no longer begin the line."""
    if template[:1].isspace():
        return template
    told = " ".join(origin.split()).replace("#}", "# }")
    return f"{{# woolgather: {told} #}}{template}"


def read_origin(template: str) -> tuple[str, str]:
    """Returns where a template is from, as its head says, and the template without the head; an empty
    text where it has none."""
    head = _HEAD.match(template)
    return (head.group(1), template[head.end() :]) if head else ("", template)


def _ours(name: str, origin: str) -> str:
    source = resources.files("woolgather") / "templates" / f"{name}{_SUFFIX}"
    return with_origin(source.read_text(encoding="utf-8"), origin)


def _check(template: str, said: str) -> None:
    """Raises InputError, which begins with `said`, unless the template renders what training needs."""
    import jinja2

    asked = [{"role": "user", "content": USER}]
    talk = [*asked, {"role": "assistant", "content": REPLY}]
    tokens = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}
    try:
        compiled = environment(datetime.now()).from_string(template)
        bare, opened, answered = (
            compiled.render(messages=messages, add_generation_prompt=opens, tools=None, **tokens)
            for messages, opens in ((asked, False), (asked, True), (talk, False))
        )
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{said}, line {error.lineno}: {error.message}. Mend the file.") from error
    except (jinja2.TemplateError, TypeError) as error:
        raise InputError(
            f"{said}: a question and its answer cannot be rendered: {error}"
        ) from error
    lacking = {
        "the user's turn (`message['content']` of the role user)": USER not in opened,
        "the assistant's turn (`message['content']` of the role assistant)": REPLY not in answered,
        "the opening of a reply where `add_generation_prompt` is true": opened == bare,
    }
    for what, lacks in lacking.items():
        if lacks:
            raise InputError(f"{said}: it does not write {what}. Add it to the file.")
