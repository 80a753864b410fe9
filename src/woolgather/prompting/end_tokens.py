"""End tokens: where a model stops, found in what it came with and saved with what is trained from it.

The one idea: a model is trained on one end token and stops at every token that may mean the end. The
one behind a trained reply is the special token that the chat template writes there, or else the
end-of-text token. Generation stops at either of them and at those that the model's own
generation_config.json names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.prompting.forms import TURN_STOP
from woolgather.prompting.tokenizer import Tokenizer, read_model_json

_CUSTOMARY = ("</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>")
"""End-of-text tokens to look for, the likeliest first, where a tokenizer names none."""
_CONFIG = "generation_config.json"


def base_end_token(tokenizer: Tokenizer) -> str:
    """Returns the end-of-text token: the tokenizer's own, else a customary one of its vocabulary.

    Raises InputError when there is neither, since a model trained without one could not stop.
    """
    if tokenizer.eos_token:
        return str(tokenizer.eos_token)
    vocabulary = tokenizer.get_vocab()
    for token in _CUSTOMARY:
        if token in vocabulary:
            return token
    raise InputError(
        "the tokenizer names no end token, so a trained model could not stop. "
        'Set "eos_token" in its tokenizer_config.json.'
    )


def set_end_token(tokenizer: Tokenizer, token: str) -> None:
    """Makes `token` the tokenizer's own end-of-text token, and its padding where it has none."""
    tokenizer.eos_token = token
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = token


def find_reply_end(tokenizer: Tokenizer, behind_reply: Iterable[int], eos_id: int) -> int:
    """Returns the id of the token that ends a reply: the first special token among `behind_reply`,
    the ids that the chat template writes right behind one; `eos_id` when none of them is special."""
    special = special_ids(tokenizer)
    return next((i for i in behind_reply if i in special), eos_id)


def special_ids(tokenizer: Tokenizer) -> set[int]:
    """Returns the ids of a tokenizer's special tokens, those added to its vocabulary included."""
    return set(tokenizer.all_special_ids) | {
        i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }


def find_turn_end(tokenizer: Tokenizer) -> list[int]:
    """Returns the id of the special token that ends a turn of ChatML; empty where there is none. It is
    left out of the text, so that no stop text would find it."""
    index = tokenizer.get_vocab().get(TURN_STOP)
    return [index] if index in special_ids(tokenizer) else []


def find_stop_ids(path: str, *known: int) -> tuple[int, ...]:
    """Returns the ids at which generation stops, ascending: `known`, and those in the
    generation_config.json of the model at `path`."""
    told = read_model_json(path, _CONFIG).get("eos_token_id")
    also = told if isinstance(told, list) else [told]
    return tuple(sorted({*known, *(i for i in also if isinstance(i, int))}))


def save_end_tokens(
    out: Path, source: str, tokenizer: Tokenizer, stops: Iterable[int], pad_id: int
) -> None:
    """Writes a generation_config.json into the model directory `out`, so that whoever loads the model
    stops at `stops`. Its other settings (sampling defaults) are those of the model at `source`."""
    settings = read_model_json(source, _CONFIG)
    settings["eos_token_id"] = [*stops]
    settings["pad_token_id"] = pad_id
    if tokenizer.bos_token_id is not None:
        settings["bos_token_id"] = int(tokenizer.bos_token_id)
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (out / _CONFIG).write_text(text, encoding="utf-8")
