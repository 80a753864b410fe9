"""Two processes that train together on a CPU (DDP over gloo): the same training as one process makes."""

import json
import shutil
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from woolgather.core.artifacts import Model
from woolgather.core.storage import digest
from woolgather.ops.train.sft import encode, write_tokens
from woolgather.training.checkpoints import CHECKPOINTS
from woolgather.training.job import (
    CURVES,
    MARKER,
    RESULT,
    DpoOptions,
    LoraOptions,
    SftOptions,
    TrainJob,
)
from woolgather.training.launch import LocalTrainer
from woolgather.training.layouts import ProcessLayout

from .working import ROWS

pytestmark = [pytest.mark.xdist_group("training"), pytest.mark.timeout(600)]

TWO = ProcessLayout(processes=2)
LORA = LoraOptions(r=4, dropout=0.0)
PAIRS = [
    {
        "prompt_ids": [10 + n, 20, 30 + n],
        "chosen_ids": [*range(40, 43 + n % 5), 2],
        "rejected_ids": [*range(60 + n, 62 + n + n % 3), 2],
    }
    for n in range(11)
]
"""Eleven pairs in updates of four: the last has three, which two processes cannot share evenly."""


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory) -> Model:
    """The tiny model stored in bfloat16, so that the precision it is saved in shows."""
    path = tmp_path_factory.mktemp("start") / "model"
    shutil.copytree(tiny_model, path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    model.to(torch.bfloat16).save_pretrained(path)
    return Model(str(path), digest=digest(path))


def job_of(kind: str, start: Model, folder: Path, updates: int) -> TrainJob:
    folder.mkdir(parents=True)
    common = {"precision": "float32", "batch_size": 4, "warmup_updates": 0}
    common |= {"max_updates": updates, "lora": LORA if kind.endswith("lora") else None}
    common |= {"learning_rate": 1e-3}
    if kind.startswith("sft"):
        rows = encode(ROWS[:11], start)
        write_tokens(rows[3:], folder / "train")
        write_tokens(rows[:3], folder / "validation")
        weigh = "rows" if kind.endswith("lora") else "tokens"
        options = SftOptions(validate_every=updates, weigh=weigh, **common)
        return TrainJob(options, start, folder, 1)
    ids = pa.list_(pa.int32())
    shape = pa.schema([(name, ids) for name in PAIRS[0]])
    for name, part in (("train", PAIRS), ("validation", PAIRS[2:5])):
        pq.write_table(pa.Table.from_pylist(part, schema=shape), folder / f"{name}.parquet")
    common |= {"validation": 0.2, "validate_every": updates}
    return TrainJob(DpoOptions(nll_weight=0.5, **common), start, folder, 1, start)


def train(job: TrainJob, out: Path, **how) -> Model:
    out.mkdir(parents=True)
    return LocalTrainer(cpu=True, threads=1, **how)(job, out)


def curve(out: Path, name: str = "loss") -> list[float]:
    return [row[name] for row in pq.read_table(out / CURVES).to_pylist() if row[name] is not None]


def result(out: Path) -> dict:
    return json.loads((out / RESULT).read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


def kill_second(job_file: Path) -> bool:
    """Kill the process of rank 1 that works on a job, as the kernel does when memory runs out."""
    for process in psutil.Process().children(recursive=True):
        try:
            told = process.cmdline()
            if str(job_file) in told and process.environ().get("RANK") == "1":
                process.kill()
                return True
        except psutil.Error:
            continue
    return False


def copy_amid(points: Path, target: Path, updates_per_epoch: int) -> int:
    """Copy a complete checkpoint from amid an epoch behind the first; returns its update, 0 for none."""
    for folder in points.glob("checkpoint-*"):
        update = int(folder.name.split("-")[1])
        if (
            update > updates_per_epoch
            and update % updates_per_epoch
            and (folder / MARKER).is_file()
        ):
            try:
                shutil.copytree(folder, target / folder.name)
                return update
            except (OSError, shutil.Error):  # removed meanwhile, two updates later
                shutil.rmtree(target)
    return 0


@pytest.mark.parametrize(
    ("kind", "killed"),
    [("sft-lora", False), ("sft-full", True), ("dpo-lora", True), ("dpo-full", False)],
)
def test_two_processes_train_as_one_also_when_one_of_them_is_killed(start, tmp_path, kind, killed):
    updates = 20 if killed else 6
    job = job_of(kind, start, tmp_path / "data", updates)
    train(job, tmp_path / "one")
    gone, amid = [], []
    updates_per_epoch = 2 if kind.startswith("sft") else 3

    def watch(event):
        if killed and event["event"] == "checkpoint" and not amid:
            found = copy_amid(
                tmp_path / "two" / CHECKPOINTS, tmp_path / "rest" / CHECKPOINTS, updates_per_epoch
            )
            if found:
                amid.append(found)
                gone.append(kill_second(tmp_path / "two" / "job.json"))

    train(job, tmp_path / "two", layout=TWO, on_progress=watch, checkpoint_every=0 if killed else 9)
    assert gone == ([True] if killed else [])
    one, two = tmp_path / "one", tmp_path / "two"
    execution = result(two)["execution"]
    assert (execution["processes"], execution["sharding"]) == (2, "ddp")
    assert bool(execution["resumed_from"]) == killed
    assert len(curve(one)) == updates
    assert curve(two) == pytest.approx(curve(one), rel=1e-4)
    if killed:  # from a point amid an epoch, whichever the kill came upon
        LocalTrainer(cpu=True, threads=1, layout=TWO)(job, tmp_path / "rest")
        assert result(tmp_path / "rest")["execution"]["resumed_from"] == amid[0]
        assert curve(tmp_path / "rest") == pytest.approx(curve(one), rel=1e-4)
    if kind.startswith("sft"):
        assert curve(two, "validation_loss") == pytest.approx(
            curve(one, "validation_loss"), rel=1e-4
        )
    else:
        assert curve(two, "margin") == pytest.approx(curve(one, "margin"), rel=1e-3, abs=1e-5)
    same = ("updates", "rows", "trained_parameters")
    assert [result(one)[name] for name in same] == [result(two)[name] for name in same]
    ours, theirs = weights(one / "model"), weights(two / "model")
    assert {k: v.dtype for k, v in ours.items()} == {k: v.dtype for k, v in theirs.items()}
    assert all(torch.allclose(v, theirs[k], rtol=1e-2, atol=1e-3) for k, v in ours.items())
    if kind.endswith("full"):
        assert {v.dtype for v in theirs.values()} == {torch.bfloat16}
