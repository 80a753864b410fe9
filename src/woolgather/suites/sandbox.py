"""Where code that a model wrote may run: in a program without a network, or not at all.

The one idea: limits of time, memory and files are set in the worker, for each process that runs such
code; a process cannot take the network from itself without a namespace of its own, which the system has
to allow. Neither keeps it from reading the user's files: the docs say to use a container.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from woolgather.core.errors import CapabilityError

_TRY = ("unshare", "--user", "--map-root-user", "--net")


def wrap_command(command: Sequence[str]) -> list[str]:
    """Returns the command that runs `command` without a network. Raises CapabilityError, saying why,
    where the system does not allow that."""
    if shutil.which("unshare") is None:
        raise CapabilityError(_refuse("`unshare` of util-linux is not installed"))
    done = subprocess.run([*_TRY, "true"], capture_output=True, text=True)
    if done.returncode:
        raise CapabilityError(_refuse(done.stderr.strip() or f"exit code {done.returncode}"))
    return [*_TRY, *command]


def _refuse(why: str) -> str:
    return (
        "--allow-code: code that a model wrote runs without a network only, and this system cannot take "
        f"it away ({why}). Run inside a container that may make network namespaces."
    )
