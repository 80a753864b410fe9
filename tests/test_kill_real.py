"""The real engine and trainer, killed with -9: the same command ends well, no finished call is made
again, and nothing of the killed run lives ten seconds later."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from woolgather import step_record

pytestmark = pytest.mark.xdist_group("real")
TASKS = 24


def command(folder: Path, base: Path, tasks: Path) -> list[str]:
    settings = [
        f"base={base}", "base_format=chat", "iterations=1", "controls=false", "select_by=last",
        "judge.assessor=none", "keep.by=all", "rules.use=[none]", "respond.unfinished=keep",
        "respond.sampling.max_tokens=24", "measure.probes=10", "measure.max_tokens=8",
        "measure.likelihood=false", "sft.epochs=4", "sft.batch_size=4", "sft.warmup_updates=0",
    ]  # fmt: skip
    return [
        sys.executable, "-c", "from woolgather.cli import main; main()", "run", "isheep", *settings,
        "--given", f"iter0/synthesize={tasks}", "--dir", str(folder), "--no-report",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    lines = [{"instruction": f"Say the number {i} in another way."} for i in range(TASKS)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def finished_calls(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute("select count(*) from calls").fetchone()[0])
    except sqlite3.Error:
        return 0


def kill_when(reached: Callable[[], bool], argv: list[str], seconds: float = 240) -> None:
    """Start, wait until `reached`, kill with -9, and see that its children are gone in 10 s."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "the moment to kill never came"
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family, "nothing to outlive the run"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, alive


def finish(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout


def record_of(folder: Path, step: str) -> step_record.StepRecord:
    return next(r for _, r in step_record.current_steps(folder) if r.step == step)


def test_killed_while_generating(tiny_model: Path, tasks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    argv = command(folder, tiny_model, tasks)
    kill_when(lambda: finished_calls(folder) >= 15, argv)
    known = finished_calls(folder)
    finish(argv)
    total = sum(r.calls.get("requests", 0) for _, r in step_record.current_steps(folder))
    again = sum(r.calls.get("remembered", 0) for _, r in step_record.current_steps(folder))
    assert again == known
    assert finished_calls(folder) == total


def test_killed_while_training_and_between_data_and_marker(
    tiny_model: Path, tasks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    argv = command(folder, tiny_model, tasks)
    kill_when(lambda: any(folder.glob("iter0/train-*/attempt-1/train.log")), argv)
    calls = finished_calls(folder)
    finish(argv)
    respond = record_of(folder, "iter0/respond")
    assert respond.calls["requests"] == TASKS
    assert respond.launch == 1
    train = record_of(folder, "iter0/train")
    assert train.launch == 2
    assert finished_calls(folder) > calls

    # Data without a marker is a step that never ended.
    entry = next(e for e, r in step_record.current_steps(folder) if r.step == "iter0/respond")
    (folder / str(entry["path"]) / "record.json").unlink()
    before = finished_calls(folder)
    data = next((folder / str(entry["path"])).glob("part-*")).read_bytes()
    finish(argv)
    assert record_of(folder, "iter0/respond").calls["remembered"] == TASKS
    assert finished_calls(folder) == before
    assert next((folder / str(entry["path"])).glob("part-*")).read_bytes() == data
    assert record_of(folder, "iter0/train").launch == 2


def test_sigterm_while_working_exits_75_and_leaves_no_process(
    tiny_model: Path, tasks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    argv = command(folder, tiny_model, tasks)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 240
    while finished_calls(folder) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_the_result_loads_with_transformers_alone(
    tiny_model: Path, tasks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    finish(command(folder, tiny_model, tasks))
    result = folder / "result"
    assert (result / "README.md").is_file()
    code = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer; "
        "m = AutoModelForCausalLM.from_pretrained(sys.argv[1]); "
        "t = AutoTokenizer.from_pretrained(sys.argv[1]); "
        "assert t.chat_template; print(m.num_parameters())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(result)],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
