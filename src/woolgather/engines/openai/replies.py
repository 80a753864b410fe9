"""What a server answers, read: only what is used, in any of the shapes that servers give it.

The one idea: a reply must hold the one thing that was asked for, and everything else in it is optional.
What is optional and of no known shape counts as missing, so that a server may say more, or say it in a
way of its own. What was asked for and is not there is an `Unreadable`, which names the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, FinishReason, settle

_FINISH: dict[str, FinishReason] = {
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "stop_sequence", "stop_token", "stop_str"), "stop"
    ),
    **dict.fromkeys(("end_turn", "end", "complete", "completed", "finished"), "stop"),
    **dict.fromkeys(("length", "max_length", "max_tokens", "max_new_tokens"), "length"),
    **dict.fromkeys(("max_output_tokens", "model_length", "token_limit"), "length"),
}
"""The words that say how a completion ended well or was cut. Any other is an error: what a server ended
for a reason of its own (abort, content_filter, tool_calls, ...) is not a whole answer."""


class Unreadable(ValueError):
    """A complete reply lacks what was asked for; asked again, the server would hardly say more."""


@dataclass(frozen=True, slots=True)
class Echo:
    """The log-probabilities of a text that a server repeated."""

    text: str
    tokens: Sequence[str]
    """As the server shows them; empty texts where it gives their numbers."""
    values: Sequence[float | None]
    prompt_tokens: int
    """How many the prompt has, by the server's own count; 0 where it does not say."""


class Candidate(NamedTuple):
    """A token that may stand at a place."""

    id: int | None
    """None where the server shows only its text."""
    text: str
    logprob: float


def read_answer(
    reply: object,
    stop: Sequence[str] = (),
    *,
    opened: bool = False,
    begun: str = "",
    limit: int = 0,
) -> Completion:
    """Returns the completion in a reply; `stop` and `opened` as `settle` takes them.

    The beginning `begun` of an answer is cut off where the server repeats it. A reply that does not say
    why it ended was cut where it has `limit` new tokens, and has ended otherwise. Raises Unreadable for
    a reply without a text.
    """
    choice = _first_choice(reply)
    message = choice.get("message")
    if isinstance(message, Mapping):
        text, reasoning = _read_content(message)
    elif isinstance(choice.get("text"), str):
        text, reasoning = choice["text"], _read_reasoning(choice)
    else:
        raise Unreadable("choices[0] has neither `text` nor `message`")
    word = choice.get("finish_reason")
    if isinstance(word, Mapping):
        word = word.get("type")
    written = _count(reply, "completion_tokens")
    unsaid: FinishReason = "length" if 0 < limit <= written else "stop"
    reason = _FINISH.get(str(word).lower(), "error") if word else unsaid
    raw = Completion(
        _whole_characters(text.removeprefix(begun)),
        reason,
        _count(reply, "prompt_tokens"),
        written,
        _whole_characters(reasoning),
    )
    found = settle(raw, stop, opened=opened)
    if reason != "error":
        return found
    return replace(found, why=_quote(choice.get("error")) or f"finish_reason {word}")


def read_candidates(reply: object) -> list[Candidate]:
    """Returns what a reply tells of its first new token, which comes first, and of the likeliest at its
    place; empty where it tells nothing. Raises Unreadable for a reply without a choice."""
    choice = _first_choice(reply)
    told = choice.get("logprobs")
    if isinstance(reply, Mapping) and not isinstance(told, Mapping):
        told = {"content": reply.get("completion_probabilities")}  # llama.cpp before 2025
    if not isinstance(told, Mapping):
        return []
    entries = told.get("content")
    if isinstance(entries, list):
        first = next((entry for entry in entries if isinstance(entry, Mapping)), {})
        others = first.get("top_logprobs") or []
        given = [(e.get("id"), e.get("token"), e.get("logprob")) for e in [first, *others] if e]
    else:
        by_token = next(iter(told.get("top_logprobs") or []), None) or {}
        written = zip(told.get("tokens") or [], told.get("token_logprobs") or [], strict=False)
        given = [(None, token, value) for token, value in (*[*written][:1], *by_token.items())]
    found = (
        Candidate(_id_of(number, token), str(token), logprob)
        for number, token, value in given
        if (logprob := _as_float(value)) is not None
    )
    return list({one.text if one.id is None else one.id: one for one in found}.values())


def read_echo(reply: object) -> Echo | None:
    """Returns the log-probabilities in a reply, None where it has none. Raises Unreadable for a reply
    without a choice."""
    choice = _first_choice(reply)
    given = choice.get("logprobs")
    if not isinstance(given, Mapping):
        return None
    tokens, values = given.get("tokens"), given.get("token_logprobs")
    if isinstance(given.get("content"), list):  # as in conversations
        entries = [entry for entry in given["content"] if isinstance(entry, Mapping)]
        tokens = [entry.get("token") for entry in entries]
        values = [entry.get("logprob") for entry in entries]
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return None
    return Echo(
        str(choice.get("text") or ""),
        [token if isinstance(token, str) else "" for token in tokens],
        [_as_float(value) for value in values],
        _count(reply, "prompt_tokens"),
    )


def read_vectors(reply: object, count: int) -> list[list[float]]:
    """Returns the `count` embeddings in a reply, in the order of the texts. Raises Unreadable where it
    has others."""
    data = reply.get("data") if isinstance(reply, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        raise Unreadable("`data` is not a list of embeddings")
    places = [one.get("index", place) for place, one in enumerate(data)]
    if sorted(map(str, places)) != sorted(map(str, range(count))):
        raise Unreadable(f"{len(data)} embeddings for {count} texts")
    found = dict(zip(map(str, places), (one.get("embedding") for one in data), strict=True))
    vectors = [found[str(place)] for place in range(count)]
    if not all(isinstance(v, list) and all(isinstance(x, int | float) for x in v) for v in vectors):
        raise Unreadable("`embedding` is not a list of numbers")
    return [[float(x) for x in vector] for vector in vectors]


def read_model(reply: object) -> str:
    """Returns the name of the model that answered, by the server's own word; empty where it says none."""
    told = reply.get("model") if isinstance(reply, Mapping) else None
    return told if isinstance(told, str) else ""


def error_in(reply: object) -> Mapping[str, JSON] | None:
    """Returns the error that came as an answer, with the status of success; None for an answer."""
    if not isinstance(reply, Mapping) or reply.get("choices") or reply.get("data"):
        return None
    told = reply.get("error")
    if isinstance(told, Mapping):
        return told
    return reply if told or reply.get("object") == "error" else None


def _first_choice(reply: object) -> Mapping[str, JSON]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise Unreadable("`choices` is not a list with an answer in it")
    return choices[0]


def _read_content(message: Mapping[str, JSON]) -> tuple[str, str]:
    """Returns the text and the reasoning of a message. Its content is a text, nothing, or a list of
    parts."""
    content = message.get("content")
    reasoning = _read_reasoning(message)
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), reasoning
    parts = [part for part in content if isinstance(part, Mapping)]
    told = "".join(_text_of(part) for part in parts if not _is_reasoning(part))
    thought = "".join(_text_of(part) for part in parts if _is_reasoning(part))
    return told, reasoning or thought


def _is_reasoning(part: Mapping[str, JSON]) -> bool:
    return str(part.get("type")) in ("thinking", "reasoning")


def _text_of(part: Mapping[str, JSON]) -> str:
    """Returns the text of a part, which may lie in parts of its own."""
    for key in ("text", "thinking", "reasoning"):
        held = part.get(key)
        if isinstance(held, str):
            return held
        if isinstance(held, list):
            return "".join(_text_of(inner) for inner in held if isinstance(inner, Mapping))
    return ""


def _read_reasoning(place: Mapping[str, JSON]) -> str:
    """Returns what a server that parses reasoning puts beside the content; some say it twice."""
    told = (place.get(key) for key in ("reasoning_content", "reasoning"))
    return next((text for text in told if isinstance(text, str) and text), "")


def _count(reply: object, name: str) -> int:
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    value = _as_float(usage.get(name)) if isinstance(usage, Mapping) else None
    return int(value) if value and 0 < value < 1e12 else 0


def _id_of(number: JSON, token: JSON) -> int | None:
    """Returns a token's id, which vLLM writes into its text; None where it is not told."""
    if isinstance(number, int):
        return number
    spelt = re.fullmatch(r"token_id:(\d+)", str(token))
    return int(spelt[1]) if spelt else None


def _as_float(value: JSON) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _quote(told: JSON) -> str:
    message = told.get("message") if isinstance(told, Mapping) else told
    return " ".join(str(message or "").split())[:300]


def _whole_characters(text: str) -> str:
    """JSON can spell half a character, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
