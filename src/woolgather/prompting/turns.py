"""How a task is put to a model that should answer it, as measures and likelihoods need it.

The one idea: one wording for every model that is compared, by the form it is asked in. In turns
(chat, chatml) the task is a user's turn. As raw text it is the task and a line end, as in I-SHEEP's
first iteration (arXiv 2408.08072, released scripts). In blocks it stands under a heading, with the
heading of the answer left open. Worked examples, when given, are earlier turns or earlier blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from woolgather.core.artifacts import PromptFormat
from woolgather.core.rows import Example, answered_turns, question
from woolgather.prompting.forms import TURN_STOP, is_text
from woolgather.prompting.messages import Message, Prompt

TASK, ANSWER = "### Task\n", "\n\n### Answer\n"
BLOCK_STOP = "\n### "
"""Where a model that is asked in blocks begins the next one."""


def answer_prompt(
    row: Example, prompt_format: PromptFormat, shots: Sequence[Example] = ()
) -> Prompt:
    """Returns the prompt whose continuation is the answer to `row`; `shots` are answered tasks that
    are shown before it. It is a text for `raw` and `blocks`, which are the same with shots, and a
    conversation for `chat` and `chatml`."""
    if _has_blocks(prompt_format, shots):
        blocks = [f"{TASK}{question(s)}{ANSWER}{s.response.strip()}\n\n" for s in shots]
        return "".join(blocks) + f"{TASK}{question(row)}{ANSWER}"
    if is_text(prompt_format):
        return f"{question(row)}\n"
    turns = [Message("system", row.system)] if row.system else []
    for shot in shots:
        turns += [Message("user", question(shot)), Message("assistant", shot.response)]
    return (*turns, Message("user", question(row)))


def stops(prompt_format: PromptFormat, shots: Sequence[Example] = ()) -> tuple[str, ...]:
    """Returns the stop texts that go with `answer_prompt`; none where the model ends by itself."""
    if _has_blocks(prompt_format, shots):
        return (BLOCK_STOP,)
    return (TURN_STOP,) if prompt_format == "chatml" else ()


def messages_of(row: Example) -> tuple[Message, ...]:
    """Returns the turns before the response: the row's system turn if it has one, and its question."""
    system = (Message("system", row.system),) if row.system else ()
    return (*system, Message("user", question(row)))


def training_turns(row: Example) -> tuple[tuple[Message, ...], str]:
    """Returns the turns before a row's last response, and that response: what training renders."""
    turns = answered_turns(row)
    later = tuple(
        Message("assistant" if role == "assistant" else "user", text) for role, text in turns[1:-1]
    )
    return (*messages_of(row), *later), turns[-1][1]


def _has_blocks(prompt_format: PromptFormat, shots: Sequence[Example]) -> bool:
    return prompt_format == "blocks" or (prompt_format == "raw" and bool(shots))
