"""What a model can read, by the files beside its weights: nothing is loaded.

The one idea: a limit of the model is known before any work begins, so that a row beyond it is set aside
and a model that cannot be right is refused at the door. What a file does not say is no limit.
"""

from __future__ import annotations

import json
from pathlib import Path

from woolgather.core.rows import JSON

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""Names under which configs say how many tokens a model was made for."""


def longest_row(model: str, limit: int) -> int:
    """Returns the most tokens that a row may have: `limit`, or fewer where the model at the path
    `model` has fewer positions."""
    positions = read_size(read_config(Path(model)), *POSITIONS)
    return min(limit, positions or limit)


def read_config(folder: Path) -> dict[str, JSON]:
    """Returns what a model's config.json says of its text model; empty where there is no such file."""
    found = _read(folder / "config.json")
    inner = found.get("text_config")
    return {**found, **inner} if isinstance(inner, dict) else found


def read_size(config: dict[str, JSON], *names: str) -> int | None:
    """Returns the first of the entries that is a number above 0; None without any."""
    found = (config.get(name) for name in names)
    return next((n for n in found if isinstance(n, int) and n > 0), None)


def unread_tokens(folder: Path) -> dict[str, int]:
    """Returns the tokens that a model's tokenizer writes and its embeddings have no row for, by their
    id: of its vocabulary, and those of the added ones that end a text or stand in the chat template."""
    rows = read_size(read_config(folder), "vocab_size")
    tokenizer, settings = _read(folder / "tokenizer.json"), _read(folder / "tokenizer_config.json")
    if rows is None:
        return {}
    inner = tokenizer.get("model")
    vocabulary = inner.get("vocab") if isinstance(inner, dict) else None
    known = vocabulary.items() if isinstance(vocabulary, dict) else ()
    found = {str(token): i for token, i in known if isinstance(i, int) and i >= rows}
    template = f"{settings.get('chat_template') or ''}{_read_text(folder / 'chat_template.jinja')}"
    ends = [_text(settings.get(f"{name}_token")) for name in ("bos", "eos", "pad")]
    for token in tokenizer.get("added_tokens") or ():
        text, index = str(token["content"]), int(token["id"])
        if index >= rows and (text in ends or text in template):
            found[text] = index
    return found


def _text(token: JSON) -> str:
    return str(token.get("content")) if isinstance(token, dict) else str(token or "")


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read(path: Path) -> dict[str, JSON]:
    """Empty for a file that does not parse: who loads the model says what is wrong with it."""
    try:
        found = json.loads(_read_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
