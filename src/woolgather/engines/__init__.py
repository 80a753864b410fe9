"""How a model is asked. See base.py for what an engine does."""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import Engine, EngineOptions


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
    if options.name == "openai":
        from woolgather.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(model, options)
    if options.name == "transformers":
        from woolgather.engines.subprocess.engine import SubprocessEngine

        return SubprocessEngine(model, options, log)
    raise ConfigError(f"engine {options.name!r}: choose transformers, openai or fake.")
