"""An op is a function that a step can remember: its name, its version, what it makes and what it costs.

The one idea: a name of its own. What a step is follows from the op's name and its arguments, never from
the file that the function lies in, so that moving or renaming files makes nothing anew.

    def _work(tasks, engine, *, sampling, n=1, **_):
        return Expected(rows=len(tasks), calls=len(tasks) * n, new_tokens=...)

    @op("respond", expects=_work)
    def respond(tasks, engine, *, sampling, n=1) -> Iterator[Example]: ...

An op is called like the function it is made of. A function without the decorator can be a step, too; it
is then known as `module:function`, and moving it does make its steps anew.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Generic, Literal, ParamSpec, TypeVar, get_args, get_origin

from woolgather.core.artifacts import Choice, Dataset, Metrics, Model
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import name_of
from woolgather.core.rows import Example, PreferencePair

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
ResultKind = Literal["dataset", "model", "metrics", "choice"]
RowKind = Literal["example", "pair"]

_MADE: Mapping[type, ResultKind] = {Model: "model", Metrics: "metrics", Choice: "choice"}
_ROWS: Mapping[object, RowKind] = {Example: "example", PreferencePair: "pair"}


class Op(Generic[P, T_co]):
    """A function with what a run has to know of it.

    Raises TypeError when its return annotation is none of Model, Metrics, Choice, or an iterator of
    Example or PreferencePair."""

    def __init__(
        self,
        function: Callable[P, T_co],
        name: str = "",
        version: int = 1,
        expects: Callable[..., Expected] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or name_of(function)
        """What a step's identity names; unique among the ops of a run."""
        self.version = version
        """Counts up when the op makes something else of the same arguments."""
        self.expects = expects or _as_many
        """The size of the work from the bound arguments. A Dataset among them may be a placeholder: its
        `count` is then the expected one, and it must not be read."""
        self.signature = inspect.signature(function)
        self.kind, self.rows = _read_return_type(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        return self.function(*args, **kwargs)

    def __canonical__(self) -> dict[str, str | int]:
        return {"op": self.name, "version": self.version}

    @property
    def source(self) -> str:
        """Hash of the function's source text."""
        return source_hash(self.function)


def op(
    name: str, *, version: int = 1, expects: Callable[..., Expected] | None = None
) -> Callable[[Callable[P, T_co]], Op[P, T_co]]:
    """Decorator that makes an op of a function, known by `name` and `version` wherever it lies.

    `expects` takes the function's arguments and returns the size of the work, for plans; without it a
    step is taken to make as many rows as its first argument has. Returns an `Op`, which is called like
    the function. Raises TypeError where the function is not annotated to return Model, Metrics, Choice,
    or an iterator of Example or PreferencePair."""

    def make(function: Callable[P, T_co]) -> Op[P, T_co]:
        return Op(function, name, version, expects)

    return make


def as_op(function: Callable[..., object]) -> Op[..., object]:
    """Returns the op itself, or one made of a plain function. Raises TypeError for a function that
    makes nothing a step can keep, or that has no importable name."""
    return function if isinstance(function, Op) else Op(function)


def source_hash(function: Callable[..., object]) -> str:
    """Returns 12 hex digits of the source text's hash; empty where there is no source."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]
    except (OSError, TypeError):
        return ""


def _as_many(*args: object, **bound: object) -> Expected:
    """Without a word of the op's own: as many rows as its first argument has."""
    first = next(iter([*args, *bound.values()]), None)
    return Expected(rows=first.count if isinstance(first, Dataset) else 0)


def _read_return_type(function: Callable[..., object]) -> tuple[ResultKind, RowKind]:
    """What a function makes, and of what kind its rows are, from its return annotation."""
    made = inspect.signature(function).return_annotation
    if isinstance(made, str):
        made = eval(made, getattr(function, "__globals__", {}))
    if isinstance(made, type) and made in _MADE:
        return _MADE[made], "example"
    inside = get_args(made)[:1]
    if get_origin(made) in (Iterator, Iterable, Generator) and inside and inside[0] in _ROWS:
        return "dataset", _ROWS[inside[0]]
    raise TypeError(
        f"{function.__module__}:{function.__qualname__} must be annotated to return Model, Metrics, "
        "Choice, or an iterator of Example or PreferencePair"
    )
