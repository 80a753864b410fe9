"""What a recipe is written against: steps whose results have types, in scopes that compose.

The one idea: `scope.step(name, op, ...)` takes the op's own arguments and returns what the op makes, so
that a type checker refuses a misspelt keyword, or a model where rows belong. `Run` and its scopes are
this; a recipe needs no more of them than is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ParamSpec, Protocol, TypeVar, overload

from woolgather.core.artifacts import Choice, Dataset, Metrics, Model
from woolgather.core.rows import Example, PreferencePair
from woolgather.data import Part, Source
from woolgather.data.documents import Texts
from woolgather.engines.base import Engine
from woolgather.training.job import Trainer

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Rows(Protocol[R_co]):
    """The rows that a step made. Iterating yields those in use, and the length is their number. In a plan
    the length is the expected one, and there is nothing to iterate."""

    def __iter__(self) -> Iterator[R_co]: ...
    def __len__(self) -> int: ...


class Scope(Protocol):
    """A run, or a part of one under a prefix of step names.

    `step(name, op, ...)` calls the op with the arguments that follow, or finds what the same call made
    before, and returns its result: rows, a Model, Metrics or a Choice. Raises ValueError when a recipe
    names two steps alike, and whatever the op raises."""

    @overload
    def step(
        self, name: str, op: Callable[P, Iterator[Example]], *args: P.args, **kwargs: P.kwargs
    ) -> Rows[Example]: ...
    @overload
    def step(
        self,
        name: str,
        op: Callable[P, Iterator[PreferencePair]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Rows[PreferencePair]: ...
    @overload
    def step(
        self, name: str, op: Callable[P, Model], *args: P.args, **kwargs: P.kwargs
    ) -> Model: ...
    @overload
    def step(
        self, name: str, op: Callable[P, Metrics], *args: P.args, **kwargs: P.kwargs
    ) -> Metrics: ...
    @overload
    def step(
        self, name: str, op: Callable[P, Choice], *args: P.args, **kwargs: P.kwargs
    ) -> Choice: ...

    def scope(self, name: str) -> Scope:
        """Returns a part of this scope: its steps are called `name/...`."""

    def engine(self, model: Model) -> Engine:
        """Returns what stands for the engine that asks `model`; nothing is loaded before a step asks."""

    def trainer(self) -> Trainer:
        """Returns the run's trainer, for the ops that train or merge."""

    def model(self, name: str, source: str | Model, *, chat_template: str = "") -> Model:
        """Returns a model from outside; `name` is its role, and `chat_template` the text of a
        `ChatTemplate` for it. Raises InputError when it cannot be opened."""

    def rows(
        self,
        name: str,
        source: Source | Dataset,
        *,
        needs_response: bool = True,
        part: Part = "seeds",
    ) -> Rows[Example]:
        """Returns rows from outside, read in any shape that is known; `name` is their role. `source` is
        a file, a folder or `owner/name[@revision]` on the hub, or several of them. Raises InputError
        where there are none, or where a row lacks what it needs: an instruction, and a response unless
        `needs_response` is False. `part` is what they are for, where a file has more than one kind."""

    def sample(self, setting: str, source: Source, n: int) -> Rows[Example]:
        """Returns at most `n` rows from outside, read in any shape that is known and drawn alike in
        every run; `setting` is where the source was given. A data set of the hub is read where it was
        downloaded, and never fetched. Raises InputError where there are none."""

    def texts(
        self,
        source: Source,
        *,
        column: str | tuple[str, ...] = "text",
        split: str = "train",
        subset: str = "",
    ) -> Texts:
        """Returns documents from outside: a file, a folder, several of them, or a data set
        `owner/name[@revision]` on the hub. Raises InputError where there are none."""

    def given(self, name: str) -> bool:
        """Returns whether this step's result was handed in (`--given`)."""
