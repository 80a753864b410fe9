import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError, InputError
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.openai.serving import read_endpoint
from woolgather.engines.subprocess.engine import WINDOW, SubprocessEngine
from woolgather.engines.subprocess.host import cause_of, is_memory_error
from woolgather.prompting.messages import Message

PATHS = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
MODEL = Model("somewhere", "print", "raw")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


@pytest.fixture
def worker(log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SubprocessEngine]:
    monkeypatch.setenv("PYTHONPATH", PATHS)
    made = SubprocessEngine(MODEL, EngineOptions(batch_tokens=7), log, host="hosted:Obedient")
    yield made
    made.close()


def texts(worker: SubprocessEngine, *prompts: Any) -> list[str]:
    return [c.text for c in ask(worker, [Request(p, Sampling(seed=5)) for p in prompts])]


def gone(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_answers_come_back_and_the_child_starts_late_and_ends(worker: SubprocessEngine) -> None:
    assert isinstance(worker, Engine)
    assert worker._child is None
    talk = (Message("user", "é\ud800"), Message("assistant", "b"))
    found = list(ask(worker, [Request("ab", Sampling(seed=5)), Request(talk, Sampling())]))
    assert [c.text for c in found] == ["ba", "b:tnatsissa|\ud800é:resu"]
    assert (found[0].finish_reason, found[0].prompt_tokens, found[0].completion_tokens) == (
        "stop",
        2,
        5,
    )
    child = worker._child
    assert child is not None
    worker.close()
    assert child.returncode is not None
    assert texts(worker, "again") == ["niaga"]


def test_identity_and_options_reach_the_child(worker: SubprocessEngine) -> None:
    assert worker.model is MODEL
    assert texts(worker, "reductions") == ["0 7 ()"]


def test_logprobs_and_embeddings_exactly(worker: SubprocessEngine) -> None:
    assert worker.option_logprobs(["abc", "d"], ["x", "yy"]) == [[2.0, 1.0], [0.0, -1.0]]
    found = worker.sequence_logprobs(["a"] * 600, ["b" * (i % 3) for i in range(600)], 0.1)
    assert [f.tokens for f in found] == [i % 3 for i in range(600)]
    assert found[2].total == -0.1 * 2
    assert worker.embed(["xy"]) == [[2.0, 0.1 + 0.2]]
    assert worker.embed([]) == []


def test_requests_are_pulled_within_a_window_and_a_loop_may_stop_early(
    worker: SubprocessEngine,
) -> None:
    pulled = 0

    def source() -> Iterator[Request]:
        nonlocal pulled
        for i in range(10 * WINDOW):
            pulled += 1
            yield Request(f"n{i}", Sampling())

    stream = worker.complete(source())
    assert [next(stream)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert pulled <= WINDOW + 5
    stream.close()
    assert texts(worker, "next") == ["txen"]


def test_a_call_given_up_is_interrupted_and_the_next_is_answered(worker: SubprocessEngine) -> None:
    stream = worker.complete([Request("a", Sampling()), Request("slow", Sampling())])
    assert next(stream)[1].text == "a"
    began = time.monotonic()
    stream.close()
    assert texts(worker, "next") == ["txen"]
    assert time.monotonic() - began < 30, "the slow answer was waited for"


def test_many_requests_in_and_out(worker: SubprocessEngine) -> None:
    prompts = [f"prompt {i} " + "x" * 2000 for i in range(3 * WINDOW)]
    assert texts(worker, *prompts) == [p[::-1] for p in prompts]


def test_one_call_at_a_time(worker: SubprocessEngine) -> None:
    stream = worker.complete([Request("a", Sampling()), Request("b", Sampling())])
    next(stream)
    with pytest.raises(EngineError, match="another call"):
        worker.embed(["x"])
    assert next(stream)[1].text == "b"


def test_a_death_loses_nothing_and_asks_only_what_is_unanswered(
    worker: SubprocessEngine, tmp_path: Path
) -> None:
    order = f"die {tmp_path / 'died'}"
    found = texts(worker, "one", order, "two", order, "three")
    assert found == ["eno", order[::-1], "owt", order[::-1], "eerht"]
    lines = (tmp_path / "engine.log").read_text().count("it hurts here")
    assert lines == 1


def test_a_kill_halves_the_batch_and_is_told(
    worker: SubprocessEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = texts(worker, f"kill {tmp_path / 'killed'}", "reductions")
    assert found[1] == "1 7 ()"
    assert "was killed by signal 9 and is started again (2 requests unanswered)" in caplog.text


def test_a_death_is_noticed_while_a_grandchild_lives_on(
    worker: SubprocessEngine, tmp_path: Path
) -> None:
    order, began = f"orphan {tmp_path / 'left'}", time.monotonic()
    assert texts(worker, order) == [order[::-1]]
    assert time.monotonic() - began < 12


def test_a_death_during_log_probabilities_is_survived(
    worker: SubprocessEngine, tmp_path: Path
) -> None:
    found = worker.sequence_logprobs([f"die {tmp_path / 'x'}"], ["abc"])
    assert found == [(-3.0, 3)]


def test_dying_again_and_again_is_an_error_that_quotes_the_log(
    worker: SubprocessEngine, log: Path
) -> None:
    with pytest.raises(EngineError) as caught:
        texts(worker, "die")
    told = ("ended with code 3", "it hurts here", "somewhere", "4 times", "1 requests unanswered")
    for part in (*told, str(log)):
        assert part in str(caught.value)
    assert texts(worker, "alive") == ["evila"]


def test_an_exception_is_shown_with_its_cause_at_once(worker: SubprocessEngine, log: Path) -> None:
    stream = worker.complete([Request(p, Sampling()) for p in ("one", "crash", "two")])
    assert next(stream)[1].text == "eno"
    with pytest.raises(EngineError) as caught:
        next(stream)
    told = "ZeroDivisionError: an error of the engine's own (woolgather/engines/subprocess/host.py, line"
    for part in ("the engine of somewhere failed", told, f"The whole traceback is in {log}"):
        assert part in str(caught.value)
    assert texts(worker, "alive") == ["evila"]
    worker.close()
    assert log.read_text().count("Traceback (most recent") == 1, "the child was started again"


@pytest.mark.parametrize("call", ["sequence_logprobs", "embed", "load"])
def test_so_is_one_of_a_call_that_is_no_completion_or_while_loading(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Without a log, as in eval and chat."""
    monkeypatch.setenv("PYTHONPATH", PATHS)
    host = "hosted:breaks_while_loading" if call == "load" else "hosted:Obedient"
    worker = SubprocessEngine(MODEL, EngineOptions(), None, host=host)
    told = (
        "KeyError: 'num_heads'" if call == "load" else "ZeroDivisionError: an error of the engine"
    )
    began = time.monotonic()
    with pytest.raises(EngineError, match=f"the engine of somewhere failed: {told}") as caught:
        worker.embed(["crash"]) if call == "embed" else worker.sequence_logprobs(["crash"], ["a"])
    assert "traceback" not in str(caught.value)
    assert time.monotonic() - began < 15
    worker.close()


def test_lack_of_memory_is_no_error_of_the_program_and_another_child_may_have_more(
    worker: SubprocessEngine, tmp_path: Path
) -> None:
    order = f"starve {tmp_path / 'starved'}"
    assert texts(worker, "one", order) == ["eno", order[::-1]]


def test_where_an_exception_arose_is_told_by_our_own_last_frame() -> None:
    with pytest.raises(ValueError, match="property") as caught:
        json.loads("{")
    assert re.fullmatch(
        r"JSONDecodeError: Expecting property name.*\(\S+decoder.py, line \d+, in raw_decode\)",
        cause_of(caught.value),
    )
    with pytest.raises(ConfigError) as ours:
        read_endpoint("no\naddress")
    assert re.fullmatch(
        r"ConfigError: engine openai: .* "
        r"\(woolgather/engines/openai/serving.py, line \d+, in read_endpoint\)",
        cause_of(ours.value),
    )
    assert cause_of(RuntimeError("two\nlines")) == "RuntimeError: two lines"
    assert cause_of(KeyError()) == "KeyError"
    assert is_memory_error(MemoryError())
    assert is_memory_error(RuntimeError("CUDA error: out of memory"))
    assert not is_memory_error(RuntimeError("index out of range in self"))


def test_reasoning_and_template_variables_go_through_the_pipe(worker: SubprocessEngine) -> None:
    (found,) = ask(worker, [Request("think of it", Sampling())])
    assert (found.text, found.reasoning) == ("it", "of")
    told = SubprocessEngine(
        MODEL.with_variables({"enable_thinking": False}), EngineOptions(), None, host=worker._host
    )
    assert texts(told, "variables") == ["{'enable_thinking': False}"]
    told.close()


def test_answers_between_deaths_count_as_getting_on(
    worker: SubprocessEngine, tmp_path: Path
) -> None:
    orders = [f"die {tmp_path / str(i)}" for i in range(6)]
    assert texts(worker, *orders) == [o[::-1] for o in orders]


def test_errors_keep_their_kind(worker: SubprocessEngine, log: Path) -> None:
    with pytest.raises(CapabilityError, match="this engine cannot"):
        texts(worker, "refuse")
    assert texts(worker, "alive") == ["evila"]
    missing = SubprocessEngine(Model("missing"), EngineOptions(), log, host="hosted:Obedient")
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be loaded"):
            texts(missing, "x")
    missing.close()


def test_a_package_that_is_missing_is_named_with_the_remedy(log: Path) -> None:
    worker = SubprocessEngine(MODEL, EngineOptions(), log, host="no_such_package:Engine")
    with pytest.raises(ConfigError, match=r"woolgather\[local\]"):
        texts(worker, "x")
    worker.close()


def test_what_a_library_prints_goes_to_the_log(worker: SubprocessEngine, log: Path) -> None:
    assert texts(worker, "print", "b") == ["tnirp", "b"]
    worker.close()
    assert "loud library" in log.read_text()


def test_an_error_in_the_requests_is_the_callers(worker: SubprocessEngine) -> None:
    def source() -> Iterator[Request]:
        yield Request("a", Sampling())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(worker.complete(source()))
    assert texts(worker, "alive") == ["evila"]


@pytest.mark.parametrize("host", ["hosted:Obedient", "hosted:slow_to_load"])
def test_the_child_leaves_when_the_parent_is_killed(host: str, log: Path) -> None:
    code = (
        "import sys; from woolgather.core.artifacts import Model\n"
        "from woolgather.engines.base import EngineOptions, Request, Sampling\n"
        "from woolgather.engines.subprocess.engine import SubprocessEngine\n"
        f"w = SubprocessEngine(Model('m'), EngineOptions(), None, host={host!r})\n"
        "w._start(); print(w._child.pid, flush=True)\n"
        "list(w.complete([Request('slow', Sampling())]))\n"
    )
    env = {**os.environ, "PYTHONPATH": PATHS}
    env.pop("WOOLGATHER_PARENT", None)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_the_parent_imports_no_torch() -> None:
    code = (
        "import sys, woolgather.engines.subprocess.engine, woolgather.models.embedded\n"
        "import woolgather.prompting.renderer\n"
        "print(sorted({'torch', 'transformers', 'jinja2'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_real_model_in_a_child(tiny_model: Path, log: Path) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    model, options = Model(str(tiny_model), "t", "raw"), EngineOptions(dtype="float32")
    worker, inside = SubprocessEngine(model, options, log), TransformersEngine(model, options)
    requests = [
        Request(f"the dog {i}", Sampling(temperature=0.8, seed=i, max_tokens=9)) for i in range(5)
    ]
    assert list(ask(worker, requests)) == list(ask(inside, requests))
    prompts, tails = ["the dog", "one two"], ["sleeps", " three"]
    assert worker.sequence_logprobs(prompts, tails) == inside.sequence_logprobs(prompts, tails)
    assert worker.embed(prompts) == inside.embed(prompts)
    child = worker._child
    assert child is not None
    child.kill()
    assert list(ask(worker, requests)) == list(ask(inside, requests))
    worker.close()
