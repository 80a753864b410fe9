"""Training the embedded model on some of our seed tasks, as a recipe does."""

import json
from itertools import islice

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.ops.train.merge import merge
from woolgather.ops.train.sft import sft
from woolgather.training.job import RESULT, SftOptions
from woolgather.training.launch import LocalTrainer

pytestmark = [pytest.mark.real, pytest.mark.full]


def test_the_embedded_model_learns_and_still_stops(smollm2, tmp_path):
    from importlib import resources

    from transformers import AutoModelForCausalLM, AutoTokenizer

    lines = (resources.files("woolgather") / "seeds" / "seeds.jsonl").read_text().splitlines()
    tasks = (json.loads(line) for line in lines)
    rows = [
        Example(instruction=t["instruction"], input=t.get("input", ""), response=t["response"])
        for t in islice((t for t in tasks if len(t["response"]) < 200), 40)
    ]
    config = SftOptions(learning_rate=2e-4, warmup_updates=1, batch_size=9, epochs=2)
    out = tmp_path / "attempt-1"
    start = Model(str(smollm2), fingerprint="smollm2")
    tuned = sft(rows, start=start, config=config, trainer=LocalTrainer(), out=out, seed=1)
    told = json.loads((out / RESULT).read_text())
    assert told["updates"] == 8
    assert told["validation_loss"] < told["validation_loss_before"]

    merged = merge(tuned, trainer=LocalTrainer(), out=tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    model = AutoModelForCausalLM.from_pretrained(merged.path)
    turns = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    prompt = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, do_sample=False, max_new_tokens=100)[0]
    reply = made[prompt["input_ids"].shape[1] :].tolist()
    assert "Paris" in tokenizer.decode(reply)
    assert reply[-1] == tokenizer.eos_token_id
    assert str(model.dtype) == "torch.bfloat16"
