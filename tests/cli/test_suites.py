"""`eval --suite`: what is printed, and mistakes said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..suites.conftest import TOY, FakeHarness, fake_harness

__all__ = ["fake_harness"]


@pytest.fixture
def words(fake_harness: FakeHarness, tmp_path: Path) -> list[str]:
    python, out = fake_harness.python, str(tmp_path / "evals")
    return ["--suite", str(TOY), "--engine", "fake", "--eval-python", python, "--out", out]


def test_tables_go_to_stdout_and_progress_to_stderr(
    call: Callable[..., Any], words: list[str]
) -> None:
    first = call("eval", "one", "two", *words)
    assert "A toy suite: lm-evaluation-harness 0.4.13" in first.stdout
    for part in ("Opposites", "one, two", "Against one, item by item", "a guesser (published)"):
        assert part in first.stdout
    assert "one: 2 tasks to ask, 0 kept" in first.stderr
    again = call("eval", "one", "two", *words)
    assert again.stdout == first.stdout
    assert "two: all 2 tasks kept" in again.stderr


def test_json_is_one_document(told: Callable[..., Any], words: list[str]) -> None:
    found = told("eval", "one", "two", *words)
    assert [each["model"] for each in found["models"]] == ["one", "two"]
    assert found["models"][1]["measures"]["toy_opposites"]["against_first"]["value"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "3"], "--limit is for --suite"),
        (["--data-dir", "data"], "--data-dir is for --suite"),
        (["--allow-code"], "--allow-code is for --suite"),
        (["--suite", "sqin"], "--suite sqin: unknown suite. Did you mean spin?"),
        (["--suite", str(TOY), "--eval-python", "nowhere"], "--eval-python nowhere: cannot be run"),
        (["--suite", str(TOY), "--engine", "none"], "--engine none: choose"),
    ],
)
def test_a_mistake_is_one_sentence(
    said: Callable[..., str], options: list[str], message: str
) -> None:
    assert message in said("eval", "embedded", *options)


def test_missing_data_are_one_error(
    said: Callable[..., str],
    fake_harness: FakeHarness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    found = said(
        "eval", "any", "--suite", "spin", "--engine", "fake", "--eval-python", fake_harness.python,
        "--data-dir", tmp_path, "--out", tmp_path / "evals",
    )  # fmt: skip
    assert "6 of its data sets" in found
    assert "hf download --repo-type dataset cais/mmlu" in found
    assert not fake_harness.jobs
