"""The folder that a run hands over answers the same in a vLLM and a transformers that know nothing of us:
its template, its end tokens and its generation config are all that they go by."""

import json
import subprocess
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.children import environment
from woolgather.engines.vllm.interpreter import Interpreter, child_environment
from woolgather.training.checkpoints import JOB
from woolgather.training.job import MergeOptions, TrainJob
from woolgather.training.job_file import Execution, write_job
from woolgather.training.worker import program

from ...conftest import CHATML, save_llama, save_tokenizer
from ...training.conftest import few_threads  # noqa: F401 - a fixture
from ...training.working import ROWS, run

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]
TOLD = [row.instruction for row in ROWS[:4]]
LONGEST = 40
PLAIN = """
import json, sys
from vllm import LLM, SamplingParams
folder, told, longest = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
llm = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=256,
          kv_cache_memory_bytes=1 << 28)
how = llm.get_default_sampling_params()
how.temperature, how.max_tokens = 0, longest
found = llm.chat([[{"role": "user", "content": text}] for text in told], how, use_tqdm=False)
print(json.dumps([[one.outputs[0].text, one.outputs[0].finish_reason] for one in found]))
"""


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A tiny model that was tuned to say "the lazy dog" and merged. vLLM on a CPU takes heads of 32."""
    base = tmp_path / "base"
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    # The base's own end of text is not the end of a turn: the second must be saved to be known.
    names = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "chat_template": CHATML}
    size = save_tokenizer(base, specials, **names)
    save_llama(base, size, end=0, hidden_size=128)
    assert run(base, tmp_path / "tuned", epochs=8) == 0
    out = tmp_path / "merged"
    out.mkdir()
    job = TrainJob(MergeOptions(card="# A card"), Model(str(tmp_path / "tuned" / "model")))
    write_job(out / JOB, job, digest="d", execution=Execution(cpu=True))
    assert program.main([str(out / JOB)]) == 0
    return out / "model"


def by_transformers(folder: Path) -> list[list[str]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for text in TOLD:
        rows = [{"role": "user", "content": text}]
        asked = tokenizer.apply_chat_template(
            rows, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        whole = model.generate(**asked, do_sample=False, max_new_tokens=LONGEST)[0]
        new = whole[asked["input_ids"].shape[1] :]
        reason = "stop" if int(new[-1]) in model.generation_config.eos_token_id else "length"
        found.append([tokenizer.decode(new, skip_special_tokens=True), reason])
    return found


@pytest.mark.usefixtures("few_threads")
def test_a_tuned_model_answers_the_same_outside(result: Path, real_vllm: Interpreter) -> None:
    done = subprocess.run(
        [real_vllm.python, "-P", "-c", PLAIN, result, json.dumps(TOLD), str(LONGEST)],
        env={**environment(), **child_environment(real_vllm), "TORCHDYNAMO_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    assert answers == by_transformers(result)
    assert {reason for _, reason in answers} == {"stop"}
    assert all("lazy dog" in text for text, _ in answers)
