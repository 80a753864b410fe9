"""How a task is put to a model that should answer it, as measures and likelihoods need it.

The one idea: one wording for every model that is compared. A chat model gets the task as a user
turn; a raw model gets the task and a line end, as in I-SHEEP's first iteration (arXiv 2408.08072,
released scripts). Worked examples, when given, are earlier turns or earlier blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from woolgather.core.artifacts import PromptFormat
from woolgather.core.rows import Example, question
from woolgather.prompting.messages import Message, Prompt

TASK, ANSWER = "### Task\n", "\n\n### Answer\n"
BLOCK_STOP = "\n### "
"""Where a raw model that was shown blocks begins the next one."""


def answer_prompt(
    row: Example, prompt_format: PromptFormat, shots: Sequence[Example] = ()
) -> Prompt:
    """Returns the prompt whose continuation is the answer to `row`; `shots` are answered tasks that
    are shown before it. It is a text for `raw` and a conversation for `chat`."""
    if prompt_format == "raw":
        if not shots:
            return f"{question(row)}\n"
        blocks = [f"{TASK}{question(s)}{ANSWER}{s.response.strip()}\n\n" for s in shots]
        return "".join(blocks) + f"{TASK}{question(row)}{ANSWER}"
    turns = [Message("system", row.system)] if row.system else []
    for shot in shots:
        turns += [Message("user", question(shot)), Message("assistant", shot.response)]
    return (*turns, Message("user", question(row)))


def stops(prompt_format: PromptFormat, shots: Sequence[Example] = ()) -> tuple[str, ...]:
    """Returns the stop texts that go with `answer_prompt`; none where the model ends by itself."""
    return (BLOCK_STOP,) if prompt_format == "raw" and shots else ()


def messages_of(row: Example) -> tuple[Message, ...]:
    """Returns the turns before the response: the row's system turn if it has one, and its question."""
    system = (Message("system", row.system),) if row.system else ()
    return (*system, Message("user", question(row)))
