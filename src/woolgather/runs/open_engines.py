"""The engine that a run has open: one model in memory at a time.

The one idea: what holds a model makes room before the next is loaded, or anything trains. A model that
vLLM is asked for is first held against the program that trains (see engines/vllm/hand_off.py).
"""

from __future__ import annotations

from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.openai.serving import read_endpoint
from woolgather.engines.vllm.hand_off import HandOff
from woolgather.runs.execute import Backends
from woolgather.runs.models import RunModels
from woolgather.runs.progress import Progress


class OpenEngines:
    """Opens the engines of the run in `folder`; what their programs print is in engine.log there."""

    def __init__(
        self, folder: Path, backends: Backends, models: RunModels, progress: Progress
    ) -> None:
        self._log = folder / "engine.log"
        self._backends, self._models, self._progress = backends, models, progress
        self._open: dict[tuple[str, str, str], Engine] = {}
        self._hand_off = HandOff(folder, self._start, progress.note)

    def open(self, model: Model, options: EngineOptions) -> Engine:
        """Returns the engine of a model, the open one or a new one; another one is closed before. Raises
        EngineError when vLLM has another model than the one that was trained."""
        key = _key_of(model)
        if key not in self._open:
            self.close()
            options = self._models.at_servers(model, options)
            at = ", ".join(str(read_endpoint(url)) for url in options.urls)
            name = self._models.name_of(model)
            self._progress.note(f"asking {at} for {name}" if at else f"loading {model.path}")
            self._open[key] = self._start(model, options)
            if options.name == "vllm":
                self._hand_off.base = self._models.base
                made = self._models.makes(model)
                self._hand_off.check(self._open[key], options, name, made=made)
        return self._open[key]

    def close(self, keep: Model | None = None) -> None:
        """Closes the open engines, but for the one of `keep`, and frees what they hold."""
        for key, engine in list(self._open.items()):
            if keep is None or key != _key_of(keep):
                del self._open[key]
                engine.close()

    def _start(self, model: Model, options: EngineOptions) -> Engine:
        return self._backends.open_engine(model, options, self._log)


def _key_of(model: Model) -> tuple[str, str, str]:
    """One model may be asked in several forms and with several chat templates; its fingerprint follows
    the template."""
    return model.path, model.prompt_format, model.fingerprint
