"""Who may know whom: every import in the package against the arrows of the plan, and how large rooms are.

Imports inside functions count as well: an arrow is an arrow, however late it is drawn.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "woolgather"
ENGINES = {"torch", "transformers", "safetensors", "tokenizers", "vllm", "ray", "lm_eval"}
TRAINING = {"trl", "peft", "accelerate", "datasets"}
LATE = {"pyarrow", "openai", "pandas", "datasets", "gguf", "sklearn", "scipy", "numpy", "plotly"}
"""Slow to import: never by what `import woolgather` and `--help` load."""
ENGINE, JOB, TURN = "engines.base", "training.job", "prompting.messages"
MAY_KNOW = {
    "core": {"core"},
    "prompting": {"core", "prompting"},
    "probes": {"core", "probes"},
    "data": {"core", "data", "probes"},
    "models": {"core", "data", "models"},
    "engines": {"core", "prompting", "models", "engines"},
    "training": {"core", "prompting", "training"},
    "ops": {"core", "data", "prompting", "probes", ENGINE, JOB, "ops"},
    "runs": {"core", "data", "models", "engines", JOB, "runs"},
    "recipes": {
        "core",
        "data",
        "prompting",
        "models",
        ENGINE,
        JOB,
        "ops",
        "suites",
        "recipes",
    },
    "prepare": {"core", "data", "prepare"},
    "suites": {"core", "prompting", ENGINE, "suites"},
    "judged": {"core", "data", "prompting", ENGINE, "ops", "judged"},
    "report": {"core", "runs.record", "runs.lock", "report"},
    "vote": {
        "core",
        "prompting",
        "probes",
        "models",
        "engines",
        "ops",
        "runs.record",
        "runs.results",
        "report",
        "vote",
    },
    "release": {"core", "data.hub_errors", "recipes.config", "runs.record", "report", "release"},
}
"""By room: what it may import of ours. `api` and `cli` may know everything."""
OPS = {
    "text": {"text"},
    "train": {"text", "train"},
    "judge": {"text", "judge"},
    "measure": {"text", "judge", "measure"},
    "curate": {"text", "judge", "train", "curate"},
    "principles": {"text", "judge", "measure", "principles"},
    "generate": {"text", "curate", "principles", "generate"},
}
"""The same among the rooms of `ops`, never in a circle."""
KNOWN_BY = {
    "cli": {"cli", "__main__"},
    "api": {"cli", "api", ""},
    "vote": {"cli", "vote"},
    "release": {"cli", "release"},
    "training.worker": {"training.worker"},
}
"""By room: who may import it."""
CORE = {"pydantic", "numpy", "psutil"}
"""What `core` may need beyond the standard library."""


@dataclass(frozen=True)
class Import:
    module: str
    """Ours, without the package's name."""
    target: str
    line: int
    late: bool
    """Inside a function, or for type checkers only."""

    def __str__(self) -> str:
        return f"{self.module.replace('.', '/')}.py:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = modules()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, late)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    up = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join(filter(None, ["woolgather", *up, base]))
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    is_module = inner.removeprefix("woolgather.") in ours
                    yield Import(module, inner if is_module else base, child.lineno, late)
            else:
                types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(
                    child.test
                )
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, late or is_function or types_only)

    yield from walk(tree, late=False)


ALL = [found for name, path in sorted(modules().items()) for found in imports(name, path)]
INTERNAL = [
    Import(i.module, i.target.removeprefix("woolgather").lstrip("."), i.line, i.late)
    for i in ALL
    if i.target.split(".")[0] == "woolgather"
]
EXTERNAL = [i for i in ALL if i.target.split(".")[0] != "woolgather"]


def within(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def top(target: str) -> str:
    return target.split(".")[0]


def listed(violations: list[Import]) -> str:
    return "\n".join(map(str, violations))


def test_the_walk_sees_what_is_there():
    seen = {(i.module, i.target) for i in ALL}
    assert ("core.storage", "woolgather.core.rows") in seen
    assert any(i.module == "core.storage" and top(i.target) == "pyarrow" and i.late for i in ALL)
    assert ("engines.openai.client", "openai") not in {
        (i.module, i.target) for i in ALL if not i.late
    }
    assert {"core.rows", "ops", "engines.base", "training.job"} <= set(modules())


def test_imports_are_found_wherever_they_hide(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(
        "import json\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pyarrow as pa\n"
        "class C:\n    def f(self):\n        from ..runs.run import Run\n"
        "try:\n    import torch.nn\nexcept ImportError:\n    pass\n"
        "from woolgather.ops.text import words, nothing\n"
    )
    found = {(i.target, i.late) for i in imports("ops.planted", path)}
    assert found == {
        ("json", False),
        ("typing", False),
        ("pyarrow", True),
        ("woolgather.runs.run", True),
        ("torch.nn", False),
        ("woolgather.ops.text.words", False),
        ("woolgather.ops.text", False),
    }


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_what_a_room_may_know(room):
    wrong = [
        i
        for i in INTERNAL
        if within(i.module, {room}) and i.target and not within(i.target, MAY_KNOW[room])
    ]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize("room", sorted(KNOWN_BY))
def test_who_may_know_a_room(room):
    wrong = [
        i for i in INTERNAL if within(i.target, {room}) and not within(i.module, KNOWN_BY[room])
    ]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize("room", sorted(OPS))
def test_what_a_room_of_ops_may_know(room):
    allowed = {f"ops.{name}" for name in OPS[room]}
    inside = [
        i for i in INTERNAL if within(i.module, {f"ops.{room}"}) and within(i.target, {"ops"})
    ]
    wrong = [i for i in inside if not within(i.target, allowed)]
    assert not wrong, listed(wrong)


def test_core_needs_little_and_nothing_heavy_at_once():
    """Its entry rule: the words that all speak, or it becomes the attic."""
    light = {*sys.stdlib_module_names, "__future__", *CORE}
    late = {("core.storage", "pyarrow"), ("core.machine_speed", "torch")}
    wrong = [
        i
        for i in EXTERNAL
        if within(i.module, {"core"})
        and top(i.target) not in light
        and not (i.late and (i.module, top(i.target)) in late)
    ]
    assert not wrong, listed(wrong)


def test_what_is_in_core_is_known_by_three_rooms():
    known: dict[str, set[str]] = {}
    for i in INTERNAL:
        if within(i.target, {"core"}):
            known.setdefault(i.target, set()).add(top(i.module))
    shared = {module for module in modules() if module.startswith("core.")}
    lonely = {m: known.get(m, set()) for m in shared if len(known.get(m, set())) < 3}
    assert not lonely


def test_models_are_known_to_engines_tokens_and_the_worker_only():
    late_only = {"prompting.tokenizer", "models.embedded", "core.machine_speed"}
    late_only |= {"engines.replicas.cluster"}
    homes = {
        "engines.local",
        "engines.vllm.hosted",
        "models.convert_gguf",
        "training.worker",
        "suites.worker",
        *late_only,
    }
    borders = {(m, "datasets") for m in ("data.hub", "api.results")}
    wrong = [
        i
        for i in EXTERNAL
        if (top(i.target) in ENGINES and not within(i.module, homes))
        or (
            top(i.target) in TRAINING
            and not within(i.module, {"engines.local", "training.worker"})
            and not (i.late and (i.module, top(i.target)) in borders)
        )
        or (top(i.target) in ENGINES and i.module in late_only and not i.late)
    ]
    assert not wrong, listed(wrong)


def test_the_house_is_small_enough_to_be_seen():
    files = list(PACKAGE.rglob("*.py"))
    loose = {p.name for p in files if p.parent == PACKAGE}
    assert loose == {"__init__.py", "__main__.py"}
    folders = {p.parent for p in files}
    sizes = {f.name: sum(p.name != "__init__.py" for p in f.glob("*.py")) for f in folders}
    assert max(sizes.values()) <= 14, sizes
    long = {str(p): n for p in files if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_some_libraries_are_imported_late_everywhere():
    wrong = [i for i in EXTERNAL if top(i.target) in {"pyarrow", "openai"} and not i.late]
    assert not wrong, listed(wrong)


def loaded_with(start: str) -> set[str]:
    """Modules of ours that importing `start` loads, packages above them included."""
    found: set[str] = set()
    due = [start]
    while due:
        module = due.pop()
        if module in found or module not in modules():
            continue
        found.add(module)
        due += [i.target for i in INTERNAL if i.module == module and not i.late]
        due += [module.rpartition(".")[0]] if module else []
    return found


@pytest.mark.parametrize("start", ["", *sorted(m for m in modules() if within(m, {"cli"}))])
def test_what_answers_at_once_loads_nothing_slow(start):
    loaded = loaded_with(start)
    assert start in loaded
    slow = ENGINES | TRAINING | LATE
    wrong = [i for i in EXTERNAL if i.module in loaded and not i.late and top(i.target) in slow]
    assert not wrong, listed(wrong)
