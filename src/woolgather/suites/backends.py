"""How the harness is told of a model: its own model classes, with what they need to be given.

The one idea: `--engine` names the same programs as everywhere, and each is one of the harness's
backends: hf for transformers, vllm, local-completions for a server, dummy for the fake engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, InputError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.machine_speed import auto_precision
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.prompting.forms import read_template


@dataclass(frozen=True)
class Backend:
    """A model as the harness opens it."""

    name: str
    """The harness's name for the program."""
    args: Mapping[str, JSON]
    batch: int | str
    """Texts at once; for hf the worker decides, by the device."""
    identity: str
    """Hash of what its answers depend on."""
    chat: bool
    """Whether it can be asked in turns, by a chat template of its own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    """Hash of a chat template that is not the model's own; empty where it is asked by its own."""


@dataclass(frozen=True)
class Server:
    """Where a model is served."""

    url: str
    """The address that paths are appended to, e.g. http://localhost:8000/v1."""
    name: str
    """What the server calls the model."""
    key: str = ""
    """The API key; empty where none is needed."""


def find_backend(model: Model, options: EngineOptions, server: Server | None = None) -> Backend:
    """Returns how the harness opens `model`, which lies in a folder.

    Raises ConfigError for an engine that it does not have, CapabilityError for a model that it would ask
    otherwise than we do.
    """
    if model.chat_template:
        raise CapabilityError(
            f"{model.path}: the harness reads chat templates from a model's folder only. Save the "
            "template there (chat_template.jinja)."
        )
    if options.name == "fake":
        return Backend("dummy", {}, 1, fingerprint({"dummy": model.fingerprint}), chat=False)
    chat = bool(read_template(Path(model.path)))
    precision = _precision(options)
    told: dict[str, JSON] = {"model": model.fingerprint, "dtype": precision}
    if options.name == "openai" and server is not None:
        args = _server_args(model, server)
        told |= {"served_as": server.name}
        key = {"OPENAI_API_KEY": server.key} if server.key else {}
        return Backend("local-completions", args, 1, fingerprint(told), chat, key)
    args = {"dtype": precision, **_weights(Path(model.path), options.name)}
    if model.chat_template_kwargs:
        args["chat_template_args"] = dict(model.chat_template_kwargs)
    if options.name == "transformers":
        return Backend("hf", args, "auto", fingerprint(told), chat)
    if options.name == "vllm":
        args |= options.args
        return Backend(
            "vllm", args, "auto", fingerprint({**told, "vllm": dict(options.args)}), chat
        )
    raise ConfigError(
        f"--suite with --engine {options.name}: choose transformers, vllm, openai or fake."
    )


def find_templated(model: Model, template: str, options: EngineOptions, folder: Path) -> Backend:
    """Returns how the harness opens `model`, to ask it in turns by `template` instead of its own.

    The harness knows no other place for a template than the model's folder: `folder` becomes one, of
    links to the model's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in Path(model.path).iterdir():
        link = folder / file.name
        if file.name != "chat_template.jinja" and not link.is_symlink():
            link.symlink_to(file.resolve())
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    beside = replace(model, path=str(folder.resolve()), chat_template="")
    return replace(find_backend(beside, options), template=fingerprint(template))


def _server_args(model: Model, server: Server) -> dict[str, JSON]:
    """The harness makes the tokens itself, by the tokenizer in the model's folder."""
    return {
        "model": server.name,
        "base_url": f"{server.url}/completions",
        "tokenizer": model.path,
        "tokenizer_backend": "huggingface",
        "num_concurrent": 8,
    }


def _weights(path: Path, engine: str) -> dict[str, JSON]:
    """An adapter is opened on top of the base that it names."""
    adapter = path / "adapter_config.json"
    if not adapter.is_file():
        return {"pretrained": str(path)}
    base = str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
    if not base:
        raise InputError(f"{path}: an adapter that names no base (base_model_name_or_path).")
    beside = path / base
    told: dict[str, JSON] = {"pretrained": str(beside if beside.is_dir() else base)}
    if engine == "vllm":
        return {**told, "lora_local_path": str(path)}
    return {**told, "peft": str(path)}


def _precision(options: EngineOptions) -> str:
    if options.dtype != "auto" or options.name not in ("transformers", "vllm"):
        return options.dtype
    try:
        found = auto_precision("auto", "generation", measure=options.name == "transformers")
    except ConfigError:  # no torch here: the harness has another Python
        found = None
    return found or "auto"
