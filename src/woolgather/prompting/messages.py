"""What a model is asked: a text to complete as it is, or a conversation."""

from __future__ import annotations

from typing import Literal, NamedTuple

Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


Prompt = str | tuple[Message, ...]
"""A text, or the turns of a conversation; a last turn of the role "assistant" is a beginning that the
model continues."""
