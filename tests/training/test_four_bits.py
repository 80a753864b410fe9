"""The merged model against the one that trained on a base in 4 bits. Without a GPU the rounding is ours;
all else is the way that a training and its merge go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from woolgather.core.artifacts import Model
from woolgather.training.job import RESULT, MergeOptions, TrainJob
from woolgather.training.job_file import Execution, write_job
from woolgather.training.worker import program, setup
from woolgather.training.worker.weights import four_bits

from .working import error, run, told

pytestmark = pytest.mark.usefixtures("few_threads")
LORA = {"r": 4, "alpha": 8, "dropout": 0, "four_bit": True}


def merge_in(adapter: Path, out: Path, scale: float = 1.0) -> int:
    out.mkdir()
    job = TrainJob(MergeOptions(scale=scale), Model(str(adapter)))
    write_job(out / "job.json", job, digest="d", execution=Execution(cpu=True))
    return program.main([str(out / "job.json")])


@pytest.fixture
def trained(tiny_model, tmp_path, monkeypatch) -> Path:
    """An adapter that learned on the tiny model's weights rounded to 128 steps each."""
    find, load = setup.find_machine, setup._load_start

    def rounded(*args):
        model = load(*args)
        with torch.no_grad():
            for weight in (p for p in model.parameters() if p.ndim == 2):
                step = weight.abs().max() / 64
                weight.copy_((weight / step).round() * step)
        return model

    monkeypatch.setattr(setup, "find_machine", lambda *args: replace(find(*args), quantized=True))
    monkeypatch.setattr(setup, "in_four_bits", dict)
    monkeypatch.setattr(setup, "_load_start", rounded)
    assert run(tiny_model, tmp_path / "out", lora=LORA, precision="float32") == 0
    assert told(tmp_path / "out")["execution"]["base_bits"] == 4
    return tmp_path / "out" / "model"


def test_what_trained_is_noted_and_the_merged_model_is_held_against_it(trained, tmp_path):
    noted = json.loads((trained / four_bits.FILE).read_text())
    assert len(noted["rows"]) == len(noted["trained"]) == len(noted["base"]) == 12
    assert noted["trained"] != noted["base"]
    assert merge_in(trained, tmp_path / "merged") == 0
    result = json.loads((tmp_path / "merged" / RESULT).read_text())
    assert 0 < result["four_bits_gap"] < result["four_bits_allowed"]
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged" / "model")
    found = four_bits.read_replies(model, noted["rows"])
    gap = sum(abs(a - b) for a, b in zip(found, noted["trained"], strict=True)) / 12
    assert result["four_bits_gap"] == pytest.approx(gap, rel=1e-3)


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_a_merged_model_that_is_another_one_is_refused(trained, tmp_path, wrong):
    path = trained / four_bits.FILE
    noted = json.loads(path.read_text())
    path.write_text(json.dumps(noted | {"trained": [v - wrong for v in noted["trained"]]}))
    assert merge_in(trained, tmp_path / "merged") == 1
    assert error(tmp_path / "merged")["kind"] == "mistake"
    message = error(tmp_path / "merged")["message"]
    assert "nats per token from what trained on a base in 4 bits" in message
    assert "lora.four_bit=false" in message
    assert not (tmp_path / "merged" / RESULT).exists()
    assert merge_in(trained, tmp_path / "half", scale=0.5) == 0


def test_the_log_probabilities_are_those_of_the_replies(tiny_model):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    prompt, reply = [5, 6, 7], [8, 9]
    with torch.no_grad():
        scores = torch.log_softmax(model(torch.tensor([prompt + reply])).logits[0].float(), -1)
    expected = (scores[2, 8] + scores[3, 9]) / 2
    assert four_bits.read_replies(model, [(prompt, reply)]) == pytest.approx([float(expected)])
