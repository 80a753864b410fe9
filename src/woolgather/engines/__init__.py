"""How a model is asked. See base.py for what an engine does."""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import Engine, EngineOptions


def open_engine(model: Model, options: EngineOptions, log: Path | None = None) -> Engine:
    """The engine that `options` name, for `model`. Nothing is loaded before its first request."""
    if options.name == "fake":
        from woolgather.engines.fake import FakeEngine

        return FakeEngine(model=model)
    if options.name == "openai":
        from woolgather.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(model, options)
    if options.name == "transformers":
        from woolgather.engines.subprocess import WorkerEngine

        return WorkerEngine(model, options, log)
    raise ConfigError(f"engine {options.name!r}: choose transformers, openai or fake.")
