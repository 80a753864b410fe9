"""What the two processes say to each other: JSON objects, each one message of a Connection.

The one idea: what comes out of a pipe is data and never code. `multiprocessing.connection` frames
bytes (`send_bytes`, `recv_bytes`); its `send` and `recv`, which would unpickle whatever arrives, are
not used. Every message names its `kind`. Calls are numbered from 1, so that answers to a call that
was given up can be told from those to the next.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Literal, TypedDict

from woolgather.core.artifacts import PromptFormat, TemplateVariables
from woolgather.core.rows import JSON
from woolgather.engines.base import FinishReason
from woolgather.prompting.messages import Message, Prompt, Role

PackedPrompt = str | list[tuple[Role, str]]
"""A prompt as JSON has it: a text, or the (role, content) of each turn."""


class Start(TypedDict):
    """The first message to a child: which engine it makes. One that comes later names another model, for
    which what is in memory is good as well."""

    kind: Literal["start"]
    host: str
    path: str
    fingerprint: str
    prompt_format: PromptFormat
    chat_template: str
    chat_template_kwargs: TemplateVariables
    options: dict[str, JSON]
    """Fields of EngineOptions."""
    halvings: int
    """How many times the engine halves its batches before it begins."""


class Complete(TypedDict):
    """`Engine.complete` is called; its requests follow as messages of their own."""

    method: Literal["complete"]


class OptionLogprobs(TypedDict):
    """`Engine.option_logprobs` is called with these arguments."""

    method: Literal["option_logprobs"]
    prompts: list[PackedPrompt]
    options: list[str]


class SequenceLogprobs(TypedDict):
    """`Engine.sequence_logprobs` is called with these arguments."""

    method: Literal["sequence_logprobs"]
    prompts: list[PackedPrompt]
    continuations: list[str]
    temperature: float


class Embed(TypedDict):
    """`Engine.embed` is called with these arguments."""

    method: Literal["embed"]
    texts: list[str]


class ReadTokens(TypedDict):
    """`RenderedEngine.read_tokens` is called with these arguments."""

    method: Literal["read_tokens"]
    prompts: list[PackedPrompt]


Question = OptionLogprobs | SequenceLogprobs | Embed | ReadTokens
"""A call that is asked and answered with one message each."""


class MethodCall(TypedDict):
    """A method of the engine is called."""

    kind: Literal["call"]
    call: int
    asks: Complete | Question


class OneRequest(TypedDict):
    """A request of the `complete` under way."""

    kind: Literal["request"]
    call: int
    index: int
    """Number of the request within its call, from 0."""
    prompt: PackedPrompt
    sampling: dict[str, JSON]


class End(TypedDict):
    """No request of this call follows."""

    kind: Literal["end"]
    call: int


class Cancel(TypedDict):
    """This call and all before it are given up."""

    kind: Literal["cancel"]
    call: int


ToChild = Start | MethodCall | OneRequest | End | Cancel


class Completed(TypedDict):
    """The completion of one request."""

    kind: Literal["completed"]
    call: int
    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    reasoning: str


class Value(TypedDict):
    """The answer to a Question."""

    kind: Literal["value"]
    call: int
    value: object


class Failed(TypedDict):
    """An error that the engine raised."""

    kind: Literal["failed"]
    call: int | None
    """None when the engine could not be made."""
    error: str
    """Name of a class in core/errors.py."""
    text: str
    crashed: bool
    """Whether it was an exception that nobody foresaw, after which the child ends."""


ToParent = Completed | Value | Failed


def send(pipe: Connection, message: ToChild | ToParent) -> None:
    """Writes one message. Raises OSError when the other side is gone."""
    pipe.send_bytes(json.dumps(message).encode())


def receive_in_child(pipe: Connection) -> ToChild:
    """Waits for the parent's next message and returns it. Raises EOFError or OSError when the
    parent is gone."""
    message: ToChild = json.loads(pipe.recv_bytes())
    return message


def receive_in_parent(pipe: Connection) -> ToParent:
    """Waits for the child's next message and returns it. Raises EOFError or OSError when the child
    is gone."""
    message: ToParent = json.loads(pipe.recv_bytes())
    return message


def pack(prompt: Prompt) -> PackedPrompt:
    """Returns a prompt as JSON has it."""
    return prompt if isinstance(prompt, str) else [(m.role, m.content) for m in prompt]


def unpack(prompt: PackedPrompt) -> Prompt:
    """Returns the prompt that `pack` was given."""
    return prompt if isinstance(prompt, str) else tuple(Message(*turn) for turn in prompt)
