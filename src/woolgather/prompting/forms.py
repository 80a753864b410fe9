"""The four forms in which a model can be asked: two of text and two of turns.

The one idea: a form belongs to the model that is asked. Ops word a prompt as a text where `is_text`
says so and as a conversation elsewhere; how turns are written is the engine's affair. It takes the
template that comes with the tokenizer (chat), or spells the turns out as ChatML (chatml), to the
letter as templates/chatml.jinja does, so that a base without a template can be asked in turns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import InputError
from woolgather.prompting.messages import Prompt
from woolgather.prompting.template_choice import OWN, load_chat_template, read_origin

FORMS: tuple[PromptFormat, ...] = get_args(PromptFormat)
TURN, TURN_STOP = "<|im_start|>", "<|im_end|>"
"""What begins and ends a turn in ChatML."""


def is_text(prompt_format: PromptFormat) -> bool:
    """Returns whether a model is asked with a text to complete, and not with a conversation."""
    return prompt_format in ("raw", "blocks")


def spell_out(prompt: Prompt, prompt_format: PromptFormat) -> Prompt:
    """Returns a prompt as an engine sends it: a conversation as text where the model is asked in
    ChatML, and anything else as it is. Raises InputError for a conversation without a message."""
    if prompt_format != "chatml" or isinstance(prompt, str):
        return prompt
    if not prompt:
        raise InputError("a conversation without a message cannot be rendered")
    *earlier, last = prompt
    begun = last.content if last.role == "assistant" else ""
    turns = earlier if last.role == "assistant" else prompt
    text = "".join(f"{TURN}{m.role}\n{m.content}{TURN_STOP}\n" for m in turns)
    return f"{text}{TURN}assistant\n{begun}"


def forms_of(path: str, chosen: str = "") -> tuple[PromptFormat, ...]:
    """Returns the forms in which the model at `path` can be asked, no two of them alike: `chat` where it
    comes with a template that writes no blocks, and `chatml` unless that template writes ChatML. All of
    them for a model that is no folder here, such as one on a server. `chosen` is the model's
    `chat_template`, which stands for the one in the folder."""
    if not Path(path).is_dir():
        return FORMS
    template = chosen if chosen not in ("", OWN) else read_template(Path(path))
    chat: tuple[PromptFormat, ...] = (
        ("chat",) if template and not _writes(template, "blocks") else ()
    )
    chatml: tuple[PromptFormat, ...] = () if TURN in template else ("chatml",)
    return ("raw", "blocks", *chat, *chatml)


def is_as_tuned(path: str, prompt_format: PromptFormat, chosen: str = "") -> bool:
    """Returns whether the model at `path`, asked in this form, reads what a model tuned from it will
    read: `chat`; or `blocks` or `chatml` where that is the `chosen` template, or the one that training
    puts in for one that is not there."""
    if prompt_format not in ("blocks", "chatml"):
        return prompt_format == "chat"
    if chosen:
        return _writes(chosen, prompt_format)
    vocabulary = Path(path) / "tokenizer.json"
    if not vocabulary.is_file() or read_template(Path(path)):
        return False
    has_turns = f'"{TURN}"' in vocabulary.read_text(encoding="utf-8")
    return has_turns == (prompt_format == "chatml")


def _writes(template: str, name: str) -> bool:
    """Returns whether a template is ours of that name, whatever its head says."""
    return read_origin(template)[1] == read_origin(load_chat_template(name).text)[1]


def read_template(folder: Path) -> str:
    """Returns the chat template that lies beside a model's tokenizer; empty where there is none."""
    beside, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    told = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    found = told.get("chat_template") or ""
    if isinstance(found, list):  # several, by name
        named = {each["name"]: each["template"] for each in found}
        found = named.get("default", "")
    return str(found)
