"""Who holds what: the names and files that are asked for, and whether what came is what was asked."""

import importlib.util
import json
from types import SimpleNamespace

import pytest
import yaml

from woolgather.core.errors import ConfigError
from woolgather.training.job import LoraOptions, SftOptions
from woolgather.training.job_file import Execution
from woolgather.training.launch import LocalTrainer, _error
from woolgather.training.layouts import (
    FILE,
    SHARDINGS,
    ZERO_FILE,
    ProcessLayout,
    read_layout,
    write_layout,
)
from woolgather.training.worker import program
from woolgather.training.worker.devices import machine, processes

GOOD = {"distributed_type": "FSDP", "num_processes": 4, "fsdp_config": {"fsdp_version": 2}}


def test_names_and_files_are_read(tmp_path):
    for name in SHARDINGS:
        assert read_layout(name, 4) == ProcessLayout(name, 4)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(GOOD | {"num_machines": 2}))
    assert read_layout(str(path), nodes=2) == ProcessLayout("fsdp2", 4, 2, path)
    assert read_layout(str(path), nodes=2).here == 2
    zero = {
        "distributed_type": "DEEPSPEED",
        "num_processes": 8,
        "deepspeed_config": {"zero_stage": 1},
    }
    path.write_text(yaml.safe_dump(zero))
    assert read_layout(str(path), 8).sharding == "zero2"
    stage = tmp_path / "zero.json"
    stage.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    path.write_text(
        yaml.safe_dump(zero | {"deepspeed_config": {"deepspeed_config_file": str(stage)}})
    )
    assert read_layout(str(path)).sharding == "zero3"


@pytest.mark.parametrize(
    ("text", "processes", "words"),
    [
        (
            "distributed_type: FSDP\nnum_processes: [2\n",
            1,
            r"line 3: it cannot be parsed .*Mend it",
        ),
        ("- 1\n- 2\n", 1, "expected fields .* found list"),
        (yaml.safe_dump(GOOD | {"fdsp_config": {}}), 1, "no field 'fdsp_config'. Take it out"),
        (
            yaml.safe_dump(GOOD | {"num_processes": "two"}),
            1,
            "num_processes: expected a whole number",
        ),
        ("distributed_type: FSDP\n", 1, "num_processes: expected a whole number .* found None"),
        (yaml.safe_dump(GOOD | {"fsdp_config": {}}), 1, "fsdp_version: only version 2"),
        (
            yaml.safe_dump(GOOD | {"distributed_type": "TPU"}),
            1,
            "distributed_type: 'TPU' is not one of",
        ),
        (yaml.safe_dump(GOOD | {"distributed_type": "DEEPSPEED"}), 1, "expected a ZeRO stage"),
        (yaml.safe_dump(GOOD), 2, "--processes 2: .* says num_processes: 4"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(tmp_path, text, processes, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_layout(str(path), processes)
    assert "bad.yaml" in str(caught.value)


def test_names_that_are_none_and_numbers_below_one():
    with pytest.raises(
        ConfigError, match="--accelerate fsdp: neither one of ddp, fsdp2, zero2, zero3"
    ):
        read_layout("fsdp")
    with pytest.raises(ConfigError, match="--processes 0: give a number from 1 on"):
        read_layout("ddp", 0)


@pytest.mark.parametrize("name", ["fsdp2", "zero2", "zero3"])
def test_accelerate_reads_our_files_as_they_are_meant(tmp_path, name, monkeypatch):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    path = write_layout(ProcessLayout(name, 4), tmp_path, "bfloat16")
    assert path == tmp_path / FILE
    told = load_config_from_file(str(path))
    assert (told.num_processes, told.num_machines) == (4, 1)
    assert told.distributed_type.value == ("FSDP" if name == "fsdp2" else "DEEPSPEED")
    assert read_layout(str(path)) == ProcessLayout(name, 4, 1, path)
    asked = launch_command_parser().parse_args(["--config_file", str(path), "-m", "a.module"])
    asked, _, _ = _validate_launch_command(asked)
    if name == "fsdp2":
        for key, value in prepare_multi_gpu_env(asked).items():
            if key.startswith("FSDP"):
                monkeypatch.setenv(key, value)
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2
        assert plugin.reshard_after_forward is True
        assert plugin.cpu_ram_efficient_loading is True
    else:
        assert asked.use_deepspeed
        assert asked.deepspeed_config_file == str(tmp_path / ZERO_FILE)
    mine = tmp_path / "mine.yaml"
    assert write_layout(ProcessLayout(name, 4, file=mine), tmp_path, "float32") == mine


@pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed here"
)
@pytest.mark.parametrize(("name", "stage"), [("zero2", 2), ("zero3", 3)])
def test_deepspeed_reads_our_file_as_it_is_meant(tmp_path, name, stage):
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    write_layout(ProcessLayout(name, 4), tmp_path, "bfloat16")
    told = json.loads((tmp_path / ZERO_FILE).read_text())["zero_optimization"]
    plain = {key: value for key, value in told.items() if value != "auto"}
    assert DeepSpeedZeroConfig(**plain).stage == stage


def accelerator(kind: str, count: int, **plugins):
    plugins = {"deepspeed_plugin": None, "fsdp_plugin": None} | plugins
    return SimpleNamespace(
        distributed_type=SimpleNamespace(value=kind),
        num_processes=count,
        state=SimpleNamespace(**plugins),
    )


STAGE = {n: SimpleNamespace(zero_stage=n) for n in (1, 2, 3)}
VERSION = {n: SimpleNamespace(fsdp_version=n) for n in (1, 2)}


@pytest.mark.parametrize(
    ("asked", "got", "right"),
    [
        ("ddp", accelerator("MULTI_CPU", 2), True),
        ("ddp", accelerator("NO", 1), False),
        ("fsdp2", accelerator("FSDP", 2, fsdp_plugin=VERSION[2]), True),
        ("fsdp2", accelerator("FSDP", 2, fsdp_plugin=VERSION[1]), False),
        ("fsdp2", accelerator("MULTI_CPU", 2), False),
        ("zero2", accelerator("DEEPSPEED", 2, deepspeed_plugin=STAGE[1]), True),
        ("zero2", accelerator("DEEPSPEED", 2, deepspeed_plugin=STAGE[3]), False),
        ("zero3", accelerator("DEEPSPEED", 2, deepspeed_plugin=STAGE[3]), True),
        ("zero3", accelerator("MULTI_CPU", 2), False),
    ],
)
def test_what_came_is_compared_with_what_was_asked(asked, got, right):
    execution = Execution(sharding=asked, processes=2)
    if right:
        processes.check_layout(execution, got)
        return
    with pytest.raises(ConfigError, match=f"--accelerate {asked} with 2 processes was asked for"):
        processes.check_layout(execution, got)


def test_processes_with_different_rows_are_refused(tmp_path, monkeypatch):
    import accelerate.utils

    (tmp_path / "train.parquet").write_bytes(b"rows")
    processes.check_same_rows(tmp_path / "nowhere")  # alone there is nobody to differ from
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda mine: [*mine, *mine])
    processes.check_same_rows(tmp_path)
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda mine: [*mine, "another" * 9])
    with pytest.raises(ConfigError, match=r"have different rows: .* for process 1. Put the run"):
        processes.check_same_rows(tmp_path)


def test_layouts_and_optimizers_for_gpus_are_refused_on_a_cpu():
    plain = SftOptions(precision="float32")
    with pytest.raises(ConfigError, match="--accelerate fsdp2 shares weights out among GPUs"):
        machine.find_machine(Execution(cpu=True, sharding="fsdp2"), plain)
    for name in ("adamw_8bit", "paged_adamw_8bit"):
        eight = plain.model_copy(update={"optimizer": name})
        with pytest.raises(ConfigError, match=f"optimizer={name}: 8 bits are for GPUs"):
            machine.find_machine(Execution(cpu=True), eight)


def test_eight_bits_need_bitsandbytes_and_four_bits_are_not_shared_out(monkeypatch):
    monkeypatch.setattr(machine.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(machine.torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    eight = SftOptions(precision="float32", optimizer="adamw_8bit")
    with pytest.raises(ConfigError, match="optimizer=adamw_8bit: bitsandbytes is not installed"):
        machine.find_machine(Execution(), eight)
    four = SftOptions(precision="float32", lora=LoraOptions(four_bit=True))
    with pytest.raises(ConfigError, match="four_bit: a base in 4 bits is whole on each device"):
        machine.find_machine(Execution(sharding="zero3"), four)


def test_a_process_that_lost_another_is_told_apart_and_the_cause_comes_first(tmp_path, monkeypatch):
    gone = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]")
    assert program._kind_of(gone) == "error"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert program._kind_of(gone) == "lost"
    monkeypatch.setenv("RANK", "1")
    program._fail(tmp_path, "memory", "out of memory")
    monkeypatch.setenv("RANK", "0")
    program._fail(tmp_path, "lost", str(gone))
    assert _error(tmp_path) == {"kind": "memory", "message": "out of memory"}


def test_threads_are_shared_by_the_processes_of_this_machine(monkeypatch):
    monkeypatch.setattr("woolgather.training.launch.count_cores", lambda: 8)
    assert LocalTrainer()._threads(ProcessLayout("fsdp2", 8, machines=2).here) == 2
    assert LocalTrainer(threads=3)._threads(2) == 3
