"""A model that a run made, at servers that hold its base: they load its adapter, and forget it again.

The one idea: the adapter is there under a name that is its content, for as long as the engine is open,
and is asked by that name as any model is.
"""

from __future__ import annotations

from dataclasses import replace

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.adapters import load_adapter, unload_adapter
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.engines.openai.server import Patience
from woolgather.engines.openai.serving import Endpoint, read_endpoint
from woolgather.engines.vllm.adapters import name_adapter


class AdapterEngine(OpenAIEngine):
    """Asks the servers at `options.urls` for their model with `options.adapter` on it. Raises
    CapabilityError where a server does not load it."""

    def __init__(
        self, model: Model, options: EngineOptions, patience: Patience | None = None
    ) -> None:
        name = name_adapter(options.adapter)
        endpoints = [replace(read_endpoint(url), name=name) for url in options.urls]
        # One that another program had loaded stays loaded in the end.
        self._loaded: list[Endpoint] = [one for one in endpoints if load_adapter(one, options)]
        named = replace(options, urls=tuple(endpoint.text for endpoint in endpoints))
        super().__init__(model, named, patience)

    def close(self) -> None:
        """Cancels what is in flight, and has the servers forget the adapter."""
        super().close()
        while self._loaded:
            unload_adapter(self._loaded.pop(), self._options)
