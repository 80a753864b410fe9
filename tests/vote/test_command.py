"""`vote`: what it prints, where its votes go, and what it says of what it cannot use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from woolgather.cli import app
from woolgather.core.errors import MistakeError, RunDirError
from woolgather.report.votes.ballot import ROWS
from woolgather.vote.server import VoteServer


def vote(*words: object) -> None:
    """Raises what the command raises."""
    CliRunner().invoke(app(), ["vote", *map(str, words)], catch_exceptions=False)


def test_what_cannot_be_used_is_said(run_dir: Path, tmp_path: Path, server: VoteServer) -> None:
    with pytest.raises(RunDirError, match="is not a run directory"):
        vote(tmp_path)
    with pytest.raises(MistakeError, match=r"no measured model 'bse'\. Did you mean base\?"):
        vote(run_dir, "--between", "bse,iter0")
    with pytest.raises(MistakeError, match=rf"--port {server.server_port} cannot be used"):
        vote(run_dir, "--port", server.server_port)


@pytest.fixture
def voting(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which Ctrl-C reaches whatever the tests were started by."""
    with subprocess.Popen(
        [sys.executable, "-m", "woolgather", "vote", str(run_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        yield running
        running.kill()


def test_a_vote_from_the_first_line_to_the_last(
    run_dir: Path, voting: subprocess.Popen[str]
) -> None:
    assert voting.stdout is not None
    first, address = voting.stdout.readline(), voting.stdout.readline().strip()
    assert re.match(r"result or base: \d+ pairs of answers\. Ctrl-C ends\.", first), first
    state = json.loads(urlopen(f"{address}state", timeout=60).read())
    body = json.dumps({"pair": state["pair"]["id"], "choice": "tie"}).encode()
    origin = address.rpartition("/")[0].rpartition("/")[0]
    urlopen(Request(f"{address}vote", body, {"Origin": origin}), timeout=60).read()
    voting.send_signal(signal.SIGINT)
    rest = voting.stdout.read()
    assert voting.wait(60) == 0
    assert "1 vote, and none that prefers result or base." in rest
    assert "woolgather report" in rest
    [row] = (run_dir / "votes" / "result-or-base" / ROWS).read_text().splitlines()
    assert json.loads(row)["choice"] == "tie"
