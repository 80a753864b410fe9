"""What a server's refusal means: for this attempt, for this request, or for all of them.

The one idea: servers agree neither on statuses nor on words, so a refusal is sorted by what it must not
do. It must not end a run where one prompt is too long, whatever the status; it must not be tried again
where it will not pass; and it must not be taken for a row's own affair where every row would meet it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.core.rows import JSON
from woolgather.engines.openai.cards import how_to_name

_TOO_LONG = re.compile(
    r"context.?(length|size|window)|n_ctx|max(imum)? (model|sequence) length|too (long|many tokens)"
    r"|\b(prompt|inputs?|sequence|messages|tokens?)\b.{0,80}"
    r"(exceed|longer than|larger than|too large|does not fit)"
    r"|\b(inputs|tokens)\b.{0,40}must (be <|have less than)"
    r"|exceed.{0,60}\btokens?\b|reduce the (length|size|number of tokens)"
    r"|entity too large|payload too large",
    re.IGNORECASE,
)
_ELSE = re.compile(
    r"`?\bmax_(\w+_)?tokens`?|completion tokens|input validation error|\bt(ook|aking) too long",
    re.IGNORECASE,
)
"""Names of settings, of kinds of errors, and slowness: what is said of them alone says nothing of a
prompt."""
_PREFILL = re.compile(r"pre-?fill|last (message|role)", re.IGNORECASE)
_PASSING = (408, 409, 425, 429)
SUBSTITUTES: Mapping[str, str | None] = {
    "continue_final_message": None,
    "add_generation_prompt": None,
    "seed": None,
    "max_tokens": "max_completion_tokens",
    "stop_token_ids": None,
    "logprob_token_ids": None,
    "return_tokens_as_token_ids": None,
    "top_p": None,
    "top_k": None,
    "min_p": None,
    "repetition_penalty": None,
}
"""Fields a server may turn down, and what is sent instead from then on (None: nothing)."""
NEUTRAL: Mapping[str, JSON] = {
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""Fields of which only this value, which changes nothing, may be left out. It is sent all the same: where
a field is missing, servers take the model's generation_config.json or a taste of their own (llama.cpp:
top_k 40, top_p 0.95, min_p 0.05)."""
REASONING = "reasoning before a begun answer"
"""Turned down by a server that will not continue an answer unless reasoning is switched off."""
NO_LOGPROBS = (
    "Use --engine transformers, or judge by a rubric, which reads text only "
    "(judge.candidates=[rubric])."
)
"""What is said where a server gives no log-probabilities: all other assessors of a model need them."""
_WITHOUT_REASONING = "--chat-template-kwargs '{\"enable_thinking\": false}'"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's words of refusal."""

    status: int
    code: str
    said: str
    """In one short line; empty where it gives none."""
    rest: float | None = None
    """Seconds that it asks to be left alone for."""


class Refused(Exception):
    """A server will not answer this one request, whatever the number of attempts."""

    def __init__(
        self, reason: Literal["too_long", "error"], why: str = "", *, known: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.why = why
        """The server's words."""
        self.known = known
        """Whether they are known to concern this request alone."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was refused, and of whom it was attempt."""

    place: str
    """The address, path included."""
    url: str
    body: Mapping[str, JSON]
    answered: bool
    """Whether the server has answered any request before."""
    key: str
    """What there is to say of the key, as a sentence."""


def read_refusal(status: int, body: object, code: str = "", rest: float | None = None) -> Refusal:
    """Returns the refusal in the body of an answer with the status of an error; `rest` are the seconds
    that its header asks for."""
    return Refusal(status, code, _words(body)[:300], rest)


def read_told_error(told: Mapping[str, JSON]) -> Refusal:
    """Returns the refusal in an error that came with the status of success."""
    code = told.get("code")
    status = next(
        (n for n in map(_status, (code, told.get("status_code"), told.get("status"))) if n), 0
    )
    if not status:
        status = 400 if "invalid" in str(told.get("type", "")).lower() else 500
    return read_refusal(status, told, "" if _status(code) or code is None else str(code))


def says_too_long(refusal: Refusal) -> bool:
    """Returns whether a prompt that does not fit is what a server complains of."""
    if refusal.status == 413 or refusal.code == "context_length_exceeded":
        return True
    busy = refusal.status in _PASSING or refusal.status == 503
    return not busy and _TOO_LONG.search(_ELSE.sub("", refusal.said)) is not None


def passes(refusal: Refusal) -> bool:
    """Returns whether the same request may be answered later."""
    if says_too_long(refusal) or refusal.code in ("insufficient_quota", "content_filter"):
        return False
    return refusal.status in _PASSING or (refusal.status >= 500 and refusal.status != 501)


def to_take_back(refusal: Refusal, sent: Mapping[str, JSON]) -> str | None:
    """Returns the field of a request as it was sent that a server turns down and the request can do
    without, None where there is none."""
    if not 400 <= refusal.status < 500 or refusal.status in (401, 403, 404, 405):
        return None
    if says_too_long(refusal):
        return None
    for name in SUBSTITUTES:
        spare = name in sent and sent[name] == NEUTRAL.get(name, sent[name])
        if spare and name in refusal.said:
            return name
    told: JSON = sent.get("chat_template_kwargs") or {}
    begun = _is_begun(sent) and _PREFILL.search(refusal.said) is not None
    return REASONING if begun and told.get("enable_thinking") is not False else None


def acceptable(body: Mapping[str, JSON], refused: set[str]) -> dict[str, JSON]:
    """Returns `body` without what a server has turned down, under names that it takes."""
    out: dict[str, JSON] = {}
    for name, value in body.items():
        spare = name in refused and value == NEUTRAL.get(name, value)
        as_sent = SUBSTITUTES[name] if spare else name
        if as_sent:
            out[as_sent] = value
    if REASONING in refused and _is_begun(body):
        # A begun answer has no reasoning before it in any case.
        out["chat_template_kwargs"] = {
            **(out.get("chat_template_kwargs") or {}),
            "enable_thinking": False,
        }
    return out


def meaning(refusal: Refusal, attempt: Attempt) -> Exception:
    """Returns what a refusal that will not pass is raised as: Refused for this request alone, or an
    error that ends them all and names the remedy."""
    status, code, said = refusal.status, refusal.code, refusal.said
    what = describe(refusal, attempt.place)
    if code == "insufficient_quota" or status == 402:
        return EngineError(f"{what}. The account has no credit left.")
    if says_too_long(refusal):
        return Refused("too_long", said)
    if code == "content_filter" or (status == 403 and attempt.answered):
        return Refused("error", said)
    if status in (401, 403):
        return ConfigError(f"{what}. {attempt.key}")
    if status in (404, 405, 501):
        if attempt.place.endswith("/models") or re.search(r"\bmodel\b", f"{code} {said}"):
            return ConfigError(f"{what}. {how_to_name(attempt.url)}")
        return CapabilityError(f"{what}. {_instead(attempt.place)}")
    if re.search(r"chat.template(?!_kwargs)", said):
        return CapabilityError(f"{what}. {_instead(attempt.place)}")
    if "chat_template_kwargs" in attempt.body and "chat_template_kwargs" in said:
        return CapabilityError(f"{what}. Leave --chat-template-kwargs out, or use another engine.")
    if _is_begun(attempt.body) and (_PREFILL.search(said) or "chat_template_kwargs" in said):
        return CapabilityError(
            f"{what}. This server does not continue an answer that is begun. Switch its reasoning off "
            f"({_WITHOUT_REASONING}), serve the model with another program, or use --engine transformers."
        )
    for name in ("top_p", "top_k", "repetition_penalty"):
        if name in attempt.body and name in said:
            return CapabilityError(f"{what}. Leave {name} at its default, or use another engine.")
    if "logprobs" in attempt.body:
        return CapabilityError(f"{what}. {NO_LOGPROBS}")
    return Refused("error", what, known=False)


def describe(refusal: Refusal, place: str) -> str:
    """Returns who refuses, and in what words."""
    said = f" ({refusal.said})" if refusal.said else ""
    return f"{place}: status {refusal.status}{said}"


def _is_begun(body: Mapping[str, JSON]) -> bool:
    """Returns whether a conversation ends with the beginning of an answer."""
    messages: JSON = body.get("messages")
    return bool(messages) and messages[-1]["role"] == "assistant"


def _instead(place: str) -> str:
    if place.endswith("/chat/completions"):
        return (
            "This server takes no conversations (/chat/completions). Serve the model with a chat "
            "template, or set base_format=raw, blocks or chatml (--prompt-format in eval and chat)."
        )
    if place.endswith("/completions"):
        return (
            "This server takes no raw text (/completions). Set base_format=chat (--prompt-format chat "
            "in eval and chat), or use --engine transformers."
        )
    return "This server has no embeddings. Use --engine transformers."


def _words(body: object) -> str:
    """Returns a server's own words, in one line: a text, or where it lies in an object or a list."""
    if isinstance(body, Mapping):
        places = ("message", "detail", "error", "msg")
        return next((_words(body[key]) for key in places if body.get(key)), "")
    if isinstance(body, list):
        return "; ".join(filter(None, map(_words, body)))
    return " ".join(re.sub(r"<[^>]*>", " ", str(body or "")).split())


def _status(value: JSON) -> int:
    """Returns a number that is a status of HTTP for an error, 0 for anything else."""
    number = (
        int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else 0
    )
    return number if 400 <= number < 600 else 0
