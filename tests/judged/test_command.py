"""`eval --suite alpaca_eval`, `mt_bench` and `vicuna`: files, memory, judges and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.api import judged as api
from woolgather.api.judged import JudgedOptions, evaluate_judged
from woolgather.core.errors import ConfigError, RunDirError, YieldError
from woolgather.engines.base import EngineOptions
from woolgather.engines.fake import FakeEngine
from woolgather.judged import audition

from ..api.test_suites import save_run
from ..cli.conftest import call, said, told
from ..engines.serving import Told
from .conftest import knowing

__all__ = ["call", "said", "told"]
JUDGE = "http://127.0.0.1:9/v1#judge"


@pytest.fixture(scope="module")
def running() -> Iterator[Told]:
    server = Told()
    yield server
    server.stop()


@pytest.fixture
def server(running: Told, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    running.tell(models=["judge"], text="Fine.\nScore: 5")
    return running


@pytest.fixture(autouse=True)
def short_audition(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pairs as are needed for an interval."""
    monkeypatch.setattr(audition, "PAIRS", 32)


@pytest.fixture
def evaluate(data: Path, tmp_path: Path) -> Callable[..., Any]:
    def ask(
        *names: object, suite: str = "alpaca_eval", serve: tuple[str, ...] = (), **how: Any
    ) -> Any:
        asked = JudgedOptions(tmp_path / "out", data, **how)
        options = EngineOptions("fake", serve=serve)
        return evaluate_judged([str(n) for n in names], suite, options, asked, tell=str)

    return ask


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """A good judge behind every server, which prefers the longer answer and grades by length."""
    opened: list[FakeEngine] = []

    def open_it(model: Any, options: EngineOptions) -> FakeEngine:
        made = FakeEngine(model=model)
        if options.name == "openai":
            made = knowing(
                lambda one, two: "1" if len(one) > len(two) else "2",
                lambda said: f"So.\nScore: {min(10, 1 + len(said) // 20)}",
            )
        opened.append(made)
        return made

    monkeypatch.setattr(api, "open_engine", open_it)
    return opened


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def test_answers_are_written_without_a_judge(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    result = evaluate("one", "two")
    assert result.judge is None
    assert [
        len(json.loads(p.read_text())) for p in files(tmp_path, "out/*/*/model_outputs.json")
    ] == [6, 6]
    assert "win_rate" not in result.json()["models"][0]


def test_a_served_judge_compares_in_both_orders(
    evaluate: Callable[..., Any], judge: list[FakeEngine], tmp_path: Path
) -> None:
    result = evaluate("one", "two", serve=(f"win_judge={JUDGE}",))
    assert result.judge.name == "judge"
    found = result.json()["models"][1]
    assert found["win_rate"]["value"] == 1
    assert found["orders_disagree"] == found["unreadable"] == 0
    assert found["against_first"]["value"] == 0
    (place, _) = files(tmp_path, "out/alpaca_eval/*/verdicts-judge-*.jsonl")
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    assert len(rows) == 12
    assert [row["first"] for row in rows[:2]] == ["answer", "reference"]
    assert all(row["preferred"] == "answer" and "Better:" in row["reply"] for row in rows)


def test_the_same_command_asks_nothing_again(
    evaluate: Callable[..., Any], judge: list[FakeEngine], tmp_path: Path
) -> None:
    serve = (f"win_judge={JUDGE}",)
    first = evaluate("one", serve=serve, limit=3)
    asked = len(judge)
    again = evaluate("one", serve=serve, limit=3)
    assert again.json() == first.json()
    assert len(judge) == asked
    evaluate("one", serve=serve)
    # Three more answers and their six verdicts; the audition is remembered.
    assert [engine.calls for engine in judge[asked:]] == [3, 6]


@pytest.mark.parametrize(("suite", "turns"), [("mt_bench", 2), ("vicuna", 1)])
def test_turns_are_graded_and_kept(
    evaluate: Callable[..., Any], judge: list[FakeEngine], tmp_path: Path, suite: str, turns: int
) -> None:
    result = evaluate("one", "two", suite=suite, serve=(f"win_judge={JUDGE}",))
    found = result.json()["models"][0]
    assert len(found["turns"]) == turns
    assert found["mean"]["count"] == 3 * turns
    assert found["unreadable"] == 0
    (place, _) = files(tmp_path, f"out/{suite}/*/verdicts-*.jsonl")
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    assert [row["turn"] for row in rows] == list(range(1, turns + 1)) * 3
    titles = [view.title for view in result.views()]
    assert ("Mean grade by category" in titles) == (suite == "mt_bench")


def test_a_run_is_its_base_and_every_iteration(
    evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    result = evaluate(save_run(tmp_path / "run"))
    assert [each.name for each in result.judged] == ["base", "iter0", "iter1"]


def test_a_judge_that_fails_keeps_the_answers_and_its_replies(
    evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(YieldError, match="the judge other failed its audition"):
        evaluate("one", win_judge="other")
    assert files(tmp_path, "out/alpaca_eval/one-*/model_outputs.json")
    assert not files(tmp_path, "out/alpaca_eval/one-*/verdicts-*")
    (place,) = files(tmp_path, "out/alpaca_eval/audition-other-*.jsonl")
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    assert [row["first"] for row in rows[:2]] == ["better", "worse"]
    assert all(row["reply"] for row in rows)


def test_a_server_that_fails_its_audition_is_one_error(
    evaluate: Callable[..., Any], server: Told
) -> None:
    with pytest.raises(YieldError, match="the judge judge failed its audition"):
        evaluate("one", suite="vicuna", serve=(f"win_judge={server.url}#judge",))
    assert {body["model"] for body in server.bodies} == {"judge"}


def test_a_judge_judges_no_answers_of_its_own(evaluate: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="win_judge one is one, which it would judge"):
        evaluate("one", "two", win_judge="one")
    with pytest.raises(ConfigError, match="win_judge judge is two, which it would judge"):
        evaluate("one", "two", serve=(f"two={JUDGE}", f"win_judge={JUDGE}"))


def test_mistakes_in_options(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Write URL#NAME"):
        evaluate("one", serve=("win_judge=http://127.0.0.1:9",))
    with pytest.raises(ConfigError, match="name two judges"):
        evaluate("one", serve=(f"win_judge={JUDGE}",), win_judge="other")
    evaluate("one")
    in_use = pytest.raises(RunDirError, match="in use by another")
    with api.FileLock(tmp_path / "out" / "alpaca_eval" / "lock"), in_use:
        evaluate("one")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suite", "alpaca_eval", "--allow-code"], "--allow-code is for suites of lm-evaluation"),
        (["--suite", "alpaca_evil"], "unknown suite. Did you mean alpaca_eval?"),
        (["--win-judge", "x"], "--win-judge is for --suite alpaca_eval, mt_bench or vicuna"),
        (["--suite", "mt_bench", "--data-dir", "nowhere"], "its questions are not in nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    said: Callable[..., str], options: list[str], message: str
) -> None:
    assert message in said("eval", "one", "--engine", "fake", *options)


def test_tables_go_to_stdout_and_progress_to_stderr(
    call: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    words = ["--engine", "fake", "--suite", "mt_bench", "--data-dir", data, "--out", tmp_path / "e"]
    found = call("eval", "one", *words, "--limit", "2")
    assert "MT-Bench: answers, not judged" in found.stdout
    assert "Nothing was judged. Name a judge" in found.stdout
    assert "one: 4 asked, 0 of them remembered" in found.stderr
