"""Chat templates: the default system turn taken out, or ours put in; and what templates may use.

System turns. Some templates (SmolLM2's, Qwen2.5's) put in a system turn of their own when none is
given. `default_system_turn` finds it, and `without_default_system` takes it out of the template: what
is sent when the caller gives no system turn is then known here, and is nothing unless somebody wants
it. Where it cannot be taken out, the template is made to see an explicit empty system turn.

A method may want system lines with every question its model is asked, or its template's own: whichever
they are, `with_default_system` puts them into the template that is saved as its default, in a form
that `default_system_of` recognises, so that plain transformers renders what was trained.

A template is a text here, and rendering it a function. `save_chat_template` is the one place where a
template is written beside a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.core.artifacts import TemplateVariables
from woolgather.core.errors import InputError
from woolgather.prompting.tokenizer import Tokenizer

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

USER, SYSTEM, REPLY = "Quxuserquz", "Quxsystemquz", "Quxreplyquz"
"""Probe texts that no template contains."""
_USER = [{"role": "user", "content": USER}]
_FULL = [{"role": "system", "content": SYSTEM}, *_USER]
_EMPTY_SYSTEM = (
    "{%- if messages and messages[0]['role'] != 'system' -%}"
    "{%- set messages = [{'role': 'system', 'content': ''}] + messages -%}{%- endif -%}"
)
_DEFAULT = re.compile(r'\A\{%- set woolgather_system = ("(?:[^"\\]|\\.)*") -%\}')
"""How a template begins that has system lines of ours; the text is a JSON string."""
_SETTINGS = re.compile(r'\A(?:\{%- set \w+ = (?:"(?:[^"\\]|\\.)*"|true|false|[-+.\w]+) -%\})+')
"""How a template begins that has variables set by us."""
_PUT_SYSTEM = (
    "{%- if messages and messages[0]['role'] != 'system' -%}"
    "{%- set messages = [{'role': 'system', 'content': woolgather_system}] + messages -%}"
    "{%- endif -%}"
)
_FOLD_SYSTEM = (
    "{%- if messages and messages[0]['role'] == 'user' -%}"
    "{%- set messages = [{'role': 'user', 'content': woolgather_system + '\\n\\n' "
    "+ messages[0]['content']}] + messages[1:] -%}{%- endif -%}"
)


def default_system_turn(template: str, render: Callable[[str, list[dict[str, str]]], str]) -> str:
    """Returns the text of the system turn that a template puts in when none is given; empty without
    one."""
    bare, explicit = render(template, _USER), render(template, _FULL)
    head, _, rest = explicit.partition(SYSTEM)
    if not (bare.startswith(head) and bare.endswith(rest)):
        return ""
    default = bare[len(head) : len(bare) - len(rest)]
    return default if default.strip() else ""


def without_default_system(
    template: str, render: Callable[[str, list[dict[str, str]]], str]
) -> str:
    """Returns the template, changed so that no system turn appears when none is given.

    The default turn is found by comparing what is rendered with and without a system turn, and its
    text is deleted from the template's source; the change is kept only if the turn is gone as a
    whole and a conversation with a system turn is rendered as before. Otherwise the template is
    made to see an empty system turn. A template without a default is returned as it is.
    """
    default = default_system_turn(template, render)
    if not default:
        return template
    explicit = render(template, _FULL)
    head, _, rest = explicit.partition(SYSTEM)
    for escape in (str, _escape):
        found = template.find(escape(default))
        if found < 0:
            continue
        end = found + len(escape(default))
        before = _longest([head[i:] for i in range(len(head))], escape, template[:found].endswith)
        behind = _longest(
            [rest[:i] for i in range(len(rest), 0, -1)], escape, template[end:].startswith
        )
        cut = template[: found - len(escape(before))] + template[end + len(escape(behind)) :]
        first = rest[len(behind) :]
        whole = "system" in before and first.startswith(before.replace("system", "user"))
        wanted = head[: len(head) - len(before)] + first
        if whole and render(cut, _USER) == wanted and render(cut, _FULL) == explicit:
            return cut
    return _EMPTY_SYSTEM + template


def with_default_system(template: str, system: str, *, folds: bool = False) -> str:
    """Returns the template, changed so that `system` is its system turn when none is given; `folds`
    puts the text at the head of the first user turn instead. Unchanged for an empty text."""
    if not system:
        return template
    text = json.dumps(system, ensure_ascii=False)
    put = _FOLD_SYSTEM if folds else _PUT_SYSTEM
    return f"{{%- set woolgather_system = {text} -%}}{put}{template}"


def with_variables(template: str, variables: TemplateVariables) -> str:
    """Returns the template, changed so that its variables have these values whoever renders it; what
    was set so before is set anew."""
    begun = _SETTINGS.match(template)
    at = begun.end() if begun else 0
    sets = "".join(
        f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in variables.items()
    )
    return template[:at] + sets + template[at:]


def default_system_of(template: str) -> tuple[str, str]:
    """Returns (system, template) as `with_default_system` was given them; for a template of any other
    make, an empty text and the template as it is."""
    if not (match := _DEFAULT.match(template)):
        return "", template
    rest = template[match.end() :]
    for put in (_PUT_SYSTEM, _FOLD_SYSTEM):
        rest = rest.removeprefix(put)
    return str(json.loads(match.group(1))), rest


def _escape(text: str) -> str:
    return text.replace("\n", "\\n")


def _longest(
    pieces: list[str], escape: Callable[[str], str], matches: Callable[[str], bool]
) -> str:
    """The first of `pieces` (longest first) that matches as the source writes it."""
    return next((piece for piece in pieces if matches(escape(piece))), "")


def takes_system(render: Callable[[list[dict[str, str]]], str]) -> bool:
    """Returns whether a conversation may begin with a system turn and its text is shown."""
    try:
        text = render([{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}])
    except InputError:
        return False
    return SYSTEM in text


def save_chat_template(tokenizer: Tokenizer, template: str, path: Path) -> None:
    """Saves a tokenizer with `template` as its chat template into the model directory `path`, where
    transformers writes the template as chat_template.jinja and finds it again."""
    tokenizer.chat_template = template
    tokenizer.save_pretrained(str(path))


def environment(now: datetime) -> ImmutableSandboxedEnvironment:
    """Returns the jinja environment of chat templates: what they may use (the same as in
    transformers), with `now` for today."""
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(
        value: object,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks the replies for loss masks elsewhere; here it prints its body."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> Node | list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = now.strftime
    return environment
