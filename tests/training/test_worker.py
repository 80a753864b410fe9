"""The launched program's own decisions, run here without a launcher, on a tiny model."""

import json
import os
import subprocess
import sys

import pytest
import torch
import transformers
import trl.trainer.utils

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.ops.train.sft import encode, write_tokens
from woolgather.training.checkpoints import (
    CHECKPOINTS,
    ERROR,
    JOB,
    STOP,
    STOPPED,
    tidy_generation_config,
)
from woolgather.training.job import RESULT, LoraOptions, TrainJob
from woolgather.training.job_file import Execution, read_job, write_job
from woolgather.training.worker import program, setup, sft, told
from woolgather.training.worker.devices import machine
from woolgather.training.worker.speed import Dropout

from .working import OPTIONS, ROWS, error, losses, run

pytestmark = pytest.mark.usefixtures("few_threads")


@pytest.mark.parametrize("weigh", ["tokens", "rows"])
def test_rows_at_once_do_not_change_what_is_learned(tiny_model, tmp_path, weigh):
    for micro in (1, 4):
        how = {"micro": micro, "precision": "float32", "weigh": weigh}
        assert run(tiny_model, tmp_path / str(micro), **how) == 0
    one, four = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert len(one) == 3
    assert one == pytest.approx(four, rel=1e-5)


def test_the_faster_loss_is_the_plain_one(tiny_model, tmp_path, monkeypatch):
    assert run(tiny_model, tmp_path / "fast") == 0
    monkeypatch.setattr(setup, "faster_on_cpu", lambda model, low, recompute: None)
    monkeypatch.setattr(trl.trainer.utils, "_use_triton", lambda device: False)
    assert run(tiny_model, tmp_path / "plain") == 0
    assert losses(tmp_path / "fast") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)


def test_numbers_too_small_to_matter_are_zero_on_every_thread(tiny_model, tmp_path, monkeypatch):
    """Products with such numbers took a hundred times as long. A thread does what the one that started
    it did, so this is said before the first product."""
    monkeypatch.setattr(program, "main", lambda argv: 0)
    assert run(tiny_model, tmp_path / "out", max_updates=1) == 0
    code = (
        "import sys, torch\n"
        "from woolgather.training.worker import program\n"
        "assert program.main(sys.argv[1:]) == 0\n"
        "product = torch.full((512, 640), 1e-39) @ torch.full((640, 2048), 1e10)\n"
        "print(int(product.count_nonzero()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out" / JOB)],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split()[-1] == "0"


@pytest.mark.parametrize("weigh", ["tokens", "rows"])
def test_the_first_loss_is_the_cross_entropy_of_responses_alone(tiny_model, tmp_path, weigh):
    """Over all their tokens, or the mean of the means of rows."""
    how = {"precision": "float32", "batch_size": 12, "weigh": weigh}
    assert run(tiny_model, tmp_path / "out", **how) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    sums: list[float] = []
    counts: list[int] = []
    for ids, labels in encode(ROWS, Model(str(tiny_model))):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1]
        wanted = torch.tensor(labels[1:])
        loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
        sums.append(loss.item())
        counts.append((wanted != -100).sum().item())
    by_row = sum(s / n for s, n in zip(sums, counts, strict=True)) / len(sums)
    by_token = sum(sums) / sum(counts)
    assert by_row != pytest.approx(by_token, rel=1e-3)
    right = by_row if weigh == "rows" else by_token
    assert losses(tmp_path / "out")[0] == pytest.approx(right, rel=1e-4)


def test_all_weights_can_be_trained_and_are_stored_as_the_base_is(tiny_model, tmp_path):
    assert run(tiny_model, tmp_path / "out", lora=None, learning_rate=1e-3, epochs=3) == 0
    line = losses(tmp_path / "out")
    assert line[-1] < line[0]
    folder = tmp_path / "out" / "model"
    assert not (folder / "adapter_config.json").exists()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    assert model.dtype == base.dtype
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)
    result = json.loads((tmp_path / "out" / RESULT).read_text())
    assert result["trained_parameters"] == sum(p.numel() for p in base.parameters())
    assert result["validation_loss"] is None


def test_other_fields_of_trl_take_effect(tiny_model, tmp_path):
    assert run(tiny_model, tmp_path / "a", args={"max_grad_norm": 1e-9}) == 0
    assert run(tiny_model, tmp_path / "b") == 0
    clipped, plain = losses(tmp_path / "a"), losses(tmp_path / "b")
    assert clipped[0] == pytest.approx(plain[0], rel=1e-4)
    assert clipped[2] != pytest.approx(plain[2], rel=1e-3)


def test_an_adapter_is_no_start(tiny_model, tmp_path):
    assert run(tiny_model, tmp_path / "first") == 0
    assert run(tmp_path / "first" / "model", tmp_path / "second") == 1
    assert error(tmp_path / "second")["kind"] == "mistake"
    assert "merge it first" in error(tmp_path / "second")["message"]


def test_a_batch_that_cannot_be_shared_is_a_mistake(tiny_model, tmp_path):
    assert run(tiny_model, tmp_path / "out", micro=3) == 1
    assert error(tmp_path / "out")["kind"] == "mistake"
    assert "micro_batch_size 3 does not divide" in error(tmp_path / "out")["message"]


@pytest.mark.parametrize("update", [1, 2, 3])
def test_it_goes_on_from_any_update_as_if_nothing_had_happened(
    tiny_model, tmp_path, monkeypatch, update
):
    """Also from the last of an epoch (2), whose checkpoint is older than the validation after it."""
    changes = {"held": 4, "max_updates": 6, "lora": LoraOptions(dropout=0.5)}
    assert run(tiny_model, tmp_path / "whole", **changes) == 0
    saved = told.Told.on_save

    def stop(self, args, state, control, **more):
        self._stopping = state.global_step == update
        saved(self, args, state, control, **more)

    with monkeypatch.context() as patched:
        patched.setattr(told.Told, "on_save", stop)
        assert run(tiny_model, tmp_path / "half", **changes) == STOPPED
    point = tmp_path / "half" / CHECKPOINTS / f"checkpoint-{update}"
    assert run(tiny_model, tmp_path / "rest", resume=point, **changes) == 0
    whole, rest = losses(tmp_path / "whole"), losses(tmp_path / "rest")
    assert len(whole) == 6
    assert rest == pytest.approx(whole[update:], rel=1e-5)


def test_stopped_at_the_last_update_it_ends(tiny_model, tmp_path):
    """A checkpoint of the last update would be gone on from with one update too many."""
    out = tmp_path / "out"
    out.mkdir()
    (out / STOP).touch()
    assert run(tiny_model, out, max_updates=1) == 0
    assert json.loads((out / RESULT).read_text())["updates"] == 1
    two = tmp_path / "two"
    two.mkdir()
    (two / STOP).touch()
    assert run(tiny_model, two, max_updates=2) == STOPPED
    assert not (two / RESULT).exists()


def test_memory_that_runs_out_is_told_apart(tiny_model, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(sft.UpdateTrainer, "train", full)
    assert run(tiny_model, tmp_path / "out") == 1
    assert error(tmp_path / "out")["kind"] == "memory"
    assert not (tmp_path / "out" / RESULT).exists()


@pytest.mark.parametrize(
    "sign",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_a_full_disk_is_told_apart_also_when_there_is_no_room_to_tell(
    tiny_model, tmp_path, monkeypatch, sign
):
    def full(*args, **kwargs):
        raise sign

    monkeypatch.setattr(sft.UpdateTrainer, "train", full)
    assert run(tiny_model, tmp_path / "out") == 1
    assert error(tmp_path / "out")["kind"] == "disk"
    monkeypatch.setattr(program, "write_json", full)
    if isinstance(sign, OSError):
        assert run(tiny_model, tmp_path / "silent") == 1
        assert not (tmp_path / "silent" / ERROR).exists()


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout = Dropout(0.25)
    x = torch.ones(1000, 100, requires_grad=True)
    y = dropout(x)
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    torch.manual_seed(0)
    assert torch.equal(dropout(x), y)
    assert not torch.equal(dropout(x), y)
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_sampling_defaults_that_only_warn_are_left_out(tmp_path):
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"temperature": 0.6, "top_p": 0.9, "eos_token_id": [2]}))
    tidy_generation_config(tmp_path)
    assert json.loads(path.read_text()) == {"eos_token_id": [2]}
    path.write_text(json.dumps({"do_sample": True, "temperature": 0.6}))
    tidy_generation_config(tmp_path)
    assert json.loads(path.read_text()) == {"do_sample": True, "temperature": 0.6}


def test_more_processes_than_devices_is_a_mistake(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    (tmp_path / "data").mkdir()
    write_tokens(encode(ROWS, Model(str(tiny_model))), tmp_path / "data" / "train")
    job = TrainJob(OPTIONS, Model(str(tiny_model)), tmp_path / "data", seed=1)
    write_job(tmp_path / JOB, job, digest="d", execution=Execution(cpu=True, processes=2))
    with pytest.raises(ConfigError, match="2 processes were asked for, and 1 were started"):
        sft.train(read_job(tmp_path / JOB))


def test_a_base_in_four_bits_is_for_gpus_and_elsewhere_said(tiny_model, tmp_path):
    from woolgather.ops.train.sft import _views

    lora = {"r": 4, "dropout": 0, "four_bit": True}
    assert run(tiny_model, tmp_path / "a", lora=lora, max_updates=1) == 0
    told = json.loads((tmp_path / "a" / RESULT).read_text())["execution"]
    assert "GPUs" in told["not_in_four_bits"]
    assert any(v.title == "Base not in 4 bits" for v in _views(tmp_path / "a", OPTIONS, 0, {}))


@pytest.mark.parametrize(
    ("installed", "cpu", "because"),
    [
        (True, False, ""),
        (False, False, "bitsandbytes is not installed"),
        (True, True, "4 bits are"),
    ],
)
def test_where_a_base_can_be_in_four_bits(monkeypatch, installed, cpu, because):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: installed or None)
    asked = OPTIONS.model_copy(update={"lora": LoraOptions(four_bit=True), "precision": "bfloat16"})
    found = machine.find_machine(Execution(cpu=cpu), asked)
    assert found.quantized is (because == "")
    assert found.not_quantized_because.startswith(because)
    plain = machine.find_machine(
        Execution(cpu=cpu), OPTIONS.model_copy(update={"precision": "float32"})
    )
    assert (plain.quantized, plain.not_quantized_because) == (False, "")
    assert plain.device == ("cpu" if cpu else "a GPU")
