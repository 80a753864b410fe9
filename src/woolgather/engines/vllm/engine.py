"""The engine `vllm`, our side: a child process in the interpreter that has vLLM.

The one idea: all that subprocess/ does for the transformers engine (a window of requests, a death that is
survived, an end within seconds) is true of another program in another interpreter as well. What vLLM
does not compute is asked of the transformers engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from woolgather.core.artifacts import Model
from woolgather.core.machine_speed import auto_precision
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.rendered import find_adapter_base
from woolgather.engines.subprocess.engine import SubprocessEngine
from woolgather.engines.vllm.adapters import read_adapter
from woolgather.engines.vllm.interpreter import child_environment, find_interpreter

PROGRAM = Path(__file__).with_name("start.py")
HOST = "woolgather.engines.vllm.hosted:VllmHost"
_END_SECONDS = 30
"""Until the processes of a large model have given back their memory."""


class VllmEngine(SubprocessEngine):
    """Asks vLLM, in the interpreter that `options.python` names. Raises ConfigError when that interpreter
    has no vLLM; a method raises EngineError when vLLM does not start with this model."""

    def __init__(
        self, model: Model, options: EngineOptions, log: Path | None = None, *, host: str = HOST
    ) -> None:
        self._interpreter = find_interpreter(options.python)
        super().__init__(model, _settle_dtype(options), log, host=host)
        self._embedder: SubprocessEngine | None = None
        self._room = 0
        """Largest rank of an adapter that the running vLLM takes; 0 for none."""

    @property
    def served(self) -> list[dict[str, str]]:
        """Returns the packages that answer, for the record."""
        return [dict(self._interpreter.packages)]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns what the transformers engine does: vLLM gives no hidden states of a model that it
        generates with. The two are never in memory together."""
        if self._embedder is None:
            self.close()
            self._embedder = SubprocessEngine(self._model, self._options, self._log)
        return self._embedder.embed(texts)

    def take_over(self, other: Engine) -> bool:
        """Takes the vLLM that `other` has running, where the two models are one base with adapters that
        it has room for, or without any: only an adapter is loaded then."""
        if not isinstance(other, VllmEngine) or other._child is None or other._open_call:
            return False
        mine, theirs = (find_adapter_base(e.model.path) or e.model.path for e in (self, other))
        same = (self._options, self._interpreter) == (other._options, other._interpreter)
        if self._child or not same or mine != theirs or _rank(self.model.path) > other._room:
            return False
        if other._child.poll() is not None:
            return False
        self._child, other._child = other._child, None
        self._pipe, other._pipe = other._pipe, None
        self._calls, self._room = other._calls, other._room
        self._introduce()
        return True

    def close(self) -> None:
        """Ends the child and waits until all its processes, and so their memory, are gone."""
        family = self._family()
        super().close()
        _, left = psutil.wait_procs(family, _END_SECONDS if family else 0)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._embedder is not None:
            self._embedder.close()
            self._embedder = None

    def _start(self) -> None:
        if self._embedder is not None:
            self._embedder.close()
            self._embedder = None
        self._room = _rank(self.model.path)
        super()._start()

    def _command(self) -> list[str]:
        return [self._interpreter.python, "-P", str(PROGRAM)]

    def _environment(self) -> dict[str, str]:
        return child_environment(self._interpreter)

    def _family(self) -> list[psutil.Process]:
        """The processes that vLLM started for a model on several devices."""
        family: list[psutil.Process] = []
        if self._child is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family += psutil.Process(self._child.pid).children(recursive=True)
        return family


def _rank(path: str) -> int:
    """The room that the adapter at `path` takes; 0 for full weights. Raises CapabilityError for one that
    vLLM does not serve."""
    return read_adapter(path).max_rank if find_adapter_base(path) else 0


def _settle_dtype(options: EngineOptions) -> EngineOptions:
    """The precision that `auto` means where this machine was measured; else the child chooses."""
    if options.dtype != "auto":
        return options
    return replace(options, dtype=auto_precision("auto", "generation", measure=False) or "auto")
