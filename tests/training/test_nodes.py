"""Several machines that train together: who they are, what they start, and two of them on this one."""

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from woolgather.api.launch import AskedSettings, AskedTraining, Launch
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, TrainingError
from woolgather.engines.base import EngineOptions
from woolgather.training import nodes
from woolgather.training.checkpoints import JOB
from woolgather.training.job import RESULT
from woolgather.training.launch import LocalTrainer
from woolgather.training.layouts import ProcessLayout, launch_args, read_layout, write_layout
from woolgather.training.nodes import (
    FOLDER,
    ClusterNode,
    Meeting,
    Notes,
    Spot,
    Watch,
    first_host,
    follow,
    read_node,
)

from .test_processes import curve, job_of, start, train

__all__ = ["start"]
SLURM = {
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_NODEID": "3",
    "SLURM_STEP_NODELIST": "gpu[003-006]",
    "SLURM_LOCALID": "0",
}


def test_machines_are_numbered_by_options_or_by_slurm():
    assert read_node("1", None, "") == ClusterNode()
    assert read_node("2", 1, "10.0.0.1:29500") == ClusterNode(2, 1, "10.0.0.1", 29500)
    assert read_node("slurm", None, "", SLURM) == ClusterNode(4, 3, "gpu003")
    assert read_node("slurm", None, "head:400", SLURM) == ClusterNode(4, 3, "head", 400)
    whole_job = {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "a1"}
    assert read_node("slurm", None, "", whole_job) == ClusterNode()


def test_the_first_host_of_a_list():
    lists = {"gpu[003-006,9],login": "gpu003", "a,b": "a", "n[7].local": "n7.local", "one": "one"}
    assert {names: first_host(names) for names in lists} == lists


@pytest.mark.parametrize(
    ("asked", "environ", "words"),
    [
        (("two", None, ""), {}, "--nodes two: give a number of machines from 1 on, or slurm"),
        (("0", None, ""), {}, "--nodes 0: give a number"),
        (("2", None, "a:1"), {}, "--node-rank is missing: number the 2 machines .* from 0 to 1"),
        (("2", 2, "a:1"), {}, "--node-rank 2 is none of them"),
        (("2", 0, ""), {}, "--main-address is missing: .* HOST:PORT"),
        (("2", 0, "host"), {}, "--main-address host: write HOST:PORT"),
        (("2", 0, "host:99999"), {}, "--main-address host:99999: write HOST:PORT"),
        (("1", 0, "host:1"), {}, "are for several machines: say how many with --nodes"),
        (("slurm", 1, ""), SLURM, "--node-rank: --nodes slurm says it already"),
        (("slurm", None, ""), {}, "SLURM_STEP_NUM_NODES is not set. Start it with srun"),
        (("slurm", None, ""), SLURM | {"SLURM_LOCALID": "1"}, "Set --ntasks-per-node=1"),
    ],
)
def test_what_does_not_fit_together_is_one_clear_error(asked, environ, words):
    with pytest.raises(ConfigError, match=words):
        read_node(*asked, environ)


def test_processes_are_those_of_all_machines(tmp_path):
    assert read_layout("zero3", 16, 2).here == 8
    with pytest.raises(ConfigError, match="--processes 5: it counts those of all machines, and 2"):
        read_layout("ddp", 5, 2)
    path = tmp_path / "mine.yaml"
    path.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\nnum_machines: 2\n")
    with pytest.raises(ConfigError, match=r"--nodes 1: .*mine.yaml says num_machines: 2"):
        read_layout(str(path))
    assert read_layout(str(path), nodes=2) == ProcessLayout("ddp", 4, 2, path)


def test_torch_reads_what_a_machine_starts_as_it_is_meant(tmp_path):
    from torch.distributed.run import get_args_parser

    args = launch_args(ProcessLayout(processes=8, machines=2), tmp_path, Spot(4000, "head", 1))
    assert args[:2] == ["-m", "torch.distributed.run"]
    told = get_args_parser().parse_args([*args[2:], "a.module"])
    assert (told.nnodes, told.nproc_per_node, told.node_rank) == ("2", "4", 1)
    assert (told.master_addr, told.master_port, told.training_script) == ("head", 4000, "a.module")


@pytest.mark.parametrize("name", ["fsdp2", "zero3"])
def test_accelerate_reads_what_a_machine_starts_as_it_is_meant(tmp_path, name):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    layout = ProcessLayout(name, 8, 2)
    write_layout(layout, tmp_path, "bfloat16")
    args = launch_args(layout, tmp_path, Spot(4000, "head", 1))
    told, _, _ = _validate_launch_command(
        launch_command_parser().parse_args([*args[2:], "a.module"])
    )
    assert (told.num_machines, told.machine_rank, told.num_processes) == (2, 1, 8)
    assert (told.main_process_ip, told.main_process_port) == ("head", 4000)
    if name == "zero3":
        assert told.deepspeed_multinode_launcher == "standard"
    prepare_multi_gpu_env(told)
    assert (told.nnodes, told.nproc_per_node, told.node_rank) == ("2", "4", 1)
    assert (told.master_addr, told.master_port) == ("head", "4000")


def test_a_note_that_stands_still_is_from_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "BEAT", 0.01)
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"beat": 7, "over": True}))
    watch = Watch(path)
    assert watch.look() == watch.look() == {}
    assert not watch.lives
    with Notes(path) as notes:
        notes.tell(word="here")
        until(lambda: watch.look().get("word") == "here")
    assert watch.lives


def until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_machine_that_does_not_come_and_a_run_that_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "PATIENCE", 0.05)
    with (
        Meeting(ClusterNode(2, 0, "head", 1), tmp_path) as meeting,
        pytest.raises(TrainingError, match=r"machine 1 of 2 has not come .* with --node-rank 1"),
    ):
        meeting.call(tmp_path / JOB)
    with pytest.raises(TrainingError, match=r"the run in .* has not begun: .* --node-rank 0"):
        follow(ClusterNode(2, 1, "head", 1), tmp_path / "other", LocalTrainer(), print)


def test_a_machine_that_goes_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "GONE", 0.05)
    meeting = Meeting(ClusterNode(2, 0, "head", 1), tmp_path)
    time.sleep(0.1)
    with pytest.raises(TrainingError, match=r"machine 1 of 2 is gone: .* --node-rank 1"):
        meeting.check()


def test_a_helper_leaves_when_the_first_machine_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "GONE", 0.05)
    notes = Notes(tmp_path / FOLDER / "node-0.json")
    notes._path.parent.mkdir()
    notes.tell()
    later = threading.Timer(0.3, notes.tell)
    later.start()
    with pytest.raises(TrainingError, match="is gone: nothing came from machine 0"):
        follow(ClusterNode(2, 1, "head", 1), tmp_path, LocalTrainer(), print)
    later.join()


def test_two_machines_train_as_one_process(start: Model, tmp_path: Path):
    """Both are this one: the second follows in a thread, and each starts one of the two processes."""
    job = job_of("sft-lora", start, tmp_path / "data", 4)
    train(job, tmp_path / "one")
    layout, said = ProcessLayout(processes=2, machines=2), []
    helper = LocalTrainer(layout, cpu=True, threads=1)
    other = threading.Thread(
        target=follow, args=(ClusterNode(2, 1, "127.0.0.1"), tmp_path, helper, said.append)
    )
    with ExitStack() as stack:
        stack.callback(other.join)
        meeting = stack.enter_context(Meeting(ClusterNode(2, 0, "127.0.0.1"), tmp_path))
        other.start()
        train(job, tmp_path / "two", layout=layout, meeting=meeting)
    assert said == [f"helps with {tmp_path / 'two'}", "done, exit code 0"]
    execution = json.loads((tmp_path / "two" / RESULT).read_text())["execution"]
    assert execution["processes"] == 2
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)
    told = json.loads((tmp_path / FOLDER / "node-0.json").read_text())
    assert (told["over"], told["call"]) == (True, None)


def launch(folder: Path, **how) -> Launch:
    settings = AskedSettings(preset="demo", texts=("base=fake",))
    return Launch(
        "isheep",
        settings,
        folder=folder,
        engine=EngineOptions(name=how.pop("engine", "fake")),
        training=AskedTraining(**how),
    )


def test_a_launch_refuses_machines_that_do_not_fit(tmp_path):
    with pytest.raises(ConfigError, match="--node-rank is missing"):
        launch(tmp_path, nodes="2", main_address="a:1").plan()
    with pytest.raises(ConfigError, match="with --engine fake nothing is trained"):
        launch(tmp_path, nodes="2", node_rank=1, main_address="a:1").help_out(print)
