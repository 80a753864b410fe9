"""The engine over a real vLLM for CPUs, beside the transformers engine; skipped where there is none."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions, Request, Sampling, ask
from woolgather.engines.subprocess.engine import SubprocessEngine
from woolgather.engines.vllm.engine import VllmEngine
from woolgather.engines.vllm.hand_off import find_gap, read
from woolgather.engines.vllm.interpreter import Interpreter
from woolgather.prompting.messages import Message

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]
CHAT = (Message("user", "What is the capital of France?"),)


@pytest.fixture(scope="module")
def vllm(
    real_vllm: Interpreter, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmEngine]:
    options = EngineOptions(
        name="vllm",
        python=real_vllm.python,
        dtype="float32",
        args={"max_model_len": 512, "kv_cache_memory_bytes": 1 << 29},
    )
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    engine = VllmEngine(Model(str(smollm2), "s", "chat"), options, log)
    yield engine
    engine.close()


def test_both_programs_make_the_same_of_a_model(vllm: VllmEngine) -> None:
    options = EngineOptions(dtype="float32")
    ours = SubprocessEngine(vllm.model, options)
    assert find_gap(read(ours), read(vllm), "the model") < 1e-3
    prompts = [CHAT, "The dog"]
    for texts in (["Yes", "No"], ["Paris, France", "No"]):
        expected = ours.option_logprobs(prompts, texts)
        for mine, theirs in zip(expected, vllm.option_logprobs(prompts, texts), strict=True):
            assert theirs == pytest.approx(mine, abs=1e-3)
    requests = [
        Request(CHAT, Sampling(temperature=0, max_tokens=20)),
        Request("one two three", Sampling(temperature=0, max_tokens=12, stop=("six", "\n"))),
        Request("x " * 600, Sampling(max_tokens=4)),
    ]
    mine, theirs = list(ask(ours, requests)), list(ask(vllm, requests))
    ours.close()
    assert mine[:2] == theirs[:2]
    assert theirs[2].finish_reason == "too_long"


def test_a_seed_decides_whatever_the_company_and_after_a_death(vllm: VllmEngine) -> None:
    # Prompts of more tokens than a step takes at once, were they read in pieces.
    long = ["The dog " * 100 + str(i) for i in range(30)]
    requests = [
        Request(text, Sampling(temperature=0.9, top_p=0.9, seed=i, max_tokens=6))
        for i, text in enumerate(long)
    ]
    together = list(ask(vllm, requests))
    assert len({c.text for c in together}) > 10
    assert list(ask(vllm, requests[3:5])) == together[3:5]
    stream = vllm.complete(requests)
    first = dict([next(stream)])
    assert vllm._child is not None
    process = psutil.Process(vllm._child.pid)
    process.kill()
    again = first | dict(stream)
    assert [again[i] for i in range(30)] == together
    vllm.close()
    assert not process.is_running()
