"""Points at once: each a process, steps made once, one that fails alone, a kill, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import woolgather
from woolgather.api.sweeping import at_once
from woolgather.api.sweeping.at_once import AtOnce, share_environment
from woolgather.api.sweeping.point import name_recipe
from woolgather.core.errors import ConfigError, Stopped
from woolgather.engines.base import EngineOptions
from woolgather.runs.claims import CLAIMS, claim
from woolgather.runs.record import current_steps, read_launches

GATED = str(Path(__file__).parents[2] / "recipes" / "gated.py")
"""A recipe that waits at its first step until a file is there."""
WAITING = "iter0/write: waiting for another run, which makes it"


def wait_for_waiting(folder: Path, times: int) -> None:
    """Returns when so many points wait, or have waited, for the first step, which another one makes."""
    deadline = time.monotonic() + 120
    while sum(log.read_text().count(WAITING) for log in folder.glob("*/point.log")) < times:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def made(folder: Path) -> Counter[tuple[str, str]]:
    """How often each step was made, in all launches of all points."""
    return Counter(
        (entry["step"], entry["fingerprint"])
        for head in folder.glob("*/run.json")
        for launch in read_launches(head.parent)
        for entry in launch.steps
        if entry["state"] == "ran"
    )


def test_seven_points_make_every_step_once_and_one_fails_alone(tmp_path: Path) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "s"

    def open_gate() -> None:
        wait_for_waiting(folder, 2)
        gate.touch()

    opening = threading.Thread(target=open_gate)
    opening.start()
    above = {"above": [0, 40, 45, 99, 50, 60, 70]}
    found = woolgather.sweep(GATED, above, engine="fake", dir=folder, at_once=3, gate=str(gate))
    opening.join()
    counts = made(folder)
    assert set(counts.values()) == {1}
    steps = Counter(step for step, _ in counts)
    assert steps["iter0/write"] == steps["iter1/write"] == 1
    assert steps["iter0/keep"] == steps["iter1/keep"] + 1 == 7
    assert not (folder / CLAIMS).exists()
    assert [p.status for p in found] == ["finished"] * 3 + ["failed"] + ["finished"] * 3
    failed = found.points[3]
    assert failed.error == "Nothing is left. Lower `above`."
    assert failed.log == folder / "above=99" / "point.log"
    assert "failed: Nothing is left." in failed.log.read_text()
    assert f"Nothing is left. Log: {failed.log}" in str(found)
    assert "Nothing is left. Log: " in found.to_csv()
    assert 'href="above%3D99/point.log"' in found.page.read_text()


def test_stopped_and_killed_it_goes_on_and_makes_nothing_twice(tmp_path: Path) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "k"
    command = [
        sys.executable, "-m", "woolgather", "sweep", GATED, "--engine", "fake", "--no-report",
        "above=0,40", f"gate={gate}", "--at-once", "2", "--dir", str(folder),
    ]  # fmt: skip
    for times, number in enumerate((signal.SIGTERM, signal.SIGKILL), start=1):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        wait_for_waiting(folder, times)
        child.send_signal(number)
        said, _ = child.communicate(timeout=120)
        status = [read_launches(folder / f"above={above}")[-1].status for above in (0, 40)]
        if number == signal.SIGTERM:
            assert child.returncode == Stopped.exit_code
            assert "stopped: SIGTERM; what is finished is kept." in said
            assert status == ["stopped", "stopped"]
        else:
            assert status == ["running", "running"]
    gate.touch()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(made(folder).values()) == {1}
    above = {"above": [0, 40]}
    for point in woolgather.sweep(GATED, above, engine="fake", dir=tmp_path / "s", gate=str(gate)):
        alone, beside = (current_steps(run) for run in (point.dir, folder / point.dir.name))
        assert [(r.fingerprint, r.digest) for _, r in alone] == [
            (r.fingerprint, r.digest) for _, r in beside
        ]


def test_a_claim_is_waited_for_and_told(tmp_path: Path) -> None:
    told: list[int] = []
    step = Path("iter0/keep-0123456789ab")
    hold = (
        "import sys, pathlib; from woolgather.runs.claims import claim\n"
        f"with claim(pathlib.Path({str(tmp_path)!r}), pathlib.Path({str(step)!r}), print):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"

    def wait() -> None:
        told.append(other.pid)
        other.kill()

    with claim(tmp_path, step, wait):
        assert other.wait() == -signal.SIGKILL
    assert told == [other.pid]
    with claim(tmp_path, step, wait):
        assert len(told) == 1


def test_slots_share_threads_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineOptions("transformers")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(at_once, "count_cores", lambda: 7)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [share_environment(i, 3, engine) for i in range(3)] == [{"OMP_NUM_THREADS": "2"}] * 3
    assert share_environment(0, 9, engine) == {"OMP_NUM_THREADS": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,GPU-5,7,8")
    found = [share_environment(i, 2, engine)["CUDA_VISIBLE_DEVICES"] for i in range(2)]
    assert found == ["0,2", "GPU-5,7"]
    assert share_environment(0, 8, EngineOptions("fake")) == {}
    with pytest.raises(
        ConfigError, match=r"--at-once 8: this machine has 5 GPUs.* at most --at-once 5"
    ):
        share_environment(0, 8, engine)


@pytest.mark.parametrize(
    ("count", "ray", "engine", "said"),
    [
        (0, "", EngineOptions("fake"), r"--at-once 0: give 1 or more"),
        (2, "ray://a:1", EngineOptions("fake"), r"--ray ray://a:1: give HOST:PORT"),
        (1, "a:6379", EngineOptions("fake"), r"--ray a:6379: say how many points .*--at-once N"),
        (2, "", EngineOptions("fake", replicas=3), r"--at-once 2: .*Leave out --at-once or"),
    ],
)
def test_what_cannot_be_is_told(count: int, ray: str, engine: EngineOptions, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AtOnce(count, ray).check(engine)


def test_a_recipe_that_no_other_process_finds_is_told() -> None:
    import types

    from woolgather.recipes import isheep
    from woolgather.recipes.config import find_recipe

    assert name_recipe("isheep") == ("isheep", False)
    assert name_recipe(isheep) == ("woolgather.recipes.isheep", True)
    assert name_recipe(find_recipe(GATED)) == (GATED, False)
    with pytest.raises(ConfigError, match="another process cannot import the recipe made_here"):
        name_recipe(types.ModuleType("made_here"))


def test_where_no_ray_listens_nothing_is_written(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'woolgather[ray]'")
    with pytest.raises(ConfigError, match=r"--ray 127.0.0.1:9: no Ray cluster answers there"):
        woolgather.sweep(
            GATED,
            {"above": [0, 1]},
            engine="fake",
            dir=tmp_path / "s",
            at_once=2,
            ray="127.0.0.1:9",
        )
    assert not (tmp_path / "s").exists()
