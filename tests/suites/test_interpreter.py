"""The Python that has the harness, or one sentence that says what to install."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import ConfigError
from woolgather.suites.interpreter import find_harness

from .conftest import FakeHarness


def test_an_interpreter_says_its_versions(fake_harness: FakeHarness) -> None:
    found = find_harness(fake_harness.python)
    assert found.version == "0.4.13"
    assert dict(found.versions)["torch"] == "2.13.0"


def test_without_the_harness_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *rest: Any) -> None:
        assert name == "lm_eval"

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ConfigError, match=r"pip install 'woolgather\[eval\]'"):
        find_harness()


@pytest.mark.parametrize(
    ("text", "said"),
    [("echo '{}'", "is not there"), ("echo no >&2; exit 3", "is not a Python of 3.11 or newer")],
)
def test_a_python_without_the_harness_is_told(tmp_path: Path, text: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{text}\n")
    python.chmod(0o755)
    with pytest.raises(ConfigError, match=said):
        find_harness(str(python))
    with pytest.raises(ConfigError, match="cannot be run"):
        find_harness(str(tmp_path / "nowhere"))
