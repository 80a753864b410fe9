"""The real engine and trainer, killed with -9: the same command ends well, no finished call is made
again, and nothing of the killed run lives ten seconds later.

I-SHEEP is killed at chosen moments, the other methods at random ones (the same in every test run).
The random tiny model writes nonsense, so rules are off where they would leave nothing to train on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from woolgather.runs.record import RECORD, StepRecord, current_steps, read_launches, read_record

pytestmark = pytest.mark.xdist_group("real")
TASKS = 24


def command(folder: Path, base: Path, tasks: Path) -> list[str]:
    settings = [
        f"base={base}", "base_format=chat", "iterations=1", "controls=false", "select_by=last",
        "judge.assessor=none", "keep.by=all", "rules.use=[none]", "respond.unfinished=keep",
        "respond.sampling.max_tokens=24", "measure.probes=10", "measure.max_tokens=8",
        "measure.likelihood=false", "sft.epochs=4", "sft.batch_size=4", "sft.warmup_updates=0",
    ]  # fmt: skip
    return run_of("isheep", folder, *settings, "--given", f"iter0/synthesize={tasks}")


def run_of(recipe: str, folder: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-c", "from woolgather.cli import main; main()", "run", recipe, *more,
        "--dir", str(folder), "--no-report",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    lines = [{"instruction": f"Say the number {i} in another way."} for i in range(TASKS)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def journal(folder: Path) -> dict[bytes, int]:
    """The place of each finished call in its table. A call made again gets a new place."""
    try:
        with sqlite3.connect(f"file:{folder / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return dict(db.execute("select key, rowid from calls"))
    except sqlite3.Error:
        return {}


def finished_calls(folder: Path) -> int:
    return len(journal(folder))


def kill_when(reached: Callable[[], bool], argv: list[str], seconds: float = 240) -> None:
    """Start, wait until `reached`, kill with -9, and see that its children are gone in 10 s."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + seconds
    family: list[psutil.Process] = []
    while not (reached() and family):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "the moment to kill, with children alive, never came"
        time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, alive


def finish(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout


def record_of(folder: Path, step: str) -> StepRecord:
    return next(r for _, r in current_steps(folder) if r.step == step)


def load_with_transformers_alone(result: Path) -> None:
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


def test_killed_while_generating_it_ends_in_a_model_for_transformers_alone(
    tiny_model: Path, tasks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    argv = command(folder, tiny_model, tasks)
    kill_when(lambda: finished_calls(folder) >= 15, argv)
    known = finished_calls(folder)
    finish(argv)
    total = sum(r.calls.get("requests", 0) for _, r in current_steps(folder))
    again = sum(r.calls.get("remembered", 0) for _, r in current_steps(folder))
    assert again == known
    assert finished_calls(folder) == total
    load_with_transformers_alone(folder / "result")


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
    entry = next(e for e, r in current_steps(folder) if r.step == "iter0/respond")
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


# Everything that the other methods are given: short rows for a model of 512 positions.
ROWS = [
    {"instruction": f"Say the number {i} in another way.", "response": f"It is {i}, said again."}
    for i in range(TASKS)
]
EXEMPLAR = {
    "question": "One and one?", "thought": "A sum.", "principles": ["brief"], "answer": "It is two.",
}  # fmt: skip
MATERIAL = {
    "rows.jsonl": "\n".join(map(json.dumps, ROWS)),
    "turn.md": "<!-- turn: the text alone. -->\n{{response}}\n",
    "who.md": "<!-- who: the assistant. -->\nYou are {{name}}.\n\n{{principles}}\n",
    "principles.md": "- brief: Say it in few words.\n- kind: Be friendly.\n",
    "exemplars.jsonl": json.dumps(EXEMPLAR),
}
COMMON = [
    "base_format=chat", "seeds=rows.jsonl", "controls=false", "select_by=last", "measure.probes=10",
    "measure.max_tokens=8", "measure.likelihood=false",
]  # fmt: skip
SFT = ["sft.lora=null", "sft.max_updates=40", "sft.batch_size=4", "sft.max_length=512"]
SETTINGS = {
    "humback": [
        *SFT, "iterations=1", "seed_updates=40", "updates=40", "tags.use=false", "text.limit=12",
        "text.min_chars=40", "text.max_chars=200", "text.rules=[none]", "backward.template=turn.md",
        "backward.sampling.max_tokens=64", "backward.sampling.stop=[e,a,t]",
        "backward.rules.use=[none]", "backward.novelty.threshold=1", "judge.assessor=none",
        "keep.by=all",
    ],
    "dromedary": [
        *SFT, "variant=v2", "prompts=rows.jsonl", "principles=principles.md",
        "exemplars=exemplars.jsonl", "align.template=who.md", "align.sampling.max_tokens=24",
        "align.rules.min_words=1", "align.rules.max_leak=1", "align.rules.max_copied=null",
        "align.rules.unfinished=keep", "rules.use=[none]", "adherence.sample=0",
    ],
    "spin": [
        "iterations=1", "pairs.equal_budgets=false", "pairs.unfinished=keep",
        "respond.sampling.max_tokens=24", "dpo.lora=null", "dpo.max_updates=40",
        "dpo.batch_size=4", "dpo.max_length=256",
    ],
}  # fmt: skip
MOMENTS = {
    "humback": ["backward/train", "calls", "iter0/train"],
    "dromedary": ["calls", "calls", "engrave/train"],
    "spin": ["calls", "iter0/train", "calls"],
}
"""What each kill waits for: some more finished calls, or some updates of a training."""


@dataclass(frozen=True)
class Kill:
    """What a killed launch left."""

    known: dict[bytes, int]
    """Places in the journal."""
    done: dict[str, StepRecord]
    """The steps that were finished."""
    during: str | None
    """The step it fell in; None between two."""

    @property
    def unrecorded(self) -> int:
        """Finished calls of the step it fell in."""
        return len(self.known) - sum(r.calls.get("requests", 0) for r in self.done.values())


def left_in(folder: Path) -> Kill:
    records = [read_record(path) for path in folder.rglob(RECORD)]
    done = {record.step: record for record in records}
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    begun = [e["step"] for e in map(json.loads, lines) if e["event"] == "step_started"]
    return Kill(journal(folder), done, begun[-1] if begun and begun[-1] not in done else None)


def moment(kind: str, folder: Path, rng: random.Random) -> Callable[[], bool]:
    """Whether the run has come so far: drawn before it is started."""
    if kind == "calls":
        wanted = finished_calls(folder) + rng.randint(1, 60)
        return lambda: finished_calls(folder) >= wanted
    updates = rng.randint(1, 20)

    def trained() -> bool:
        told = "".join(p.read_text() for p in folder.glob(f"{kind}-*/attempt-*/progress.jsonl"))
        return told.count('"event": "update"') >= updates

    return trained


@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", sorted(SETTINGS))
def test_any_method_killed_at_random_moments(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    for name, text in MATERIAL.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    folder, rng = tmp_path / "run", random.Random(f"kills of {recipe}")
    argv = run_of(recipe, folder, f"base={tiny_model}", *COMMON, *SETTINGS[recipe])

    kills: list[Kill] = []
    for kind in MOMENTS[recipe]:
        kill_when(moment(kind, folder, rng), argv)
        kills.append(left_in(folder))
    trainings = [k for k in kills if k.during in MOMENTS[recipe]]
    assert trainings, "no kill fell in a training"
    assert any(k.unrecorded for k in kills), "no kill fell in a step that asks a model"
    finish(argv)

    steps = {record.step: record for _, record in current_steps(folder)}
    launches = read_launches(folder)
    assert [launch.status for launch in launches] == ["running"] * len(kills) + ["finished"]
    # What a launch had finished stands, and what it had asked is not asked again: a step tells how
    # many of its answers it found, the journal that none was written twice.
    places, found = journal(folder), {}
    for kill in kills:
        assert kill.known.items() <= places.items()
        assert {name: steps[name] for name in kill.done} == kill.done
        if kill.unrecorded:
            assert kill.during is not None
            found[kill.during] = kill.unrecorded
    remembered = {name: record.calls.get("remembered", 0) for name, record in steps.items()}
    assert {name: count for name, count in remembered.items() if count} == found
    assert sum(record.calls.get("requests", 0) for record in steps.values()) == len(places)

    finish(argv)
    last = read_launches(folder)[-1]
    assert {entry["state"] for entry in last.steps} == {"remembered"}
    assert journal(folder) == places
