"""A part of a run: recipes compose through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from woolgather.core.artifacts import Dataset, Model
from woolgather.data import Part, Source
from woolgather.data.documents import Texts
from woolgather.engines.base import Engine
from woolgather.training.job import Trainer

if TYPE_CHECKING:
    from woolgather.runs.run import Run


@dataclass(frozen=True)
class RunScope:
    """A prefix of step names within a run, and of what comes from outside; recipes compose through
    it. The run's result is the root's step `result`; one in a scope is a model like any other."""

    run: Run
    prefix: str

    def step(self, name: str, op: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """As `Run.step`, under the prefix."""
        return self.run._step(self.prefix + name, op, args, kwargs)

    def scope(self, name: str) -> RunScope:
        """Returns a part of this scope."""
        return RunScope(self.run, f"{self.prefix}{name}/")

    def model(self, name: str, source: str | Model, *, chat_template: str = "") -> Model:
        """As `Run.model`, under the prefix."""
        return self.run.model(self.prefix + name, source, chat_template=chat_template)

    def rows(
        self,
        name: str,
        source: Source | Dataset,
        *,
        needs_response: bool = True,
        part: Part = "seeds",
    ) -> Dataset:
        """As `Run.rows`, under the prefix."""
        name = self.prefix + name
        return self.run.rows(name, source, needs_response=needs_response, part=part)

    def sample(self, setting: str, source: Source, n: int) -> Dataset:
        """As `Run.sample`."""
        return self.run.sample(setting, source, n)

    def texts(
        self,
        source: Source,
        *,
        column: str | tuple[str, ...] = "text",
        split: str = "train",
        subset: str = "",
    ) -> Texts:
        """As `Run.texts`."""
        return self.run.texts(source, column=column, split=split, subset=subset)

    def given(self, name: str) -> bool:
        """As `Run.given`, under the prefix."""
        return self.run.given(self.prefix + name)

    def engine(self, model: Model) -> Engine:
        """As `Run.engine`."""
        return self.run.engine(model)

    def trainer(self) -> Trainer:
        """As `Run.trainer`."""
        return self.run.trainer()
