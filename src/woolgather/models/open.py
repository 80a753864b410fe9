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


def open_model(name: str | Model, prompt_format: PromptFormat = "chat") -> Model:
    """Returns the Model that `name` means: `embedded`, a local directory, or `repo[@revision]` on the
    hub.

    Raises InputError when it is not there, or has no tokenizer or no safetensors weights.
    """
    if isinstance(name, Model):
        return name
    if not name:
        raise InputError("no base model. Name one: base=<folder or hub name>, or base=embedded.")
    if name.startswith("fake"):
        return Model(name, fingerprint({"fake": name}), prompt_format)
    if name == EMBEDDED:
        from woolgather.models.embedded import embedded_model

        name = str(embedded_model())
    path = Path(name).expanduser()
    if path.is_dir():
        _check_model_dir(path)
        print_ = fingerprint({"files": model_digest(path)})
        whole = digest_of(file_digests(path))
        return Model(str(path.resolve()), print_, prompt_format, digest=whole)
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise InputError(f"base={name}: no such folder. Give a folder with config.json in it.")
    return _open_hub(name, prompt_format)


def _open_hub(name: str, prompt_format: PromptFormat) -> Model:
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    twice = ["consolidated*", "*/*.safetensors"]  # the same weights in another shape

    def folder(*, cached: bool) -> Path:
        found = snapshot_download(
            repo,
            revision=revision or None,
            local_files_only=cached,
            allow_patterns=wanted,
            ignore_patterns=twice,
        )
        return Path(found)

    try:
        path = folder(cached=True)
        _check_model_dir(path, name)
    except Exception:  # not there, or only what another program wanted of it
        try:
            path = folder(cached=False)
        except Exception as error:
            raise InputError(
                f"base={name}: no folder here, and {why_not(error, name, 'model')} "
                "Or give a local folder."
            ) from error
        _check_model_dir(path, name)
    return Model(str(path), fingerprint({"hub": repo, "commit": path.name}), prompt_format)


def _check_model_dir(path: Path, name: str = "") -> None:
    """`name` is what the user called it, if not its path."""
    said = f"base={name or path}"
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
