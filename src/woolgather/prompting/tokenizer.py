"""A model's tokenizer and the JSON files beside it, from a directory or from the hub's cache.

transformers is imported when a tokenizer is loaded, never with this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON


class Encoding(Protocol):
    """A text as a tokenizer encodes it."""

    input_ids: list[int]


class AddedToken(Protocol):
    """A token beyond the trained vocabulary."""

    special: bool


class Tokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    chat_template: str | dict[str, str] | None
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def pad_token_id(self) -> int | None: ...

    @property
    def all_special_ids(self) -> list[int]: ...

    @property
    def special_tokens_map(self) -> Mapping[str, str]: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]: ...

    def __call__(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        verbose: bool = True,
    ) -> Encoding: ...

    def decode(
        self,
        token_ids: Sequence[int],
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> str: ...

    def get_vocab(self) -> Mapping[str, int]: ...

    def convert_tokens_to_ids(self, tokens: str) -> int: ...

    def save_pretrained(self, save_directory: str) -> object: ...


def load_tokenizer(path: str, trust_remote_code: bool = False) -> Tokenizer:
    """Returns the tokenizer of the model at `path` (a directory, or `repo@revision`). Raises
    InputError when none can be loaded from there."""
    from transformers import AutoTokenizer

    place, settings = _place(path)
    try:
        found: Tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=trust_remote_code, **settings
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{path}: no tokenizer could be loaded ({first}). A model directory needs "
            "tokenizer.json and tokenizer_config.json beside its weights."
        ) from error
    return found


def find_counter(path: str) -> Callable[[str], int] | None:
    """Returns what counts the tokens of a text with the tokenizer in the folder `path`, special ones
    aside; None where no folder with one that can be read is there. Nothing heavy is imported."""
    place = Path(path) / "tokenizer.json"
    if not place.is_file():
        return None
    try:
        from tokenizers import Tokenizer as Plain

        plain = Plain.from_file(str(place))
    except Exception:  # not installed, or of a kind that it does not read; it raises bare Exception
        return None
    return lambda text: len(plain.encode(text, add_special_tokens=False).ids)


def read_model_json(path: str, name: str) -> dict[str, JSON]:
    """Returns the object in the file `name` of the model at `path`; empty when it has no such file."""
    from transformers.utils.hub import cached_file

    place, settings = _place(path)
    try:
        found = cached_file(place, name, _raise_exceptions_for_missing_entries=False, **settings)
    except OSError:
        return {}
    return dict(json.loads(Path(found).read_text(encoding="utf-8"))) if found else {}


def _place(path: str) -> tuple[str, dict[str, str | bool]]:
    """How transformers is told: a directory is never looked up on the hub."""
    if Path(path).is_dir():
        return path, {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}
