"""Code of a model runs without a network and within limits, or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import CapabilityError
from woolgather.suites.sandbox import wrap_command

LIMITED = """
import os, resource, sys
from woolgather.suites.worker import CODE_SECONDS, _restrict_children
_restrict_children()
def child(do):
    pid = os.fork()
    if pid == 0:
        try:
            do()
        except (MemoryError, OSError):
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def write():
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(1 << 25))
def count():
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == CODE_SECONDS
print(child(lambda: bytearray(1 << 32)), child(write), child(count), child(lambda: bytearray(1 << 20)))
bytearray(1 << 28)
"""


def test_a_forked_process_has_limits_and_its_parent_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "file")], capture_output=True, text=True
    )
    assert done.stdout.split() == ["3", "3", "0", "0"], done.stderr


def test_without_a_way_to_take_the_network_away_code_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "unshare failed: Operation not permitted\n")

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/unshare")
    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(CapabilityError, match="Operation not permitted"):
        wrap_command(["python"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CapabilityError, match="not installed"):
        wrap_command(["python"])


def test_a_wrapped_command_has_no_network() -> None:
    try:
        command = wrap_command(["cat", "/proc/net/dev"])
    except CapabilityError as error:
        pytest.skip(str(error))
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    interfaces = [line.split(":")[0].strip() for line in seen.splitlines() if ":" in line]
    assert set(interfaces) <= {"lo", "sit0", "tunl0", "ip6tnl0"}
