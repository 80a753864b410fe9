import json

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.training.job import (
    STAMP,
    DpoOptions,
    LoraOptions,
    MergeOptions,
    SftOptions,
    TrainJob,
    held_back,
    is_fake,
)
from woolgather.training.job_file import Execution, Weights, read_job, write_job
from woolgather.training.trl_args import (
    DPO_FIXED,
    DPO_OURS,
    EXECUTION_ARGS,
    FIXED,
    OURS,
    read_args,
    read_fields,
)


def identity(options: SftOptions) -> str:
    return fingerprint(canonical(options))


def test_what_a_paper_would_report_is_identity_and_how_it_runs_is_not():
    plain = SftOptions()
    for same in (
        {"micro_batch_size": 4},
        {"gradient_checkpointing": True},
        {"args": {"dataloader_num_workers": 2}},
    ):
        assert identity(SftOptions(**same)) == identity(plain), same
    for other in (
        {"learning_rate": 1e-4},
        {"batch_size": 8},
        {"precision": "float32"},
        {"lora": None},
        {"lora": LoraOptions(r=16)},
        {"lora": LoraOptions(four_bit=True)},
        {"max_updates": 5},
        {"validation": 0},
        {"max_rows": 3000},
        {"args": {"max_grad_norm": 0.5}},
    ):
        assert identity(SftOptions(**other)) != identity(plain), other


def test_options_survive_the_way_to_the_worker():
    options = SftOptions(lora=None, max_updates=3, args={"max_grad_norm": 0.5})
    again = SftOptions.model_validate(json.loads(json.dumps(options.model_dump(mode="json"))))
    assert again == options


def test_a_field_that_trl_lacks_is_an_error_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"args\.max_grad_nrom.*'max_grad_norm'"):
        SftOptions(args={"max_grad_nrom": 1})


@pytest.mark.parametrize(("name", "ours"), [("num_train_epochs", "epochs"), ("bf16", "precision")])
def test_a_field_with_a_setting_of_ours_points_to_it(name, ours):
    with pytest.raises(ConfigError, match=f"args.{name}: set `{ours}` instead"):
        read_args({name: 1})


def test_a_field_that_is_not_free_is_refused():
    with pytest.raises(ConfigError, match=r"args\.completion_only_loss is set by woolgather"):
        read_args({"completion_only_loss": False})


def test_known_fields_are_those_of_the_installed_config():
    import dataclasses

    import trl

    fields = {f.name for f in dataclasses.fields(trl.SFTConfig)}
    assert read_fields().keys() == fields
    assert fields >= (FIXED | OURS.keys() | EXECUTION_ARGS)
    assert not (FIXED | OURS.keys()) & EXECUTION_ARGS
    pairs = {f.name for f in dataclasses.fields(trl.DPOConfig)}
    assert read_fields("DPOConfig").keys() == pairs
    assert pairs >= (DPO_FIXED | DPO_OURS.keys() | OURS.keys() | EXECUTION_ARGS)


@pytest.mark.parametrize("other", [{"packing": True}, {"loss_type": "dft"}])
def test_rows_that_weigh_the_same_need_the_plain_loss_of_rows(other):
    assert SftOptions(weigh="rows", args={"loss_type": "nll", "packing": False})
    assert SftOptions(args=other)
    with pytest.raises(ConfigError, match=rf"weigh=rows beside args\.{next(iter(other))}"):
        SftOptions(weigh="rows", args=other)


def test_each_kind_of_training_has_its_own_fields():
    assert DpoOptions(args={"label_smoothing": 0.1}).args
    with pytest.raises(ConfigError, match="no such field in SFTConfig"):
        SftOptions(args={"label_smoothing": 0.1})
    with pytest.raises(ConfigError, match=r"args\.beta: set `beta` instead"):
        DpoOptions(args={"beta": 1})
    with pytest.raises(ConfigError, match=r"lora\.four_bit: in 4 bits the opponent"):
        DpoOptions(lora=LoraOptions(four_bit=True))
    with pytest.raises(ConfigError, match=r"args\.sync_ref_model is set by woolgather"):
        DpoOptions(args={"sync_ref_model": True})


def test_a_job_knows_its_options():
    job = TrainJob(DpoOptions(beta=5.0), Model("fake"))
    assert (job.kind, job.trains) == ("dpo", True)
    assert TrainJob(SftOptions(), Model("fake")).kind == "sft"
    assert not TrainJob(MergeOptions(), Model("fake")).trains


@pytest.mark.parametrize(
    "options",
    [
        SftOptions(lora=LoraOptions(r=4), args={"adam_beta2": 0.9}),
        DpoOptions(lora=None, beta=5.0),
        MergeOptions(scale=0.5, card="# A model", system="Be kind."),
    ],
    ids=lambda options: options.kind,
)
def test_the_worker_reads_the_job_that_was_written(tmp_path, options):
    start, opponent = Model("start", digest="a"), Model("opponent", digest="b")
    start = start.with_template("{{ messages }}")
    job = TrainJob(options, start, tmp_path / "data", 7, opponent)
    execution = Execution(cpu=True, processes=2, micro_batch_size=4, recompute=True)
    write_job(tmp_path / "job.json", job, digest="d", execution=execution, resume="there")
    told = read_job(tmp_path / "job.json")
    assert type(told.options) is type(options)
    assert (told.options, told.kind, told.seed) == (options, job.kind, 7)
    assert told.start == Weights(path="start", digest="a", chat_template="{{ messages }}")
    assert told.reference == Weights(path="opponent", digest="b")
    assert (told.data, told.out, told.digest) == (tmp_path / "data", tmp_path, "d")
    assert (told.execution, told.resume) == (execution, "there")


@pytest.mark.parametrize(
    ("rows", "options", "updates"),
    [
        (100, {"validation": 0.1}, 12),
        (100, {"validation": 0, "epochs": 1}, 7),
        (100, {"validation": 0, "epochs": 0.5}, 4),
        (4, {"validation": 0, "epochs": 1}, 1),
        (100, {"max_updates": 3}, 3),
        (100, {"validation": 0, "epochs": 1, "max_rows": 20}, 2),
        (10, {"validation": 0, "epochs": 1, "max_rows": 20}, 1),
    ],
)
def test_updates(rows, options, updates):
    assert SftOptions(**options).updates(rows) == updates
    assert SftOptions(epochs=9).like(0).max_updates is not None
    assert SftOptions(**options).like(rows).max_updates == updates


def test_one_row_is_always_left_to_train_on():
    assert held_back(100, 0.1) == 10
    assert held_back(1, 0.9) == 0
    assert held_back(2, 0.9) == 1


def test_fakes_are_known_by_name_or_stamp(tmp_path):
    assert is_fake(Model("fake-base"))
    assert not is_fake(Model(str(tmp_path)))
    (tmp_path / STAMP).write_text("{}")
    assert is_fake(Model(str(tmp_path)))
