import dataclasses
import enum
import functools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from woolgather.core.artifacts import Choice, Dataset, Model
from woolgather.core.fingerprint import canonical, explain_change, fingerprint, name_of, seed_of
from woolgather.core.options import Options
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.runs.call import EngineHandle


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: tuple[int, ...] = ()


class Settings(Options):
    execution: ClassVar[frozenset[str]] = frozenset({"workers"})
    rate: float = 1.0
    workers: int = 4


class Grown(Settings):
    added: ClassVar[frozenset[str]] = frozenset({"extra", "names"})
    extra: float = 0.0
    names: tuple[str, ...] = Field(default_factory=lambda: ("a", "b"))


def plain(a: int) -> int:
    return a


def changed(a: int) -> int:
    return a + 1


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("é", "é"),
        (0.1, 0.1),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({"b": 1, "a": (2,)}, {"a": [2], "b": 1}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (Point(1.0, (2,)), {"type": "Point", "x": 1.0, "y": [2]}),
        (Settings(rate=0.5, workers=64), {"rate": 0.5}),
        (Grown(rate=0.5), {"rate": 0.5}),
        (Grown(extra=0.0, names=("a", "b")), {"rate": 1.0}),
        (Grown(extra=0.5), {"rate": 1.0, "extra": 0.5}),
        (Grown(names=()), {"rate": 1.0, "names": []}),
        (Dataset(Path("/anywhere"), "f00"), {"artifact": "f00"}),
        (Model("here", "f01"), {"artifact": "f01"}),
        (Choice(3, "why", "f02"), {"artifact": "f02"}),
    ],
)
def test_canonical_forms(value, form):
    found = canonical(value)
    assert found == form
    assert type(found) is type(form)
    json.dumps(found, allow_nan=False)


def test_functions_are_their_name():
    assert canonical(plain) == {"function": f"{__name__}:plain", "version": 1}
    assert canonical(changed) == {"function": f"{__name__}:changed", "version": 1}
    assert name_of(json.dumps) == "json:dumps"


def test_an_engine_is_its_model_and_how_it_is_prompted():
    model = Model("/somewhere", "f00d", "raw")
    served = EngineOptions(name="openai", urls=("http://a",), concurrency=2)
    one = canonical(EngineHandle(model, served))
    assert (
        one
        == canonical(EngineHandle(model, EngineOptions()))
        == {"engine": "f00d", "format": "raw"}
    )
    chat = Model("/somewhere", "f00d", "chat")
    assert canonical(EngineHandle(chat, EngineOptions())) != one
    assert canonical(EngineHandle(model, EngineOptions(name="fake"))) != one


def test_an_open_engine_has_no_identity_only_its_handle_has():
    with pytest.raises(
        TypeError, match=r"args\.engine is a FakeEngine, which has no canonical form"
    ):
        canonical(FakeEngine(), "args.engine")


def local_function() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Path("/tmp"), r"args\.x is a \w*Path, which has no canonical form"),
        (b"bytes", "is a bytes"),
        (object(), "is a object"),
        (math.nan, "is nan: only finite numbers"),
        (-math.inf, "is -inf: only finite"),
        ({1: "a"}, "keys that are not text"),
        ([1, {"a": [b""]}], r"args\.x\[1\]\.a\[0\] is a bytes"),
        (lambda: 1, "has no identity"),
        (local_function(), "has no identity"),
        (functools.partial(plain, 1), "is a partial"),
        (Point, "is a type"),
        (Settings, "is a ModelMetaclass"),
        (iter([1]), "is a list_iterator"),
    ],
)
def test_what_has_no_canonical_form_is_an_error_that_names_the_place(value, message):
    with pytest.raises(TypeError, match=message):
        canonical(value, "args.x")


def test_a_fingerprint_is_of_the_meaning():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": "1"}) != fingerprint({"a": 1})
    assert fingerprint([["a"], "b"]) != fingerprint([["a", "b"]])
    assert len(fingerprint("é")) == 64
    assert canonical({"x": -0.0}) == canonical({"x": 0.0})
    assert fingerprint(canonical({"x": -0.0})) == fingerprint(canonical({"x": 0.0}))


def test_a_fingerprint_is_the_same_tomorrow_and_in_another_process():
    assert fingerprint({"op": "a:b", "args": {"n": 3, "é": [0.1, None, True]}}) == (
        "2cb3cb1f063faec705274d9ba87df04d3784877fc4c7040c65324ec45578839b"
    )
    program = (
        "from woolgather.core.fingerprint import *\n"
        "print(fingerprint(canonical({'s': {'x', 'yy', 'zzz'}, 'n': 0.1})), seed_of('a', 1))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    here = fingerprint(canonical({"s": {"x", "yy", "zzz"}, "n": 0.1}))
    assert said == {f"{here} {seed_of('a', 1)}\n"}


def test_seeds_are_small_and_follow_from_their_parts():
    seeds = {seed_of("step", i) for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= s < 2**31 for s in seeds)
    assert seed_of("a", "b") != seed_of("ab")


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"args": {"above": 8}}, {"args": {"above": 7}}, ["args.above: 8 -> 7"]),
        ({"a": 1}, {"b": 2}, ["a: removed 1", "b: added 2"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]: 2 -> 3"]),
        ({"a": [1]}, {"a": [1, 3]}, ["a: [1] -> [1, 3]"]),
        ({"a": {"b": 1}}, {"a": None}, ['a: {"b": 1} -> null']),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": 1}, {"a": 1.0}, ["a: 1 -> 1.0"]),
        ({"a": "x" * 99}, {"a": "é"}, ['a: "' + "x" * 56 + '... -> "é"']),
        (1, 2, ["value: 1 -> 2"]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, ["a: 1 -> 2", "b: 1 -> 2"]),
    ],
)
def test_changes_in_words(old, new, lines):
    assert explain_change(old, new) == lines


def test_every_difference_of_fingerprint_has_a_line():
    for old, new in (({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ([0], [False])):
        assert fingerprint(old) != fingerprint(new)
        assert explain_change(old, new)
