"""What a server says it serves: its list of models, read, and the model in it that is meant.

The one idea: a server that is asked for a model it does not list may answer with another one, so the
list is looked at before the first request. What it says of the model, the *card*, is kept with what
comes of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.engines.vllm.adapters import OURS

_FIELDS = ("id", "root", "parent", "owned_by", "max_model_len")
_META = ("n_ctx", "n_ctx_train")
"""The context's length as llama.cpp says it, within "meta"."""
_LONGEST = 200
"""Characters of a value."""
Cards = Mapping[str, Mapping[str, JSON]]
"""By name, the fields that a server gives of a model, short ones only."""


def read_cards(reply: object) -> Cards:
    """Returns the cards in the reply to `GET /models`. Raises ValueError for anything but a list of
    models."""
    entries = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(entries, list):
        raise ValueError("a list of models was expected")
    cards: dict[str, Mapping[str, JSON]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or "id" not in entry:
            raise ValueError("a list of models was expected")
        meta = entry.get("meta")
        told = [(key, entry.get(key)) for key in _FIELDS]
        told += [(key, meta.get(key)) for key in _META] if isinstance(meta, dict) else []
        cards[str(entry["id"])] = {
            key: value
            for key, value in told
            if isinstance(value, str | int | float) and len(str(value)) <= _LONGEST
        }
    return cards


def choose_name(cards: Cards, name: str, url: str) -> str:
    """Returns the name that is meant: `name`, or the only one there is beside adapters of our runs.

    Raises ConfigError, which shows `url`, when the name is not in the list (an empty list says nothing
    of a name that is given), or when none is given and the list has several or none.
    """
    own = [each for each in cards if not each.startswith(OURS)]
    if not name and len(own) == 1:
        return own[0]
    if name and (name in cards or not cards):
        return name
    names = list(cards)
    more = ", ..." if len(names) > 8 else ""
    have = f"{len(names)} model{'s' * (len(names) != 1)} ({', '.join(names[:8])}{more})"
    instead = (
        f"does not serve {name}, but {have}" if name else f"serves {have if names else 'no model'}"
    )
    raise ConfigError(f"{url} {instead}. {how_to_name(url)}")


def how_to_name(url: str) -> str:
    """Returns, as a sentence, how a user says which of a server's models is meant."""
    return (
        f"Give the name of the one that is meant, as --url {url}#NAME, or as "
        f"--serve ROLE_OR_PATH={url}#NAME where several models are asked."
    )
