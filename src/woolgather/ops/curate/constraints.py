"""Constraints that a program can decide: a check is a Python function with one phrase.

The one idea: the same check says what an answer meets already, makes a task of it, and decides afterwards
whether another answer meets it, so that no model has to. A file of one's own adds some:

    from woolgather.ops.curate.constraints import check

    @check("Name {} colours.", values=range(1, 4))
    def colours(answer, value):
        return sum(name in answer.lower() for name in ("red", "green", "blue")) == value

`values` are what stands in the phrase: a list, or a function that proposes some from an answer; without
it a check takes the answer alone. Ours are in constraint_checks.py.
"""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON

T = TypeVar("T")
Value = int | str | None
"""What stands in a check's phrase; None where it has no place for anything."""
Propose = Callable[[str], Iterable[Value]]
SHOWN = 60
"""Characters of an answer that an error shows."""


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of constraint."""

    name: str
    phrase: str
    """Asks for it, with {} where the value stands."""
    function: Callable[..., bool]
    propose: Propose
    """Returns values that an answer may meet."""
    file: str
    """Where it was written, for errors."""

    def holds(self, answer: str, value: Value) -> bool:
        """Returns whether an answer meets it with this value. Raises InputError, which names the file and
        the line, where the check raises or returns something else than True or False."""
        known = self._guard(answer, lambda: self._call(answer, value))
        if isinstance(known, bool):
            return known
        raise InputError(
            f"{self.file}: the check {self.name} returned {known!r} for the answer "
            f"{answer[:SHOWN]!r}. Let it return True or False."
        )

    def met(self, answer: str) -> list[Constraint]:
        """Returns the constraints of this kind that an answer meets. Raises InputError as `holds`."""
        proposed = self._guard(answer, lambda: list(dict.fromkeys(self.propose(answer))))
        return [Constraint(self, value) for value in proposed if self.holds(answer, value)]

    def _call(self, answer: str, value: Value) -> object:
        return self.function(answer) if value is None else self.function(answer, value)

    def _guard(self, answer: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            place = _place(error, self.file)
            raise InputError(
                f"{place}: the check {self.name} raised {type(error).__name__}: {error} on the answer "
                f"{answer[:SHOWN]!r}. Mend it: a check must decide on any text."
            ) from error


@dataclass(frozen=True, slots=True)
class Constraint:
    """A check with its value."""

    check: Check
    value: Value

    @property
    def phrase(self) -> str:
        """Returns what asks for it."""
        return word(self.check.phrase, self.value)

    def holds(self, answer: str) -> bool:
        """Returns whether an answer meets it. Raises InputError as the check does."""
        return self.check.holds(answer, self.value)

    def told(self, **more: JSON) -> dict[str, JSON]:
        """Returns it as rows carry it in meta; `read_constraints` is the inverse."""
        return {"check": self.check.name, "value": self.value, **more}


def word(phrase: str, value: Value) -> str:
    """Returns a phrase with the value in its place."""
    return phrase if value is None else phrase.replace("{}", str(value))


def check(
    phrase: str, values: Iterable[int | str] | Propose | None = None
) -> Callable[[Callable[..., bool]], Check]:
    """Decorator that makes a check of a function, called like it. `phrase` asks for what the function
    decides; `values` are explained above. Raises InputError where one of the two lacks the other."""
    if ("{}" in phrase) != (values is not None):
        raise InputError(
            f"the check with the phrase {phrase!r}: a place {{}} in a phrase and `values` go together. "
            "Give both, or neither."
        )

    def make(function: Callable[..., bool]) -> Check:
        file = function.__code__.co_filename
        return Check(function.__name__, phrase, function, _proposer(values), file)

    return make


def _proposer(values: Iterable[int | str] | Propose | None) -> Propose:
    if values is None:
        return lambda answer: [None]
    if callable(values):
        return values
    fixed = list(values)
    return lambda answer: fixed


@dataclass(frozen=True, slots=True)
class CheckFile:
    """A file of checks beside ours, as a setting: stored as its name, and known by its text."""

    name: str
    """Path of the file; empty for none."""
    text: str = ""

    def __str__(self) -> str:
        return self.name

    def __canonical__(self) -> str:
        return self.text

    def checks(self) -> Mapping[str, Check]:
        """Returns our checks and those of the file, by name; the file is run by this. Raises InputError
        where it cannot be run, holds no check, or names one like one of ours."""
        from woolgather.ops.curate import constraint_checks

        ours = dict(_list_checks(vars(constraint_checks).values()))
        return {**ours, **_load(self.name, ours)} if self.name else ours

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[object], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: object, as_text: Callable[[object], str]) -> CheckFile:
            return value if isinstance(value, CheckFile) else read_check_file(as_text(value))

        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


NO_FILE = CheckFile("")


def read_check_file(name: str) -> CheckFile:
    """Returns a file of checks, tried once; none for an empty name. Raises InputError, in one sentence,
    where there is no such file and as `CheckFile.checks` does."""
    if not name:
        return NO_FILE
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(
            f"checks={name}: no such file. Give the path of a Python file with checks."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"checks={name}: it is not UTF-8 ({error}). Save it as such.") from error
    file = CheckFile(name, text)
    file.checks()
    return file


def _load(name: str, ours: Mapping[str, Check]) -> Mapping[str, Check]:
    path = str(Path(name).expanduser())
    try:
        made = runpy.run_path(path)
    except InputError as error:
        raise InputError(f"{_place(error, path)}: {error}") from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{_place(error, path)}: the file of checks cannot be run: {why}. Mend it."
        ) from error
    theirs = {key: each for key, each in _list_checks(made.values()) if ours.get(key) is not each}
    if not theirs:
        raise InputError(
            f'{name}: no check in it. Write @check("...") above a function that takes an answer '
            "(from woolgather.ops.curate.constraints import check)."
        )
    if taken := sorted(theirs.keys() & ours.keys()):
        raise InputError(f"{name}: there is a check {taken[0]} of ours. Give yours another name.")
    return theirs


def _list_checks(values: Iterable[object]) -> Iterator[tuple[str, Check]]:
    return ((each.name, each) for each in values if isinstance(each, Check))


def _place(error: BaseException, file: str) -> str:
    """Returns the file, and its line where the error passed through it."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def read_constraints(told: Iterable[JSON], checks: Mapping[str, Check]) -> list[Constraint]:
    """Returns the constraints that a row carries. Raises InputError for a check that is not known."""
    found = []
    for each in told:
        if each["check"] not in checks:
            raise InputError(
                f"a row asks for the check {each['check']}, which is unknown. Name the file that it "
                "is in: verify.checks=FILE."
            )
        found.append(Constraint(checks[each["check"]], each["value"]))
    return found


def meets_all(answer: str, constraints: Iterable[Constraint]) -> bool:
    """Returns whether an answer that says something meets all constraints."""
    return bool(answer.strip()) and all(each.holds(answer) for each in constraints)
