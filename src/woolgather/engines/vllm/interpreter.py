"""The interpreter that vLLM is installed in: found, asked what it has, and told what it needs.

The one idea: vLLM's pins seldom agree with a trainer's, so that it lives in an environment of its own. We
run its interpreter and never import it. Nothing here takes longer than the start of an interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from woolgather.core.children import OLDEST_PYTHON, ask_python
from woolgather.core.errors import ConfigError

FOLDER = ".venv-vllm"
"""The environment that `make vllm-cpu` builds."""
INSTALL = (
    "Install vLLM into an environment of its own and name its interpreter with --engine-python; "
    "`make vllm-cpu` builds one for this machine's CPU."
)
_ASK = """
import importlib.metadata as m, importlib.util as u, json, sys
versions = {}
for name in ("vllm", "vllm-cpu", "torch", "transformers"):
    try: versions[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps({
    "python": list(sys.version_info[:3]), "prefix": sys.prefix, "versions": versions,
    "there": u.find_spec("vllm") is not None,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that can import vLLM."""

    python: str
    prefix: str
    """Folder of its environment."""
    version: str
    """vLLM's, e.g. 0.32.0; empty where no package says it."""
    packages: tuple[tuple[str, str], ...]
    """Names and versions of the packages that decide what comes out."""


def find_interpreter(named: str = "") -> Interpreter:
    """Returns the interpreter that `named` is the path of (--engine-python); for an empty one that of
    FOLDER, here or beside our own environment, else our own.

    Raises ConfigError when it is not there, is no Python of 3.11 or newer, or has no vLLM.
    """
    if named:
        return ask_interpreter(str(Path(named).expanduser()))
    for place in (Path.cwd() / FOLDER, Path(sys.prefix).parent / FOLDER):
        if (place / "bin" / "python").exists():
            return ask_interpreter(str(place / "bin" / "python"))
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"--engine vllm: vLLM is not here. {INSTALL}")
    return ask_interpreter(sys.executable)


@lru_cache
def ask_interpreter(python: str) -> Interpreter:
    """Returns what the interpreter at `python` says of itself. Raises ConfigError as find_interpreter."""
    told = ask_python(python, _ASK, option="--engine-python", remedy=INSTALL)
    if told["python"] < [int(part) for part in OLDEST_PYTHON.split(".")]:
        found = ".".join(map(str, told["python"]))
        raise ConfigError(
            f"--engine-python {python}: is Python {found}; {OLDEST_PYTHON} is needed."
        )
    if not told["there"]:
        raise ConfigError(f"--engine-python {python}: vLLM is not there. {INSTALL}")
    versions: dict[str, str] = told["versions"]
    version = versions.get("vllm") or versions.get("vllm-cpu", "")
    return Interpreter(python, told["prefix"], version, tuple(versions.items()))


def child_environment(found: Interpreter) -> dict[str, str]:
    """Returns what is added to the environment of a program run by `found`; what the user set stays."""
    settings = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # One process: its death is noticed at once, and nothing of it is left behind.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    # vLLM on a CPU computes 1.4 times as fast with Intel's OpenMP, which must be there from the start.
    threads = Path(found.prefix) / "lib" / "libiomp5.so"
    if threads.is_file():
        settings["LD_PRELOAD"] = str(threads)
    return {name: value for name, value in settings.items() if name not in os.environ}
