"""What a step is called with: handles that stand for execution, and artifacts among the arguments.

An `EngineHandle` stands for a model until a step asks it, `OUT` for the directory of the attempt that
runs the step, and what `put_off` returns for the result of a step until someone looks at it. Neither a
place nor a machine is in their canonical form. A `Call` is an op with its arguments under a step's
name, which is all that a step is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from woolgather.core.artifacts import Artifact, Choice, Dataset, Metrics, Model
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import canonical, fingerprint, seed_of
from woolgather.core.machine_speed import Precision
from woolgather.core.op import Op, ResultKind
from woolgather.core.rows import JSON
from woolgather.data.documents import Texts
from woolgather.engines.base import EngineOptions
from woolgather.runs.record import step_dir
from woolgather.training.job import TrainingOptions


class _Out:
    """`OUT` stands for the directory of the attempt that runs the step."""

    def __canonical__(self) -> None:
        return None


OUT = _Out()


class Pinned:
    """The date that chat templates see as today, for an op that renders: pinned by the run, like its
    engines', and like theirs no part of identity."""

    def __init__(self, date: str) -> None:
        self.date = date


@dataclass(frozen=True)
class StepChoices:
    """What is asked for of single steps, beside the recipe and its settings."""

    given: Mapping[str, str] = field(default_factory=dict)
    """By step: the file of rows, or the model, that stands for its result."""
    redo: frozenset[str] = frozenset()
    """Steps that are done again."""
    spare: frozenset[str] = frozenset()
    """Steps that only given ones need, as the plan found: done when something looks at their results."""
    replicate: int = 0
    """A number that changes every step's seed: the same recipe once more, drawn otherwise."""
    shared: Path | None = None
    """A directory of runs, this one among them, that take finished steps and remembered answers from one
    another. Several may work at a time: one makes a step, and the others that need it wait."""
    own_journal: bool = False
    """Answers are remembered for this run alone, although others share its steps: where another machine
    has their journal open, which SQLite does not allow."""


class EngineHandle:
    """What `run.engine(model)` returns: stands for the engine until a step asks it."""

    def __init__(self, model: Model, options: EngineOptions) -> None:
        self.model = model
        self.options = options

    def __canonical__(self) -> dict[str, str]:
        mark = {"fake": "1"} if self.options.name == "fake" else {}
        return {"engine": self.model.fingerprint, "format": self.model.prompt_format, **mark}


@dataclass(frozen=True)
class Call:
    """A step as it is asked for: its op with every argument, and what that makes of it."""

    name: str
    """With its scopes."""
    op: Op[..., object]
    bound: Mapping[str, object]
    payload: JSON
    """The canonical op and arguments."""
    identity: str
    """The payload's fingerprint, and so the result's."""
    folder: Path
    """Where the result is, or will be."""

    @property
    def kind(self) -> ResultKind:
        """What the op makes."""
        return self.op.kind

    @property
    def expected(self) -> Expected:
        """The size of the work, as the op says."""
        return self.op.expects(**self.bound)

    def settled(self) -> Call:
        """Returns the call with results for arguments; those that were put off are made."""
        return replace(self, bound={key: settle(value) for key, value in self.bound.items()})

    def known_as(self, identity: str, run_dir: Path) -> Call:
        """Returns the call with a result whose fingerprint is not the call's own."""
        return replace(self, identity=identity, folder=run_dir / step_dir(self.name, identity))


@dataclass(frozen=True)
class Surroundings:
    """What a run adds to the arguments of its steps."""

    run_dir: Path
    replicate: int
    """Changes every step's seed."""
    date: Pinned
    precision: Callable[[], Precision | None]
    """Returns what `precision: auto` is in this run; None leaves it."""


def call_of(
    name: str,
    op: Op[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    around: Surroundings,
) -> Call:
    """Returns `op` called under a step's name. Parameters named seed, out and date are filled in, and a
    training's `precision: auto` becomes the run's. Raises TypeError for arguments that do not fit the
    op, or that have no canonical form."""
    signature = op.signature
    filled: dict[str, object] = {
        "seed": seed_of(name, around.replicate),
        "date": around.date,
    }
    given = {k: v for k, v in filled.items() if k in signature.parameters} | dict(kwargs)
    if "out" in signature.parameters:
        given["out"] = OUT
    bound = signature.bind(*args, **given)
    bound.apply_defaults()
    settings = {
        key: resolve_precision(value, around.precision) for key, value in bound.arguments.items()
    }
    payload: JSON = {
        "op": op.name,
        "version": op.version,
        "args": {
            key: canonical(value, f"{name}: args.{key}")
            for key, value in settings.items()
            if not isinstance(value, Pinned)
        },
    }
    identity = fingerprint(payload)
    folder = around.run_dir / step_dir(name, identity)
    return Call(name, op, settings, payload, identity, folder)


def resolve_precision(value: object, precision: Callable[[], Precision | None]) -> object:
    """Returns an argument in which no training leaves its precision to the machine that happens to run
    it."""
    if isinstance(value, TrainingOptions) and value.precision == "auto" and (found := precision()):
        return value.model_copy(update={"precision": found})
    return value


def artifacts_in(value: object) -> Iterator[Artifact | Texts]:
    """Yields what a step is made from: the results of other steps, and things from outside."""
    if isinstance(value, Dataset | Model | Metrics | Choice | Texts):
        yield value
    elif isinstance(value, EngineHandle):
        yield value.model
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from artifacts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from artifacts_in(inner)


def engines_in(value: object) -> Iterator[EngineHandle]:
    """Yields the handles among a step's arguments, also those within lists and mappings."""
    if isinstance(value, EngineHandle):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from engines_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from engines_in(inner)


_LOOKED_AT = ("__class__", "__canonical__", "fingerprint", "prompt_format")
"""What is known of a result before it is made."""


class PutOff:
    """The result of a step that nobody has looked at: what is known of it beforehand is answered, and
    whatever else is asked makes it."""

    def __init__(
        self, known: Artifact, make: Callable[[], Artifact], looked: Callable[[], None]
    ) -> None:
        object.__setattr__(self, "_put_off", (known, make, looked))

    def __getattribute__(self, name: str) -> object:
        known, make, looked = object.__getattribute__(self, "_put_off")
        if name in _LOOKED_AT:
            return getattr(known, name)
        looked()
        return getattr(make(), name)


_PUT_OFF: Mapping[ResultKind, type[PutOff]] = {
    "dataset": type("_PutOffDataset", (PutOff, Dataset), {}),
    "model": type("_PutOffModel", (PutOff, Model), {}),
    "metrics": type("_PutOffMetrics", (PutOff, Metrics), {}),
    "choice": type("_PutOffChoice", (PutOff, Choice), {}),
}


def put_off(
    call: Call, make: Callable[[], Artifact], looked: Callable[[], None] = lambda: None
) -> Artifact:
    """Returns what passes for the call's result, in an `isinstance`, too. `make` is called when it is
    looked at, by a recipe (then `looked` is called first) or with `settle`."""
    known = placeholder(call.kind, call.identity, Expected(), {})
    return cast(Artifact, _PUT_OFF[call.kind](known, make, looked))


def settle(value: object) -> object:
    """Returns an argument in which no result is put off: those that were are made."""
    if isinstance(value, PutOff):
        made: object = object.__getattribute__(value, "_put_off")[1]()
        return made
    if isinstance(value, EngineHandle):
        return EngineHandle(cast(Model, settle(value.model)), value.options)
    if isinstance(value, Mapping):
        return {key: settle(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [settle(inner) for inner in value]
    return value


def placeholder(
    kind: ResultKind, identity: str, expected: Expected, bound: Mapping[str, object]
) -> Artifact:
    """Returns what stands for a result in a plan: its identity, and nothing behind it."""
    nowhere = Path("/nonexistent")
    if kind == "dataset":
        return Dataset(nowhere, identity, expected.rows)
    if kind == "model":
        start = next((a for a in artifacts_in(dict(bound)) if isinstance(a, Model)), None)
        return Model(start.path if start else str(nowhere), identity, "chat")
    if kind == "metrics":
        return Metrics({}, {}, identity)
    return Choice(expected.value, "planned", identity)
