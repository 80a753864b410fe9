"""A model's weights between files and memory: shared out by two processes, in shards, one by one."""

import json
import math
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from woolgather.core.errors import ConfigError
from woolgather.training.worker import merging
from woolgather.training.worker.weights import sums
from woolgather.training.worker.weights.files import Entry, find_files, read_entries, write_entries
from woolgather.training.worker.weights.sharded import save_adapter

from .sharding import PROCESSES, ROWS, SHARD_BYTES, open_model, train

pytestmark = pytest.mark.usefixtures("few_threads")
load = transformers.AutoModelForCausalLM.from_pretrained


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory) -> Path:
    """The tiny model with one matrix at both its ends, stored in bfloat16."""
    path = tmp_path_factory.mktemp("start") / "model"
    shutil.copytree(tiny_model, path)
    model = load(path, tie_word_embeddings=True)
    model.to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def shared_out(start, tmp_path_factory) -> Path:
    """What two processes have saved, see sharding.py."""
    folder = tmp_path_factory.mktemp("shared")
    argv = [sys.executable, "-m", "tests.training.sharding", str(start), str(folder)]
    both = [
        subprocess.Popen(
            argv,
            env={**os.environ, "RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
        )
        for rank in range(PROCESSES)
    ]
    said = [process.communicate(timeout=250)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


def test_all_weights_shared_out_are_saved_as_one_process_has_them(start, shared_out):
    alone = open_model(start, "full")
    train(alone, ROWS)
    folder = shared_out / "full"
    stored = tensors(folder)
    assert "lm_head.weight" not in stored
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    told = json.loads((folder / "model.safetensors.index.json").read_text())
    assert told["weight_map"].keys() == stored.keys()
    assert told["metadata"]["total_size"] == sum(t.nbytes for t in stored.values())
    assert all(
        path.stat().st_size < SHARD_BYTES + 4096 or len(load_file(path)) == 1
        for path in folder.glob("*.safetensors")
    )
    model, before = load(folder), load(start)
    assert model.dtype == torch.bfloat16
    for name, value in alone.state_dict().items():
        assert torch.allclose(model.state_dict()[name].float(), value, rtol=1e-2, atol=1e-4)
    assert not torch.equal(model.lm_head.weight, before.lm_head.weight)


def test_an_adapter_shared_out_is_saved_as_one_process_has_it(start, shared_out):
    alone = open_model(start, "adapter")
    train(alone, ROWS)
    alone.save_pretrained(shared_out / "alone")
    ours, theirs = tensors(shared_out / "adapter"), tensors(shared_out / "alone")
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "adapter"])
def test_what_was_saved_is_put_back_bit_by_bit(shared_out, kind):
    first, again = tensors(shared_out / kind), tensors(shared_out / f"{kind}-again")
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert all(value.any() for name, value in first.items())


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_the_sum_made_tensor_by_tensor_is_that_of_peft_to_the_last_bit(shared_out, scale):
    adapter = str(shared_out / "adapter")
    total, whole = sums.read_sum(adapter, scale), merging.load_sum(adapter, scale).state_dict()
    assert total is not None
    made = {entry.name: entry.make() for entry in total.entries}
    assert made.keys() == whole.keys() - {"lm_head.weight"}
    assert all(torch.equal(value, whole[name]) for name, value in made.items())


def adapter_of(model, folder: Path, **settings) -> str:
    torch.manual_seed(5)
    lora = peft.LoraConfig(
        **({"r": 2, "target_modules": "all-linear"} | settings),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    peft.get_peft_model(model, lora).save_pretrained(folder)
    return str(folder)


def test_layers_that_store_their_matrix_the_other_way_round(tmp_path):
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32, tie_word_embeddings=True
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    adapter = adapter_of(load(tmp_path / "base"), tmp_path / "adapter", target_modules=["c_proj"])
    total, whole = sums.read_sum(adapter, 1.0), merging.load_sum(adapter, 1.0).state_dict()
    assert total is not None
    assert all(torch.equal(entry.make(), whole[entry.name]) for entry in total.entries)


@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 4}}, {"bias": "all"}],
    ids=lambda settings: next(iter(settings)),
)
def test_an_adapter_that_is_more_than_that_is_left_to_peft(start, tmp_path, settings):
    adapter = adapter_of(load(start), tmp_path / "adapter", **settings)
    if "bias" in settings:
        path = tmp_path / "adapter" / "adapter_model.safetensors"
        more = {"base_model.model.model.norm.bias": torch.zeros(4)}
        save_file(load_file(path) | more, path)
    assert sums.read_sum(adapter, 1.0) is None


def test_files_that_name_tensors_otherwise_are_left_to_transformers(start, tmp_path):
    shutil.copytree(start, tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    named = {name.removeprefix("model."): tensor for name, tensor in load_file(path).items()}
    save_file(named, path, metadata={"format": "pt"})
    assert sums.read_sum(str(tmp_path / "base"), 1.0) is None
    path.unlink()
    assert sums.read_sum(str(tmp_path / "base"), 1.0) is None


def test_a_sum_that_is_no_number_is_one_clear_error(start, tmp_path):
    adapter = adapter_of(load(start), tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, path)
    total = sums.read_sum(adapter, 1.0)
    assert total is not None
    with pytest.raises(ConfigError, match=r"model.layers.*finite number.*lower learning_rate"):
        write_entries(tmp_path, total.entries)


def test_any_tensors_are_read_as_they_were_written(tmp_path):
    given = {
        "c.flags": torch.tensor([True, False, True]),
        "a.numbers": torch.arange(6).view(2, 3).T,
        "b.weight": torch.randn(3, 5, dtype=torch.bfloat16),
        "d.scalar": torch.tensor(2.5),
        "e.empty": torch.zeros(0, 4),
    }
    entries = [Entry(name, t.dtype, tuple(t.shape), partial(t.clone)) for name, t in given.items()]
    write_entries(tmp_path, entries)
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in given.items())
    again = {entry.name: entry.make() for entry in read_entries([tmp_path / "model.safetensors"])}
    assert all(torch.equal(again[name], tensor) for name, tensor in given.items())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_merge_takes_a_fraction_of_the_models_memory(start, tmp_path):
    """A model of 100 MB in bfloat16, in one file and in several, in a process that has nothing else."""
    config = transformers.AutoConfig.from_pretrained(start)
    config.update({"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12})
    config.update({"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64})
    with torch.device("meta"):
        shape = transformers.AutoModelForCausalLM.from_config(config).state_dict()
    shape.pop("lm_head.weight")
    base = tmp_path / "base"
    base.mkdir()
    config.save_pretrained(base)
    values = torch.linspace(-1, 1, 1 << 21, dtype=torch.bfloat16)
    entries = [
        Entry(n, torch.bfloat16, s, partial(lambda s: values[: math.prod(s)].view(s).clone(), s))
        for n, s in ((name, tuple(t.shape)) for name, t in shape.items())
    ]
    write_entries(base, entries)
    size = sum(entry.size for entry in entries)
    low = {"dtype": torch.bfloat16}
    adapter = adapter_of(load(base, **low), tmp_path / "adapter", target_modules=["up_proj"])
    script = (
        "import re, sys\nfrom pathlib import Path\nimport torch\n"
        "from woolgather.training.worker.weights.files import write_entries\n"
        "from woolgather.training.worker.weights.sums import read_sum\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "total = read_sum(sys.argv[1], 1.0)\n"
        # What arithmetic itself takes, threads and the first product, is not the merge's.
        "write_entries(Path(sys.argv[4]), total.entries[:9])\nbefore = peak()\n"
        "write_entries(Path(sys.argv[2]), total.entries)\n"
        "write_entries(Path(sys.argv[3]), total.entries, 20_000_000)\nprint(peak() - before)\n"
    )
    one, several, first = (tmp_path / name for name in ("one", "several", "first"))
    for folder in (one, several, first):
        folder.mkdir()
    argv = [sys.executable, "-c", script, adapter, str(one), str(several), str(first)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) * 1024 < size / 2
    assert [len(find_files(str(folder), {})) for folder in (one, several)] == [1, 6]
    for folder in (one, several):
        assert sum(e.size for e in read_entries(find_files(str(folder), {}))) == size


def test_one_process_saves_an_adapter_in_the_same_way(start, tmp_path):
    model = open_model(start, "adapter")
    save_adapter(model, tmp_path / "ours", write=True)
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = tensors(tmp_path / "ours"), tensors(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
