"""Commands that look at a run directory, and the one that tidies it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from woolgather.cli import output
from woolgather.core.errors import ConfigError, InputError, MistakeError, RunDirError
from woolgather.core.intervals import Estimate
from woolgather.core.views import table, table_cell
from woolgather.runs.lock import RunLock
from woolgather.runs.record import (
    RunRecord,
    current_steps,
    launch_path,
    read_launches,
    write_launch,
)

Call = Callable[..., Any]


def path_of(run: Path, step: str) -> Path:
    paths = {r.step: run / str(e["path"]) for e, r in current_steps(run)}
    return paths[step]


def ids(told: Call, run: Path, step: str, *more: object) -> list[str]:
    return [row["id"] for row in told("show", run, step, "-n", 99, *more)]


def rewrite_launch(run: Path, **fields: Any) -> None:
    path = launch_path(run, 1)
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def write_events(run: Path, *events: dict[str, Any]) -> None:
    lines = "".join(json.dumps({"time": time.time(), **e}) + "\n" for e in events)
    (run / "events.jsonl").write_text(lines + '{"event": "progr')


# -- status --------------------------------------------------------------------------------------


def test_status_has_a_line_a_step_with_the_funnel(told: Call, built_run: Path) -> None:
    found = told("status", built_run)
    steps = {row["step"]: row for row in found["steps"]}
    assert next(iter(steps)) == "iter0/synthesize"
    assert (steps["iter0/synthesize"]["rows"], steps["iter0/synthesize"]["calls"]) == (8, 8)
    kept = steps["iter0/keep"]
    assert (kept["rows"], kept["set_aside"]) == (5, 3)
    assert kept["reasons"] == {"low_score": 2, "unreadable": 1}
    assert kept["calls"] is None
    assert kept["tokens_per_second"] is None
    assert steps["iter0/stop"]["outcome"] == "yes: enough rows"
    assert steps["result"]["rows"] is None
    assert found["headline"] == "5 are kept."
    assert found["state"].startswith("finished")
    assert found["running"] is None
    assert {row["state"] for row in found["steps"]} == {"ran"}


def test_status_as_a_table(call: Call, built_run: Path) -> None:
    text = call("status", built_run).stdout
    assert "3 (low_score 2, unreadable 1)" in text
    assert "5 are kept." in text


def test_status_tells_why_a_step_ran_and_what_was_remembered(
    told: Call, a_run: Path, again: Call
) -> None:
    again(above=5)
    steps = {row["step"]: row for row in told("status", a_run)["steps"]}
    assert steps["iter0/assess"]["state"] == "remembered"
    assert steps["iter0/keep"]["why"] == "new because args.above: 3 -> 5"


def test_status_of_a_killed_run(told: Call, a_run: Path) -> None:
    rewrite_launch(a_run, status="running", finished=None)
    assert "killed" in told("status", a_run)["state"]
    assert "the same command resumes it" in told("status", a_run)["state"]


def test_status_of_a_stopped_run_keeps_the_steps_of_the_launch_before(
    told: Call, a_run: Path
) -> None:
    first = read_launches(a_run)[0]
    later = {**first.to_json(), "launch": 2, "status": "stopped", "message": "Ctrl-C"}
    write_launch(RunRecord.from_json({**later, "steps": []}), a_run)
    found = told("status", a_run)
    assert "stopped" in found["state"]
    assert "Ctrl-C" in found["state"]
    assert {row["state"] for row in found["steps"]} == {"launch 1"}


def test_status_shows_the_running_step_with_rate_and_time_left(
    told: Call, call: Call, a_run: Path
) -> None:
    rewrite_launch(a_run, status="running", finished=None)
    progress = {"rows": 3, "calls": 12, "rate": 410.0, "left": 60.0, "expected": {"calls": 40}}
    progress |= {"bottleneck": "server", "spent": {"server": 27.0, "own work": 3.0}}
    started = {"event": "step_started", "step": "iter1/respond"}
    with RunLock(a_run):
        write_events(a_run, started, {"event": "progress", "step": "iter1/respond", **progress})
        found = told("status", a_run)
        assert found["running"]["step"] == "iter1/respond"
        assert found["running"]["tokens_per_second"] == 410.0
        assert 0 < found["running"]["seconds_left"] <= 60
        assert found["owner"]["pid"] == os.getpid()
        text = call("status", a_run).stdout
        assert "12 calls of at most 40" in text
        assert found["running"]["bottleneck"] == "server"
        assert "bottleneck: server (90 %)" in " ".join(text.split())
        assert f"process {os.getpid()} on {socket.gethostname()}" in text
        write_events(a_run, started, {"event": "step_finished", "step": "iter1/respond"})
        assert told("status", a_run)["running"] is None
    assert told("status", a_run)["owner"] is None


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_an_owner_left_behind_is_not_believed(told: Call, a_run: Path, host: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=4000)
    owner = {"pid": os.getpid(), "host": host, "since": long_ago.isoformat(), "beat": 1.0}
    (a_run / "owner.json").write_text(json.dumps(owner))
    assert told("status", a_run)["owner"] is None


def test_an_owner_on_another_host_is_believed_while_it_beats(told: Call, a_run: Path) -> None:
    owner = {"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00", "beat": time.time()}
    (a_run / "owner.json").write_text(json.dumps(owner))
    assert told("status", a_run)["owner"]["host"] == "elsewhere"


@pytest.mark.parametrize("command", ["status", "show", "lineage", "clean", "report", "export"])
def test_what_is_no_run_directory_is_said(call: Call, tmp_path: Path, command: str) -> None:
    more = ["iter0/keep"] if command in ("show", "lineage", "export") else []
    with pytest.raises(RunDirError, match="not a run directory"):
        call(command, tmp_path, *more)


# -- show ----------------------------------------------------------------------------------------


def test_show_gives_rows_in_use_with_verdicts(told: Call, built_run: Path) -> None:
    rows = told("show", built_run, "iter0/keep", "-n", 2)
    assert len(rows) == 2
    assert rows[1]["verdicts"] == [{"name": "quality", "score": 4.0, "text": "Score: 4"}]
    assert all(row["set_aside"] is None for row in rows)


def test_show_set_aside_and_by_reason(told: Call, built_run: Path) -> None:
    aside = told("show", built_run, "iter0/keep", "--set-aside")
    assert [row["set_aside"] for row in aside] == ["unreadable", "low_score", "low_score"]
    low = told("show", built_run, "iter0/keep", "--reason", "low_score", "-n", 1)
    assert [row["id"] for row in low] == [aside[1]["id"]]


def test_show_never_sends_model_text_to_the_terminal_raw(call: Call, built_run: Path) -> None:
    text = call("show", built_run, "iter0/keep").stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "owned" not in text
    assert "red [bold]not bold[/] gnirts :smile:" in text
    assert "5 of 5 rows in use" in text
    unread = call("show", built_run, "iter0/keep", "--set-aside").stdout
    assert "quality unreadable" in unread


def test_show_pairs_and_models_and_measures_and_choices(
    call: Call, told: Call, built_run: Path
) -> None:
    assert "rejected" in call("show", built_run, "pairs").stdout
    model = told("show", built_run, "result")
    assert model["prompt_format"] == "raw"
    assert sorted(model["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    measure = told("show", built_run, "iter0/measure")
    assert measure["headline"] == "5 are kept."
    assert measure["values"]["rows"] == 5
    assert measure["values"]["missing"] is None
    assert "counted" in call("show", built_run, "iter0/measure").stdout
    assert told("show", built_run, "stop")["why"] == "enough rows"


def test_show_names_the_nearest_step_and_the_reasons(call: Call, built_run: Path) -> None:
    with pytest.raises(InputError, match="Did you mean iter0/keep"):
        call("show", built_run, "iter0/kep")
    with pytest.raises(InputError, match="Its reasons: unreadable, low_score"):
        call("show", built_run, "iter0/keep", "--reason", "dull")


# -- export --------------------------------------------------------------------------------------


def test_export_writes_rows_in_use(call: Call, built_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = call("export", built_run, "iter0/keep", "--format", "messages", "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5
    assert [m["role"] for m in rows[1]["messages"]] == ["user", "assistant"]
    assert "5 rows" in result.stdout


def test_export_names_its_file_and_overwrites_nothing(
    call: Call, built_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call("export", built_run, "iter0/pairs", "--format", "spin")
    assert (tmp_path / "run-iter0-pairs-spin.jsonl").is_file()
    with pytest.raises(MistakeError, match="--out"):
        call("export", built_run, "iter0/pairs", "--format", "spin")


def test_export_refuses_what_cannot_be(call: Call, built_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(InputError, match="made a choice"):
        call("export", built_run, "iter0/stop", "--out", out)
    with pytest.raises(ConfigError, match="Did you mean sharegpt"):
        call("export", built_run, "iter0/keep", "--format", "shargpt", "--out", out)
    assert not out.exists()


# -- clean ---------------------------------------------------------------------------------------


def files(run: Path) -> set[Path]:
    return {p for p in run.rglob("*") if p.name != "run.lock"}


def test_clean_finds_nothing_in_a_tidy_run(told: Call, a_run: Path) -> None:
    before = files(a_run)
    assert told("clean", a_run, "--yes") == []
    assert files(a_run) == before


def test_clean_deletes_what_the_latest_launch_does_not_use(
    told: Call, call: Call, a_run: Path, again: Call
) -> None:
    old = path_of(a_run, "iter0/keep")
    again(above=5)
    (path_of(a_run, "iter0/assess") / "attempt-1").mkdir()
    (a_run / "engine.log").write_text("noise")
    told_of = {row["path"]: row for row in told("clean", a_run, "--dry-run")}
    assert old.relative_to(a_run).as_posix() in told_of
    assert told_of["engine.log"]["bytes"] == 5
    assert old.is_dir()
    result = call("clean", a_run, input="n\n")
    assert "Delete" in result.stdout
    assert old.is_dir()
    result = call("clean", a_run, input="y\n")
    assert "deleted" in result.stdout
    assert not old.exists()
    assert not (path_of(a_run, "iter0/assess") / "attempt-1").exists()
    assert not (a_run / "engine.log").exists()
    assert told("show", a_run, "iter0/keep", "-n", 1)
    assert told("lineage", a_run, "seeds-1")["text"] == "seed task 0"


def test_clean_keeps_what_the_same_command_would_continue(told: Call, a_run: Path) -> None:
    started = a_run / "iter1" / "train-0123456789ab" / "attempt-1"
    started.mkdir(parents=True)
    (a_run / "engine.log").write_text("why it failed")
    rewrite_launch(a_run, status="stopped")
    assert told("clean", a_run, "--dry-run") == []
    rewrite_launch(a_run, status="finished")
    assert [row["why"] for row in told("clean", a_run, "--dry-run")] == [
        "a step that never finished",
        "the log of an engine",
    ]


def test_clean_refuses_while_the_run_is_in_use(call: Call, a_run: Path) -> None:
    with RunLock(a_run), pytest.raises(RunDirError, match="in use"):
        call("clean", a_run, "--yes")


def test_clean_cannot_ask_in_json(call: Call, a_run: Path) -> None:
    with pytest.raises(MistakeError, match="--dry-run"):
        call("clean", a_run, "--json")


# -- output --------------------------------------------------------------------------------------


def test_cells_are_readable_and_unknown_ones_are_empty_in_lists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert output.cell(0) == "0"
    assert output.cell(12345) == "12,345"
    assert output.cell(True) == "yes"
    assert output.cell({"a": 1, "b": None}) == "a 1, b –"
    assert output.cell("\x1b[31mred") == "red"
    assert output.cell({"value": 0.1, "low": 0, "high": 0.25, "count": 9}) == "0.10 [0.00, 0.25]"
    columns = [output.Column("name"), output.Column("rows"), output.Column("never")]
    output.print_rows([{"name": "a", "rows": None}, {"name": "b", "rows": 3}], columns)
    shown = capsys.readouterr().out
    assert "–" not in shown
    assert "never" not in shown


def test_a_view_shows_its_quantities_as_the_report_does(capsys: pytest.CaptureFixture[str]) -> None:
    rate = table_cell(Estimate(0.173, 0.1, 0.255), "percent")
    output.print_view(table("Models", ["model", "probes"], [["a", rate], ["b", None], ["c"]]))
    shown = capsys.readouterr().out
    assert "probes %" in shown
    assert "17.3 [10.0, 25.5]" in shown
