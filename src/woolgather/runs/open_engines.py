"""The engines that a run has open: one model in memory at a time, and any number at servers.

The one idea: what holds a model here makes room before the next is loaded, or anything trains; a model at
a server takes none. A model that vLLM is asked for is first held against the program that trains (see
engines/vllm/hand_off.py).
"""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.openai.serving import read_endpoint
from woolgather.engines.vllm.hand_off import HandOff
from woolgather.runs.execute import Backends
from woolgather.runs.models import RunModels
from woolgather.runs.progress import Progress

_Key = tuple[str, str, str]


class OpenEngines:
    """Opens the engines of the run in `folder`; what their programs print is in engine.log there."""

    def __init__(
        self, folder: Path, backends: Backends, models: RunModels, progress: Progress
    ) -> None:
        self._log = folder / "engine.log"
        self._backends, self._models, self._progress = backends, models, progress
        self._open: dict[_Key, Engine] = {}
        """Those that hold a model in memory: one, but for the moment of a hand-off check."""
        self._at_servers: dict[_Key, Engine] = {}
        self._hand_off = HandOff(folder, self._start, progress.note)

    def open(self, model: Model, options: EngineOptions) -> Engine:
        """Returns the engine of a model, the open one or a new one; another one that is in memory is
        closed before. Raises EngineError when vLLM has another model than the one that was trained."""
        key = _key_of(model)
        found = self._open.get(key) or self._at_servers.get(key)
        if found is None:
            own = self._models.at_servers(model, options)
            found = self._ask(model, own, options) if own.urls else self._load(model, own)
        return found

    def close(self, keep: Model | None = None) -> None:
        """Closes the open engines, but for the one of `keep`, and frees what they hold."""
        for engines in (self._open, self._at_servers):
            for key in [key for key in engines if keep is None or key != _key_of(keep)]:
                engines.pop(key).close()

    def _ask(self, model: Model, own: EngineOptions, options: EngineOptions) -> Engine:
        """The engine of a model at the servers that its `own` options name; one that the run has made is
        compared first, as far as the servers tell what that takes."""
        key, name = _key_of(model), self._models.name_of(model)
        at = ", ".join(str(read_endpoint(url)) for url in own.urls)
        self._progress.note(f"asking {at} for {name}")
        engine = self._at_servers[key] = self._start(model, own)
        try:
            if self._models.makes(model):
                self._compare(engine, own, options)
        except CapabilityError as error:
            if own.adapter:
                raise
            self._progress.note(f"{name}: not compared with what trains: {error}")
        return engine

    def _compare(self, engine: Engine, own: EngineOptions, options: EngineOptions) -> None:
        """Holds a made model at servers against the program that trained it, by the base where that is at
        servers, too."""
        base = self._models.base
        asked = self._models.at_servers(base, options) if base else options
        self._hand_off.base = base if asked.urls else None
        self._hand_off.base_options = asked
        if self._hand_off.is_due(engine, own, made=True):
            self._make_room()
            self._hand_off.check(engine, own, self._models.name_of(engine.model), made=True)

    def _load(self, model: Model, options: EngineOptions) -> Engine:
        self._progress.note(f"loading {model.path}")
        engine, made = self._start(model, options), self._models.makes(model)
        self._hand_off.base, self._hand_off.base_options = self._models.base, None
        due = options.name == "vllm" and self._hand_off.is_due(engine, options, made=made)
        if not due:  # a check needs the memory for the program that trains
            for key in [key for key, other in self._open.items() if engine.take_over(other)]:
                del self._open[key]
        self._make_room()
        self._open[_key_of(model)] = engine
        if due:
            self._hand_off.check(engine, options, self._models.name_of(model), made=made)
        return engine

    def _make_room(self) -> None:
        """Closes what holds a model in memory."""
        while self._open:
            self._open.popitem()[1].close()

    def _start(self, model: Model, options: EngineOptions) -> Engine:
        return self._backends.open_engine(model, options, self._log)


def _key_of(model: Model) -> _Key:
    """One model may be asked in several forms and with several chat templates; its fingerprint follows
    the template."""
    return model.path, model.prompt_format, model.fingerprint
