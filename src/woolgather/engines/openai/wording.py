"""A request as a server is asked it: where it is posted, and every field of it.

The one idea: whatever a request means is said, and what it leaves alone as well, since a server fills a
gap with a taste of its own. In token ids a prompt is ours to the last token, and goes to `/completions`;
as text a server tokenizes it, and renders a conversation with the template that it was started with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.openai.replies import read_answer
from woolgather.engines.openai.server import Server
from woolgather.prompting.messages import Prompt
from woolgather.prompting.reasoning import ends_opened
from woolgather.prompting.renderer import Renderer
from woolgather.prompting.template_choice import OWN

_FAR = 8192
"""Tokens; more than most conversations have."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What is posted for a request, and what there is to know to read the answer."""

    path: str
    body: Mapping[str, JSON]
    begun: str = ""
    """The beginning of an answer that a conversation gives; some servers repeat it."""
    opened: bool = False
    """Whether the prompt ends within reasoning."""
    tokens: int = 0
    """How many the prompt has, where that is known exactly; else 0."""

    def read(self, reply: object, sampling: Sampling) -> Completion:
        """Returns the completion in a reply. Raises Unreadable as read_answer does."""
        return read_answer(
            reply,
            sampling.stop,
            opened=self.opened,
            begun=self.begun,
            limit=sampling.max_tokens,
        )


def ask_in_ids(
    request: Request, model: Model, renderer: Renderer, server: Server
) -> Wording | Completion:
    """Returns a request, as `Request.spell_out` gives it, in token ids; its completion where the prompt
    leaves no room in the context that the server tells.

    Raises InputError for a conversation that the template refuses, and CapabilityError for sampling that
    no server has.
    """
    form = model.prompt_format
    ids = prompt_ids(request.prompt, model, renderer)
    body = sampling_fields(request.sampling, server)
    if server.context:
        room = server.context - len(ids)
        if room < 1:
            why = f"{len(ids)} tokens, and the server reads {server.context}"
            return Completion("", "too_long", len(ids), why=why)
        body["max_tokens"] = min(request.sampling.max_tokens, room)
    body |= {"prompt": ids, "stop_token_ids": [*renderer.end_ids]}
    opened = renderer.begins_in_reasoning(request.prompt, form)
    return Wording("/completions", body, opened=opened, tokens=len(ids))


def ask_in_text(request: Request, model: Model, server: Server) -> Wording:
    """Returns a request in text, or as a conversation.

    Raises ConfigError for a conversation with a model whose template was chosen, and CapabilityError for
    sampling that no server has.
    """
    body = sampling_fields(request.sampling, server)
    prompt = request.prompt
    if isinstance(prompt, str):
        return Wording("/completions", {**body, "prompt": prompt}, opened=ends_opened(prompt))
    check_template(model)
    body["messages"] = [{"role": m.role, "content": m.content} for m in prompt]
    begun = prompt[-1].content if prompt and prompt[-1].role == "assistant" else ""
    if begun:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if model.chat_template_kwargs:
        body["chat_template_kwargs"] = dict(model.chat_template_kwargs)
    return Wording("/chat/completions", body, begun, ends_opened(begun))


def prompt_ids(prompt: Prompt, model: Model, renderer: Renderer) -> list[int]:
    """Returns the token ids of a prompt; a model needs something to go on from, and the end of a text
    before is the neutral choice."""
    return renderer.prompt_ids(prompt, model.prompt_format) or [renderer.eos_id]


def check_template(model: Model) -> None:
    """Raises ConfigError for a model whose template was chosen: a server has one of its own."""
    if model.prompt_format == "chat" and model.chat_template not in ("", OWN):
        raise ConfigError(
            "--engine openai: a server renders conversations with the template that it was started "
            "with, and chat_template names another one for this model. Leave chat_template out, or "
            "use --engine transformers."
        )


def sampling_fields(sampling: Sampling, server: Server) -> dict[str, JSON]:
    """Returns a request's fields of sampling, those that change nothing included. Raises CapabilityError
    for what no server has."""
    for name in ("trigram_penalty", "quadgram_penalty"):
        if getattr(sampling, name):
            raise CapabilityError(
                f"servers have no {name}. Leave it at 0, or use engine=transformers."
            )
    body: dict[str, JSON] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "min_p": 0.0,
        "repetition_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    if sampling.stop:
        body["stop"] = [*sampling.stop]
    if server.is_llama and sampling.repetition_penalty != 1.0:
        # It has another name for it, reads ours without a word, and looks back 64 tokens only. That it
        # is to look at all of them has no number of its own.
        far = server.context or _FAR
        body |= {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": far}
    return body
