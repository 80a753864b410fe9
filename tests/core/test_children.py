import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from woolgather.core import children


def gone(pid: int, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_stderr_and_stdout_go_to_the_log_and_its_tail_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "child.log"
    code = "import sys; print('out'); print('one\\ntwo', file=sys.stderr)"
    proc = children.spawn([sys.executable, "-c", code], log=log)
    assert proc.wait() == 0
    assert log.read_text() == "out\none\ntwo\n"
    assert children.tail(log, 2) == "one\ntwo"
    assert children.tail(tmp_path / "none") == "" == children.tail(None)


def test_a_child_has_its_own_session_and_its_environment(tmp_path: Path) -> None:
    code = (
        "import os; e = os.environ; "
        "print(os.getsid(0) == os.getpid(), e['A'], e['TOKENIZERS_PARALLELISM'])"
    )
    proc = children.spawn(
        [sys.executable, "-c", code], log=None, stdout=subprocess.PIPE, env={"A": "b"}
    )
    out, _ = proc.communicate()
    assert out.split() == [b"True", b"b", b"false"]


def test_stop_ends_a_family_that_ignores_sigterm_and_leaves_the_group() -> None:
    inner = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(60)"
    )
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        f"p = subprocess.Popen([sys.executable, '-c', {inner!r}], start_new_session=True)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    proc = children.spawn([sys.executable, "-c", code], log=None, stdout=subprocess.PIPE)
    assert proc.stdout is not None
    grandchild = int(proc.stdout.readline())
    assert proc.stdout.readline() == b"up\n"
    children.stop(proc, grace=0.3)
    assert proc.returncode == -9
    assert gone(grandchild)


def test_stop_of_one_that_has_ended_is_harmless() -> None:
    proc = children.spawn([sys.executable, "-c", "pass"], log=None)
    proc.wait()
    children.stop(proc)
    assert proc.returncode == 0


def test_child_and_grandchild_leave_when_the_parent_is_killed(tmp_path: Path) -> None:
    watching = "from woolgather.core.children import watch_parent as w; w(); import time;"
    grandchild = watching + "print('up', flush=True); time.sleep(60)"
    child = (
        watching + "import subprocess, sys;"
        f"p = subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session=True);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time\n"
        "from woolgather.core.children import spawn\n"
        f"p = spawn([sys.executable, '-c', {child!r}], log=None, stdout=sys.stdout.fileno())\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    # Not through spawn: this one plays the run's own process.
    env = {k: v for k, v in os.environ.items() if k != children.PARENT}
    proc = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=env)
    assert proc.stdout is not None
    lines = [proc.stdout.readline() for _ in range(3)]
    pids = [int(line) for line in lines if line != b"up\n"]
    assert len(pids) == 2
    proc.kill()
    proc.wait()
    proc.stdout.close()
    assert all(gone(pid) for pid in pids)


def test_a_child_of_another_process_with_the_same_pid_leaves_at_once() -> None:
    env = {**os.environ, children.PARENT: f"{os.getpid()}:1.0"}
    code = "from woolgather.core.children import watch_parent; watch_parent(); print('here')"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert done.returncode == children.ORPHANED
    assert done.stdout == b""


def test_without_a_named_parent_there_is_nobody_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(children.PARENT, raising=False)
    children.watch_parent()
    assert all(t.name != "watch-parent" for t in threading.enumerate())
