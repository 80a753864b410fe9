"""The misbehaving server as a process that a test tells what to do, and what it is asked."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.openai.server import Patience

MODEL = Model(path="some/model", fingerprint="f00d", prompt_format="raw")
PROGRAM = Path(__file__).with_name("misbehaving_server.py")
KEY = "sk-very-secret-0123456789"
QUICK = Patience(attempts=8, first_wait=0.01, longest_wait=1.0, timeout=60.0)


class Told:
    """A running server: tell it what to do, ask it what it saw."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, **behaviour: Any) -> None:
        data = json.dumps(behaviour).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/control", data)).close()

    @property
    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/stats") as reply:
            found: dict[str, Any] = json.load(reply)
        return found

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [r["body"] for r in self.stats["requests"]]

    def stop(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(20) == 0


def requests(count: int, **sampling: Any) -> list[Request]:
    return [Request(f"question {i}", Sampling(**sampling)) for i in range(count)]


def texts(results: Iterator[tuple[int, Completion]]) -> dict[int, str]:
    return {index: completion.text for index, completion in results}


def expected(count: int) -> dict[int, str]:
    return {i: f"answer to question {i}" for i in range(count)}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
