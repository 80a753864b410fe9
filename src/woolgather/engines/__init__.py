"""How a model is asked. See base.py for what an engine does."""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import Engine, EngineOptions

NAMES = ("transformers", "vllm", "openai", "fake")


def open_engine(model: Model, options: EngineOptions, log: Path | None = None) -> Engine:
    """Returns the engine that `options.name` names, for `model`; what a child process prints is
    appended to `log`. Nothing is loaded before its first request.

    Raises ConfigError when there is no engine of that name, or an option of it cannot be used.
    """
    if options.replicas:
        from woolgather.engines.replicas.engine import ReplicatedEngine

        return ReplicatedEngine(model, options)
    if options.name == "fake":
        from woolgather.engines.fake import FakeEngine

        return FakeEngine(model=model)
    if options.name == "openai" and options.adapter:
        from woolgather.engines.openai.adapted import AdapterEngine

        return AdapterEngine(model, options)
    if options.name == "openai":
        from woolgather.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(model, options)
    if options.name == "transformers":
        from woolgather.engines.subprocess.engine import SubprocessEngine

        return SubprocessEngine(model, options, log)
    if options.name == "vllm":
        from woolgather.engines.vllm.engine import VllmEngine

        return VllmEngine(model, options, log)
    raise ConfigError(_unknown(options.name))


def check_engine(options: EngineOptions, *, ready: bool = False) -> None:
    """Raises ConfigError, before any work, for an engine that there is not or that has no use for an
    option that was given; with `ready` for one that cannot run here as well."""
    if options.name not in NAMES:
        raise ConfigError(_unknown(options.name))
    if options.name == "vllm":
        if ready:
            from woolgather.engines.vllm.interpreter import find_interpreter

            find_interpreter(options.python)
    elif options.python or options.args:
        option = "--engine-python" if options.python else "--engine-args"
        raise ConfigError(f"{option} is for --engine vllm. Add that, or leave {option} out.")


def _unknown(name: str) -> str:
    return f"--engine {name}: choose {', '.join(NAMES[:-1])} or {NAMES[-1]}."
