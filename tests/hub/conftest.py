"""What tests of the hub are given: the hub on loopback, and our command line that knows no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .loopback import SOURCE, Hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    yield served
    served.close()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def python(hub: Hub, tmp_path: Path) -> Run:
    """Our interpreter in an empty folder, with caches of its own, knowing no hub but this one."""
    work = tmp_path / "work"
    work.mkdir()
    passed = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HF_", "HUGGING", "WOOLGATHER_")) and not k.lower().endswith("_proxy")
    }
    env = {
        **passed,
        "PYTHONPATH": str(SOURCE),
        "HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "WOOLGATHER_CACHE": str(tmp_path / "cache"),
        "NO_PROXY": "*",
    }

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=work,
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def woolgather(python: Run) -> Run:
    """Our command line, likewise."""
    return partial(python, "-c", "from woolgather.cli import main; main()")


@pytest.fixture
def parquet() -> Callable[..., bytes]:
    """(rows, group) -> a Parquet file with `group` rows in a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(rows: list[Mapping[str, Any]], group: int = 1 << 20) -> bytes:
        sink = pa.BufferOutputStream()
        how = {"row_group_size": group, "compression": "none", "use_dictionary": False}
        pq.write_table(pa.Table.from_pylist(list(rows)), sink, **how)
        return bytes(sink.getvalue())

    return table


@pytest.fixture
def told() -> Callable[[subprocess.CompletedProcess[str]], str]:
    """What a command that fails says: one error, no traceback."""

    def read(done: subprocess.CompletedProcess[str]) -> str:
        assert "Traceback" not in done.stderr
        [message] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return message

    return read
