"""Public functions say what they return and which of our errors they raise; classes, what they are.

Public are the names that `woolgather` exports, every op, and what `woolgather.engines.base` defines.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import woolgather
import woolgather.ops
from woolgather.core import errors
from woolgather.core.op import Op
from woolgather.engines import base

ERRORS = {
    name: {parent.__name__ for parent in made.__mro__} - {"Exception", "BaseException", "object"}
    for name, made in vars(errors).items()
    if isinstance(made, type) and issubclass(made, errors.WoolgatherError)
}
"""Our errors, each with the names that cover it: its own and those of its parents."""


def find_faults(source: str) -> list[str]:
    """Returns what the docstrings of a function or class leave out; empty when they say it all."""
    [node] = ast.parse(textwrap.dedent(source)).body
    if isinstance(node, ast.ClassDef):
        return [*_class_faults(node), *(f for m in _methods(node) for f in _faults_of(m, node))]
    assert isinstance(node, ast.FunctionDef)
    return list(_faults_of(node))


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    """The public methods; a property and an overload have a docstring of another form."""
    return [
        part
        for part in node.body
        if isinstance(part, ast.FunctionDef)
        and not part.name.startswith("_")
        and not any(ast.unparse(d) in ("property", "overload") for d in part.decorator_list)
    ]


def _class_faults(node: ast.ClassDef) -> Iterator[str]:
    said = ast.get_docstring(node) or ""
    if len(said.split()) < 4 or not said.endswith((".", ":")):
        yield f"{node.name}: its docstring is no sentence"


def _faults_of(node: ast.FunctionDef, owner: ast.ClassDef | None = None) -> Iterator[str]:
    """A method's errors may be named by its class, for all methods together."""
    name = f"{owner.name}.{node.name}" if owner else node.name
    said = ast.get_docstring(node) or ""
    returns = node.returns is not None and ast.unparse(node.returns) != "None"
    if returns and not re.search(r"\b([Rr]eturns|[Yy]ields)\b", said):
        yield f"{name}: its docstring does not say what it returns"
    elif not said:
        yield f"{name}: it has no docstring"
    raising = " ".join(re.split(r"\b[Rr]aises?\b", f"{said} {_said_by(owner)}")[1:])
    for error in sorted(_raised(node)):
        if not any(re.search(rf"\b{named}\b", raising) for named in ERRORS[error]):
            yield f"{name}: its docstring does not say that it raises {error}"


def _said_by(owner: ast.ClassDef | None) -> str:
    return (ast.get_docstring(owner) or "") if owner else ""


def _raised(node: ast.AST) -> set[str]:
    thrown = [part.exc for part in ast.walk(node) if isinstance(part, ast.Raise) and part.exc]
    made = [t.func if isinstance(t, ast.Call) else t for t in thrown]
    return {ast.unparse(m).rpartition(".")[2] for m in made} & set(ERRORS)


def ops() -> dict[str, Op[..., Any]]:
    """Every op, by its name."""
    found: dict[str, Op[..., Any]] = {}
    for place in pkgutil.walk_packages(woolgather.ops.__path__, "woolgather.ops."):
        values = vars(import_module(place.name)).values()
        found |= {v.name: v for v in values if isinstance(v, Op)}
    return found


def public() -> dict[str, Any]:
    exported = {f"woolgather.{name}": getattr(woolgather, name) for name in woolgather.__all__}
    asking = {
        f"engines.base.{name}": value
        for name, value in vars(base).items()
        if getattr(value, "__module__", "") == base.__name__ and not name.startswith("_")
    }
    return exported | asking | {f"op {name}": found.function for name, found in ops().items()}


PUBLIC = public()


def test_what_is_public_is_found() -> None:
    assert {"respond", "keep", "audition", "align", "sft", "evaluate"} <= set(ops())
    assert len(ops()) > 30
    assert {"woolgather.run", "woolgather.Model", "engines.base.Engine", "engines.base.ask"} <= set(
        PUBLIC
    )


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_docstring_says_what_comes_back_and_what_is_raised(name: str) -> None:
    assert find_faults(inspect.getsource(PUBLIC[name])) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('def f() -> int:\n    """A number."""', "f: its docstring does not say what it returns"),
        ("def f() -> int: ...", "f: its docstring does not say what it returns"),
        ("def f() -> None: ...", "f: it has no docstring"),
        (
            'def f() -> int:\n    """Returns a number."""\n    raise InputError("no")',
            "f: its docstring does not say that it raises InputError",
        ),
        (
            'def f() -> int:\n    """InputError, ends; returns 1."""\n    raise errors.InputError("no")',
            "f: its docstring does not say that it raises InputError",
        ),
        (
            'def f() -> None:\n    """Raises YieldError."""\n    if 1:\n        raise ConfigError("no")',
            "f: its docstring does not say that it raises ConfigError",
        ),
        ("class C: ...", "C: its docstring is no sentence"),
        ('class C:\n    """A thing"""', "C: its docstring is no sentence"),
        (
            'class C:\n    """One thing among many."""\n    def f(self) -> int:\n        """It."""',
            "C.f: its docstring does not say what it returns",
        ),
    ],
)
def test_a_fault_is_found(source: str, fault: str) -> None:
    assert find_faults(source) == [fault]


@pytest.mark.parametrize(
    "source",
    [
        'def f() -> int:\n    """Returns 1. Raises MistakeError for 2."""\n    raise InputError("no")',
        'def f() -> int:\n    """Writes it; yields 1."""\n    raise ValueError',
        'class C:\n    """Methods raise EngineError when asked twice."""\n'
        '    def f(self) -> None:\n        """Asks."""\n        raise EngineError("no")',
    ],
)
def test_a_sound_docstring_passes(source: str) -> None:
    assert find_faults(source) == []
