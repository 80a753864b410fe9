"""A model from a name: the embedded one, a directory, or a repository of the hub.

A model on disk is known by the content of its files (hashed once, remembered by path, size and time),
one on the hub by its commit. Nothing is downloaded unless the user names a hub model that is not in
the local cache.
"""

from __future__ import annotations

import json
from pathlib import Path

from woolgather.core.artifacts import Model, PromptFormat
from woolgather.core.errors import InputError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.model_limits import unread_tokens
from woolgather.core.storage import digest_of
from woolgather.data.hub_errors import why_not
from woolgather.models.digests import file_digests, model_digest

EMBEDDED = "embedded"
"""`base=embedded` is the small model that installs from a package."""


def open_model(
    name: str | Model, prompt_format: PromptFormat = "chat", *, role: str = "base"
) -> Model:
    """Returns the Model that `name` means: `embedded`, a local directory, or `repo[@revision]` on the
    hub. `role` is the setting that names it, for messages.

    Raises InputError when it is not there, or has no tokenizer or no safetensors weights.
    """
    if isinstance(name, Model):
        return name
    if not name:
        raise InputError(
            f"no {role.removesuffix('_model')} model. Name one: {role}=<folder or hub name>, or "
            f"{role}=embedded."
        )
    if name.startswith("fake"):
        return Model(name, fingerprint({"fake": name}), prompt_format)
    if name == EMBEDDED:
        from woolgather.models.embedded import embedded_model

        name = str(embedded_model())
    path = Path(name).expanduser()
    if path.is_dir():
        _check_model_dir(path, f"{role}={path}")
        print_ = fingerprint({"files": model_digest(path)})
        whole = digest_of(file_digests(path))
        return Model(str(path.resolve()), print_, prompt_format, digest=whole)
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise InputError(
            f"{role}={name}: no such folder. Give a folder with config.json in it{_or_server(role)}."
        )
    path = _open_hub(name, role)
    return Model(
        str(path), fingerprint({"hub": _repo_of(name), "commit": path.name}), prompt_format
    )


def open_served(name: str, *, role: str) -> Model:
    """Returns the Model that a server is asked for. Nothing is downloaded: where its files are not on
    this machine, it is known by its name alone. Raises InputError for files that are no model's."""
    if name and not name.startswith("fake") and name != EMBEDDED and not _is_here(name):
        return Model(name, fingerprint({"served": name}))
    return open_model(name, role=role)


def _is_here(name: str) -> bool:
    """Whether a folder is here, or the hub's cache has the whole model."""
    if Path(name).expanduser().is_dir():
        return True
    try:
        _check_model_dir(_fetch(name, cached=True), name)
    except Exception:  # not there, or only what another program wanted of it
        return False
    return True


def _repo_of(name: str) -> str:
    return name.partition("@")[0]


def _fetch(name: str, *, cached: bool) -> Path:
    """The folder of a hub model's files, from the cache alone or from the hub."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    twice = ["consolidated*", "*/*.safetensors"]  # the same weights in another shape
    found = snapshot_download(
        _repo_of(name),
        revision=name.partition("@")[2] or None,
        local_files_only=cached,
        allow_patterns=wanted,
        ignore_patterns=twice,
    )
    return Path(found)


def _open_hub(name: str, role: str) -> Path:
    said = f"{role}={name}"
    if _is_here(name):
        return _fetch(name, cached=True)
    try:
        path = _fetch(name, cached=False)
    except Exception as error:
        raise InputError(
            f"{said}: no folder here, and {why_not(error, name, 'model')} Or give a local "
            f"folder{_or_server(role)}."
        ) from error
    _check_model_dir(path, said)
    return path


def _or_server(role: str) -> str:
    """What else is possible for a model that is only asked."""
    return "" if role == "base" else f", or name its server: --serve {role}=URL#NAME"


def _check_model_dir(path: Path, said: str) -> None:
    """`said` is what the user called it, for messages."""
    adapter = (path / "adapter_config.json").is_file()
    if adapter:
        _check_adapter(path, said)
    if not adapter and not (path / "config.json").is_file():
        raise InputError(f"{said}: no config.json there, so it is not a model directory.")
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    if not any((path / name).is_file() for name in names):
        raise InputError(
            f"{said}: the model has no tokenizer (tokenizer.json). "
            "Save the tokenizer beside it: tokenizer.save_pretrained(...)."
        )
    if not adapter and not list(path.glob("*.safetensors")):
        raise InputError(
            f"{said}: no *.safetensors weights there. Save the model with safetensors."
        )
    if unread := unread_tokens(path):
        token, index = max(unread.items(), key=lambda item: item[1])
        raise InputError(
            f"{said}: its tokenizer has {index + 1} tokens or more, {token!r} among them, and its "
            f"embeddings end at {min(unread.values())}. Resize them "
            "(model.resize_token_embeddings(len(tokenizer))), or take the tokenizer it was made with."
        )


def _check_adapter(path: Path, said: str) -> None:
    """Raises InputError for an adapter whose base is not there; one on the hub is taken as named."""
    try:
        told = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
        base = str(told.get("base_model_name_or_path") or "")
    except (ValueError, AttributeError):
        raise InputError(
            f"{said}: adapter_config.json there is no JSON object. Save the adapter once more."
        ) from None
    local = base.startswith((".", "/", "~")) or base.count("/") != 1
    if not base or (local and not Path(base).is_dir() and not (path / base).is_dir()):
        raise InputError(
            f"{said}: an adapter, and the model that it is for is not there "
            f"(base_model_name_or_path: {base or 'missing'}). Put it there, or name it in "
            "adapter_config.json."
        )
